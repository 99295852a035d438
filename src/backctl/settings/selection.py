"""The profiles of the configuration in force, and what each would mean."""

from collections.abc import Mapping
from typing import NamedTuple

from backctl.settings.document import Problem
from backctl.settings.loading import NOTHING, as_error, loaded, merge, read_source


class ProfileEntry(NamedTuple):
    """One line of `profile list`. `database` carries no password, `origin` is `file PATH:LINE`."""

    name: str
    in_force: bool
    protected: bool
    database: str
    origin: str


def profiles(*, config_file: str | None, profile: str | None, environ: Mapping[str, str]) -> list[ProfileEntry]:
    """Every profile in the order of the file, as a command would find it that chooses it; the environment included.

    `profile` is the flag's value. No secret file is opened and no secret command run.
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
    for name in filter(None, source.document.profiles):  # one without a name cannot be chosen
        chosen = loaded(merge(source, name, environ, NOTHING, problems), name, environ)
        place = f"file {source.file}:{lines.get(('profiles', name), 1)}"
        entries.append(ProfileEntry(name, name == selected, chosen.settings.protected, chosen.database_shown, place))
    return entries
