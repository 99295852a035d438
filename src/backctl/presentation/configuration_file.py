"""Changes the configuration file for a command."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from backctl import settings
from backctl.presentation.context import Invocation
from backctl.settings.document import dotted
from backctl.settings.positions import parse_key


def configuration_file(call: Invocation) -> Path:
    """Return the configuration file that is used, or that of the user if there is none."""
    return settings.locate(call.config_file, os.environ) or settings.user_file()


def editable_file(call: Invocation) -> Path:
    """Return the configuration file, which may not exist yet. The environment alone then gives the settings of `call`.

    Raises InvalidConfiguration if the file exists and cannot be loaded.
    """
    file = configuration_file(call)
    if os.path.lexists(file):
        call.settings  # noqa: B018 - loading is the check
    else:
        call.settings = settings.load_environment(os.environ)
    return file


def edit(call: Invocation, change: Callable[..., bool]) -> bool:
    """Call `change(dry_run=…)`, after the guard was asked if it would change something. Returns whether it did."""
    from backctl.application.guard import guarded

    return guarded(
        lambda dry_run: change(dry_run=dry_run), guard=call.guard, changes=lambda changed: changed, dry_run=call.dry_run
    )


def write_setting(call: Invocation, key: str, value: str) -> bool:
    """Set `key`, in the profile that an option or a variable selected, if any. Returns whether it changed.

    Prints a notice if another value overrides it. Raises the errors of `settings.set_value`.
    """
    path = _path(call, key)
    changed = edit(call, partial(settings.set_value, configuration_file(call), written_key(call, key), value))
    if not call.dry_run and key in settings.SETTINGS:
        call.reload()
        overrides = call.settings.overruled_by(key, path)
        if overrides:
            call.messages.notice(f"{overrides} overrides this value")
    return changed


def remove_setting(call: Invocation, key: str) -> bool:
    """Remove `key` from the place where `write_setting` would put it. Returns whether it was there.

    Prints a notice if the value that applies now is not the default. Raises the errors of `settings.unset_value`.
    """
    changed = edit(call, partial(settings.unset_value, configuration_file(call), written_key(call, key)))
    if not call.dry_run and key in settings.SETTINGS:
        call.reload()
        origin = call.settings.origin(key)
        if origin != "default":
            call.messages.notice(f"{key} is still set: {origin}")
    return changed


def written_key(call: Invocation, key: str) -> str:
    """Return the key that `write_setting` changes: `key`, or the same key in the selected profile."""
    return dotted(_path(call, key))


def _path(call: Invocation, key: str) -> tuple[str, ...]:
    path = parse_key(key) or (key,)
    selected = call.profile or os.environ.get("BACKCTL_PROFILE")
    return ("profiles", selected, *path) if selected and path[0] not in ("profile", "profiles") else path
