"""Finds and reads the configuration file."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from backctl.domain.errors import HomeMissing, InvalidConfiguration, raise_exhaustion
from backctl.domain.plain_text import text_of
from backctl.domain.quoting import escaped, quoted

if TYPE_CHECKING:
    from typing import NoReturn

APPLICATION = "backctl"
FILE_NAME = "config.toml"
_LIMIT = 262_144  # bytes; about a hundred times the size of a typical file


def shown_path(path: Path | str) -> str:
    """Quote and escape `path` for a message."""
    return quoted(str(path), limit=1024)


def user_file() -> Path:
    """Return the path of the user's configuration file, which may not exist. Raises HomeMissing."""
    import platformdirs

    try:
        return platformdirs.user_config_path(APPLICATION) / FILE_NAME
    except RuntimeError:
        raise HomeMissing(
            "this user has no home folder for a configuration file",
            hint="set HOME or XDG_CONFIG_HOME, or name a file with BACKCTL_CONFIG",
        ) from None


def data_folder() -> Path:
    """Return the default folder of the embedded database and the keyring. Does not create it. Raises HomeMissing."""
    import platformdirs

    try:
        return platformdirs.user_data_path(APPLICATION)
    except RuntimeError:
        raise HomeMissing(
            "this user has no home folder for the database and the keyring",
            hint="set HOME or XDG_DATA_HOME, or set both BACKCTL_DATABASE_URL and BACKCTL_KEYRING_PATH",
        ) from None


def locate(config_file: str | None, environ: Mapping[str, str]) -> Path | None:
    """Return the configuration file to use: `config_file`, `BACKCTL_CONFIG`, the user's, the site's, or None.

    A requested file may be missing; reading it reports that. A dangling link is treated as present, because skipping
    it would silently select another database.
    """
    asked = config_file if config_file is not None else environ.get("BACKCTL_CONFIG")
    if asked or config_file is not None:
        return Path(asked or "")
    for path in _default_files():
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            _cannot(path, "the configuration file", error)
        return path
    return None


def _default_files() -> tuple[Path, ...]:
    import platformdirs

    site = platformdirs.site_config_path(APPLICATION) / FILE_NAME
    try:
        return user_file(), site
    except HomeMissing:
        return (site,)


def read_text(path: Path) -> str:
    """Read the configuration file at `path`.

    Raises InvalidConfiguration when it is missing, not a regular file, writable by other users, owned by another user,
    larger than 256 KiB, or not UTF-8.
    """
    what = "the configuration file"
    try:
        data = read_guarded(path, what=what, forbidden=0o022, limit=_LIMIT)
    except FileNotFoundError:
        raise InvalidConfiguration(
            f"{what} {shown_path(path)} does not exist", hint="run '{backctl} config path' to see which file is used"
        ) from None
    try:
        return text_of(data)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidConfiguration(f"{shown_path(path)}, line {line}: not UTF-8") from None


def parse_toml(text: str, path: Path) -> dict[str, object]:
    """Parse `text` as TOML 1.0. Raises InvalidConfiguration with `path` and the line of the first syntax error."""
    import tomllib

    try:
        return tomllib.loads(text)
    except RecursionError:
        message = ": nested too deeply"
    except ValueError as error:
        line, what = _syntax_error(str(error), text)
        message = f", line {line}: {what}"
    raise InvalidConfiguration(shown_path(path) + message)


def _syntax_error(message: str, text: str) -> tuple[int, str]:
    """Split a message of tomllib into the line and the reason."""
    import re

    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", message, re.DOTALL)
    if match is None:  # the error about too many digits names no line
        digits = re.search(r"[0-9_]{4000}", text)
        return text.count("\n", 0, digits.start()) + 1 if digits else 1, "a number is out of range"
    line = int(match[2] or text.rstrip("\n").count("\n") + 1)
    if "overwrite" in match[1] or "twice" in match[1]:
        return line, "the key or table is defined twice"
    return line, escaped(match[1][:1].lower() + match[1][1:])


def read_guarded(
    path: Path, *, what: str, forbidden: int, limit: int, foreign_owner: bool = False, instead: str = ""
) -> bytes:
    """Read a regular file of at most `limit` bytes whose mode has none of the `forbidden` bits.

    Checks the opened file, so that it cannot be swapped after the check. Never waits for the other end of a pipe.
    `what` names the file in messages, and `instead` another way for the hint. Raises FileNotFoundError, and
    InvalidConfiguration for everything else.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        _cannot(path, what, error)
    try:
        _refuse_exposed(descriptor, path, what, forbidden, foreign_owner=foreign_owner, instead=instead)
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    except OSError as error:
        _cannot(path, what, error)
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise InvalidConfiguration(f"{what} {shown_path(path)} is larger than {limit} bytes")
    return data


def _refuse_exposed(
    descriptor: int, path: Path, what: str, forbidden: int, *, foreign_owner: bool, instead: str
) -> None:
    status = os.fstat(descriptor)
    exposed_bits = status.st_mode & forbidden
    if stat.S_ISREG(status.st_mode) and not exposed_bits and (foreign_owner or status.st_uid in (0, os.geteuid())):
        return
    from backctl.trusted_paths import may_change_mode, owner_hint  # not needed in the usual case

    if not stat.S_ISREG(status.st_mode):
        raise InvalidConfiguration(f"{what} {shown_path(path)} is not a regular file")
    if not foreign_owner and status.st_uid not in (0, os.geteuid()):
        raise InvalidConfiguration(
            f"{what} {shown_path(path)} belongs to user {status.st_uid}, neither to you nor to root",
            hint=owner_hint(status.st_uid),
        )
    exposed = "can be changed by other users" if exposed_bits & 0o022 else "can be read by every user"
    mode = f"{stat.S_IMODE(status.st_mode) & ~forbidden & 0o777:04o}"
    raise InvalidConfiguration(
        f"{what} {shown_path(path)} {exposed} (mode {stat.S_IMODE(status.st_mode):04o})",
        hint=f"run chmod {mode} on it"
        if may_change_mode(descriptor)
        else f"its mode cannot be changed here; on Kubernetes, set defaultMode {mode} on the volume{instead}",
    )


def _cannot(path: Path, what: str, error: Exception) -> "NoReturn":
    raise_exhaustion(error)
    reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "its name is not valid"
    raise InvalidConfiguration(f"{what} {shown_path(path)} cannot be read: {reason}") from None
