"""How a process knows that the entries in its memory have not been invalidated by another.

The store has a sequence: random bytes that every invalidation replaces. Entries in memory may be used as long as the
process has read the sequence recently and it has not changed. Messages about invalidations contain the sequence before
and after, so that a process notices when it missed one.
"""

from typing import Literal

Effect = Literal["nothing", "change", "everything"]
"""What to drop from memory: nothing, what the message names, or everything."""


class SequenceWatch:
    """Follows the sequence. Not thread-safe. Times are seconds of a clock that includes suspensions."""

    __slots__ = ("_max_staleness", "confirmed_until", "known")

    def __init__(self, max_staleness: float) -> None:
        self._max_staleness = max_staleness
        self.known: bytes | None = None
        self.confirmed_until = 0.0
        """Until when the entries in memory may be used."""

    def read(self, sequence: bytes, *, asked_at: float) -> Effect:
        """Note the sequence in the store, as the answer to a question that was sent at `asked_at`."""
        changed = sequence != self.known
        self.known = sequence
        self.confirmed_until = asked_at + self._max_staleness
        return "everything" if changed else "nothing"

    def heard(self, before: bytes | None, after: bytes) -> Effect:
        """Note a message about one invalidation. It does not confirm anything, because it may have been delayed."""
        if after == self.known:  # it was read before the message arrived
            return "nothing"
        if before is not None and before == self.known:
            self.known = after
            return "change"
        self.forget()
        return "everything"

    def forget(self) -> None:
        """Use nothing until the sequence is read again."""
        self.known = None
        self.confirmed_until = 0.0
