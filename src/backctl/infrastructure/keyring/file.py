"""The keyring's file: one private JWK Set, 0600, made once; only what was staged beside it ever replaces it."""

import os
import re
import stat
from errno import EIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from backctl.domain.errors import (
    FolderUnusable,
    KeyringDamaged,
    KeyringExposed,
    KeyringMissing,
    KeyringSealed,
    KeyringUnreadable,
    quoted,
    raise_exhaustion,
)
from backctl.infrastructure.files import durable
from backctl.infrastructure.keyring import text as keyring_text
from backctl.trusted_paths import followed

if TYPE_CHECKING:
    from backctl.domain.keyring import Keyring
    from backctl.infrastructure.keyring.text import Passphrase

_LONGEST = 1 << 20  # bytes; a keyring of a thousand keys has a quarter of that
_RESTORE = "restore it from a backup"


class ChangeName(NamedTuple):
    """The event that tells of a change, and the installation in whose log it is looked for."""

    installation_id: str
    event_id: str


class KeyFile:
    """A keyring in a file. With `allow_group_read` its group may read it, as in Kubernetes' secret mounts.

    `passphrase` opens a wrapped one, and wraps what is written; it is asked for when it is needed.
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
        """The keyring, whose file must be private. The file is never changed, whatever it holds.

        Raises KeyringMissing, KeyringUnreadable, KeyringExposed, KeyringDamaged, KeyringSealed.
        """
        text = self._text()
        try:
            return keyring_text.read(text, self._passphrase)
        except (KeyringDamaged, KeyringSealed) as error:
            raise type(error)(f"{quoted(str(self.path), limit=400)}: {error.message}", hint=error.hint) from None

    def current(self) -> "Keyring":
        """What `read` answers, read again only when something about the file has changed: opening one takes its time.

        Raises what `read` raises.
        """
        version, known = self._version(), self._known  # read once: another thread may replace it
        if version is None or known is None or known[0] != version:
            ring = self.read()
            self._known = None if version is None else (version, ring)
            return ring
        return known[1]

    def is_wrapped(self) -> bool:
        """Whether the file, which was found to be sound, cannot be read without a passphrase."""
        return keyring_text.is_wrapped(self._text())

    def stage(self, keyring: "Keyring") -> Path:
        """Write the keyring to a temporary file and flush it; `durable.link_staged` gives it its real name."""
        return durable.stage(self.path, _content_of(keyring, self._passphrase))

    def create(self, keyring: "Keyring") -> None:
        """Write a new file, whole or not at all. Raises FileExistsError when there is one, and OSError."""
        temporary = self.stage(keyring)
        try:
            durable.link_staged(temporary, self.path)
        finally:
            temporary.unlink()
        durable.flush_folder(self.path.parent)

    def stage_change(self, keyring: "Keyring", change: ChangeName) -> Path:
        """Write what the keyring is to become beside its place, under a name that says which event tells of it.

        It has the owner and the mode of the file that it will replace. Raises OSError; then nothing is left.
        """
        path = self._place()
        name = path.with_name(f".{path.name}.{change.installation_id}.{change.event_id}.change")
        staged = durable.stage(path, _content_of(keyring, self._passphrase), name=name)
        try:
            status, made = path.stat(), staged.stat()
            if (status.st_uid, status.st_gid) != (made.st_uid, made.st_gid):
                os.chown(staged, status.st_uid, status.st_gid)
            staged.chmod(stat.S_IMODE(status.st_mode))
            durable.flush_folder(path.parent)
        except BaseException:
            staged.unlink()
            raise
        return staged

    def staged_changes(self) -> dict[ChangeName, Path]:
        """The files of every change that was staged and is neither in place nor given up. Raises OSError."""
        path = self._place()
        name = re.compile(rf"\.{re.escape(path.name)}\.([0-9a-f-]{{36}})\.([0-9a-f-]{{36}})\.change")
        found = ((name.fullmatch(entry), path.with_name(entry)) for entry in os.listdir(path.parent))
        return {ChangeName(match[1], match[2]): file for match, file in found if match}

    def has_unfinished_change(self) -> bool:
        """Whether a change was interrupted, so that the next one has to finish it or give it up; False if unknown."""
        try:
            return bool(self.staged_changes())
        except (OSError, FolderUnusable):
            return False

    def beside(self, staged: Path) -> "KeyFile":
        """The staged change as a file of its own, under the same rules."""
        return KeyFile(staged, allow_group_read=self._allow_group_read, passphrase=self._passphrase)

    def under(self, passphrase: "Passphrase | None") -> "KeyFile":
        """The same file for writing under another passphrase, or in plain."""
        return KeyFile(self.path, allow_group_read=self._allow_group_read, passphrase=passphrase)

    def put_in_place(self, staged: Path) -> None:
        """Let a staged change be the keyring, durably. Whoever reads sees the old one or the new. Raises OSError."""
        path = self._place()
        os.replace(staged, path)
        durable.flush_folder(path.parent)

    @property
    def folder(self) -> Path:
        """Where changes are staged: the folder of the file itself, where its path is a link."""
        return self._place().parent

    def _version(self) -> tuple[int, ...] | None:
        """What differs once the file was replaced, written, or given other rights; None when nobody can tell."""
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size

    def _place(self) -> Path:
        """Raises FolderUnusable for a link that another user can have made; OSError."""
        return followed(self.path)

    def _text(self) -> str:
        try:
            return self._content().decode("utf-8")
        except UnicodeDecodeError:
            raise self._damaged("it is not UTF-8") from None

    def _content(self) -> bytes:
        # Opened first and judged by its descriptor, so that nothing can be put in its place in between. Links are
        # followed: secret mounts consist of them. O_NONBLOCK, or a FIFO would make this wait for a writer.
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except FileNotFoundError:
            if self.path.is_symlink():
                raise self._damaged("it is a dangling symbolic link") from None
            raise KeyringMissing(f"there is no keyring {quoted(str(self.path), limit=400)}", hint=_RESTORE) from None
        except OSError as error:
            raise self._unreadable(error) from None
        try:
            self._require_private(os.fstat(descriptor))
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(_LONGEST + 1)
        except OSError as error:
            raise self._unreadable(error) from None
        finally:
            os.close(descriptor)
        if len(content) > _LONGEST:
            raise self._damaged(f"it is larger than {_LONGEST} bytes")
        return content

    def _require_private(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise self._damaged("it is not a regular file")
        named = f"the keyring {quoted(str(self.path), limit=400)}"
        if status.st_uid not in (0, os.geteuid()):
            raise KeyringExposed(
                f"{named} belongs to another user (uid {status.st_uid})", hint="chown it to the user who runs backctl"
            )
        if status.st_mode & stat.S_IRWXO:
            raise KeyringExposed(
                f"{named} is accessible to every user of this machine (mode {status.st_mode & 0o777:04o})",
                hint="treat its keys as compromised; at least run chmod 600 on the file",
            )
        permitted = stat.S_IRGRP if self._allow_group_read else 0
        if status.st_mode & stat.S_IRWXG & ~permitted:
            raise KeyringExposed(
                f"{named} is accessible to its group (mode {status.st_mode & 0o777:04o})",
                hint="run chmod 600 on it; if the group must read it, set keyring.allow_group_read and run chmod 640",
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


def _content_of(keyring: "Keyring", passphrase: "Passphrase | None") -> bytes:
    return keyring_text.written(keyring, passphrase).encode()
