"""Merges the sources of each setting: flag, environment, file, default, in this order."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from backctl.domain.errors import BackctlError, InvalidConfiguration, InvalidSetting, UnknownProfile, UnknownSetting
from backctl.domain.quoting import escaped, quoted
from backctl.settings.document import (
    Document,
    Layer,
    Problem,
    SecretSource,
    Value,
    Written,
    dotted,
    known_profiles,
    read_document,
    secret_source,
)
from backctl.settings.durations import format_duration
from backctl.settings.files import data_folder, locate, parse_toml, read_text, shown_path
from backctl.settings.model import DEFAULTS, Settings
from backctl.settings.parsing import from_text
from backctl.settings.refusal import WrongValue
from backctl.settings.schema import (
    DATABASE_URL,
    NAMED_TABLES,
    SAME_DATABASE,
    SECRET_SUFFIXES,
    SETTINGS,
    STORAGE_KEYS,
    KeyPath,
    Scalar,
    Setting,
    member_at,
    nearest,
)
from backctl.settings.secrets import COMMAND_TIMEOUT_SECONDS, SecretValue, read_secret_file, run_secret_command

DATABASE_FILE = "backctl.db"
KEYRING_FILE = "keyring.json"

NOTHING: Mapping[str, str] = MappingProxyType({})


class Entry(NamedTuple):
    """One line of `config show`: the displayable value, None for an empty one, and its origin."""

    key: str
    value: Scalar | list[str] | None
    origin: str


class LoadedSettings:
    """The effective settings and the origin of each."""

    def __init__(self, settings: Settings, gathered: "Gathered", *, names_storage: bool) -> None:
        self.settings = settings
        self.file = gathered.file
        """The configuration file that was read; None if there is none."""
        self.names_storage = names_storage
        """Whether the machine is not fresh: a file, or an option or variable for a database, keyring or profile."""
        self.lacks_database = gathered.lacks_database
        """Whether the selected profile has no `database.url`, so that every use of its database fails."""
        self._written = gathered.values
        self._text = gathered.text
        self._lines: Mapping[tuple[str | int, ...], int] | None = None
        self._data_folder: Path | None = None

    @property
    def data_folder(self) -> Path:
        """The platform's folder for the embedded database and the keyring. Created at the first write."""
        if self._data_folder is None:
            self._data_folder = data_folder()
        return self._data_folder

    @property
    def database_url(self) -> str:
        """The URL of the database: `sqlite:///` and the literal path of a file, or the URL of a server.

        Raises InvalidConfiguration if its file or command fails, and if the selected profile has no `database.url`.
        """
        self.require_database()
        return self.settings.database.url.reveal() or f"sqlite:///{self.data_folder / DATABASE_FILE}"

    def require_database(self) -> None:
        """Raise InvalidConfiguration if the selected profile has no `database.url`. Opens no file, runs no command."""
        if not self.lacks_database:
            return
        import shlex

        name = self.settings.profile
        key = shlex.quote(escaped(dotted(("profiles", name, *DATABASE_URL.split(".")))))
        raise InvalidConfiguration(
            f"{shown_path(str(self.file))}, line {self._line(('profiles', name))}: profile {quoted(name)} has no "
            f"{DATABASE_URL}",
            hint=f"run '{{backctl}} config set {key} URL', with {quoted(SAME_DATABASE)} as URL for the database "
            "outside profiles",
        )

    @property
    def database_shown(self) -> str:
        """The displayable database: a file, a URL without its password, or `***` if a file or command provides the URL.

        Empty if the selected profile has no `database.url`. Opens no file and runs no command.
        """
        if self.lacks_database:
            return ""
        shown = self.settings.database.url.masked()
        return shown.removeprefix("sqlite:///") if shown else str(self.data_folder / DATABASE_FILE)

    @property
    def keyring_file(self) -> Path:
        path = self.settings.keyring.path
        return Path(path) if path else self.data_folder / KEYRING_FILE

    @property
    def keyring_given(self) -> SecretValue | None:
        """The unread keyring from the configuration; None for the file. Raises InvalidConfiguration if both are set."""
        document = self.settings.keyring.document
        if not document.is_given:
            return None
        if self.settings.keyring.path:
            raise InvalidConfiguration(
                f"the keyring is configured twice: keyring.path ({self.origin('keyring.path')}) and keyring.document "
                f"({self.origin('keyring.document')})",
                hint="keep one of them, and remove or empty the other",
            )
        return document

    @property
    def keyring_shown(self) -> str:
        """The source of the keyring, for display."""
        if not self.settings.keyring.document.is_given:
            return str(self.keyring_file)
        return self.origin("keyring.document")

    def entries(self) -> Iterator[Entry]:
        """Yield every setting with its displayed value and its origin. Masks secrets; named tables come last."""
        yield Entry("profile", self.settings.profile or None, self.origin("profile"))
        for key, setting in SETTINGS.items():
            yield Entry(key, self._shown(setting), self.origin(key))
        for table, names in self.settings.tables.items():
            for name, value in names.items():
                origin = self.origin(f"{table}.{name}")
                for member in NAMED_TABLES[table].members.values():
                    shown = _shown(member, getattr(value, member.name))
                    if shown is not None:
                        yield Entry(dotted((*table.split("."), name, member.name)), shown, origin)

    def entry(self, key: str) -> Entry:
        """Return the entry of one key. Raises UnknownSetting, which names the most similar one."""
        from backctl.settings.positions import parse_key

        path = parse_key(key) or (key,)
        known = {entry.key: entry for entry in self.entries()}
        found = known.get(dotted(path)) or self._unlisted(path)
        if found is not None:
            return found
        raise self.unknown(key)

    def unknown(self, key: str) -> UnknownSetting:
        """Return the error for a key that does not exist. It names the most similar one."""
        near = nearest(key, [entry.key for entry in self.entries()])
        hint = f"did you mean {near}?" if near else "run '{backctl} config show' to list every key"
        return UnknownSetting(f"there is no setting {quoted(key)}", hint=hint)

    def _unlisted(self, path: tuple[str, ...]) -> Entry | None:
        """Return what `config show` leaves out: a member that is not given, or the source of a secret."""
        key = dotted(path)
        member = member_at(path)
        if member is not None and path[-2] in self.settings.tables.get(".".join(path[:-2]), {}):
            return Entry(key, None, "default")
        suffix = next(filter(key.endswith, SECRET_SUFFIXES), "")
        setting = SETTINGS.get(key.removesuffix(suffix)) if suffix else None
        if setting is None or not setting.secret:
            return None
        written = self._written.get(setting.key)
        if written is None or not isinstance(written.value, SecretSource):
            return Entry(key, None, "default")
        value = written.value.file if suffix == "_file" else list(written.value.command)
        return Entry(key, value, self._place(written)) if value else Entry(key, None, "default")

    def origin(self, key: str) -> str:
        """Return the origin of the value of `key`: `default`, `file PATH:LINE`, `environment NAME` or `flag --x`.

        `missing` for the database of a profile without one.
        For a secret from a file or command, returns that file or command, followed by the place that names it.
        """
        written = self._written.get(key)
        if written is None:
            return "missing" if key == DATABASE_URL and self.lacks_database else "default"
        place = self._place(written)
        if isinstance(written.value, SecretSource):
            # Show only the name of a command, because its arguments may be sensitive.
            source = f"file {written.value.file}" if written.value.file else f"command {written.value.command[0]}"
            return f"{source} ({place})"
        return place

    def _place(self, written: Written) -> str:
        if written.origin == "file":
            return f"file {self.file}:{self._line(written.path)}"
        return f"{written.origin} {written.path[0]}"

    def overruled_by(self, key: str, path: KeyPath) -> str | None:
        """Return the origin that overrides `path` of the file for `key`; None when `path` provides the value."""
        written = self._written.get(key)
        if written is None or (written.origin == "file" and written.path == path):
            return None
        return self.origin(key)

    def _line(self, path: tuple[str | int, ...]) -> int:
        if self._lines is None:
            from backctl.settings.positions import line_numbers

            self._lines = line_numbers(self._text)
        return self._lines.get(path, 1)

    def _shown(self, setting: Setting) -> Scalar | list[str] | None:
        section = getattr(self.settings, setting.section) if setting.section else self.settings
        return _shown(setting, getattr(section, setting.name))


