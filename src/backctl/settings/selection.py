"""The profiles of the effective configuration, and the database that each one selects."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from backctl.domain.errors import UnknownProfile
from backctl.domain.quoting import quoted
from backctl.settings.document import Problem, dotted, known_profiles
from backctl.settings.loading import NOTHING, Entry, LoadedSettings, Source, as_error, loaded, merge, read_source
from backctl.settings.schema import DATABASE_URL, SAME_DATABASE


class ProfileEntry(NamedTuple):
    """One line of `profile list`. `database` contains no password, and is None if the profile has no `database.url`.

    `origin` is `file PATH:LINE`.
    """

    name: str
    in_force: bool
    protected: bool
    database: str | None
    origin: str


def profiles(*, config_file: str | None, profile: str | None, environ: Mapping[str, str]) -> list[ProfileEntry]:
    """Return every profile in the order of the file, with the values that a command would get if it selected it.

    `profile` is the value of the flag. Includes the environment. Opens no secret file and runs no secret command.
    Raises InvalidConfiguration, UnknownProfile.
    """
    problems: list[Problem] = []
    source = _source(config_file, environ)
    selected = merge(source, profile, environ, NOTHING, problems).profile
    if problems:
        raise as_error(problems[0], source.file, source.text, len(problems) - 1)
    if not source.document.profiles:
        return []
    from backctl.settings.positions import line_numbers

    lines = line_numbers(source.text)
    entries = []
    for name in filter(None, source.document.profiles):  # a profile with an empty name cannot be selected
        chosen = loaded(merge(source, name, environ, NOTHING, problems), name, environ)
        place = f"file {source.file}:{lines.get(('profiles', name), 1)}"
        entries.append(
            ProfileEntry(name, name == selected, chosen.settings.protected, chosen.database_shown or None, place)
        )
    return entries


def written_profile(name: str, *, config_file: str | None, environ: Mapping[str, str]) -> LoadedSettings:
    """Return the settings of a profile as the file gives them, whatever the environment contains.

    Raises InvalidConfiguration, UnknownProfile.
    """
    source = _source(config_file, environ)
    if name not in source.document.profiles:
        raise UnknownProfile(
            f"profile {quoted(name)} is not configured", hint=known_profiles(name, source.document.profiles)
        )
    return loaded(merge(source, name, {}, NOTHING, []), name, {})


def entry_of_profile(path: tuple[str, ...], *, config_file: str | None, environ: Mapping[str, str]) -> Entry:
    """Return the entry at a path that begins with `profiles.NAME`: what the file gives it, or what it inherits there.

    Raises InvalidConfiguration, UnknownProfile, UnknownSetting.
    """
    name, key = path[1], dotted(path[2:])
    chosen = written_profile(name, config_file=config_file, environ=environ)
    if key == "profile":
        raise chosen.unknown(dotted(path))
    found = chosen.entry(key)
    same = key == DATABASE_URL and _source(config_file, environ).document.profiles[name].get(key)
    return Entry(dotted(path), SAME_DATABASE if same and same.value == SAME_DATABASE else found.value, found.origin)


def permissions(*, config_file: str | None, environ: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the key and the permissions of each role in the file, including those of profiles."""
    document = _source(config_file, environ).document
    for layer in (document.base, *document.profiles.values()):
        for key, written in layer.items():
            if key.startswith("roles.") and isinstance(written.value, Mapping):
                given = written.value.get("permissions", ())
                yield dotted((*written.path, "permissions")), given if isinstance(given, tuple) else ()


def _source(config_file: str | None, environ: Mapping[str, str]) -> Source:
    """Read the file. Raises InvalidConfiguration."""
    problems: list[Problem] = []
    source = read_source(config_file, environ, problems)
    if problems:
        raise as_error(problems[0], source.file, source.text, len(problems) - 1)
    return source
