"""Renewals that fail, are delayed, or end after the cache was closed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.contracts.cache_levels import (
    AHEAD,
    DUE_S,
    SECOND,
    SIGNED,
    STALE,
    TTL,
    Away,
    Foreground,
    Loader,
    Process,
    World,
    loaded,
    two_stores,
)

TTL_S, STALE_S = TTL / SECOND, STALE / SECOND
TICK_S = 0.000001
LOCK_S = 2.0
PAUSES_S = [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.fixture(params=[100, 0], ids=["with memory", "without memory"])
def process(request: pytest.FixtureRequest, world: World) -> Process:
    return world.process(memory=request.param, refresh_after=AHEAD)


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    """Another thread. A thread that loads a value does not use the cached one."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def failing(loader: Loader) -> Loader:
    loader.error = LookupError("no")
    return loader


def renewed(process: Process, loader: Foreground) -> int:
    """Read, and return how many renewals this began. Runs them."""
    assert loader.read() == "old"
    return process.background.run()


def test_renewals_that_fail_pause_longer_each_time(process: Process, world: World) -> None:
    loader = loaded(process)
    failing(loader)
    world.times.pass_by(DUE_S)
    assert renewed(process, loader) == 1
    for pause in PAUSES_S:
        world.times.pass_by(pause - TICK_S)
        assert renewed(process, loader) == 0
        world.times.pass_by(TICK_S)
        assert renewed(process, loader) == 1
    assert loader.calls == 2 + len(PAUSES_S)
    loader.error, loader.value = None, "new"
    world.times.pass_by(PAUSES_S[-1])
    assert renewed(process, loader) == 1
    assert loader.read() == "new"


def test_a_success_ends_the_pauses(process: Process, world: World) -> None:
    loader = loaded(process)
    for _ in range(2):
        failing(loader)
        world.times.pass_by(DUE_S)
        for pause in (1, 2):
            assert renewed(process, loader) == 1
            world.times.pass_by(pause)
        loader.error = None
        assert renewed(process, loader) == 1


def test_a_run_of_failures_is_logged_once(process: Process, world: World, caplog: pytest.LogCaptureFixture) -> None:
    loader = loaded(process)
    for failures in (1, 2):
        failing(loader)
        world.times.pass_by(DUE_S)
        for pause in (1, 2, 4):
            renewed(process, loader)
            world.times.pass_by(pause)
        assert [record.levelname for record in caplog.records] == ["WARNING"] * failures
        assert "the entry 'k' is not renewed, because loading its value failed with LookupError" in caplog.text
        loader.error = None
        renewed(process, loader)


def test_a_loader_that_fails_keeps_the_old_value_until_its_hard_end(process: Process, world: World) -> None:
    loader = loaded(process)
    failing(loader)
    world.times.pass_by(DUE_S)
    renewed(process, loader)
    world.times.pass_by(TTL_S + STALE_S - DUE_S - TICK_S)
    assert renewed(process, loader) == 1
    world.times.pass_by(TICK_S)
    for _ in range(2):
        with pytest.raises(LookupError):
            process.cache.get_or_load("k", loader)
    loader.error, loader.value = None, "new"
    assert process.cache.get_or_load("k", loader) == "new"
    assert loader.read() == "new"


def test_a_stale_entry_is_used_at_once_while_it_is_renewed(process: Process, world: World) -> None:
    loader = loaded(process)
    world.times.pass_by(TTL_S - 1)
    loader.read()
    world.times.pass_by(1)
    for _ in range(3):
        assert loader.read() == "old"
    loader.value = "new"
    assert process.background.run() == 1
    assert loader.read() == "new"


def test_reads_do_not_rely_on_a_renewal_whose_loader_hangs(process: Process, world: World) -> None:
    loader = loaded(process)
    world.times.pass_by(TTL_S - 1)
    loader.read()
    hanging = process.background.waiting
    loader.value = "new"
    world.times.pass_by(LOCK_S - TICK_S)
    assert loader.read() == "old"
    world.times.pass_by(TICK_S)
    assert process.cache.get_or_load("k", loader) == "new"
    world.times.pass_by(DUE_S)
    assert loader.read() == "new"
    assert process.background.waiting == hanging  # a second thread could hang too


def test_a_stale_entry_that_is_not_being_renewed_is_loaded(process: Process, world: World) -> None:
    loader = loaded(process)
    loader.value = "new"
    world.times.pass_by(TTL_S)
    assert process.cache.get_or_load("k", loader) == "new"
    assert loader.calls == 2


