"""The profiles of the effective configuration, and the database that each one selects."""

from collections.abc import Mapping
from typing import NamedTuple

from backctl.settings.document import Problem
from backctl.settings.loading import NOTHING, as_error, loaded, merge, read_source


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
    source = read_source(config_file, environ, problems)
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
