"""Decides whether a process may use the entries in its memory, or another process may have invalidated them.

The store has a sequence: random bytes that every invalidation replaces. Entries in memory may be used if the process
has read the sequence recently and it has not changed. Messages about invalidations contain the sequence before and
after, so that a process notices when it has missed one.
"""

from typing import Literal

Effect = Literal["nothing", "change", "everything"]
"""What to drop from memory: nothing, what the message names, or everything."""


class SequenceWatch:
    """Follows the sequence. Not thread-safe. Times are seconds on a clock that includes suspensions."""

    __slots__ = ("_max_staleness", "confirmed_until", "known")

    def __init__(self, max_staleness: float) -> None:
        self._max_staleness = max_staleness
        self.known: bytes | None = None
        self.confirmed_until = 0.0
        """The time until which the entries in memory may be used."""

    def read(self, sequence: bytes, *, asked_at: float) -> Effect:
        """Record the sequence that the store returned to a request sent at `asked_at`; return what to drop."""
        changed = sequence != self.known
        self.known = sequence
        self.confirmed_until = asked_at + self._max_staleness
        return "everything" if changed else "nothing"

    def heard(self, before: bytes | None, after: bytes) -> Effect:
        """Record a message about one invalidation. It does not extend `confirmed_until`: it may have been delayed."""
        if after == self.known:  # it was read before the message arrived
            return "nothing"
        if before is not None and before == self.known:
            self.known = after
            return "change"
        self.forget()
        return "everything"

    def forget(self) -> None:
        """Do not use entries in memory until the sequence is read again."""
        self.known = None
        self.confirmed_until = 0.0
