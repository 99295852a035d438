"""`backctl config …`: show, validate and change the configuration."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from typer import Argument, Option

from backctl import settings
from backctl.domain.errors import InvalidConfiguration, UnknownProfile, UsageError
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
from backctl.presentation.program import filled
from backctl.settings.document import dotted
from backctl.settings.positions import parse_key

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


@leaf(
    app,
    kind="list",
    view=SettingView,
    others={"--origin": ("list", OriginView)},
    examples="""
    # Show all settings
    backctl config show
    # Show where each value comes from
    backctl config show --origin
    """,
)
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


@leaf(
    app,
    kind="value",
    view=FileView,
    examples="""
    # Print the path
    backctl config path
    # Show whether the file exists
    backctl config path -o json
    """,
)
def path(call: Invocation) -> None:
    """Print the path of the configuration file."""
    file = configuration_file(call)
    call.results.path(file, FileView(str(file), file.exists()))


@leaf(
    app,
    kind="value",
    view=OriginView,
    examples="""
    # Print the value that applies
    backctl config get database.timeout
    # Show where it comes from
    backctl config get database.timeout -o json
    """,
)
def get(call: Invocation, key: Key) -> None:
    """Print the value of a setting; a secret is masked."""
    entry = _entry(call, key)
    call.results.value(_bare(entry.value), OriginView(*entry))


def _entry(call: Invocation, key: str) -> settings.Entry:
    if key.startswith("profiles."):
        path = parse_key(key)
        if path is not None and len(path) > 2:
            return settings.entry_of_profile(path, config_file=call.config_file, environ=os.environ)
    return call.settings.entry(key)


@dataclass(frozen=True, slots=True)
class WrittenView:
    """A setting that was changed, with its value as `config get` shows it."""

    key: str
    value: Shown
    file: str


@leaf(
    app,
    name="set",
    changes="set {key}",
    secrets=("value",),
    view=WrittenView,
    examples="""
    # Change a setting
    backctl config set database.timeout 30s
    # Define a role
    backctl config set roles.auditor.permissions user:list,audit:list
    # Read a secret from a file instead of the command line
    backctl config set redis.url --value-file redis.url
    """,
)
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
    path = parse_key(key) or (key,)
    from backctl.application.views import Change  # imports all views, which the queries here do not need

    call.results.changed(Change(WrittenView(dotted(path), shown, str(file)), changed))
    _notice_of_no_database(call, key)
    if key.endswith(".permissions") and isinstance(shown, list):
        _warn_about_permissions(call, key, shown)


@dataclass(frozen=True, slots=True)
class RemovedView:
    """A setting that was removed."""

    key: str
    file: str


@leaf(
    app,
    changes="unset {key}",
    view=RemovedView,
    examples="""
    # Return to the default
    backctl config unset database.timeout
    # Show what would change
    backctl config unset database.timeout --dry-run
    """,
)
def unset(call: Invocation, key: Key) -> None:
    """Remove a setting from the configuration file.

    Its default applies again. Comments and all other settings in the file stay as they are.
    """
    file = editable_file(call)
    changed = remove_setting(call, key)
    from backctl.application.views import Change  # imports all views, which the queries here do not need

    call.results.changed(Change(RemovedView(dotted(parse_key(key) or (key,)), str(file)), changed))
    if changed:
        _notice_of_no_database(call, key)


@dataclass(frozen=True, slots=True)
class FindingView:
    """An error in the configuration."""

    BELOW: ClassVar = ("message", "hint")

    message: str
    hint: str | None


@leaf(
    app,
    kind="checks",
    view=FindingView,
    examples="""
    # Check the configuration that applies
    backctl config validate
    # Check a file before it is installed
    backctl config validate new.toml
    """,
)
def validate(
    call: Invocation,
    file: Annotated[
        str | None,
        Argument(metavar="[FILE]", help="Validate only this file, not the configuration in use."),
    ] = None,
) -> None:
    """List all errors in the configuration: exit code 0 or 9."""
    if file is None:
        findings = settings.validate(config_file=call.config_file, profile=call.profile, environ=os.environ)
    else:
        findings = settings.validate_file(file)
    views = [FindingView(finding.message, finding.hint or None) for finding in findings]
    if not views:
        environ = os.environ if file is None else {}
        loaded = call.settings if file is None else settings.load(config_file=file, environ={})
        views = _domain_findings(loaded)
        for profile in settings.profiles(config_file=file or call.config_file, profile=None, environ=environ):
            others = settings.written_profile(profile.name, config_file=file or call.config_file, environ=environ)
            views += [view for view in _domain_findings(others) if view not in views]
        for key, permissions in settings.permissions(config_file=file or call.config_file, environ=environ):
            _warn_about_permissions(call, key, permissions)
    if not views:
        call.messages.notice("the configuration is valid")
    call.results.check_all(views, FindingView, not views, no=ExitCode.UNUSABLE)


def _notice_of_no_database(call: Invocation, key: str) -> None:
    """Say how to complete the profile in which `key` was changed, if it has no database."""
    path = parse_key(written_key(call, key)) or ()
    if call.dry_run or len(path) < 3 or path[0] != "profiles":
        return
    try:
        settings.written_profile(path[1], config_file=call.config_file, environ=os.environ).require_database()
    except UnknownProfile:  # its last setting was removed
        return
    except InvalidConfiguration as error:
        call.messages.notice(f"{error.message}; {filled(error.hint)}" if error.hint else error.message)


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
