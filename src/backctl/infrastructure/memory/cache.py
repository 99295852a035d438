"""Keeps cached values in the memory of one process, and evicts the least recently used."""

import threading
from collections import OrderedDict

from backctl.application.ports.cache import Change, Held
from backctl.infrastructure.forks import start_over_in_children


class MemoryCache:
    """Keeps at most `size` values. Works in any thread; a forked child keeps a copy."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: OrderedDict[str, Held] = OrderedDict()
        self.generation = 0
        self.start_over()
        start_over_in_children(self)

    def start_over(self) -> None:
        self._lock = threading.Lock()

    @property
    def is_used(self) -> bool:
        return self._size > 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: str) -> Held | None:
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
            return held

    def put(self, key: str, held: Held, *, generation: int) -> None:
        with self._lock:
            if generation != self.generation or not self._size:
                return
            self._held[key] = held
            self._held.move_to_end(key)
            if len(self._held) > self._size:
                self._held.popitem(last=False)

    def drop(self, change: Change) -> None:
        with self._lock:
            self.generation += 1
            for key in self._affected(change):
                self._held.pop(key, None)

    def clear(self) -> None:
        with self._lock:
            self.generation += 1
            self._held.clear()

    def _affected(self, change: Change) -> list[str]:
        match change.kind:
            case "keys":
                return [name.decode(errors="surrogateescape") for name in change.names]
            case "tags":
                tags = frozenset(change.names)
                return [key for key, held in self._held.items() if not tags.isdisjoint(held.tags)]
            case _:  # a glob could take long for many keys
                return list(self._held)
