"""Reads, checks, shows and changes the settings.

Importing this package takes a few milliseconds. The TOML parser, the platform folders and the editor are imported only
by the functions that need them.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from backctl.settings.durations import format_duration, parse_duration
from backctl.settings.files import data_folder, locate, user_file
from backctl.settings.loading import DATABASE_FILE, KEYRING_FILE, Entry, LoadedSettings, load, load_environment
from backctl.settings.model import (
    DEFAULTS,
    AccountSettings,
    DatabaseSettings,
    KeyringSettings,
    PasswordSettings,
    RoleSettings,
    SanitizeSettings,
    Settings,
    TokenSettings,
)
from backctl.settings.schema import INVOCATION_VARIABLES, SETTINGS, Setting
from backctl.settings.secrets import SecretValue, redact_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from backctl.settings.selection import ProfileEntry
    from backctl.settings.validation import Finding

__all__ = [
    "DATABASE_FILE",
    "DEFAULTS",
    "INVOCATION_VARIABLES",
    "KEYRING_FILE",
    "SETTINGS",
    "AccountSettings",
    "DatabaseSettings",
    "Entry",
    "KeyringSettings",
    "LoadedSettings",
    "PasswordSettings",
    "RoleSettings",
    "SanitizeSettings",
    "SecretValue",
    "Setting",
    "Settings",
    "TokenSettings",
    "data_folder",
    "entry_of_profile",
    "format_duration",
    "is_secret",
    "load",
    "load_environment",
    "locate",
    "misspelt_variables",
    "parse_duration",
    "permissions",
    "profiles",
    "redact_url",
    "set_value",
    "shown_value",
    "unset_value",
    "use_profile",
    "user_file",
    "validate",
    "validate_file",
    "written_profile",
]


def is_secret(key: str, text: str | None = None) -> bool:
    """Whether `config set` must not take the value of `key` as an argument; see `settings.edit.is_secret`."""
    from backctl.settings import edit

    return edit.is_secret(key, text)


def set_value(file: Path, key: str, text: str, *, dry_run: bool = False) -> bool:
    """Set one value of a configuration file; see `settings.edit.set_value`."""
    from backctl.settings import edit

    return edit.set_value(file, key, text, dry_run=dry_run)


def shown_value(key: str, text: str) -> bool | int | str | list[str] | None:
    """Return `text` as `config get` shows it after `set_value`; see `settings.edit.shown_value`."""
    from backctl.settings import edit

    return edit.shown_value(key, text)


def unset_value(file: Path, key: str, *, dry_run: bool = False) -> bool:
    """Remove one value from a configuration file; see `settings.edit.unset_value`."""
    from backctl.settings import edit

    return edit.unset_value(file, key, dry_run=dry_run)


def misspelt_variables(environ: "Mapping[str, str]") -> "list[tuple[str, str]]":
    """Return each unknown `BACKCTL_` variable that resembles a known one, with that known one."""
    if not any(name.startswith("BACKCTL_") for name in environ):
        return []
    from backctl.settings import validation

    return [(name, near) for name, near in validation.unknown_variables(environ) if near]


def profiles(*, config_file: str | None, profile: str | None, environ: "Mapping[str, str]") -> "list[ProfileEntry]":
    """Return every configured profile; see `settings.selection.profiles`."""
    from backctl.settings import selection

    return selection.profiles(config_file=config_file, profile=profile, environ=environ)


def entry_of_profile(path: tuple[str, ...], *, config_file: str | None, environ: "Mapping[str, str]") -> Entry:
    """Return the entry at a path below `profiles.NAME`; see `settings.selection.entry_of_profile`."""
    from backctl.settings import selection

    return selection.entry_of_profile(path, config_file=config_file, environ=environ)


def written_profile(name: str, *, config_file: str | None, environ: "Mapping[str, str]") -> LoadedSettings:
    """Return the settings that the file gives a profile; see `settings.selection.written_profile`."""
    from backctl.settings import selection

    return selection.written_profile(name, config_file=config_file, environ=environ)


def permissions(*, config_file: str | None, environ: "Mapping[str, str]") -> "Iterator[tuple[str, tuple[str, ...]]]":
    """Yield the permissions of each role in the file; see `settings.selection.permissions`."""
    from backctl.settings import selection

    return selection.permissions(config_file=config_file, environ=environ)


def use_profile(file: Path, name: str | None, *, dry_run: bool = False) -> bool:
    """Select a profile in a configuration file; see `settings.edit.use_profile`."""
    from backctl.settings import edit

    return edit.use_profile(file, name, dry_run=dry_run)


def validate(*, config_file: str | None, profile: str | None, environ: "Mapping[str, str]") -> "list[Finding]":
    """Return every problem of the effective configuration; see `settings.validation.validate`."""
    from backctl.settings import validation

    return validation.validate(config_file=config_file, profile=profile, environ=environ)


def validate_file(path: str) -> "list[Finding]":
    """Return every problem of one file; see `settings.validation.validate_file`."""
    from backctl.settings import validation

    return validation.validate_file(path)
