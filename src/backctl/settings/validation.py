"""Finds every problem of a configuration, for `config validate`. Loading stops at the first one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

from backctl.domain.errors import BackctlError
from backctl.domain.quoting import quoted
from backctl.settings.document import Problem
from backctl.settings.loading import NOTHING, as_error, loaded, merge, read_source, settings_of, variables
from backctl.settings.schema import INVOCATION_VARIABLES, SETTINGS, nearest

_PREFIX = "BACKCTL_"


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem. The message begins with its place; the hint is empty if there is no obvious fix."""

    message: str
    hint: str


def validate_file(path: str) -> list[Finding]:
    """Return the problems of the file at `path` alone. Runs no command and opens no file that it names."""
    return list(_findings(path, None, {}, follow=False))


def validate(*, config_file: str | None, profile: str | None, environ: Mapping[str, str]) -> list[Finding]:
    """Return the problems of the effective configuration, including variables and secret sources.

    Reports an unknown `BACKCTL_` variable if its name resembles a known one, because a typing error could otherwise
    silently select another database.
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
    """Yield each `BACKCTL_` variable that belongs to no setting, with the most similar known name.

    Variables without a similar name are ignored, because other programs may export them.
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
        source = read_source(config_file, environ, problems)
        gathered = merge(source, profile, environ, NOTHING, problems)
    except BackctlError as error:
        yield _finding(error)
        return
    for problem in problems:
        yield _finding(as_error(problem, gathered.file, gathered.text))
    if problems:
        return
    for name in filter(None, source.document.profiles):  # a profile with an empty name cannot be selected
        try:
            loaded(merge(source, name, environ, NOTHING, problems), name, environ).require_database()
        except BackctlError as error:
            yield _finding(error)
    if not follow:
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
