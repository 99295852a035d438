"""Views of the updates of write-behind."""

from dataclasses import dataclass
from typing import ClassVar

from backctl.application.durations import Seconds
from backctl.domain.values import Instant


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What a worker did.

    `superseded` updates were not written, because a later one was already written for their key. `retried` ones failed
    and wait for the next attempt, `dead` ones failed too often and were moved to the dead-letter list, as were those of
    unknown writers that were `set_aside`. `waiting` updates are left in the queue, None if it is not available.
    `unknown_writers` are those that this worker does not know, although updates wait for them.
    """

    written: int
    superseded: int
    retried: int
    dead: int
    set_aside: int
    waiting: int | None
    unknown_writers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeadUpdateView:
    """An update in the dead-letter list, with the error of its last attempt.

    `size_bytes` is that of its value, and `writer` the name and version of its writer.
    """

    PLURAL: ClassVar = "dead updates"
    TABLE: ClassVar = ("id", "writer", "key", "attempts", "failed_at", "error")
    SPARE: ClassVar = ("failed_at", "attempts", "error")

    id: str
    writer: str
    key: str
    size_bytes: int
    queued_at: Instant
    failed_at: Instant
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class DeadUpdatesChanged:
    """How many dead updates were changed."""

    updates: int


@dataclass(frozen=True, slots=True)
class WriterView:
    """The updates of one writer.

    `oldest` is how long the oldest waiting update has waited, `lag` how long the last written one had waited, and
    `dead` the number in the dead-letter list.
    """

    writer: str
    waiting: int
    oldest: Seconds | None
    lag: Seconds | None
    dead: int
