"""`backctl config …`: show, validate and change the configuration."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from typer import Argument, Option

from backctl import settings
from backctl.domain.errors import InvalidConfiguration, UsageError
from backctl.domain.quoting import quoted
from backctl.presentation.configuration_file import (
    configuration_file,
    editable_file,
    remove_setting,
    write_setting,
    written_key,
)
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.errors import ExitCode

app = noun("config")

Shown = bool | int | str | list[str] | None

Key = Annotated[str, Argument(metavar="KEY", help="Setting, for example database.timeout.")]


@dataclass(frozen=True, slots=True)
class SettingView:
    """One setting."""

    key: str
    value: Shown


@dataclass(frozen=True, slots=True)
class OriginView:
    """One setting with the place where its value comes from."""

    key: str
    value: Shown
    origin: str


@leaf(app, kind="list", view=SettingView, others={"--origin": ("list", OriginView)})
def show(
    call: Invocation,
    origin: Annotated[bool, Option("--origin", help="Show where each value comes from.")] = False,
) -> None:
    """Show all settings that apply; secrets are masked."""
    entries = call.settings.entries()
    if origin:
        call.results.show_all((OriginView(*entry) for entry in entries), OriginView)
    else:
        call.results.show_all((SettingView(entry.key, entry.value) for entry in entries), SettingView)


@dataclass(frozen=True, slots=True)
class FileView:
    """The configuration file."""

    file: str
    exists: bool


@leaf(app, kind="value", view=FileView)
def path(call: Invocation) -> None:
    """Print the path of the configuration file."""
    file = configuration_file(call)
    call.results.path(file, FileView(str(file), file.exists()))


@leaf(app, kind="value", view=OriginView)
def get(call: Invocation, key: Key) -> None:
    """Print the value of a setting; a secret is masked."""
    entry = call.settings.entry(key)
    call.results.value(_bare(entry.value), OriginView(*entry))


@dataclass(frozen=True, slots=True)
class WrittenView:
    """A setting that was changed, with its value as `config get` shows it."""

    key: str
    value: Shown
    file: str


@leaf(app, name="set", changes="set {key}", secrets=("value",), view=WrittenView)
def set_(
    call: Invocation,
    key: Key,
    value: Annotated[str | None, Argument(metavar="[VALUE]", help="New value, unless it is a secret.")] = None,
) -> None:
    """Set a value in the configuration file.

    Comments and all other settings in the file stay as they are.
    """
    file = editable_file(call)
    secret = settings.is_secret(key, value)
    if secret and value is not None:
        problem = "is a secret" if settings.is_secret(key, "") else "contains a password"
        raise UsageError(
            f"the value of {key} {problem}, and all users of the machine can see arguments",
            hint="use --value-stdin, --value-file, --value-fd or --value-env",
        )
    if value is not None and call.secrets.is_given("value"):
        raise UsageError("the value is given twice", hint="omit the argument or the option")
    if value is None:
        value = call.secrets.read("value", instead=None if secret else "the argument VALUE").reveal()
    changed, shown = write_setting(call, key, value), settings.shown_value(written_key(call, key), value)
    from backctl.application.views import Change  # imports all views, which the queries here do not need

    call.results.changed(Change(WrittenView(key, shown, str(file)), changed))
    if key.endswith(".permissions") and isinstance(shown, list):
        _warn_about_permissions(call, key, shown)


@dataclass(frozen=True, slots=True)
class RemovedView:
    """A setting that was removed."""

    key: str
    file: str


@leaf(app, changes="unset {key}", view=RemovedView)
def unset(call: Invocation, key: Key) -> None:
    """Remove a setting from the configuration file.

    Its default applies again. Comments and all other settings in the file stay as they are.
    """
    file = editable_file(call)
    changed = remove_setting(call, key)
    from backctl.application.views import Change  # imports all views, which the queries here do not need

    call.results.changed(Change(RemovedView(key, str(file)), changed))


@dataclass(frozen=True, slots=True)
class FindingView:
    """An error in the configuration."""

    BELOW: ClassVar = ("message", "hint")

    message: str
    hint: str | None


@leaf(app, kind="checks", view=FindingView)
def validate(
    call: Invocation,
    file: Annotated[
        str | None,
        Argument(metavar="[FILE]", help="Validate only this file, not what is in use."),
    ] = None,
) -> None:
    """List all errors in the configuration: exit code 0 or 9."""
    if file is None:
        findings = settings.validate(config_file=call.config_file, profile=call.profile, environ=os.environ)
    else:
        findings = settings.validate_file(file)
    views = [FindingView(finding.message, finding.hint or None) for finding in findings]
    if not views:
        loaded = call.settings if file is None else settings.load(config_file=file, environ={})
        views = _domain_findings(loaded)
        for name, role in loaded.settings.roles.items():
            _warn_about_permissions(call, f"roles.{name}.permissions", role.permissions)
    if not views:
        call.messages.notice("the configuration is valid")
    call.results.check_all(views, FindingView, not views, no=ExitCode.UNUSABLE)


def _domain_findings(loaded: settings.LoadedSettings) -> list[FindingView]:
    """Check the rules of the domain for roles and rate limit policies. The settings check only their form."""
    from backctl.backend import Backend

    findings = []
    with Backend(loaded) as backend:
        for build in (lambda: backend.access, lambda: backend.limits, lambda: backend.authentication):
            try:
                build()
            except InvalidConfiguration as error:
                findings.append(FindingView(f"{quoted(str(loaded.file), limit=1024)}: {error.message}", error.hint))
    return findings


def _warn_about_permissions(call: Invocation, key: str, permissions: Sequence[str]) -> None:
    """Warn about permissions that are probably misspelt. They stay allowed, because a service may use them."""
    from backctl.presentation.permissions import warnings

    for text in warnings(permissions):
        call.messages.warn(f"{key}: {text}")


def _bare(value: Shown) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, list) else "" if value is None else str(value)
