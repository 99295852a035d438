"""The service that programs use: reserved keys, decorators, tags and counters."""

from collections.abc import Sequence
from typing import Any

import pytest
from tests.contracts.cache_levels import MAX_STALENESS, SIGNED, Loader, Process, World, two_stores

from backctl.application.cache_entries import CacheEntryService
from backctl.application.cache_values import itself
from backctl.domain.errors import CacheReserved, InvalidCacheEntry


@two_stores
@pytest.mark.parametrize("key", ["user:1", "user", "revocation:a:b", "revocation"])
def test_reserved_keys_are_refused(process: Process, key: str) -> None:
    for act in (
        lambda: process.cache.get_or_load(key, Loader(1)),
        lambda: process.cache.get(key),
        lambda: process.cache.set(key, 1),
        lambda: process.cache.write_through(key, 1, itself),
        lambda: CacheEntryService(process.cache).store_value(key, 1),
        process.cache.cached(key)(lambda: 1),
    ):
        with pytest.raises(CacheReserved):
            act()
    assert process.cache.get_or_load("users:1", Loader(1)) == 1
    process.levels.load("user:1", Loader(1), SIGNED)
    process.cache.delete("user:1")  # invalidating is allowed
    process.cache.invalidate("user:*")


@two_stores
def test_a_decorator_caches_by_the_arguments(process: Process) -> None:
    calls: list[Any] = []

    @process.cache.cached("report:{year}:{name}", tags=["year:{year}"])
    def report(year: int, name: str = "all", *, ignored: int = 0) -> list[Any]:
        """Return a report."""
        calls.append((year, name))
        return [year, name]

    assert (report.__name__, report.__doc__) == ("report", "Return a report.")
    for _ in range(2):
        assert report(2026) == [2026, "all"]
        assert report(year=2026, name="all", ignored=1) == [2026, "all"]
        assert report(2026, "a:b") == [2026, "a:b"]
        assert report(2025, "{year}") == [2025, "{year}"]
    assert calls == [(2026, "all"), (2026, "a:b"), (2025, "{year}")]
    assert process.cache.get("report:2026:a%3Ab") == [2026, "a:b"]
    process.cache.invalidate_tags("year:2026")
    report(2026)
    report(2025, "{year}")
    assert calls[3:] == [(2026, "all")]


@two_stores
def test_arguments_do_not_run_into_each_other(process: Process) -> None:
    @process.cache.cached("pair:{a}:{b}")
    def pair(a: str, b: str) -> list[str]:
        return [a, b]

    for a, b in (("x:y", "z"), ("x", "y:z"), ("", ":"), (":", ""), ("é", "%"), ("%C3%A9", "%25"), ("*", "?")):
        assert pair(a, b) == [a, b]
        assert pair(a, b) == [a, b]


@two_stores
@pytest.mark.parametrize("template", ["k:{other}", "k:{}", "k:{0}", "k:{year.real}", "k:{year[0]}"])
def test_a_template_with_an_unknown_name_is_refused(process: Process, template: str) -> None:
    with pytest.raises(InvalidCacheEntry, match="not a parameter"):
        process.cache.cached(template)(lambda year: year)
    with pytest.raises(InvalidCacheEntry, match="not a parameter"):
        process.cache.cached("k", tags=[template])(lambda year: year)


@two_stores
def test_a_decorated_function_that_fails_is_called_again(process: Process) -> None:
    @process.cache.cached("k")
    def fail() -> None:
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            fail()


@pytest.mark.parametrize("tags", [["a"] * 20, [str(number) for number in range(16)]])
def test_many_tags(process: Process, tags: Sequence[str]) -> None:
    process.cache.get_or_load("k", Loader("old"), tags=tags)
    process.cache.invalidate_tags(tags[-1])
    assert process.cache.get_or_load("k", Loader("new"), tags=tags) == "new"


def test_an_entry_with_other_tags_than_expected_is_read_with_its_own(process: Process, world: World) -> None:
    process.cache.get_or_load("k", Loader("old"), tags=["t"])
    other = world.process()
    assert other.cache.get_or_load("k", Loader("new")) == "old"
    other.cache.invalidate_tags("t")
    assert other.cache.get_or_load("k", Loader("new")) == "new"


def test_an_entry_without_the_tags_of_the_caller_is_a_miss(process: Process, world: World) -> None:
    """Otherwise, invalidating a tag would not reach it."""
    process.cache.get_or_load("k", Loader("old"), tags=["t"])
    other = world.process()
    assert other.cache.get_or_load("k", Loader("new"), tags=["t", "u"]) == "new"
    other.cache.invalidate_tags("u")
    assert other.cache.get_or_load("k", Loader("newer"), tags=["u"]) == "newer"


def test_stats_count_what_happened(world: World) -> None:
    process, other = world.process(), world.process()
    loader = Loader(1)
    for _ in range(3):
        process.cache.get_or_load("k", loader)
    other.cache.get_or_load("k", loader)
    for one in (process, other):
        one.levels.close(one.levels._access.store)
    stats = CacheEntryService(other.cache).stats()
    assert (stats.entries, stats.loads, stats.memory_hits, stats.store_hits) == (1, 1, 2, 1)
    assert stats.hit_ratio == 0.75


def test_counters_reach_the_store_while_the_process_runs(process: Process, world: World) -> None:
    process.cache.get_or_load("k", Loader(1))  # adds the counters so far, none
    process.cache.get_or_load("k", Loader(1))
    hits = "memory_hits" if process.memory.is_used else "store_hits"
    world.times.pass_by(9.9)
    process.cache.get_or_load("k", Loader(1))
    store = world.open_store()
    assert store.counts() == {}
    world.times.pass_by(0.1 + MAX_STALENESS)  # the memory answers without adding the counters until then
    process.cache.get_or_load("k", Loader(1))
    assert store.counts() == {"loads": 1, hits: 2}
    world.times.pass_by(10)
    process.cache.get_or_load("k", Loader(1))
    assert store.counts() == {"loads": 1, hits: 3}


@two_stores
def test_long_arguments_have_entries_too(process: Process, world: World) -> None:
    calls: list[str] = []

    @process.cache.cached("é:{text}")
    def echo(text: str) -> str:
        calls.append(text)
        return text

    for text in ("x" * 1000, "x" * 1000 + "y", "x" * 1000):
        assert echo(text) == text
    assert len(calls) == 2
    keys = [entry.key for entry in CacheEntryService(world.process().cache).entries()]
    assert len(keys) == 2
    assert all(len(key.encode()) <= 512 for key in keys)


def test_an_invalidation_says_whether_there_was_anything(world: World) -> None:
    process = world.process()
    entries = CacheEntryService(process.cache)
    for dry_run in (True, False):
        assert not entries.renew_tags(["t"], dry_run=dry_run).changed
        assert not entries.renew_all(dry_run=dry_run).changed
    process.cache.get_or_load("k", Loader(1), tags=["t"])
    assert entries.renew_tags(["t"], dry_run=True).changed
    assert entries.renew_tags(["t", "other"]).changed
    assert not entries.renew_tags(["t"]).changed
    assert entries.renew_all(dry_run=True).changed
    assert entries.renew_all().changed
    assert not entries.renew_all().changed
