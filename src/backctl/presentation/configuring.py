"""Writing to the configuration file from a command."""

import os
from pathlib import Path

from backctl import settings
from backctl.presentation.context import Invocation
from backctl.settings.document import dotted
from backctl.settings.positions import parse_key


def configuration_file(call: Invocation) -> Path:
    """The configuration file in force, or where the user's own would be."""
    return settings.locate(call.config_file, os.environ) or settings.user_file()


def write_setting(call: Invocation, key: str, value: str) -> bool:
    """Set `key`, in the profile that a flag or variable selected where there is one; False when it was so already.

    Says when another place goes before the one written to. Raises what `settings.set_value` raises.
    """
    path = _path(call, key)
    changed = settings.set_value(configuration_file(call), dotted(path), value, dry_run=call.dry_run)
    if not call.dry_run and key in settings.SETTINGS:
        call.reload()
        overruled = call.settings.overruled_by(key, path)
        if overruled:
            call.notice(f"the value in force is another one: {overruled} goes before it")
    return changed


def remove_setting(call: Invocation, key: str) -> bool:
    """Take `key` out of the place where `write_setting` would put it; False when it was not there.

    Says what the value in force is when that is no default. Raises what `settings.unset_value` raises.
    """
    changed = settings.unset_value(configuration_file(call), dotted(_path(call, key)), dry_run=call.dry_run)
    if not call.dry_run and key in settings.SETTINGS:
        call.reload()
        origin = call.settings.origin(key)
        if origin != "default":
            call.notice(f"{key} is still set: {origin}")
    return changed


def _path(call: Invocation, key: str) -> tuple[str, ...]:
    path = parse_key(key) or (key,)
    selected = call.profile or os.environ.get("BACKCTL_PROFILE")
    return ("profiles", selected, *path) if selected and path[0] not in ("profile", "profiles") else path
