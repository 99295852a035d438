"""Changes one value in a configuration file and keeps its comments and layout."""

import copy
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Literal

import tomlkit
from tomlkit.exceptions import TOMLKitError

from backctl.domain.errors import (
    DiskFull,
    InstallationLocked,
    InvalidConfiguration,
    InvalidSetting,
    UnknownProfile,
    UnknownSetting,
    raise_exhaustion,
)
from backctl.domain.quoting import quoted
from backctl.settings.document import (
    Problem,
    dotted,
    is_list_of_strings,
    is_same_database,
    known_profiles,
    read_document,
    secret_source,
)
from backctl.settings.durations import format_duration, parse_duration
from backctl.settings.files import parse_toml, read_text, shown_path
from backctl.settings.loading import as_error
from backctl.settings.parsing import from_text, from_toml
from backctl.settings.positions import parse_key
from backctl.settings.refusal import WrongValue
from backctl.settings.schema import NAMED_TABLES, SECRET_SUFFIXES, SETTINGS, NamedTable, Setting, member_at, nearest
from backctl.settings.secrets import contains_password, redact_url
from backctl.staged_files import Staged
from backctl.trusted_paths import Place, followed, opened, require_sound

TomlValue = bool | int | str | list[str]
Kind = Literal["setting", "secret", "source", "member", "text"]

_NO_TABLE = NamedTable("")
_LOCK_SECONDS = 10.0
_LOCK_PAUSE_SECONDS = 0.02


def set_value(file: Path, key: str, text: str, *, dry_run: bool = False) -> bool:
    """Set `key` in the configuration file to `text` and return whether the file changed. Replaces it atomically.

    `key` may start with `profiles.NAME`. Lists are TOML arrays; permissions can also be a comma-separated text. Creates
    the file with mode 0600 and its folder with 0700. An existing file keeps its mode, and a link keeps pointing to it.
    Never writes a file that could not be loaded. Raises UnknownSetting, InvalidSetting, InvalidConfiguration,
    InstallationLocked.
    """
    path, kind = _addressed(key)
    return _write(file, path, _toml_value(path, kind, text), dry_run=dry_run)


def unset_value(file: Path, key: str, *, dry_run: bool = False) -> bool:
    """Remove `key`, and the comment on its line, from the configuration file. Return whether it was there.

    Writes the file like `set_value`. Raises UnknownSetting, InvalidConfiguration, InstallationLocked.
    """
    path, _ = _addressed(key)
    return os.path.lexists(file) and _write(file, path, None, dry_run=dry_run)


def use_profile(file: Path, name: str | None, *, dry_run: bool = False) -> bool:
    """Select the profile `name`, or none, in the configuration file and return whether the file changed.

    Writes the file like `set_value`. Does not create a file to select no profile.
    Raises UnknownProfile, which names the most similar one, InvalidConfiguration, InstallationLocked.
    """
    known: dict[str, object] = {}
    if os.path.lexists(file):
        table = parse_toml(read_text(file), file).get("profiles", {})
        known = table if isinstance(table, dict) else known
    elif name is None:
        return False
    if name is not None and (not name or name not in known):
        raise UnknownProfile(
            f"profile {quoted(name)} is not configured in {shown_path(file)}", hint=known_profiles(name, known)
        )
    return _write(file, ("profile",), name, dry_run=dry_run)


def _write(file: Path, path: tuple[str, ...], value: TomlValue | None, *, dry_run: bool) -> bool:
    # Follow a link, because replacing it would leave its target unchanged.
    with _system_errors(file):
        if dry_run:
            return _changed_text(followed(file), file, path, value) is not None
        with opened(file, follow_last=True, make_folders=True) as place:
            require_sound(place)
            _lock(place, file)
            changed = _changed_text(place.path, file, path, value)
            if changed is not None:
                _replace(place, changed)
    return changed is not None


def is_secret(key: str, text: str | None = None) -> bool:
    """Whether `text`, or any value of `key`, must not be given as an argument. Raises UnknownSetting.

    A URL is a secret only if it contains a password.
    """
    path, kind = _addressed(key)
    if kind != "secret":
        return False
    return text is None or SETTINGS[".".join(_inner(path))].kind == "secret" or contains_password(text)