def _shown(setting: Setting, value: Any) -> Scalar | list[str] | None:
    """Return a value in the form that `config show` prints; None for an empty text."""
    if isinstance(value, SecretValue):
        return value.masked() or None
    if isinstance(value, tuple):
        return list(value)
    return format_duration(value) if setting.kind == "duration" else None if value == "" else cast(Scalar, value)


def names_of(
    table: str, *, config_file: str | None, profile: str | None, environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the names of one kind of named table, such as `profiles`. Ignores problems in other settings.

    Raises InvalidConfiguration, UnknownProfile.
    """
    problems: list[Problem] = []
    source = read_source(config_file, environ, problems)
    if NAMED_TABLES[table].overlay:
        return tuple(source.document.profiles)
    values = merge(source, profile, environ, NOTHING, problems).values
    return tuple(key.removeprefix(f"{table}.") for key in values if key.startswith(f"{table}."))


def load(
    *,
    config_file: str | None = None,
    profile: str | None = None,
    environ: Mapping[str, str],
    overrides: Mapping[str, str] = NOTHING,
) -> LoadedSettings:
    """Read the effective configuration.

    `config_file` and `profile` are the values of the flags; without them, `BACKCTL_CONFIG` and `BACKCTL_PROFILE` in
    `environ` apply. `overrides` are the texts of flags by the key of their setting. An empty variable is treated as not
    set. Opens a secret file and runs a secret command only when the secret is revealed.
    Raises InvalidConfiguration, UnknownProfile, and InvalidSetting for an override.
    """
    problems: list[Problem] = []
    gathered = gather(config_file, profile, environ, overrides, problems)
    if problems:
        raise as_error(problems[0], gathered.file, gathered.text, len(problems) - 1)
    return loaded(gathered, profile, environ)


def load_environment(environ: Mapping[str, str]) -> LoadedSettings:
    """Read the settings of the environment alone, for a configuration file that does not exist yet.

    Raises InvalidConfiguration.
    """
    problems: list[Problem] = []
    without_profile = {name: text for name, text in environ.items() if name != "BACKCTL_PROFILE"}
    gathered = merge(Source(None, "", Document({}, {}, "")), None, without_profile, NOTHING, problems)
    if problems:
        raise as_error(problems[0], None, "", len(problems) - 1)
    return loaded(gathered, None, without_profile)


def loaded(gathered: "Gathered", profile: str | None, environ: Mapping[str, str]) -> LoadedSettings:
    """Return the settings from sources that have no problems."""
    names_storage = _names_storage(gathered, profile, environ)
    return LoadedSettings(settings_of(gathered, environ), gathered, names_storage=names_storage)


_FLAGS = {"database.timeout": "--timeout"}
"""The settings for which every command has a flag."""


class Gathered(NamedTuple):
    """The merged sources, which may still have problems."""

    file: Path | None
    text: str
    profile: str
    values: Layer
    lacks_database: bool
    """Whether neither the selected profile nor a variable sets `database.url`."""


def gather(
    config_file: str | None,
    profile: str | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, str],
    problems: list[Problem],
) -> Gathered:
    """Merge every source and append what is wrong to `problems`. Raises only when nothing can be read at all."""
    return merge(read_source(config_file, environ, problems), profile, environ, overrides, problems)


class Source(NamedTuple):
    """The configuration file, its text and its document. Without a file, they are None and empty."""

    file: Path | None
    text: str
    document: Document


def read_source(config_file: str | None, environ: Mapping[str, str], problems: list[Problem]) -> Source:
    file = locate(config_file, environ)
    if file is None:
        return Source(None, "", Document({}, {}, ""))
    text = read_text(file)
    return Source(file, text, read_document(parse_toml(text, file), problems))


def merge(
    source: Source,
    profile: str | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, str],
    problems: list[Problem],
) -> Gathered:
    """Merge the requested or selected profile and the other sources over the file."""
    file, text, document = source
    values = dict(document.base)
    asked = profile or environ.get("BACKCTL_PROFILE", "")
    selected = asked or document.profile
    if selected in document.profiles:
        values = _overlaid(document.base, document.profiles[selected])
    elif asked and not problems:
        raise UnknownProfile(
            f"profile {quoted(asked)} is not configured", hint=known_profiles(asked, document.profiles)
        )
    if selected:
        values["profile"] = _profile_written(selected, profile, environ)
    values |= _environment_layer(environ, problems)
    values |= _flag_layer(overrides, problems)
    lacks_database = selected in document.profiles and DATABASE_URL not in values
    return Gathered(file, text, selected, values, lacks_database)


def _overlaid(base: Layer, profile: Layer) -> Layer:
    """Return the values of a profile, with those outside profiles for the settings that it lacks.

    Only `database.url` is not inherited: a command could then silently change the accounts of another database.
    """
    values = base | profile
    written = profile.get(DATABASE_URL)
    if written is None or written.value == "":
        values.pop(DATABASE_URL, None)
    elif written.value == SAME_DATABASE:
        values[DATABASE_URL] = written._replace(value=base[DATABASE_URL].value if DATABASE_URL in base else "")
    return values


def as_error(problem: Problem, file: Path | None, text: str, others: int = 0) -> BackctlError:
    """Return the error for `problem`. Its message starts with the place; its hint mentions `others` more problems."""
    hint = problem.hint
    if others:
        more = f"run '{{backctl}} config validate' to list {others} more"
        hint = f"{hint}; {more}" if hint else more
    message = f"{place(problem, file, text)}: {problem.message}"
    return InvalidSetting(message, hint=hint) if problem.origin == "flag" else InvalidConfiguration(message, hint=hint)


def place(problem: Problem, file: Path | None, text: str) -> str:
    """Return the place of `problem`, as the beginning of a message."""
    if problem.origin != "file" or file is None:
        return f"{problem.origin} {problem.path[0]}"
    from backctl.settings.positions import line_numbers

    return f"{shown_path(file)}, line {line_numbers(text).get(problem.path, 1)}"


def variables() -> dict[str, tuple[Setting, str]]:
    """Return every environment variable of a setting, with the setting and, for a secret's file, the suffix."""
    names = {setting.variable: (setting, "") for setting in SETTINGS.values()}
    return names | {f"{setting.variable}_FILE": (setting, "_file") for setting in SETTINGS.values() if setting.secret}


def _environment_layer(environ: Mapping[str, str], problems: list[Problem]) -> Layer:
    layer: Layer = {}
    for name, (setting, suffix) in variables().items():
        text = environ.get(name)
        if not text:
            continue
        try:
            value: Value = secret_source(f"{setting.key}{suffix}", text) if suffix else from_text(setting, text)
            if setting.key == "protected" and not value:
                raise WrongValue("a variable can only turn protected on, not off")
            if setting.key in layer:
                raise WrongValue(f"{setting.key} is also set by {setting.variable}; keep one")
        except WrongValue as error:
            problems.append(Problem(str(error), (name,), None, "environment"))
        else:
            layer[setting.key] = Written(value, "environment", (name,))
    return layer


def _flag_layer(overrides: Mapping[str, str], problems: list[Problem]) -> Layer:
    layer: Layer = {}
    for key, given in overrides.items():
        flag = _FLAGS[key]
        try:
            value = from_text(SETTINGS[key], given)
        except WrongValue as error:
            problems.append(Problem(str(error), (flag,), None, "flag"))
        else:
            layer[key] = Written(value, "flag", (flag,))
    return layer


def _profile_written(selected: str, flag: str | None, environ: Mapping[str, str]) -> Written:
    variable = environ.get("BACKCTL_PROFILE")
    if flag and flag != variable:  # the flag parser may have taken this value from the variable
        return Written(selected, "flag", ("--profile",))
    if variable:
        return Written(selected, "environment", ("BACKCTL_PROFILE",))
    return Written(selected, "file", ("profile",))


def _names_storage(gathered: Gathered, profile: str | None, environ: Mapping[str, str]) -> bool:
    """Whether anything names an installation. A variable that is set but empty does too: backctl must not create a new
    installation for a script that meant to name one."""
    pointing = ["BACKCTL_CONFIG", "BACKCTL_PROFILE"]
    pointing += [name for name, (setting, _) in variables().items() if setting.key in STORAGE_KEYS]
    return gathered.file is not None or bool(profile) or any(name in environ for name in pointing)


def settings_of(gathered: Gathered, environ: Mapping[str, str]) -> Settings:
    """Return the typed settings from sources that have no problems."""
    values = gathered.values
    if not values:
        return DEFAULTS

    # Each value was checked against the schema, and a test compares the schema with the types of the model.
    def section(name: str) -> dict[str, Any]:
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): _secret(key, written.value, environ) if SETTINGS[key].secret else written.value
            for key, written in values.items()
            if key in SETTINGS and key.startswith(prefix)
        }

    changed = {name: section(name) for name in {SETTINGS[key].section for key in values if key in SETTINGS} - {""}}
    return DEFAULTS._replace(
        profile=gathered.profile,
        protected=bool(values["protected"].value) if "protected" in values else DEFAULTS.protected,
        tables=_tables_of(values),
        **{name: getattr(DEFAULTS, name)._replace(**given) for name, given in changed.items()},
    )


def _tables_of(values: Layer) -> dict[str, dict[str, object]]:
    """Return the values of named tables, by the key of the table and then by name."""
    found: dict[str, dict[str, object]] = {}
    for key, written in values.items():
        if isinstance(written.value, Mapping):
            table = next(kind for kind in NAMED_TABLES.values() if key.startswith(f"{kind.key}."))
            found.setdefault(table.key, {})[key.removeprefix(f"{table.key}.")] = table.make(**written.value)
    return found


def _secret(key: str, value: Value, environ: Mapping[str, str]) -> SecretValue:
    if not isinstance(value, SecretSource):
        return SecretValue(str(value))
    setting = SETTINGS[key]

    def read() -> str:
        if value.file:
            text = read_secret_file(key, value.file)
        else:
            text = run_secret_command(key, value.command, environ, timeout=COMMAND_TIMEOUT_SECONDS)
        try:
            from_text(setting, text)
        except WrongValue as error:
            raise InvalidConfiguration(str(error)) from None
        return text

    return SecretValue(read=read, source=value.file or repr(value.command))
