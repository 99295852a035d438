"""Refresh-ahead compared with a model: two processes that read, renew, fail and invalidate in any order."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from tests.contracts.cache_levels import AHEAD, DUE_S, INVALIDATIONS, MAX_STALENESS, SECOND, STALE, TTL, World

from backctl.application.ports.cache import CacheStore
from backctl.infrastructure.sqlite.cache import SqliteCache

TTL_S, HARD_S = TTL / SECOND, (TTL + STALE) / SECOND
STEADY_S = TTL_S - DUE_S
"""With reads at least this often, one of them renews the entry before its TTL ends."""

processes = st.integers(0, 1)
invalidations = st.sampled_from([name for name in INVALIDATIONS if name != "write"])


class Renewing(RuleBasedStateMachine):
    """The cached value is a number that grows in the database."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.stores: list[CacheStore] = []

    @initialize(memory=st.sampled_from([0, 100]))
    def start(self, memory: int) -> None:
        self.world = World(self.open_store)
        self.processes = [self.world.process(memory=memory, refresh_after=AHEAD) for _ in range(2)]
        self.number = self.lowest = 0
        self.changed_at = [self.now]
        self.failing = False
        self.during: Callable[[], object] | None = None
        self.calls = 0
        self.loaded_at = self.invalidated_at = self.now - HARD_S
        self.read_at = [self.now - HARD_S] * 2

    @property
    def now(self) -> float:
        return self.world.times.monotonic

    def open_store(self) -> CacheStore:
        path = Path(self.folder.name) / "cache.db"
        clock = self.world.times.clock
        self.stores.append(SqliteCache(path, installation="inst-1", timeout_us=30 * SECOND, clock=clock))
        return self.stores[-1]

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.folder.cleanup()

    def load(self) -> int:
        self.calls += 1
        if self.failing:
            raise LookupError("no")
        number, during, self.during = self.number, self.during, None
        self.loaded_at = self.now
        if during is not None:
            during()
        return number

    @rule(seconds=st.sampled_from([0.5, 1, STEADY_S / 2, STEADY_S, DUE_S, TTL_S, HARD_S - TTL_S, HARD_S]))
    def pass_by(self, seconds: float) -> None:
        self.world.times.pass_by(seconds)

    @rule()
    def change_the_database(self) -> None:
        self.number += 1
        self.changed_at.append(self.now)

    @rule()
    def let_the_loader_fail_or_not(self) -> None:
        self.failing = not self.failing

    @rule(where=processes, how=invalidations)
    def invalidate(self, where: int, how: str) -> None:
        self.change_the_database()
        INVALIDATIONS[how](self.processes[where].cache)
        self.world.times.pass_by(MAX_STALENESS)  # the memories of other processes have followed
        self.lowest, self.invalidated_at = self.number, self.now

    @rule(where=processes)
    def renew(self, where: int) -> None:
        self.processes[where].background.run()

    @rule(where=processes, other=processes, how=invalidations)
    def invalidate_during_a_renewal(self, where: int, other: int, how: str) -> None:
        self.during = lambda: self.invalidate(other, how)
        self.processes[where].background.run()
        self.during = None

    @rule(where=processes)
    def read(self, where: int) -> None:
        calls = self.calls
        try:
            found = self.processes[where].cache.get_or_load("k", self.load, tags=["t"])
        except LookupError:
            assert self.failing
            assert self.now >= self.loaded_at + HARD_S or self.invalidated_at >= self.loaded_at
            return
        assert found >= self.lowest, "it was invalidated"
        if found < self.number:
            assert self.now < self.changed_at[found + 1] + HARD_S, "it has expired"
        if self.calls > calls:
            read_at = self.read_at[where]
            assert self.now > read_at + STEADY_S or self.invalidated_at >= read_at, "the read waited for the loader"
        self.read_at[where] = self.now


Renewing.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRenewing = Renewing.TestCase
