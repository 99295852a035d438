"""Checks a parsed TOML document. Reports every problem, and the path of every value."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeGuard, TypeVar

from backctl.domain.quoting import quoted
from backctl.settings.parsing import check_path, describe, from_toml
from backctl.settings.refusal import WrongValue
from backctl.settings.schema import (
    NAMED_TABLES,
    SAME_DATABASE,
    SECRET_SUFFIXES,
    SETTINGS,
    KeyPath,
    NamedTable,
    Plain,
    Setting,
    nearest,
    sections,
)

_T = TypeVar("_T")


class SecretSource(NamedTuple):
    """The source of a secret that is not written in place: the path of a file, or a command and its arguments."""

    file: str = ""
    command: tuple[str, ...] = ()


Members = Mapping[str, Plain]
"""The given members of one named table."""

Value = Plain | SecretSource | Members


class Problem(NamedTuple):
    """One problem, either in the document at `path` or in the variable or flag that `path[0]` names."""

    message: str
    path: KeyPath = ()
    hint: str | None = None
    origin: str = "file"


class Written(NamedTuple):
    """A checked value, its kind of source (file, environment, flag), and the path within that source."""

    value: Value
    origin: str
    path: KeyPath


Layer = dict[str, Written]
"""Values by setting key. The key of a named table includes its name, as in `roles.auditor`."""


class Document(NamedTuple):
    base: Layer
    profiles: Mapping[str, Layer]
    profile: str
    """The profile that the file itself selects; empty for none."""


def read_document(document: Mapping[str, object], problems: list[Problem]) -> Document:
    """Check all of `document`, including unselected profiles. Append what is wrong to `problems`."""
    reader = _Reader(problems)
    base = reader.layer(document, (), {"profile"})
    profiles = {
        name: reader.layer(overlay, path, set())
        for name, overlay, path in reader.tables(NAMED_TABLES["profiles"], document.get("profiles", {}), ("profiles",))
    }
    selected = document.get("profile", "")
    if not isinstance(selected, str):
        reader.refuse(f"profile is {describe(selected)}; it must be the name of a profile", ("profile",))
    elif selected and selected not in profiles and not problems:
        reader.refuse(
            f"profile {quoted(selected)} is not configured", ("profile",), hint=known_profiles(selected, profiles)
        )
    return Document(base, profiles, selected if isinstance(selected, str) else "")


def known_profiles(name: str, profiles: Iterable[str]) -> str:
    """Return the hint for a profile that does not exist."""
    names = sorted(profiles)
    if near := nearest(name, names):
        return f"did you mean {quoted(near)}?"
    if names:
        return "configured profiles: " + ", ".join(quoted(name) for name in names[:10])
    return "no profile is configured"


class _Reader:
    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems

    def refuse(self, message: str, path: KeyPath, *, hint: str | None = None) -> None:
        self._problems.append(Problem(message, path, hint))

    def layer(self, table: Mapping[str, object], prefix: KeyPath, handled: set[str]) -> Layer:
        """Return the values in `table`, the document itself or a profile. `handled` are keys read elsewhere."""
        values: Layer = {}
        for name, value in table.items():
            path = (*prefix, name)
            if name in handled:
                continue
            table_kind = NAMED_TABLES.get(name)
            if name in SETTINGS and "." not in name:
                self._setting(SETTINGS[name], value, path, values)
            elif table_kind is not None and table_kind.overlay:
                if prefix:
                    self._unknown(path, [*_top_level(), *handled])
            elif table_kind is not None:
                self._named(table_kind, value, path, values)
            elif name not in sections():
                overlays = [] if prefix else [kind.key for kind in NAMED_TABLES.values() if kind.overlay]
                self._unknown(path, [*_top_level(), *overlays, *handled])
            elif not isinstance(value, dict):
                self.refuse(f"{name} is {describe(value, secret=True)}; it must be a table", path)
            else:
                self._section(name, value, path, values)
        return values

    def tables(
        self, kind: NamedTable, value: object, prefix: KeyPath
    ) -> Iterator[tuple[str, Mapping[str, object], KeyPath]]:
        """Yield the name, contents and path of each named table of a kind; report values that are not tables."""
        if not isinstance(value, dict):
            self.refuse(f"{kind.key} is {describe(value)}; it must be a table of {kind.key.rpartition('.')[2]}", prefix)
            return
        for name, table in value.items():
            path = (*prefix, name)
            if isinstance(table, dict):
                yield name, table, path
            else:
                self.refuse(f"{kind.key}.{name} is {describe(table)}; it must be a table", path)

    def _section(self, section: str, table: Mapping[str, object], prefix: KeyPath, values: Layer) -> None:
        for name, value in table.items():
            path = (*prefix, name)
            # A quoted key that contains a dot is not the dotted key it looks like.
            key = f"{section}.{name}" if "." not in name else ""
            suffix = next((suffix for suffix in SECRET_SUFFIXES if key.endswith(suffix)), "")
            plain = SETTINGS.get(key.removesuffix(suffix))
            if key in SETTINGS:
                self._setting(SETTINGS[key], value, path, values)
            elif suffix and plain is not None and plain.secret:
                source = self._checked(path, lambda: secret_source(key, value))  # noqa: B023 - called at once
                self._keep(plain.key, source, path, values)
            elif key in NAMED_TABLES:
                self._named(NAMED_TABLES[key], value, path, values)
            else:
                self._unknown(path, _section_names(section))

    def _setting(self, setting: Setting, value: object, path: KeyPath, values: Layer) -> None:
        if is_same_database(path, value):
            self._keep(setting.key, SAME_DATABASE, path, values)
            return
        self._keep(setting.key, self._checked(path, lambda: from_toml(setting, value)), path, values)

    def _checked(self, path: KeyPath, read: Callable[[], _T]) -> _T | None:
        try:
            return read()
        except WrongValue as error:
            self.refuse(str(error), path)
            return None

    def _keep(self, key: str, value: Value | None, path: KeyPath, values: Layer) -> None:
        if key in values:
            self.refuse(f"{key} is set twice", path, hint=f"keep one of {key}, {key}_file and {key}_command")
        elif value is not None:
            values[key] = Written(value, "file", path)

    def _named(self, kind: NamedTable, value: object, prefix: KeyPath, values: Layer) -> None:
        for name, table, path in self.tables(kind, value, prefix):
            if kind.without and kind.without in name:
                self.refuse(f"{kind.key} has the name {quoted(name)}, which contains {quoted(kind.without)}", path)
                continue
            members = self._members(kind, name, table, path)
            lacking = [member for member in kind.members.values() if member.required and member.key not in table]
            for member in lacking:
                none = ", or [] for none" if member.kind == "list" else ""
                self.refuse(
                    f"{kind.key}.{name} has no {member.key}", path, hint=f"write {member.key} = {member.example}{none}"
                )
            if not lacking and len(members) == len(table):
                values[f"{kind.key}.{name}"] = Written(members, "file", path)

    def _members(self, kind: NamedTable, name: str, table: Mapping[str, object], prefix: KeyPath) -> dict[str, Plain]:
        """Return the valid members of a named table; report the others."""
        members: dict[str, Plain] = {}
        for word, value in table.items():
            path = (*prefix, word)
            setting = kind.member(name, word)
            if setting is None:
                self._unknown(path, kind.members)
            else:
                checked = self._checked(path, lambda: from_toml(setting, value))  # noqa: B023 - called at once
                if checked is not None:
                    members[word] = checked
        return members

    def _unknown(self, path: KeyPath, candidates: Iterable[str]) -> None:
        word = str(path[-1])
        every = [name for setting in SETTINGS.values() for name in (setting.key, *_secret_variants(setting))]
        near = word if word in every else nearest(word, candidates) or nearest(word, every)
        hint = f"did you mean {near}?" if near else "known keys: " + ", ".join(candidates)
        self.refuse(f"unknown key {quoted(dotted(path))}", path, hint=hint)


def is_same_database(path: KeyPath, value: object) -> bool:
    """Whether a value at `path` of the document makes a profile use the database outside profiles."""
    return path[0] == "profiles" and path[2:] == ("database", "url") and value == SAME_DATABASE


def secret_source(key: str, value: object) -> SecretSource:
    """Check the value of `X_file` or `X_command` and return it as a source. Raises WrongValue."""
    if key.endswith("_file"):
        if not isinstance(value, str) or not value:
            raise WrongValue(f"{key} is {describe(value)}; it must be the absolute path of a file")
        check_path(key, value)
        return SecretSource(file=value)
    if not is_list_of_strings(value) or not value or not value[0]:
        raise WrongValue(f"{key} must be an array of strings: a command and its arguments, run without a shell")
    if "/" in value[0] and not value[0].startswith("/"):
        raise WrongValue(f"{key} starts with {quoted(value[0])}; it must be an absolute path or a bare name")
    if any("\0" in word for word in value):
        raise WrongValue(f"{key} contains a NUL character")
    return SecretSource(command=tuple(value))


def is_list_of_strings(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def dotted(path: KeyPath) -> str:
    """Format `path` as a dotted TOML key."""
    import re

    return ".".join(
        str(part) if re.fullmatch("[A-Za-z0-9_-]+", str(part)) else '"' + re.sub(r'(["\\])', r"\\\1", str(part)) + '"'
        for part in path
    )


def _top_level() -> list[str]:
    tables = [kind.key for kind in NAMED_TABLES.values() if not kind.section and not kind.overlay]
    return ["protected", *sections(), *tables]


def _secret_variants(setting: Setting) -> list[str]:
    return [setting.key + suffix for suffix in SECRET_SUFFIXES] if setting.secret else []


def _section_names(section: str) -> list[str]:
    keys = [
        key
        for setting in SETTINGS.values()
        if setting.section == section
        for key in (setting.key, *_secret_variants(setting))
    ]
    keys += [kind.key for kind in NAMED_TABLES.values() if kind.section == section]
    return [key.rpartition(".")[2] for key in keys]