def test_a_read_that_fails_on_a_stale_entry_begins_the_pauses(
    process: Process, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    loader = loaded(process)
    failing(loader)
    world.times.pass_by(TTL_S)
    assert process.cache.get_or_load("k", loader) == "old"
    assert loader.calls == 2
    assert renewed(process, loader) == 0
    world.times.pass_by(1)
    assert renewed(process, loader) == 1
    world.times.pass_by(2 - TICK_S)
    assert renewed(process, loader) == 0
    assert len(caplog.records) == 1


def test_without_stale_if_error_reads_after_the_ttl_load(process: Process, world: World) -> None:
    loader = loaded(process, stale_if_error=0)
    failing(loader)
    world.times.pass_by(DUE_S)
    loader.read(stale_if_error=0)
    process.background.run()
    world.times.pass_by(TTL_S - DUE_S - TICK_S)
    assert loader.read(stale_if_error=0) == "old"
    world.times.pass_by(TICK_S)
    with pytest.raises(LookupError):
        process.cache.get_or_load("k", loader, stale_if_error=0)


def test_a_read_does_not_wait_while_another_process_loads_a_stale_entry(
    process: Process, world: World, elsewhere: ThreadPoolExecutor
) -> None:
    loaded(process)
    world.times.pass_by(TTL_S)
    theirs = Foreground(world.process(refresh_after=AHEAD))
    before = world.times.monotonic
    loader = Loader("new")
    loader.during = lambda: [elsewhere.submit(theirs.read).result() for _ in range(3)]
    assert process.cache.get_or_load("k", loader) == "new"
    assert (loader.calls, theirs.calls) == (1, 0)
    assert world.times.monotonic == before
    assert theirs.read() == "new"


@pytest.mark.parametrize("memory", [100, 0])
def test_nobody_waits_for_a_process_that_was_killed_during_a_renewal(world: World, memory: int) -> None:
    process = world.process(memory=memory, refresh_after=AHEAD, lock_timeout=300 * SECOND)
    loader = loaded(process)
    world.times.pass_by(DUE_S)
    killed = world.open_store().begin(b"k", b"f-killed", (), hold_us=300 * SECOND, keep_us=SECOND)
    assert killed.held
    before = world.times.monotonic
    for _ in range(120):
        assert renewed(process, loader) in (0, 1)
        world.times.pass_by(1)
    assert loader.calls == 1
    assert world.times.monotonic == before + 120  # nobody waited
    world.open_store().release(b"k", b"f-killed")
    loader.value = "new"
    assert renewed(process, loader) == 1
    assert loader.read() == "new"


@pytest.mark.parametrize("step", ["begin", "complete", "release"])
def test_a_store_that_fails_during_a_renewal_leaves_the_old_value(process: Process, world: World, step: str) -> None:
    loader = loaded(process)
    if step == "release":
        failing(loader)
    world.times.pass_by(DUE_S)
    loader.read()

    def fail() -> None:
        raise Away("lost", hint=None)

    process.store.before[step] = fail
    process.background.run()
    assert loader.calls == (1 if step == "begin" else 2)
    world.times.pass_by(2)  # the store is tried again
    assert loader.read() == "old"


def test_a_renewal_that_lost_its_lock_is_repeated_after_a_pause(process: Process, world: World) -> None:
    loader = loaded(process)
    world.times.pass_by(DUE_S)
    loader.read()
    loader.during = lambda: world.process().cache.invalidate("another*")  # like all loads, it stores nothing then
    process.background.run()
    assert renewed(process, loader) == 0
    loader.value = "new"
    world.times.pass_by(1)
    assert renewed(process, loader) == 1
    assert loader.read() == "new"


def test_an_interrupted_loader_leaves_no_lock(process: Process, world: World) -> None:
    loader = loaded(process)
    world.times.pass_by(DUE_S)

    def interrupt() -> None:
        raise SystemExit

    loader.read()
    loader.during = interrupt
    with pytest.raises(SystemExit):
        process.background.run()
    loader.value = "new"
    assert renewed(process, loader) == 1
    assert loader.read() == "new"


@pytest.mark.parametrize("when", ["before it begins", "while it loads"])
def test_a_renewal_stores_nothing_after_the_cache_was_closed(
    process: Process, world: World, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    loader = loaded(process)
    world.times.pass_by(DUE_S)
    loader.read()
    calls: list[str] = []

    def close() -> None:
        process.levels.close(lambda: process.store)
        process.store.calls = calls

    loader.value = "late"
    if when == "before it begins":
        close()
    else:
        loader.during = close
    process.background.run()
    assert calls == []
    assert world.process().cache.get("k") == "old"
    before = world.times.monotonic
    process.cache.delete("k")
    assert process.cache.get_or_load("k", Loader("new")) == "new"
    assert world.times.monotonic == before  # no lock was left
    assert caplog.text == ""


def test_a_cache_that_is_used_again_after_it_was_closed_renews_entries(process: Process, world: World) -> None:
    loader = loaded(process)
    world.times.pass_by(DUE_S)
    loader.read()
    process.levels.close(lambda: process.store)
    loader.value = "new"
    assert loader.read() == "old"
    assert process.background.run() == 2
    assert loader.calls == 2
    assert loader.read() == "new"


def test_without_a_keyring_signed_entries_are_not_renewed(process: Process, world: World) -> None:
    loader = Loader("old")
    process.levels.load("user:1", loader, SIGNED)
    world.times.pass_by(DUE_S)
    process.levels.load("user:1", loader, SIGNED)

    def no_keyring() -> Any:
        raise Away("no keyring", hint=None)

    process.levels._envelope._seal = no_keyring
    process.background.run()
    assert loader.calls == 1


@two_stores
def test_what_is_remembered_about_failures_is_bounded(
    process: Process, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backctl.application.cache_renewals._PAUSED", 3)
    for number in range(5):
        loader = loaded(process, key=f"k{number}")
        failing(loader)
        world.times.pass_by(DUE_S)
        loader.read(f"k{number}")
        process.background.run()
    assert list(process.levels._renewals._pauses) == ["k2", "k3", "k4"]


@two_stores
def test_a_stale_entry_in_use_is_counted_as_a_hit(process: Process, world: World) -> None:
    loader = loaded(process)
    world.times.pass_by(TTL_S - 1)
    loader.read()
    world.times.pass_by(1)
    loader.read()
    process.levels.close(lambda: process.store)
    counts = world.open_store().counts()
    hits = counts.get("memory_hits", 0) + counts["store_hits"]
    assert (counts["loads"], counts["stale_served"], hits) == (1, 1, 2)
