"""`backctl profile …`: list profiles and select one."""

import os
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

from typer import Argument, Option

from backctl import settings
from backctl.domain.errors import UsageError
from backctl.presentation.commands.config import OriginView
from backctl.presentation.configuration_file import edit, editable_file
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun

app = noun("profile")


@dataclass(frozen=True, slots=True)
class ProfileView:
    """One profile. `database` is None without a `database.url`. `origin` is the place of the profile in the file."""

    PLURAL: ClassVar = "profiles"

    name: str
    in_force: bool
    protected: bool
    database: str | None
    origin: str


@dataclass(frozen=True, slots=True)
class SelectionView:
    """The profile that the configuration file selects; None for none."""

    profile: str | None
    file: str


@dataclass(frozen=True, slots=True)
class CurrentView:
    """The selected profile and the place that selects it; both are None without a profile."""

    profile: str | None
    origin: str | None
    protected: bool


@leaf(
    app,
    name="list",
    kind="list",
    view=ProfileView,
    examples="""
    # List the profiles
    backctl profile list
    # Print their names
    backctl profile list -o id
    """,
)
def list_(call: Invocation) -> None:
    """List the profiles and their databases."""
    found = settings.profiles(config_file=call.config_file, profile=call.profile, environ=os.environ)
    call.results.show_all((ProfileView(*profile) for profile in found), ProfileView)


@leaf(
    app,
    kind="list",
    view=OriginView,
    examples="""
    # Show the settings of a profile
    backctl profile show staging
    # Print them as JSON
    backctl profile show staging -o json
    """,
)
def show(
    call: Invocation,
    name: Annotated[str | None, Argument(metavar="[NAME]", help="Profile; the selected one unless given.")] = None,
) -> None:
    """Show the settings of a profile; secrets are masked."""
    if name is None:
        entries = list(call.settings.entries())
    else:
        chosen = settings.load(config_file=call.config_file, profile=name, environ=os.environ)
        entries = [
            entry._replace(origin="argument NAME") if entry.key == "profile" else entry for entry in chosen.entries()
        ]
    call.results.show_all((OriginView(*entry) for entry in entries), OriginView)


@leaf(
    app,
    kind="value",
    view=CurrentView,
    examples="""
    # Print the selected profile
    backctl profile current
    # Show where the selection comes from
    backctl profile current -o json
    """,
)
def current(call: Invocation) -> None:
    """Print the name of the selected profile, or nothing.

    Opens no database, so it is fast enough for the prompt of a shell.
    """
    loaded = call.settings
    name = loaded.settings.profile or None
    view = CurrentView(name, name and loaded.origin("profile"), loaded.settings.protected)
    if name is not None or call.results.renderer.is_json or call.results.renderer.fields is not None:
        call.results.value(name or "", view)


@leaf(
    app,
    changes="select another profile",
    view=SelectionView,
    examples="""
    # Select a profile
    backctl profile use staging
    # Select no profile
    backctl profile use --none
    """,
)
def use(
    call: Invocation,
    name: Annotated[str | None, Argument(metavar="[NAME]", help="Name of the profile.")] = None,
    none: Annotated[bool, Option("--none", help="Select no profile.")] = False,
) -> None:
    """Select the profile that commands use.

    The selection is written to the configuration file, which keeps its comments. --profile and BACKCTL_PROFILE override
    it.
    """
    if (name is None) == (not none):
        raise UsageError("no profile was named", hint="name a profile, or use --none to select no profile")
    file = editable_file(call)
    changed = edit(call, partial(settings.use_profile, file, name))
    from backctl.application.views import Change  # imports all views, which the queries here do not need

    call.results.changed(Change(SelectionView(name, str(file)), changed))
    if os.environ.get("BACKCTL_PROFILE", name or "") not in ("", name):
        call.messages.notice("BACKCTL_PROFILE overrides the selected profile")
