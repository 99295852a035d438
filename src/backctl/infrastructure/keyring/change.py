"""Changes the keyring file and records the event in the database, both or neither.

The change holds the keyring's lock. It stages the new file next to the old one, under a name that contains the id of
the event; then it commits the event; then it renames the staged file to the keyring. If the process is killed in
between, the next change completes or discards the staged file: it completes it if the log has the event, and removes it
otherwise. So the log always decides.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from backctl.application.reactions import LoggedEvent
from backctl.domain.errors import BackctlError, DatabaseUnavailable, KeyringLocked, KeyringSealed
from backctl.domain.events import DomainEvent
from backctl.domain.keyring import Keyring
from backctl.domain.quoting import quoted
from backctl.domain.values import EventId, Secret
from backctl.infrastructure.files import durable
from backctl.infrastructure.keyring.file import ChangeName, KeyFile
from backctl.infrastructure.sql import event_log, second_factors
from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork
from backctl.trusted_paths import require_sound_folder


class StagedChange(ABC):
    """A change of the keyring file and the database. Begins when entered, and locks the keyring until the end.

    A dry run stages and changes nothing.
    """

    def __init__(self, file: KeyFile, work: SqlUnitOfWork, *, timeout_us: int, dry_run: bool) -> None:
        self._file = file
        self.work = work
        self._timeout_us = timeout_us
        self.is_dry_run = dry_run
        self._held = ExitStack()
        self._staged: Path | None = None
        self._stage: Literal["prepared", "committing", "recorded"] = "prepared"
        self._installation_id = ""

    @abstractmethod
    def _begin(self) -> None:
        """Read the keyring. The lock is held and the transaction has begun."""

    def __enter__(self) -> Self:
        """Begin the change. Raises KeyringLocked, and the errors of opening the database and reading the keyring."""
        busy = KeyringLocked(
            f"another process is changing the keyring {quoted(str(self._file.path), limit=400)}",
            hint="wait until it has finished, and try again",
        )
        try:
            with ExitStack() as held:
                require_sound_folder(self._file.folder)
                step("waiting")
                held.enter_context(durable.locked(self._file.folder, timeout_us=self._timeout_us, busy=busy))
                step("locked")
                held.enter_context(self.work)
                self._installation_id = event_log.installation_id(self.work.session.connection())
                self._begin()
                self._held = held.pop_all()
        except OSError as error:
            raise durable.unusable(self._file.folder, error) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._staged is not None and self._was_given_up(error):
                self._staged.unlink(missing_ok=True)
        finally:
            self._held.__exit__(kind, error, trace)

    @property
    def committed(self) -> Sequence[LoggedEvent]:
        return self.work.committed

    def enter(self, context: AbstractContextManager[object]) -> None:
        self._held.enter_context(context)

    def _save(self, stage: Callable[[ChangeName], Path] | None, place: Callable[[Path], None]) -> None:
        """Stage the keyring, commit the transaction, and then put the staged file in its place.

        Without `stage`, the file does not change. Raises FolderUnusable, DiskFull and the errors of the unit of work;
        nothing has changed then.
        """
        change = ChangeName(self._installation_id, self.work.reserve_event_id())
        try:
            if self.is_dry_run:
                durable.require_writable(self._file.folder)
            elif stage is not None:
                self._staged = stage(change)
                step("staged")
            self._stage = "committing"
            self.work.commit()
            self._stage = "recorded"
            step("recorded")
            if self._staged is not None:
                place(self._staged)
                self._staged = None
                step("in place")
        except OSError as error:
            raise durable.unusable(self._file.folder, error) from None

    def _staged_changes(self) -> Iterator[tuple[ChangeName, Path, bool]]:
        """Yield each interrupted change and whether the log has its event. Raises KeyringLocked if that is unknown."""
        for change, staged in self._file.staged_changes().items():
            if change.installation_id != self._installation_id:
                raise KeyringLocked(
                    f"a change to the keyring {quoted(str(self._file.path), limit=400)} was interrupted, and only "
                    "the event log of another database shows whether it was recorded",
                    hint="complete it with the profile of that database: 'backctl -p PROFILE key rotate'",
                )
            yield change, staged, event_log.holds(self.work.session.connection(), EventId(change.event_id))

    def _was_given_up(self, error: BaseException | None) -> bool:
        """Whether the event is certainly not in the log. If that is unknown, the next change decides."""
        if self._stage == "committing":
            return isinstance(error, BackctlError) and not isinstance(error, DatabaseUnavailable)
        return self._stage == "prepared"


class FileKeyringChange(StagedChange):
    """One change of a keyring in a file."""

    def __init__(self, file: KeyFile, work: SqlUnitOfWork, *, timeout_us: int, dry_run: bool) -> None:
        super().__init__(file, work, timeout_us=timeout_us, dry_run=dry_run)
        self._before = Keyring(())
        self._writer = file
        self._rewrapped: bool | None = None
        self.ring = Keyring(())

    def _begin(self) -> None:
        self.ring = self._before = self._settle()

    def needs(self, kid: str) -> bool:
        """Whether a table of backctl refers to the key."""
        connection = self.work.session.connection()
        return event_log.is_audit_key(connection, kid) or second_factors.needs_key(connection, kid)

    @property
    def is_wrapped(self) -> bool:
        return self._file.is_wrapped() if self._rewrapped is None else self._rewrapped

    def replace(self, ring: Keyring, *events: DomainEvent) -> None:
        self.ring = ring
        self._record(events)

    def rewrap(self, passphrase: Secret | None, *events: DomainEvent) -> None:
        self._rewrapped = passphrase is not None
        self._writer = self._file.under(None if passphrase is None else passphrase.reveal)
        self._record(events)

    def _record(self, events: tuple[DomainEvent, ...]) -> None:
        self.work.record(*events)
        self.work.write()  # after the events of earlier steps, before those of later ones

    def commit(self) -> None:
        """Replace the keyring and record its events, both or neither, even if the process is killed.

        Raises FolderUnusable, DiskFull and the errors of the unit of work; nothing has changed then.
        """
        has_changed = self.ring != self._before or self._writer is not self._file
        stage = partial(self._writer.stage_change, self.ring) if has_changed else None
        self._save(stage, self._file.put_in_place)

    def _settle(self) -> Keyring:
        """Complete or discard an interrupted change and return the keyring."""
        for _, staged, recorded in self._staged_changes():
            if recorded:
                with suppress(KeyringSealed):  # a new passphrase may not be configured yet
                    finished = self._file.beside(staged).read()  # a damaged one must not replace a good one
                    if self.is_dry_run:
                        return finished
                if self.is_dry_run:
                    continue
                self._file.put_in_place(staged)
            elif not self.is_dry_run:
                staged.unlink(missing_ok=True)
            step("finished" if recorded else "given up")
        return self._file.read()


def step(name: str) -> None:
    """Announce a step of the change; the fault tests end the process at each."""
    import logging

    logging.getLogger("backctl.keyring").debug(name)
