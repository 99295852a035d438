"""Every problem of a configuration at once, for `config validate`; loading stops at the first."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

from backctl.domain.errors import BackctlError, quoted
from backctl.settings.document import Problem
from backctl.settings.loading import NOTHING, as_error, gather, settings_of, variables
from backctl.settings.schema import INVOCATION_VARIABLES, SETTINGS, nearest

_PREFIX = "BACKCTL_"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to put right. The message begins with its place; the hint is empty where there is no obvious step."""

    message: str
    hint: str


def validate_file(path: str) -> list[Finding]:
    """What is wrong with the file at `path` alone. Runs no command of it and opens no file it names."""
    return list(_findings(path, None, {}, follow=False))


def validate(*, config_file: str | None, profile: str | None, environ: Mapping[str, str]) -> list[Finding]:
    """What is wrong with the configuration in force, its variables and its secret sources included.

    A `BACKCTL_` variable that names nothing is a finding when its name is close to one that does: a typing error would
    otherwise silently work on another database.
    """
    return [
        *_findings(config_file, profile, environ, follow=True),
        *(
            Finding(f"environment {quoted(name)}: no setting uses this variable", f"did you mean {near}?")
            for name, near in unknown_variables(environ)
            if near
        ),
    ]


def unknown_variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """Each `BACKCTL_` variable that names no setting, with the name it most likely stands for.

    They are ignored otherwise: other programs may have reasons of their own to export such names.
    """
    known = [*INVOCATION_VARIABLES, *variables()]
    for name in sorted(environ):
        if name.startswith(_PREFIX) and name not in known:
            near = nearest(name.removeprefix(_PREFIX), [variable.removeprefix(_PREFIX) for variable in known])
            yield name, near and _PREFIX + near


def _findings(
    config_file: str | None, profile: str | None, environ: Mapping[str, str], *, follow: bool
) -> Iterator[Finding]:
    problems: list[Problem] = []
    try:
        gathered = gather(config_file, profile, environ, NOTHING, problems)
    except BackctlError as error:
        yield _finding(error)
        return
    for problem in problems:
        yield _finding(as_error(problem, gathered.file, gathered.text))
    if problems or not follow:
        return
    settings = settings_of(gathered, environ)
    for setting in SETTINGS.values():
        if setting.secret:
            try:
                attrgetter(setting.key)(settings).reveal()
            except BackctlError as error:
                yield _finding(error)


def _finding(error: BackctlError) -> Finding:
    return Finding(error.message, error.hint or "")
