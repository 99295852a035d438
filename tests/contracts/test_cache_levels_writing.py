"""Writing through the cache, while others write and load."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.contracts.cache_levels import MAX_STALENESS, Loader, Process, World


def test_a_failing_write_leaves_nothing(process: Process, world: World) -> None:
    process.cache.set("k", "old")
    process.cache.get("k")

    def write(value: str) -> None:
        raise LookupError(value)

    with pytest.raises(LookupError, match="new"):
        process.cache.write_through("k", "new", write)
    for cache in (process.cache, world.process().cache):
        assert cache.get("k", "nothing") == "nothing"
    before = world.times.monotonic
    assert process.cache.get_or_load("k", Loader(1)) == 1
    assert world.times.monotonic == before


def test_an_interrupted_write_leaves_nothing(process: Process) -> None:
    process.cache.set("k", "old")

    def write(value: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.cache.write_through("k", "new", write)
    assert process.cache.get("k", "nothing") == "nothing"


@pytest.mark.parametrize("order", ["1122", "1212", "1221", "2112"])
def test_two_writers_never_leave_a_wrong_value(process: Process, world: World, order: str) -> None:
    """They begin in the order 1, 2. The digits say which writes to the database, and which returns from it."""
    database: list[str] = []
    events = [threading.Event() for _ in order]
    turn = {name: [number for number, one in enumerate(order) if one == name] for name in "12"}
    begun = {name: threading.Event() for name in "12"}
    processes = {"1": process, "2": world.process()}
    ended: dict[str, Any] = {}

    def write(name: str) -> None:
        begun[name].set()
        for number in turn[name]:
            assert events[number].wait(30)
            if number == turn[name][0]:
                database[:] = [name]
                done[number].set()

    done = [threading.Event() for _ in order]
    with ThreadPoolExecutor(2) as pool:
        for name in "12":
            ended[name] = pool.submit(processes[name].cache.write_through, "k", name, lambda _, name=name: write(name))
            assert begun[name].wait(30)
        for number, name in enumerate(order):
            events[number].set()
            if number == turn[name][0]:
                assert done[number].wait(30)
            else:
                ended[name].result(30)
    world.times.pass_by(MAX_STALENESS)
    for one in (process, world.process()):
        assert one.cache.get("k", "nothing") in (database[0], "nothing")
        assert one.cache.get_or_load("k", lambda: database[0]) == database[0]


@pytest.mark.parametrize("moment", ["before the write", "after the write"])
def test_a_filler_never_undoes_a_write(process: Process, world: World, moment: str) -> None:
    """A filler that read the database before the write ends after it."""
    database, other = ["old"], world.process()
    read, may_end = threading.Event(), threading.Event()

    def slow() -> str:
        value = database[0]
        read.set()
        assert may_end.wait(30)
        return value

    with ThreadPoolExecutor(1) as pool:
        filler = pool.submit(other.cache.get_or_load, "k", slow)
        assert read.wait(30)

        def write(value: str) -> None:
            if moment == "before the write":
                may_end.set()
                filler.result(30)
            database[0] = value

        process.cache.write_through("k", "new", write)
        may_end.set()
        filler.result(30)
    world.times.pass_by(MAX_STALENESS)
    for one in (process, other, world.process()):
        assert one.cache.get_or_load("k", lambda: database[0]) == "new"


def test_a_value_that_is_removed_while_it_is_written_is_not_kept(process: Process, world: World) -> None:
    other = world.process().cache
    assert process.cache.write_through("k", "new", lambda value: other.delete("k")) is False
    assert process.cache.get("k", "nothing") == "nothing"


def test_readers_never_see_an_older_value_while_others_write(process: Process, world: World) -> None:
    """The values grow, and each reader asks after a write has returned."""
    database, returned = [0], [0]
    lock = threading.Lock()

    def write(number: int) -> None:
        with lock:
            value = database[0] + 1
            process.cache.write_through("k", value, lambda new: database.__setitem__(0, new))
            returned[0] = value

    def read(_: int) -> tuple[int, Any]:
        least = returned[0]
        return least, process.cache.get_or_load("k", lambda: database[0])

    with ThreadPoolExecutor(6) as pool:
        writes = [pool.submit(write, number) for number in range(25)]
        reads = [pool.submit(read, number) for number in range(75)]
        for done in writes:
            done.result(60)
        for one in reads:
            least, found = one.result(60)
            assert found >= least
    assert process.cache.get_or_load("k", lambda: database[0]) == 25
