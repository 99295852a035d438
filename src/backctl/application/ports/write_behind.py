"""The ports of write-behind: the durable queue, and the database that the updates are written to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from backctl.domain.write_behind import QueuedValue, WriterId


class QueueState(NamedTuple):
    """The identity of a queue, a random text, and the last position that it gave out; 0 for none.

    A queue that lost everything has a new identity. One that lost its last updates can have an earlier position.
    """

    identity: str
    position: int


class Taken(NamedTuple):
    """An update that a worker has taken. Times are microseconds since 1970.

    `queued_at` is when the first of the updates that it replaced was queued. `attempts` counts failed ones. `receipt`
    is for the queue only.
    """

    writer: WriterId
    key: bytes
    value: QueuedValue
    position: int
    queued_at: int
    attempts: int
    receipt: bytes


class DeadUpdate(NamedTuple):
    """An update that was given up, in the dead-letter list. `id` is its position as text."""

    id: str
    writer: WriterId
    key: bytes
    size: int
    queued_at: int
    failed_at: int
    attempts: int
    error: str


class WriterDepth(NamedTuple):
    """The updates of one writer: how many wait (those taken or to be retried included) and since when, in microseconds
    since 1970; how many are in the dead-letter list; how long the last written one had waited, in microseconds."""

    writer: WriterId
    waiting: int
    oldest_at: int | None
    dead: int
    lag: int | None


class WriteQueue(Protocol):
    """A durable queue for all processes, with at most one waiting update for each writer and key.

    Works in any thread and after a fork. Methods raise Unavailable, and Unusable for problems that waiting does not
    solve. `clock` of the adapter gives the times.
    """

    def put(self, writer: WriterId, key: bytes, value: QueuedValue, *, limit: int) -> int | None:
        """Queue an update, durably, and return its position, which is later than any before.

        It replaces a waiting one of the same writer and key, also one that a worker has taken: that one is then not
        acknowledged but waits again with the new value. None, with nothing changed, if `limit` updates of all writers
        wait and none is replaced.
        """
        ...

    def waiting(self, writers: Sequence[WriterId], key: bytes) -> QueuedValue | None:
        """Return the value of a key that was queued last for any of these writers and waits, also while a worker has
        taken it."""
        ...

    def state(self) -> QueueState:
        """Return the identity and the position. Gives the queue an identity if it has none."""
        ...

    def advance(self, position: int) -> None:
        """Let all further positions be later than this one. The identity and the updates stay."""
        ...

    def take(self, writers: Sequence[WriterId], *, worker: str, count: int, lease_us: int) -> list[Taken]:
        """Take up to `count` due updates of these writers, oldest first, and those that another worker took more than
        `lease_us` ago. Others cannot take them for that long."""
        ...

    def acknowledge(self, taken: Sequence[Taken], *, now: int) -> None:
        """Remove updates that were written. Those that were replaced meanwhile wait with their new value."""
        ...

    def retry(self, taken: Sequence[Taken], *, after_us: int) -> None:
        """Let updates wait for `after_us` and count a failed attempt; a replaced one is due at once.

        With 0, they are due at once and no attempt is counted.
        """
        ...

    def bury(self, taken: Taken, error: str, *, now: int) -> None:
        """Move an update to the dead-letter list, unless it was replaced meanwhile: then the new one waits."""
        ...

    def depths(self) -> list[WriterDepth]:
        """Return the state of each writer that has updates or has had any, in the order of their names and versions."""
        ...

    def dead(self) -> Iterator[DeadUpdate]:
        """Yield the dead-letter list, oldest position first, in constant memory."""
        ...

    def requeue(self, ids: Sequence[str] | None) -> int:
        """Let dead updates wait again with their positions and no attempts; None for all. Return how many there were.

        One whose key has a waiting update is dropped, because that update is newer.
        """
        ...

    def drop(self, ids: Sequence[str] | None) -> int:
        """Remove dead updates; None for all. Return how many there were."""
        ...

    def set_aside(self, writers: Sequence[WriterId], error: str, *, now: int) -> int:
        """Move all waiting updates of these writers to the dead-letter list; return how many."""
        ...

    def close(self) -> None:
        """Release connections; the next use reconnects."""
        ...


Write = Callable[[Any, Sequence[Taken]], None]
"""Writes updates with a SQLAlchemy connection, whose transaction it must not end. Repeatable: it can be rolled back."""


class UpdateTarget(Protocol):
    """The database to which updates are written, each at most once. Methods raise Unavailable, Unusable."""

    def apply(self, queue: str, name: str, updates: Sequence[Taken], write: Write, *, now: int) -> int:
        """Write updates of one writer, of different keys, in one transaction; return how many were not yet written.

        Passes `write` only updates whose position is later than what was written for their key from the queue with this
        identity, and records their positions in the same transaction. Raises the errors of `write`; then nothing is
        changed. After a lost COMMIT, calling it again is safe.
        """
        ...

    def position(self, queue: str) -> int:
        """Return the last position that was written from a queue; 0 for none."""
        ...

    def forget(self, queue: str, *, written_before: int, others_before: int) -> int:
        """Forget positions of a queue that were recorded before a time, up to some thousand; return how many.

        Updates from before that time must not be written again: call it only if none is waiting or dead. The same
        applies to those of all other queues and `others_before`.
        """
        ...
