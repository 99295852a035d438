"""`backctl config …`: what is configured, where it comes from, whether it is sound, and how to change it."""

import os
from dataclasses import dataclass
from typing import Annotated

from typer import Argument, Option

from backctl import settings
from backctl.domain.errors import InvalidConfiguration, UsageError, quoted
from backctl.presentation.configuring import configuration_file, remove_setting, write_setting
from backctl.presentation.context import Invocation
from backctl.presentation.errors import ExitCode
from backctl.presentation.grammar import leaf, noun

app = noun("config")

Shown = bool | int | str | list[str]

Key = Annotated[str, Argument(metavar="KEY", help="Such as database.timeout.")]


@dataclass(frozen=True, slots=True)
class SettingView:
    key: str
    value: Shown


@dataclass(frozen=True, slots=True)
class OriginView:
    key: str
    value: Shown
    origin: str


@dataclass(frozen=True, slots=True)
class FileView:
    path: str
    exists: bool


@dataclass(frozen=True, slots=True)
class WrittenView:
    key: str
    value: str
    file: str


@dataclass(frozen=True, slots=True)
class RemovedView:
    key: str
    file: str


@dataclass(frozen=True, slots=True)
class FindingView:
    message: str
    hint: str


@leaf(app, view=OriginView)
def show(
    call: Invocation,
    origin: Annotated[bool, Option("--origin", help="Say where each value comes from.")] = False,
) -> None:
    """Show every value in force; secrets are masked."""
    entries = call.settings.entries()
    if origin:
        call.show_all((OriginView(*entry) for entry in entries), OriginView)
    else:
        call.show_all((SettingView(entry.key, entry.value) for entry in entries), SettingView)


@leaf(app, view=FileView)
def path(call: Invocation) -> None:
    """Print the configuration file in force, or where yours would be."""
    file = configuration_file(call)
    call.value(str(file), FileView(str(file), file.exists()))


@leaf(app, view=OriginView)
def get(call: Invocation, key: Key) -> None:
    """Print one value; a secret is masked."""
    entry = call.settings.entry(key)
    call.value(_bare(entry.value), OriginView(*entry))


@leaf(app, name="set", mutation=True, secrets=("value",), view=WrittenView)
def set_(
    call: Invocation,
    key: Key,
    value: Annotated[str | None, Argument(metavar="[VALUE]", help="The new value, unless KEY is a secret.")] = None,
) -> None:
    """Write one value to the configuration file.

    The comments in the file, and everything else, stay as they are.
    """
    file = configuration_file(call)
    if os.path.lexists(file):
        call.backend  # noqa: B018 - a protected profile asks here, and a file that does not load stops here
    secret = settings.is_secret(key)
    if secret and value is not None:
        raise UsageError(
            f"{key} is a secret, and arguments are seen by everybody on the machine",
            hint="use --value-stdin, --value-file, --value-fd or --value-env",
        )
    if value is not None and call.secret_given("value"):
        raise UsageError("the value is given twice", hint="leave the argument or the flag out")
    if value is None:
        value = call.secret("value", instead=None if secret else "the argument VALUE").reveal()
    changed = write_setting(call, key, value)
    from backctl.application.views import Change  # with all views; the queries here have their own

    call.changed(Change(WrittenView(key, settings.redact_url(value) if secret else value, str(file)), changed))


@leaf(app, mutation=True, view=RemovedView)
def unset(call: Invocation, key: Key) -> None:
    """Take one value out of the configuration file.

    The default counts again. The comments in the file, and everything else, stay as they are.
    """
    file = configuration_file(call)
    if os.path.lexists(file):
        call.backend  # noqa: B018 - as for `set`
    changed = remove_setting(call, key)
    from backctl.application.views import Change  # with all views; the queries here have their own

    call.changed(Change(RemovedView(key, str(file)), changed))


@leaf(app, view=FindingView)
def validate(
    call: Invocation,
    file: Annotated[
        str | None, Argument(metavar="[FILE]", help="This file alone; else the configuration in force.")
    ] = None,
) -> None:
    """List everything wrong with the configuration: exit code 0 or 9."""
    if file is None:
        findings = settings.validate(config_file=call.config_file, profile=call.profile, environ=os.environ)
    else:
        findings = settings.validate_file(file)
    views = [FindingView(finding.message, finding.hint) for finding in findings]
    if not views:
        views = _role_findings(call.settings if file is None else settings.load(config_file=file, environ={}))
    if not views:
        call.notice("the configuration is sound")
    call.check_all(views, FindingView, not views, no=ExitCode.UNUSABLE)


def _role_findings(loaded: settings.LoadedSettings) -> list[FindingView]:
    """What the domain says about the roles; the settings know their shape only."""
    from backctl.backend import Backend

    try:
        Backend(loaded).access  # noqa: B018 - building it is the check
    except InvalidConfiguration as error:
        return [FindingView(f"{quoted(str(loaded.file), limit=1024)}: {error.message}", error.hint or "")]
    return []


def _bare(value: Shown) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, list) else str(value)
