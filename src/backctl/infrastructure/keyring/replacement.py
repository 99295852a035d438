"""Replaces a lost keyring file and begins a new segment of the event log, both or neither.

Saves them like any other change of the keyring; see `change`. If the process is killed after the event was committed,
the keyring is still missing, and the staged file is the new one. The next replacement puts it in its place.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from backctl.application.ports.security import KeyringState
from backctl.domain.audit import mac_digest
from backctl.domain.errors import FileTaken, KeyringDamaged, KeyringMismatch, KeyringSealed, KeyringUnreadable
from backctl.domain.events import KeyringReplaced
from backctl.domain.keyring import Keyring
from backctl.domain.quoting import quoted
from backctl.domain.values import UserId
from backctl.infrastructure.files import durable
from backctl.infrastructure.keyring.change import StagedChange, step
from backctl.infrastructure.keyring.file import ChangeName, KeyFile
from backctl.infrastructure.sql import event_log
from backctl.infrastructure.sql.schema import check_match
from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork


class FileKeyringReplacement(StagedChange):
    """The replacement of a keyring in a file. `work` records its events with the audit key of `ring`, the new keyring.

    Entering raises the errors of reading a keyring that exists, and KeyringMismatch if it does not belong to the
    database.
    """

    def __init__(self, file: KeyFile, work: SqlUnitOfWork, ring: Keyring, *, timeout_us: int, dry_run: bool) -> None:
        super().__init__(file, work, timeout_us=timeout_us, dry_run=dry_run)
        self.ring = ring
        self.state: KeyringState = "lost"
        self.interrupted: tuple[KeyringReplaced, Sequence[UserId]] | None = None
        self._found: Path | None = None
        self._useless: list[Path] = []

    @property
    def path(self) -> str:
        return str(self._file.path)

    @property
    def installation_id(self) -> str:
        return self._installation_id

    def _begin(self) -> None:
        with explained():
            self._look()

    def _look(self) -> None:
        if durable.exists(self._file.path):
            self._require_match(self._file)
            self.state = "present"
            return
        for change, staged, recorded in self._staged_changes():
            if self._is_keyring(staged, recorded=recorded):
                self._found, self.state = staged, "interrupted"
                self._look_back(change)
            else:
                self._useless.append(staged)

    def _is_keyring(self, staged: Path, *, recorded: bool) -> bool:
        """Whether a staged file is the keyring of the database.

        It is if it has every audit key of the database. Otherwise it is the new keyring of a replacement that was not
        committed. Raises KeyringSealed for one that cannot be decrypted.
        """
        file = self._file.beside(staged)
        try:
            self._require_match(file)
        except KeyringDamaged:
            if recorded:
                raise
            return False  # the process was killed while it wrote the file
        except KeyringMismatch:
            return False
        return True

    def _require_match(self, file: KeyFile) -> None:
        check_match(event_log.audit_kids(self.work.session.connection()), file.read())

    def _look_back(self, change: ChangeName) -> None:
        replacement = event_log.replacement(self.work.session.connection(), change.event_id)
        if replacement is not None:
            event, accounts = replacement
            self.interrupted = event, tuple(map(UserId, accounts))

    def replace(self) -> KeyringReplaced:
        """Begin the new segment, after everything else of the transaction. Returns its first event."""
        self.work.write()
        connection = self.work.session.connection()
        head = event_log.locked_head(connection)
        event = KeyringReplaced(
            "keyring",
            keys=self.ring.kids(),
            lost_keys=event_log.forget_keys(connection),
            old_seq=head.seq,
            old_mac_digest=mac_digest(head.mac),
        )
        self.work.record_first(event)
        return event

    def commit(self) -> None:
        """Save the new keyring and its events, or complete an interrupted change.

        Raises FolderUnusable, DiskFull and the errors of the unit of work; nothing has changed then. Raises FileTaken
        if another keyring was put in the place of the lost one meanwhile.
        """
        if self.state == "interrupted":
            self._complete()
        elif self.state == "lost":
            if self.is_dry_run:
                self._file.require_passphrase(self.ring)
            self._save(partial(self._file.stage_first, self.ring), self._place)
            self._discard()

    def _complete(self) -> None:
        try:
            if self.is_dry_run:
                durable.require_writable(self._file.folder)
            elif self._found is not None:
                self._place(self._found)
                step("finished")
                self._discard()
        except OSError as error:
            raise durable.unusable(self._file.folder, error) from None

    def _discard(self) -> None:
        if not self.is_dry_run:
            for staged in self._useless:
                with suppress(OSError):
                    staged.unlink(missing_ok=True)

    def _place(self, staged: Path) -> None:
        try:
            self._file.give_name(staged)
        except FileExistsError:
            raise FileTaken(
                f"a keyring was put at {quoted(self.path, limit=400)} while a new one was created",
                hint="move it away, and run '{backctl} key replace-lost' again to complete the replacement",
            ) from None


@contextmanager
def explained() -> Iterator[None]:
    """Add to the errors of a keyring that exists what to do if it is useless: only a missing one is replaced."""
    try:
        yield
    except (KeyringDamaged, KeyringMismatch, KeyringSealed, KeyringUnreadable) as error:
        hint = "" if error.hint is None else f"{error.hint}; "
        raise type(error)(
            error.message,
            hint=f"{hint}only if it is lost for good, move the file away and run '{{backctl}} key replace-lost' again",
        ) from None
