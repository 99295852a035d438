"""The keyring file: a private JWK Set with mode 0600. Only a staged file replaces it."""

import os
import re
import stat
from errno import EIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from backctl.domain.errors import (
    REPLACE_KEYRING,
    FolderUnusable,
    KeyringDamaged,
    KeyringExposed,
    KeyringMissing,
    KeyringUnreadable,
    raise_exhaustion,
)
from backctl.domain.quoting import quoted
from backctl.infrastructure.files import durable
from backctl.infrastructure.keyring import text as keyring_text
from backctl.trusted_paths import followed, may_change_mode, owner_hint

if TYPE_CHECKING:
    from backctl.domain.keyring import Keyring
    from backctl.infrastructure.keyring.text import Passphrase

_LONGEST = 1 << 20  # bytes; a thousand keys take a quarter of that
_RESTORE = "restore it from a backup"


class ChangeName(NamedTuple):
    """The event of a change, and the installation whose log has it."""

    installation_id: str
    event_id: str


class KeyFile:
    """A keyring in a file. With `allow_group_read`, its group may read it, as in Kubernetes' secret mounts.

    `passphrase` unwraps the keyring, and wraps it when it is written. It is called only when needed.
    """

    def __init__(self, path: Path, *, allow_group_read: bool = False, passphrase: "Passphrase | None" = None) -> None:
        self.path = path
        self._allow_group_read = allow_group_read
        self._passphrase = passphrase
        self._known: tuple[tuple[int, ...], Keyring] | None = None

    @property
    def label(self) -> str:
        return str(self.path)

    @property
    def paths(self) -> tuple[Path, ...]:
        return (self.path,)

    def exists(self) -> bool:
        return durable.exists(self.path)

    def in_file(self) -> Self:
        return self

    def read(self) -> "Keyring":
        """Read the keyring, whose file must be private. Never changes the file, even if it is damaged.

        Raises KeyringMissing, KeyringUnreadable, KeyringExposed, KeyringDamaged, KeyringSealed.
        """
        return keyring_text.read_from(quoted(str(self.path), limit=400), self._text(), self._passphrase)

    def current(self) -> "Keyring":
        """Return the keyring. Reads it again only after the file has changed, because unwrapping is slow.

        Raises the errors of `read`.
        """
        version, known = self._version(), self._known  # read once, because another thread may replace it
        if version is None or known is None or known[0] != version:
            ring = self.read()
            self._known = None if version is None else (version, ring)
            return ring
        return known[1]

    def is_wrapped(self) -> bool:
        """Whether the keyring is wrapped with a passphrase. Call it only after a successful `read`."""
        return keyring_text.is_wrapped(self._text())

    def stage(self, keyring: "Keyring") -> Path:
        """Write the keyring to a temporary file and flush it; `durable.link_staged` gives it its real name."""
        return durable.stage(self.path, _content_of(keyring, self._passphrase))

    def require_passphrase(self, keyring: "Keyring") -> None:
        """Raise the errors of `stage` that are about the passphrase."""
        _content_of(keyring, self._passphrase)

    def create(self, keyring: "Keyring") -> None:
        """Write a new file, completely or not at all. Raises FileExistsError when one exists, and OSError."""
        temporary = self.stage(keyring)
        try:
            durable.link_staged(temporary, self.path)
        finally:
            temporary.unlink()
        durable.flush_folder(self.path.parent)

    def stage_change(self, keyring: "Keyring", change: ChangeName) -> Path:
        """Write the new keyring next to the current one, under a name that contains the event.

        The staged file has the owner and mode of the file that it will replace. Raises OSError and leaves nothing
        behind then.
        """
        staged, path = self.stage_first(keyring, change), self._place()
        try:
            status, made = path.stat(), staged.stat()
            if (status.st_uid, status.st_gid) != (made.st_uid, made.st_gid):
                os.chown(staged, status.st_uid, status.st_gid)
            staged.chmod(stat.S_IMODE(status.st_mode))
        except BaseException:
            staged.unlink()
            raise
        return staged

    def stage_first(self, keyring: "Keyring", change: ChangeName) -> Path:
        """Like `stage_change`, for a keyring that does not exist."""
        path = self._place()
        name = path.with_name(f".{path.name}.{change.installation_id}.{change.event_id}.change")
        staged = durable.stage(path, _content_of(keyring, self._passphrase), name=name)
        try:
            durable.flush_folder(path.parent)
        except BaseException:
            staged.unlink()
            raise
        return staged

    def staged_changes(self) -> dict[ChangeName, Path]:
        """Return the staged file of every change that was neither completed nor discarded. Raises OSError."""
        path = self._place()
        name = re.compile(rf"\.{re.escape(path.name)}\.([0-9a-f-]{{36}})\.([0-9a-f-]{{36}})\.change")
        found = ((name.fullmatch(entry), path.with_name(entry)) for entry in os.listdir(path.parent))
        return {ChangeName(match[1], match[2]): file for match, file in found if match}

    def has_unfinished_change(self) -> bool:
        """Whether a change was interrupted. The next change completes or discards it. False if unknown."""
        try:
            return bool(self.staged_changes())
        except (OSError, FolderUnusable):
            return False

    def beside(self, staged: Path) -> "KeyFile":
        """Return the staged file as a KeyFile with the same options."""
        return KeyFile(staged, allow_group_read=self._allow_group_read, passphrase=self._passphrase)

    def under(self, passphrase: "Passphrase | None") -> "KeyFile":
        """Return the same file for writing with another passphrase, or unwrapped."""
        return KeyFile(self.path, allow_group_read=self._allow_group_read, passphrase=passphrase)

    def put_in_place(self, staged: Path) -> None:
        """Replace the keyring with a staged change, atomically and durably. Raises OSError."""
        path = self._place()
        os.replace(staged, path)
        staged.unlink(missing_ok=True)  # still there if both names were links to one file; see `give_name`
        durable.flush_folder(path.parent)

    def give_name(self, staged: Path) -> None:
        """Give a staged change the name of a missing keyring. Raises FileExistsError if it exists again; OSError."""
        path = self._place()
        durable.link_staged(staged, path)
        staged.unlink()
        durable.flush_folder(path.parent)

    @property
    def folder(self) -> Path:
        """The folder in which changes are staged: that of the file itself, even if its path is a link."""
        return self._place().parent

    def _version(self) -> tuple[int, ...] | None:
        """Return a value that differs after the file or its permissions change; None when that is unknown."""
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size

    def _place(self) -> Path:
        """Resolve the path. Raises FolderUnusable for a link that another user may have created; OSError."""
        return followed(self.path)

    def _text(self) -> str:
        try:
            return self._content().decode("utf-8")
        except UnicodeDecodeError:
            raise self._damaged("it is not UTF-8") from None

    def _content(self) -> bytes:
        # Check the opened descriptor, so that the file cannot be swapped after the check. Follow links, because secret
        # mounts consist of them. Without O_NONBLOCK, a FIFO would wait for a writer.
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except FileNotFoundError:
            if self.path.is_symlink():
                raise self._damaged("it is a dangling symbolic link") from None
            raise KeyringMissing(
                f"there is no keyring {quoted(str(self.path), limit=400)}", hint=REPLACE_KEYRING
            ) from None
        except OSError as error:
            raise self._unreadable(error) from None
        try:
            self._require_private(os.fstat(descriptor), may_change=may_change_mode(descriptor))
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(_LONGEST + 1)
        except OSError as error:
            raise self._unreadable(error) from None
        finally:
            os.close(descriptor)
        if len(content) > _LONGEST:
            raise self._damaged(f"it is larger than {_LONGEST} bytes")
        return content

    def _require_private(self, status: os.stat_result, *, may_change: bool) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise self._damaged("it is not a regular file")
        named = f"the keyring {quoted(str(self.path), limit=400)}"
        if status.st_uid not in (0, os.geteuid()):
            raise KeyringExposed(
                f"{named} belongs to another user (uid {status.st_uid})", hint=owner_hint(status.st_uid)
            )
        if status.st_mode & stat.S_IRWXO:
            raise KeyringExposed(
                f"{named} is accessible to every user of this machine (mode {status.st_mode & 0o777:04o})",
                hint="treat its keys as compromised; at least run chmod o= on the file" if may_change else _MOUNTED,
            )
        permitted = stat.S_IRGRP if self._allow_group_read else 0
        if status.st_mode & stat.S_IRWXG & ~permitted:
            raise KeyringExposed(
                f"{named} is accessible to its group (mode {status.st_mode & 0o777:04o})",
                hint="if the group must read it, as a service does, set keyring.allow_group_read and run chmod 640; "
                "otherwise run chmod 600"
                if may_change
                else _MOUNTED,
            )

    def _damaged(self, why: str) -> KeyringDamaged:
        return KeyringDamaged(f"{quoted(str(self.path), limit=400)}: the keyring is damaged: {why}", hint=_RESTORE)

    def _unreadable(self, error: OSError) -> KeyringUnreadable:
        raise_exhaustion(error)
        reason = (error.strerror or str(error)).lower()
        return KeyringUnreadable(
            f"the keyring {quoted(str(self.path), limit=400)} cannot be read: {reason}",
            hint="check the disk" if error.errno == EIO else "make it readable only by the user who runs backctl",
        )


_MOUNTED = (
    "its mode cannot be changed here; on Kubernetes, set defaultMode 0400 on the volume, with fsGroup also "
    "keyring.allow_group_read, or use keyring.document_command"
)


def _content_of(keyring: "Keyring", passphrase: "Passphrase | None") -> bytes:
    return keyring_text.written(keyring, passphrase).encode()