def shown_value(key: str, text: str) -> TomlValue | None:
    """Return `text` as `config get` shows it after `set_value`: a secret masked, an empty text as None.

    Raises UnknownSetting, InvalidSetting.
    """
    path, kind = _addressed(key)
    if kind == "secret" and not is_same_database(path, text):
        return redact_url(text) or None
    value = _toml_value(path, kind, text)
    if kind in ("setting", "member") and _setting(path).kind == "duration":
        return format_duration(parse_duration(text))
    return None if value == "" else value


def _addressed(key: str) -> tuple[tuple[str, ...], Kind]:
    """Return the path of `key` in the document, and the kind of value it accepts. Raises UnknownSetting."""
    path = parse_key(key)
    if path is None:
        raise UnknownSetting(f"{quoted(key)} is not a valid key", hint="use a key such as passwords.min_length")
    inner = _inner(path)
    # A quoted part that contains a dot is not the dotted key it looks like.
    name = ".".join(inner) if all("." not in part for part in inner) else ""
    if path == ("profile",):
        return path, "text"
    if member_at(inner) is not None:
        return path, "member"
    if name in SETTINGS:
        return path, "secret" if SETTINGS[name].secret else "setting"
    sources = [setting.key + suffix for setting in SETTINGS.values() if setting.secret for suffix in SECRET_SUFFIXES]
    if name in sources:
        return path, "source"
    near = nearest(".".join(inner), [*SETTINGS, *sources, "profile"])
    hint = f"did you mean {near}?" if near else "run '{backctl} config show' to list every key"
    raise UnknownSetting(f"there is no setting {quoted(dotted(path))}", hint=hint)


