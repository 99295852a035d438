"""`backctl profile …`: the databases of one configuration, and which of them commands work on."""

import os
from dataclasses import dataclass
from typing import Annotated

from typer import Argument, Option

from backctl import settings
from backctl.domain.errors import UsageError
from backctl.presentation.configuring import configuration_file
from backctl.presentation.context import Invocation
from backctl.presentation.grammar import leaf, noun

app = noun("profile")


@dataclass(frozen=True, slots=True)
class ProfileView:
    name: str
    in_force: bool
    protected: bool
    database: str
    origin: str


@dataclass(frozen=True, slots=True)
class SettingView:
    key: str
    value: bool | int | str | list[str]
    origin: str


@dataclass(frozen=True, slots=True)
class SelectionView:
    """`profile` is the one that the file selects, or None."""

    profile: str | None
    file: str


@leaf(app, name="list", view=ProfileView)
def list_(call: Invocation) -> None:
    """List the profiles: the database of each, and its origin."""
    found = settings.profiles(config_file=call.config_file, profile=call.profile, environ=os.environ)
    call.show_all((ProfileView(*profile) for profile in found), ProfileView)


@leaf(app, view=SettingView)
def show(
    call: Invocation,
    name: Annotated[str | None, Argument(metavar="[NAME]", help="A profile; else the one in force.")] = None,
) -> None:
    """Show the settings of a profile, and where each comes from.

    Secrets are masked.
    """
    if name is None:
        entries = list(call.settings.entries())
    else:
        chosen = settings.load(config_file=call.config_file, profile=name, environ=os.environ)
        entries = [
            entry._replace(origin="argument NAME") if entry.key == "profile" else entry for entry in chosen.entries()
        ]
    call.show_all((SettingView(*entry) for entry in entries), SettingView)


@leaf(app, mutation=True, view=SelectionView)
def use(
    call: Invocation,
    name: Annotated[str | None, Argument(metavar="[NAME]", help="The profile to work with from now on.")] = None,
    none: Annotated[bool, Option("--none", help="Work without a profile from now on.")] = False,
) -> None:
    """Select the profile that commands work on from now on.

    A flag or a variable that names another one goes before it. It is written to the configuration file, which keeps its
    comments.
    """
    if (name is None) == (not none):
        raise UsageError("say which profile to use", hint="backctl profile use NAME, or --none for none")
    file = configuration_file(call)
    if os.path.lexists(file):
        call.backend  # noqa: B018 - a protected profile asks here, and a file that does not load stops here
    changed = settings.use_profile(file, name, dry_run=call.dry_run)
    from backctl.application.views import Change  # with all views; the queries here have their own

    call.changed(Change(SelectionView(name, str(file)), changed))
    if os.environ.get("BACKCTL_PROFILE", name or "") not in ("", name):
        call.notice("BACKCTL_PROFILE goes before the file: it still chooses the profile")
