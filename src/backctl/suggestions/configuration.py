"""What completion has to know of the configuration: the database's file, and the names of profiles and roles.

The same sources in the same order as `backctl.settings`, which checks what is only looked at here; a test holds the two
against each other. No secret is read for a TAB: a database whose URL is kept in a file of its own, or comes from a
command, is not looked at, and neither is one on a server.
"""

import os
import sys
from stat import S_ISREG

TYPE_CHECKING = False  # `collections.abc` takes a millisecond
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Table = Mapping[str, object]

_LIMIT = 262_144  # bytes, as in settings.files


class Nothing(Exception):
    """There is nothing to offer: the configuration does not say where, or may not be trusted."""


class Configuration:
    """One look at the sources. `profile` and `config_file` are the flags as typed; empty or None are none."""

    def __init__(self, environ: "Mapping[str, str]", *, profile: str | None, config_file: str | None) -> None:
        self._environ = environ
        self._asked = profile or environ.get("BACKCTL_PROFILE", "")
        self._config_file = config_file
        self._read: Table | None = None

    def profiles(self) -> list[str]:
        """Raises Nothing, as all of this class do, and OSError."""
        return list(_table(self._document(), "profiles"))

    def roles(self) -> list[str]:
        """The roles of the configuration; those built in are not asked for."""
        return [name for layer in self._layers() for name in _table(layer, "roles")]

    def database(self) -> str:
        """The file of the embedded database."""
        url = self._database_url()
        if not url:
            return f"{_user_folder(self._environ, 'XDG_DATA_HOME', '.local/share')}/backctl.db"
        path = url.removeprefix("sqlite:///")
        if path == url or not path.startswith("/"):
            raise Nothing
        return path

    def _database_url(self) -> str:
        if self._environ.get("BACKCTL_DATABASE_URL_FILE"):
            raise Nothing
        layers = self._layers()
        if url := self._environ.get("BACKCTL_DATABASE_URL"):
            return url
        for layer in layers:
            section = _table(layer, "database")
            if "url_file" in section or "url_command" in section:
                raise Nothing
            if "url" in section:
                return str(section["url"])
        return ""

    def _layers(self) -> "list[Table]":
        """The profile in force, then the document itself."""
        document = self._document()
        selected = self._asked or document.get("profile", "")
        if not selected:
            return [document]
        profiles = _table(document, "profiles")
        if selected not in profiles:
            raise Nothing
        return [_table(profiles, str(selected)), document]

    def _document(self) -> "Table":
        if self._read is None:
            file = self._file()
            self._read = {} if file is None else _parsed(_guarded(file))
        return self._read

    def _file(self) -> str | None:
        asked = self._environ.get("BACKCTL_CONFIG") if self._config_file is None else self._config_file
        if asked or self._config_file is not None:
            return asked or ""
        for path in _usual_files(self._environ):
            try:
                os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            return path
        return None


def _parsed(data: bytes) -> "Table":
    from backctl.suggestions.outline import outline

    try:
        text = data.decode()
        document = outline(text)
        if document is None:
            import tomllib

            return tomllib.loads(text)
    except (ValueError, RecursionError):
        raise Nothing from None
    return document


def _guarded(path: str) -> bytes:
    """The bytes of a file that the program would read: its owner's, written by nobody else, never a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        trusted = status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022
        if not (S_ISREG(status.st_mode) and trusted and status.st_size <= _LIMIT):
            raise Nothing
        return os.read(descriptor, _LIMIT + 1)
    finally:
        os.close(descriptor)


def _table(above: "Table", key: str) -> "Table":
    table = above.get(key, {})
    if not isinstance(table, dict):
        raise Nothing
    return table


# Where platformdirs finds them. It takes 17 ms to import.


def _usual_files(environ: "Mapping[str, str]") -> "Iterator[str]":
    yield f"{_user_folder(environ, 'XDG_CONFIG_HOME', '.config')}/config.toml"
    site = [path for path in environ.get("XDG_CONFIG_DIRS", "").split(":") if path.startswith("/")]
    yield f"{site[0] if site else _site_folder()}/backctl/config.toml"


def _user_folder(environ: "Mapping[str, str]", variable: str, usual: str) -> str:
    folder = environ.get(variable, "")
    if not folder.startswith("/"):
        home = environ.get("HOME", "")
        if not home.startswith("/"):
            import pwd

            home = pwd.getpwuid(os.getuid()).pw_dir
        usual = "Library/Application Support" if os.uname().sysname == "Darwin" else usual
        folder = f"{home.rstrip('/')}/{usual}"
    return f"{folder}/backctl"


def _site_folder() -> str:
    if os.uname().sysname != "Darwin":
        return "/etc/xdg"
    prefix, homebrew, _ = sys.base_prefix.partition("opt/python")
    return f"{prefix}share" if homebrew else "/Library/Application Support"
