"""Decides whose updates a worker of write-behind takes next, and how many."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from backctl.domain.write_behind import WriterId

_SMALLER: Final = 8
"""How much smaller the batches of a writer become each time it gets no answer."""


class Turns:
    """The turns of writers. Those that get answers share one.

    A writer that gets no answer in time has turns of its own, with smaller batches: all others go on, and the updates
    that hold it up are found. Its batches grow again with each that is written.
    """

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._sizes: dict[WriterId, int] = {}
        self._order: deque[WriterId | None] = deque([None])
        """Slow writers, and None for all others."""

    def each(self, writers: Iterable[WriterId]) -> Iterator[tuple[list[WriterId], int]]:
        """Yield all turns, as the writers whose updates are taken and how many. Those yielded go to the end."""
        for _ in range(len(self._order)):
            turn = self._order[0]
            self._order.rotate(-1)
            if turn is None:
                yield [writer for writer in writers if writer not in self._sizes], self._batch_size
            else:
                yield [turn], self._sizes[turn]

    def slow_down(self, writer: WriterId, size: int) -> bool:
        """Make the batches of a writer smaller than one of this size; return whether it was not slow before."""
        is_new = writer not in self._sizes
        if is_new:
            self._order.append(writer)
        self._sizes[writer] = max(1, size // _SMALLER)
        return is_new

    def speed_up(self, writer: WriterId) -> None:
        """Make the batches of a slow writer larger, because one was written."""
        size = self._sizes.get(writer)
        if size is None:
            return
        self._sizes[writer] = 2 * size
        if 2 * size >= self._batch_size:
            del self._sizes[writer]
            self._order.remove(writer)