def _inner(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return the path without a leading `profiles.NAME`."""
    return path[2:] if len(path) > 2 and NAMED_TABLES.get(path[0], _NO_TABLE).overlay else path


def _toml_value(path: tuple[str, ...], kind: Kind, text: str) -> TomlValue:
    """Parse `text` into the value to write in the document. Raises InvalidSetting."""
    if kind == "text" or is_same_database(path, text):
        return text
    key = _key(path)
    try:
        if kind == "source":
            given: TomlValue = _array(key, text) if key.endswith("_command") else text
            secret_source(key, given)
            return given
        setting = _setting(path)
        value = from_toml(setting, _list(setting.key, text)) if setting.kind == "list" else from_text(setting, text)
        if isinstance(value, tuple):
            return list(value)
        return text if setting.kind == "duration" else value  # keep a duration as written
    except WrongValue as error:
        raise InvalidSetting(str(error)) from None


def _key(path: tuple[str, ...]) -> str:
    # `protected` is the only setting without a section. It is at the top or in a profile.
    return path[-1] if path[-1] in SETTINGS else ".".join(path[-2:])


def _setting(path: tuple[str, ...]) -> Setting:
    member = member_at(_inner(path))
    return SETTINGS[_key(path)] if member is None else member.under(dotted(path[:-1]))


def _list(key: str, text: str) -> list[str]:
    if text.lstrip().startswith("["):
        return _array(key, text)
    return [item.strip() for item in text.split(",") if item.strip()]


def _array(key: str, text: str) -> list[str]:
    import tomllib

    try:
        value = tomllib.loads(f"value = {text}").get("value") if "\n" not in text else None
    except (ValueError, RecursionError):
        value = None
    if not is_list_of_strings(value):
        raise WrongValue(f'{key} must be an array of strings, such as ["first", "second"]')
    return value


def _changed_text(target: Path, file: Path, path: tuple[str, ...], value: TomlValue | None) -> str | None:
    """Return the new text of the file, or None when nothing changes. A `value` of None removes `path`.

    Raises InvalidConfiguration or InvalidSetting when the new text could not be loaded.
    """
    text = ""
    with suppress(FileNotFoundError):
        target.lstat()
        text = read_text(target)
    before = parse_toml(text, file)
    after = copy.deepcopy(before)
    table: dict[str, object] = after
    for part in path[:-1]:
        if value is None and part not in table:
            return None
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            raise InvalidConfiguration(
                f"{shown_path(file)}: {quoted(part)} is not a table", hint="edit the file by hand"
            )
        table = inner
    if value is None:
        table.pop(path[-1], None)
    else:
        table[path[-1]] = value
    if after == before and (value is None or _same(before, path, value)):
        return None
    changed = _edited(text, file, path, value, after)
    problems: list[Problem] = []
    read_document(parse_toml(changed, file), problems)
    if problems:
        raise as_error(problems[0], file, changed)
    return changed


def _same(document: dict[str, object], path: tuple[str, ...], value: TomlValue) -> bool:
    """Whether the type is the same too: in Python, 1 equals True and 1.0."""
    found: object = document
    for part in path:
        found = found[part] if isinstance(found, dict) else None
    return type(found) is type(value)


def _edited(text: str, file: Path, path: tuple[str, ...], value: TomlValue | None, expected: dict[str, object]) -> str:
    try:
        document = tomlkit.parse(text)
        table: tomlkit.TOMLDocument | tomlkit.items.AbstractTable = document
        for depth, part in enumerate(path[:-1], 1):
            if part not in table:
                # A table that contains only tables needs no header.
                table.add(part, tomlkit.table(is_super_table=depth < len(path) - 1))
            table = table[part]
        if value is None:
            table.remove(path[-1])
        else:
            table[path[-1]] = value
        changed: str | None = _with_line_ends(tomlkit.dumps(document), text)
    except (TOMLKitError, ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError):
        changed = None
    # Check the result of the editor with an independent parser.
    if changed is None or not _agree(parse_toml(changed, file), expected, path if value is None else ()):
        raise InvalidConfiguration(
            f"{shown_path(file)} has a layout that cannot be edited automatically",
            hint=f"{'set' if value is not None else 'remove'} {dotted(path)} by hand",
        )
    return changed


def _with_line_ends(changed: str, before: str) -> str:
    """Return `changed` with CRLF at the end of its new lines if most lines of `before` end with CRLF."""
    lone = {line for line in before.split("\n")[:-1] if not line.endswith("\r")}
    windows = before.count("\r\n")
    if windows <= before.count("\n") - windows:
        return changed
    *lines, rest = changed.split("\n")
    return "\n".join([*(line if line.endswith("\r") or line in lone else line + "\r" for line in lines), rest])


def _agree(found: dict[str, object], expected: dict[str, object], removed: tuple[str, ...]) -> bool:
    """Whether both are equal, except that a table without a header disappears with its last value."""
    if found == expected:
        return True
    for depth in range(len(removed) - 1, 0, -1):
        table: object = expected
        for part in removed[: depth - 1]:
            table = table[part] if isinstance(table, dict) else None
        if not isinstance(table, dict) or table.get(removed[depth - 1]) != {}:
            return False
        del table[removed[depth - 1]]
        if found == expected:
            return True
    return False


@contextmanager
def _system_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise_exhaustion(error)
        if isinstance(error, OSError) and DiskFull.is_meant_by(error):
            raise DiskFull(str(file)) from None
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "its name is not valid"
        broken = isinstance(error, OSError) and error.errno == errno.EIO
        raise InvalidConfiguration(
            f"{shown_path(file)} cannot be written: {reason}", hint="check the disk" if broken else None
        ) from None


def _lock(place: Place, file: Path) -> None:
    """Lock the folder until it is closed, so that concurrent changes do not overwrite each other. Creates no file."""
    deadline = monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(place.folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        if monotonic() >= deadline:
            raise InstallationLocked(f"another process holds the lock on the folder of {shown_path(file)}")
        sleep(_LOCK_PAUSE_SECONDS)


def _replace(place: Place, text: str) -> None:
    status = place.status()
    with closing(Staged(place)) as staged:
        staged.write(text.encode())
        if status is not None and stat.S_ISREG(status.st_mode):
            with suppress(PermissionError):  # only root can change the owner
                os.fchown(staged.descriptor, status.st_uid, status.st_gid)
            os.fchmod(staged.descriptor, stat.S_IMODE(status.st_mode))
        staged.put_in_place(replace=True)
