"""One suite for every shared level of the cache."""

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.redis_stores import ON_REDIS, redis_servers, redis_url

from backctl.application.ports.cache import Announced, Begun, CacheStore, Reading, Swept
from backctl.domain.cache_entry import Entry, State, decoded
from backctl.infrastructure.redis.cache import RedisCache
from backctl.infrastructure.redis.exchange import Call
from backctl.infrastructure.sqlite.cache import SqliteCache

NOW = 1_795_000_000_000_000
SECOND = 1_000_000
HOUR = 3600 * SECOND
PATIENCE_S = 30


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@dataclass
class Stored:
    """A store, and what only a test may do with it."""

    store: CacheStore
    clock: Clock
    another: Callable[..., CacheStore]
    """Opens the same server or file as another process would, or for another installation or namespace."""
    path: Path

    def begin(self, key: bytes, token: bytes = b"f1", *tags: bytes, hold: int = HOUR, take_over: bool = False) -> Begun:
        return self.store.begin(key, token, tags, hold_us=hold, keep_us=2 * HOUR, take_over=take_over)

    def commit(self, key: bytes, begun: Begun, token: bytes = b"f1", *, payload: bytes = b"1") -> bool:
        entry = an_entry(begun, payload)
        return self.store.complete(key, token, begun.fence, entry.encoded(), ttl_us=HOUR)

    def fill(self, key: bytes, *tags: bytes, payload: bytes = b"1") -> None:
        begun = self.begin(key, b"f1", *tags)
        assert begun.held
        assert self.commit(key, begun, payload=payload)

    def reading(self, key: bytes, *tags: bytes) -> Reading:
        (reading,) = self.store.read([key], [tags])
        return reading

    def payload(self, key: bytes) -> bytes | None:
        entry = decoded(self.reading(key).entry)
        return None if entry is None else entry.payload

    def state(self, key: bytes) -> State | None:
        """Return the state of an entry, None if there is none."""
        found = decoded(self.reading(key).entry)
        if found is None:
            return None
        tags = [tag for tag, _ in found.tags]
        return found.state(self.reading(key, *tags).versions, NOW)

    @property
    def redis(self) -> RedisCache | None:
        return self.store if isinstance(self.store, RedisCache) else None

    def command(self, key: bytes, *words: bytes | str | int) -> Any:
        """Execute a command of Redis at the node of a key."""
        assert self.redis is not None
        (reply,) = self.redis._servers.run([Call(key, words)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def lose_version(self, name: str, key: bytes) -> None:
        """Delete the epoch or the fence of a key, or the version of a tag, as an eviction does."""
        if self.redis is not None:
            at = self.redis._tag(key) if name == "tag" else self.redis._group(key) + name.encode()
            assert self.command(at, "DEL", at) == 1
            return
        with closing(sqlite3.connect(self.path)) as connection, connection:
            raw = b"t:" + key if name == "tag" else name.encode()
            assert connection.execute("DELETE FROM versions WHERE name = ?", (raw,)).rowcount == 1

    def number_of_versions(self) -> int:
        if self.redis is not None:
            return sum(not key.endswith(b"sequence") for key in self.redis._servers.scan(self.redis._prefix + b"*"))
        with closing(sqlite3.connect(self.path)) as connection:
            found = connection.execute("SELECT count(*) FROM versions WHERE name != CAST('sequence' AS BLOB)")
            return int(found.fetchone()[0])


def an_entry(begun: Begun, payload: bytes = b"1") -> Entry:
    versions = begun.reading.versions
    assert versions.epoch is not None
    tags = [(tag, version) for tag, version in versions.tags.items() if version is not None]
    assert len(tags) == len(versions.tags)
    return Entry(NOW, NOW + HOUR, NOW + HOUR, versions.epoch, tuple(tags), payload=payload)


STORES = ("sqlite", *ON_REDIS)


@pytest.fixture(params=STORES)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stored]:
    kind: str = request.param
    clock, namespace, path = Clock(), f"t{secrets.token_hex(6)}", tmp_path / "cache" / "cache.db"
    stores: list[CacheStore] = []

    def open_store(installation: str = "inst-1", space: str = namespace) -> CacheStore:
        if kind == "sqlite":
            stores.append(SqliteCache(path, installation=installation, timeout_us=30 * SECOND, clock=clock))
        else:
            url = redis_url(request.getfixturevalue("servers"), kind)
            stores.append(RedisCache(redis_servers(url), namespace=space, installation=installation))
        return stores[-1]

    yield Stored(open_store(), clock, open_store, path)
    for store in stores:
        store.close()


@pytest.fixture
def on_redis(stored: Stored) -> Stored:
    """A store on Redis, where others can write too."""
    assert stored.redis is not None
    return stored


only_redis = pytest.mark.parametrize("stored", ON_REDIS, indirect=True)
only_sqlite = pytest.mark.parametrize("stored", ["sqlite"], indirect=True)


HOSTILE = [
    b"report:1",
    b"a",
    b"A",
    b"foo}:e:bar",
    b"{x}",
    b"{}",
    b"}{",
    b"e:epoch",
    b"epoch",
    b"fence",
    b":",
    b"*",
    b"[a]",
    b"a\\",
    b"\0",
    b"a\0b",
    b"a\0",
    b"\xff\xfe",
    b"\xc3\xa9",
    b"e\xcc\x81",
    b"x" * 512,
    b"x" * 511 + b"\0",
    b" a",
    b"a\r\nDEL a",
]


def test_an_empty_store_has_nothing(stored: Stored) -> None:
    (first, second) = stored.store.read([b"a", b"b"], [[], [b"t"]])
    assert (first.entry, first.versions.epoch, dict(first.versions.tags)) == (None, None, {})
    assert (second.entry, second.versions.epoch, dict(second.versions.tags)) == (None, None, {b"t": None})
    assert list(stored.store.keys(b"*")) == []
    assert sum(step.entries for step in stored.store.sweep(b"*", dry_run=True)) == 0
    assert stored.store.counts() == {}
    assert stored.store.read([], []) == []
    stored.store.release(b"a", b"f1")


@pytest.mark.parametrize("change", ["remove", "announce", "renew_tags", "renew_epoch", "sweep"])
def test_an_empty_store_can_be_invalidated(stored: Stored, change: str) -> None:
    INVALIDATIONS[change](stored.store)
    assert list(stored.store.keys(b"*")) == []
    assert stored.redis is not None or not stored.path.exists()


def test_what_is_committed_is_read(stored: Stored) -> None:
    stored.fill(b"a", b"t1", b"t2", payload=b"[1]")
    assert stored.payload(b"a") == b"[1]"
    assert stored.state(b"a") == "fresh"
    other = stored.another()
    (found, missing) = other.read([b"a", b"b"], [[b"t2"], []])
    assert found.entry == stored.reading(b"a").entry
    assert set(found.versions.tags) == {b"t2"}
    assert missing.entry is None


def test_reading_many_keys_answers_in_their_order(stored: Stored) -> None:
    keys = [b"k%d" % number for number in range(60)]
    for key in keys[::2]:
        stored.fill(key, b"t" + key, payload=key)
    readings = stored.store.read(keys, [[b"t" + key, b"none"] for key in keys])
    for number, (key, reading) in enumerate(zip(keys, readings, strict=True)):
        entry = decoded(reading.entry)
        assert (entry.payload if entry else None) == (key if number % 2 == 0 else None)
        assert (reading.versions.tags[b"t" + key] is None) == (number % 2 == 1)
        assert reading.versions.tags[b"none"] is None


def test_begin_creates_the_versions_and_keeps_those_that_exist(stored: Stored) -> None:
    first = stored.begin(b"a", b"f1", b"t1")
    second = stored.begin(b"a", b"f2", b"t1", b"t2")
    assert first.reading.versions.epoch is not None
    assert len(first.reading.versions.epoch) == len(first.fence) == 8
    assert second.reading.versions.epoch == first.reading.versions.epoch
    assert second.reading.versions.tags[b"t1"] == first.reading.versions.tags[b"t1"]
    assert second.fence == first.fence
    values = [first.reading.versions.epoch, first.fence, *second.reading.versions.tags.values()]
    assert len(set(values)) == 4
    assert stored.reading(b"a", b"t1", b"t2").versions == second.reading.versions


def test_one_token_holds_the_lock(stored: Stored) -> None:
    begun = stored.begin(b"a", b"f1")
    assert (begun.held, begun.contended) == (True, False)
    other = stored.begin(b"a", b"f2")
    assert (other.held, other.contended) == (False, False)
    assert not stored.commit(b"a", other, b"f2", payload=b"2")
    assert stored.begin(b"b", b"f2").held
    assert stored.commit(b"a", begun)
    assert stored.payload(b"a") == b"1"


def test_a_commit_unlocks(stored: Stored) -> None:
    stored.fill(b"a")
    begun = stored.begin(b"a", b"f2")
    assert begun.held
    assert decoded(begun.reading.entry) == decoded(stored.reading(b"a").entry)
    assert stored.commit(b"a", begun, b"f2", payload=b"2")
    assert stored.payload(b"a") == b"2"


def test_a_token_commits_once(stored: Stored) -> None:
    begun = stored.begin(b"a")
    assert stored.commit(b"a", begun)
    assert not stored.commit(b"a", begun, payload=b"2")
    assert stored.payload(b"a") == b"1"


def test_a_release_unlocks_only_for_its_token(stored: Stored) -> None:
    stored.begin(b"a", b"f1")
    stored.store.release(b"a", b"f2")
    assert not stored.begin(b"a", b"f3").held
    stored.store.release(b"a", b"f1")
    begun = stored.begin(b"a", b"f3")
    assert begun.held
    stored.store.release(b"a", b"f1")
    assert stored.commit(b"a", begun, b"f3")


def test_a_release_keeps_the_entry(stored: Stored) -> None:
    stored.fill(b"a")
    stored.begin(b"a", b"f2")
    stored.store.release(b"a", b"f2")
    assert stored.payload(b"a") == b"1"


def test_one_of_many_threads_holds_the_lock(stored: Stored) -> None:
    tokens = [b"f%d" % number for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        begun = list(pool.map(lambda token: stored.begin(b"a", token, b"t"), tokens))
    assert sum(one.held for one in begun) == 1
    assert len({one.fence for one in begun}) == 1
    assert len({one.reading.versions.tags[b"t"] for one in begun}) == 1


def after_its_lock(stored: Stored, key: bytes) -> Begun:
    """Begin to fill a key once the lock of another has ended."""
    if stored.redis is None:
        stored.clock.now += 1000
        return stored.begin(key, b"f2")
    give_up = time.monotonic() + PATIENCE_S
    while not (begun := stored.begin(key, b"f2")).held:
        assert time.monotonic() < give_up
    return begun


def test_a_lock_ends(stored: Stored) -> None:
    late = stored.begin(b"a", b"f1", hold=1000)
    begun = after_its_lock(stored, b"a")
    assert begun.held
    assert not stored.commit(b"a", late, b"f1", payload=b"late")
    stored.store.release(b"a", b"f1")
    assert stored.commit(b"a", begun, b"f2", payload=b"2")
    assert stored.payload(b"a") == b"2"


def test_a_commit_after_the_end_of_its_lock_stores_nothing(stored: Stored) -> None:
    begun = stored.begin(b"a", b"f1", hold=1000)
    if stored.redis is None:
        stored.clock.now += 1000
    else:
        lock = stored.redis._group(b"a") + b"l:a"
        give_up = time.monotonic() + PATIENCE_S
        while stored.command(lock, "EXISTS", lock):
            assert time.monotonic() < give_up
    assert not stored.commit(b"a", begun)
    assert stored.payload(b"a") is None


@only_sqlite
def test_a_clock_that_goes_back_keeps_no_lock_for_longer_than_it_was_asked_for(stored: Stored) -> None:
    """A process that ended while it held the lock must not block the others for hours."""
    stored.clock.now += 10 * HOUR
    stored.begin(b"a", b"f1", hold=SECOND)
    stored.clock.now -= 10 * HOUR
    assert stored.begin(b"a", b"f2", hold=SECOND).held


def test_a_writer_takes_over_from_a_filler(stored: Stored) -> None:
    filler = stored.begin(b"a", b"f1")
    writer = stored.begin(b"a", b"w1", take_over=True)
    assert (writer.held, writer.contended, writer.reading.entry) == (True, False, None)
    assert not stored.commit(b"a", filler, b"f1", payload=b"old")
    assert stored.commit(b"a", writer, b"w1", payload=b"new")
    assert stored.payload(b"a") == b"new"


def test_a_writer_removes_the_entry_at_once(stored: Stored) -> None:
    stored.fill(b"a")
    assert stored.begin(b"a", b"w1", take_over=True).reading.entry is None
    assert stored.payload(b"a") is None
    assert not stored.begin(b"a", b"f1").held


def test_two_writers_contend(stored: Stored) -> None:
    first = stored.begin(b"a", b"w1", take_over=True)
    second = stored.begin(b"a", b"w2", take_over=True)
    assert (first.contended, second.held, second.contended) == (False, True, True)
    assert not stored.commit(b"a", first, b"w1")
    assert stored.commit(b"a", second, b"w2", payload=b"2")
    assert not stored.begin(b"a", b"w3", take_over=True).contended


def test_a_writer_whose_lock_has_ended_does_not_contend(stored: Stored) -> None:
    stored.begin(b"a", b"w1", hold=1000, take_over=True)
    begun = after_its_lock(stored, b"a")
    assert begun.held
    assert not stored.begin(b"a", b"w2", take_over=True).contended


def test_a_remove_wins_over_a_filler_and_a_writer(stored: Stored) -> None:
    for token, take_over in ((b"f1", False), (b"w1", True)):
        begun = stored.begin(b"a", token, take_over=take_over)
        stored.store.remove([b"a"])
        assert not stored.commit(b"a", begun, token)
        assert stored.payload(b"a") is None
    assert stored.begin(b"a", b"f2").held


def test_a_remove_counts_the_entries(stored: Stored) -> None:
    for key in (b"a", b"b", b"c"):
        stored.fill(key)
    removed, _ = stored.store.remove([b"a", b"c", b"missing", b"a"])
    assert removed == 2
    assert [stored.payload(key) for key in (b"a", b"b", b"c")] == [None, b"1", None]
    assert stored.store.remove([])[0] == 0


@pytest.mark.parametrize("sweep", [b"*", b"other"])
def test_a_sweep_stops_those_who_are_filling(stored: Stored, sweep: bytes) -> None:
    begun = stored.begin(b"a")
    list(stored.store.sweep(sweep, dry_run=False))
    assert not stored.commit(b"a", begun)
    assert stored.payload(b"a") is None
    begun = stored.begin(b"a", b"f2")
    assert begun.held  # the commit unlocked, although it stored nothing
    assert stored.commit(b"a", begun, b"f2")


def test_a_sweep_stops_fillers_before_its_first_step(stored: Stored) -> None:
    begun = stored.begin(b"a")
    steps = stored.store.sweep(b"*", dry_run=False)
    next(steps, None)
    assert not stored.commit(b"a", begun)
    list(steps)


def test_a_dry_run_stops_nobody(stored: Stored) -> None:
    begun = stored.begin(b"a")
    list(stored.store.sweep(b"*", dry_run=True))
    assert stored.commit(b"a", begun)


@pytest.mark.parametrize("renew", ["epoch", "tag"])
def test_versions_that_are_renewed_during_a_fill_invalidate_its_entry(stored: Stored, renew: str) -> None:
    begun = stored.begin(b"a", b"f1", b"t1", b"t2")
    stored.store.renew_epoch() if renew == "epoch" else stored.store.renew_tags([b"t2"])
    stored.commit(b"a", begun)
    assert stored.state(b"a") in (None, "invalidated")


@pytest.mark.parametrize("renew", ["epoch", "tag"])
def test_renewed_versions_invalidate_the_entries_that_have_them(stored: Stored, renew: str) -> None:
    stored.fill(b"a", b"t1", b"t2")
    stored.fill(b"b", b"t1")
    stored.store.renew_epoch() if renew == "epoch" else stored.store.renew_tags([b"t2", b"t3"])
    assert stored.state(b"a") == "invalidated"
    assert stored.state(b"b") == ("invalidated" if renew == "epoch" else "fresh")
    stored.fill(b"a", b"t1", b"t2")
    assert stored.state(b"a") == "fresh"


@pytest.mark.parametrize("name", ["epoch", "tag"])
def test_a_missing_version_is_created_with_another_value(stored: Stored, name: str) -> None:
    key = b"t" if name == "tag" else b"a"
    stored.fill(b"a", b"t")
    before = stored.reading(b"a", b"t").versions
    stored.lose_version(name, key)
    assert stored.state(b"a") == "invalidated"
    after = stored.begin(b"a", b"f2", b"t").reading.versions
    assert (after.epoch == before.epoch) == (name == "tag")
    assert (after.tags[b"t"] == before.tags[b"t"]) == (name == "epoch")
    assert stored.state(b"a") == "invalidated"


def test_a_missing_fence_stops_those_who_are_filling(stored: Stored) -> None:
    begun = stored.begin(b"a")
    stored.lose_version("fence", b"a")
    list(stored.store.sweep(b"*", dry_run=False))
    assert not stored.commit(b"a", begun)


def test_a_fence_that_was_created_again_stops_those_who_are_filling(stored: Stored) -> None:
    begun = stored.begin(b"a")
    stored.lose_version("fence", b"a")
    assert stored.begin(b"a", b"f2").fence != begun.fence
    assert not stored.commit(b"a", begun)


def test_renewing_a_missing_tag_creates_nothing(stored: Stored) -> None:
    stored.fill(b"a", b"t")
    before = stored.number_of_versions()
    stored.store.renew_tags([b"missing-%d" % number for number in range(50)])
    assert stored.number_of_versions() == before
    assert stored.reading(b"a", b"missing-1").versions.tags[b"missing-1"] is None
    assert stored.state(b"a") == "fresh"


@only_redis
def test_versions_of_tags_outlive_entries_on_redis(on_redis: Stored) -> None:
    for keep in (2 * HOUR, 3 * HOUR, HOUR):
        on_redis.store.begin(b"a", b"f1", [b"t"], hold_us=SECOND, keep_us=keep)
    assert on_redis.redis is not None
    name, epoch = on_redis.redis._tag(b"t"), on_redis.redis._group(b"a") + b"epoch"
    longest = 3 * HOUR // 1000
    assert longest - 1000 * PATIENCE_S < on_redis.command(name, "PTTL", name) <= longest
    on_redis.store.renew_tags([b"t"])
    assert longest - 1000 * PATIENCE_S < on_redis.command(name, "PTTL", name) <= longest
    on_redis.store.renew_epoch()
    assert on_redis.command(epoch, "PTTL", epoch) == -1


@only_sqlite
def test_versions_of_tags_outlive_entries_in_a_file(stored: Stored) -> None:
    stored.fill(b"a", b"t")  # an entry of one hour, a version of two
    stored.clock.now += 2 * HOUR - 1
    for number in range(10):
        stored.fill(b"b%d" % number)  # each deletes some of what has ended
    assert stored.payload(b"a") is None
    assert stored.reading(b"a", b"t").versions.tags[b"t"] is not None
    stored.clock.now += 1
    for number in range(10):
        stored.fill(b"c%d" % number)
    assert stored.reading(b"a", b"t").versions.tags[b"t"] is None
    assert stored.reading(b"a").versions.epoch is not None


@only_redis
def test_redis_ends_entries_itself(on_redis: Stored) -> None:
    on_redis.fill(b"a")
    assert on_redis.redis is not None
    name = on_redis.redis._group(b"a") + b"e:a"
    assert HOUR // 1000 - PATIENCE_S * 1000 < on_redis.command(name, "PTTL", name) <= HOUR // 1000


def swept(steps: Iterator[Swept]) -> tuple[int, int]:
    found = list(steps)
    return sum(step.entries for step in found), sum(step.bytes for step in found)


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        (b"a*", [b"b:1", b"b\\:1", b"c"]),
        (b"*:1", [b"aa", b"c"]),
        (b"b\\\\:1", [b"a:1", b"aa", b"b:1", b"c"]),
        (b"[ac]*", [b"b:1", b"b\\:1"]),
        (b"?", [b"a:1", b"aa", b"b:1", b"b\\:1"]),
        (b"none", [b"a:1", b"aa", b"b:1", b"b\\:1", b"c"]),
        (b"*", []),
    ],
)
def test_a_sweep_removes_what_matches_and_a_dry_run_counts_it(
    stored: Stored, pattern: bytes, left: list[bytes]
) -> None:
    keys = [b"a:1", b"aa", b"b:1", b"b\\:1", b"c"]
    for key in keys:
        stored.fill(key, payload=b"x" * 100)
    counted = swept(stored.store.sweep(pattern, dry_run=True))
    assert sorted(stored.store.keys(b"*")) == keys
    assert counted[0] == len(keys) - len(left)
    assert counted[1] >= 100 * counted[0]
    assert swept(stored.store.sweep(pattern, dry_run=False)) == counted
    assert sorted(stored.store.keys(b"*")) == left
    assert swept(stored.store.sweep(pattern, dry_run=False)) == (0, 0)


def test_an_interrupted_sweep_can_be_finished(stored: Stored) -> None:
    for number in range(30):
        stored.fill(b"k%d" % number)
    steps = stored.store.sweep(b"*", dry_run=False)
    first = next(steps).entries
    steps.close()  # type: ignore[attr-defined]  # it is a generator
    assert first + swept(stored.store.sweep(b"*", dry_run=False))[0] == 30
    assert list(stored.store.keys(b"*")) == []


def test_every_key_and_tag_is_independent_whatever_its_bytes(stored: Stored) -> None:
    for number, key in enumerate(HOSTILE):
        stored.fill(key, key[:128], payload=b"%d" % number)
    for number, key in enumerate(HOSTILE):
        assert (stored.payload(key), stored.state(key)) == (b"%d" % number, "fresh")
    assert sorted(set(stored.store.keys(b"*"))) == sorted(HOSTILE)
    for number, key in enumerate(HOSTILE):
        stored.store.renew_tags([key[:128]])
        for later, other in enumerate(HOSTILE):
            invalidated = later <= number or other[:128] == key[:128]
            assert stored.state(other) == ("invalidated" if invalidated else "fresh")
    for number, key in enumerate(HOSTILE):
        assert stored.store.remove([key])[0] == 1
        assert len(set(stored.store.keys(b"*"))) == len(HOSTILE) - number - 1


PATTERNS = [b"*", b"**", b"?*", b"[^:]*", b"*:*", b"*}*", b"[", b"[]", b"[^", b"\\", b"*\\", b"e:*", b"../*", b"*}:e:*"]


@pytest.mark.parametrize("neighbour", ["installation", "namespace", "longer"])
def test_nothing_leaves_its_installation_and_namespace(stored: Stored, neighbour: str) -> None:
    if neighbour == "namespace" and stored.redis is None:
        neighbour = "installation"  # a file has no namespaces
    spaces = {
        "installation": lambda: stored.another("inst-2"),
        "longer": lambda: stored.another("inst-1*"),
        "namespace": lambda: stored.another("inst-1", f"t{secrets.token_hex(6)}"),
    }
    other = Stored(spaces[neighbour](), stored.clock, stored.another, stored.path)
    for one in (stored, other):
        for key in HOSTILE:
            one.fill(key, b"t")
    pending = other.begin(b"pending")
    sequence = other.store.sequence()
    for pattern in PATTERNS:
        for dry_run in (True, False):
            assert swept(stored.store.sweep(pattern, dry_run=dry_run))[0] <= len(HOSTILE)
    assert list(stored.store.keys(b"*")) == []
    assert stored.store.remove([*HOSTILE, b"pending"])[0] == 0
    stored.store.renew_tags([b"t"])
    stored.store.renew_epoch()
    stored.store.count({"loads": 1})
    assert [other.state(key) for key in HOSTILE] == ["fresh"] * len(HOSTILE)
    assert sorted(set(other.store.keys(b"*"))) == sorted(HOSTILE)
    assert other.store.sequence() == sequence
    assert other.store.counts() == {}
    assert other.commit(b"pending", pending)
    assert swept(other.store.sweep(b"*", dry_run=True))[0] == len(HOSTILE) + 1


def sweep_everything(store: CacheStore) -> None:
    list(store.sweep(b"none", dry_run=False))


INVALIDATIONS: dict[str, Callable[[CacheStore], object]] = {
    "remove": lambda store: store.remove([b"none"]),
    "announce": lambda store: store.announce([b"none"]),
    "renew_tags": lambda store: store.renew_tags([b"none"]),
    "renew_epoch": lambda store: store.renew_epoch(),
    "sweep": sweep_everything,
}


@pytest.mark.parametrize("change", INVALIDATIONS)
def test_every_invalidation_changes_the_sequence(stored: Stored, change: str) -> None:
    stored.fill(b"a", b"t")
    before = stored.store.sequence()
    assert stored.store.sequence() == before
    assert len(before) == 8
    INVALIDATIONS[change](stored.store)
    after = stored.store.sequence()
    assert after != before
    assert stored.another().sequence() == after


def test_an_announcement_contains_the_sequence_before_and_after(stored: Stored) -> None:
    stored.fill(b"a", b"t")
    known = stored.store.sequence()
    changes: list[Callable[[], Announced]] = [
        lambda: stored.store.remove([b"a"])[1],
        lambda: stored.store.announce([b"a"]),
        lambda: stored.store.renew_tags([b"t"]),
        stored.store.renew_epoch,
    ]
    for change in changes:
        announced = change()
        assert announced.before == known
        known = announced.after
        assert stored.store.sequence() == known


@pytest.mark.parametrize("act", ["read", "fill", "release", "dry run", "keys", "count"])
def test_nothing_else_changes_the_sequence(stored: Stored, act: str) -> None:
    stored.fill(b"a", b"t")
    before = stored.store.sequence()
    match act:
        case "read":
            stored.reading(b"a", b"t", b"t2")
        case "fill":
            stored.fill(b"b", b"t3")
        case "release":
            stored.store.release(b"a", b"f1")
        case "dry run":
            list(stored.store.sweep(b"*", dry_run=True))
        case "keys":
            list(stored.store.keys(b"*"))
        case _:
            stored.store.count({"loads": 1})
    assert stored.store.sequence() == before


def test_counts_add_up(stored: Stored) -> None:
    stored.store.count({"loads": 2, "store_hits": 1})
    stored.another().count({"loads": 3})
    stored.store.count({})
    assert stored.store.counts() == {"loads": 5, "store_hits": 1}


def test_counts_of_many_threads_add_up(stored: Stored) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: stored.store.count({"loads": 1}), range(80)))
    assert stored.store.counts() == {"loads": 80}


def test_a_store_that_was_closed_opens_again(stored: Stored) -> None:
    stored.fill(b"a")
    stored.store.close()
    assert stored.payload(b"a") == b"1"
    stored.store.close()
    stored.store.close()


def test_concurrent_fills_and_removes_leave_no_old_entry(stored: Stored) -> None:
    """Each thread changes a value and then removes its entry, while others fill it from that value."""
    truth = [0]

    def change(number: int) -> None:
        truth[0] = number
        stored.store.remove([b"a"])

    def fill(number: int) -> None:
        token = b"f%d" % number
        begun = stored.begin(b"a", token)
        if begun.held:
            stored.commit(b"a", begun, token, payload=b"%d" % truth[0])

    with ThreadPoolExecutor(6) as pool:
        for number in range(1, 25):
            for done in [pool.submit(change, number), *(pool.submit(fill, number * 10 + one) for one in range(4))]:
                done.result()
            assert stored.payload(b"a") in (None, b"%d" % number)
            stored.store.release(b"a", b"f%d" % number)


def names(stored: Stored, what: str) -> Sequence[bytes]:
    assert stored.redis is not None
    group = stored.redis._group(b"a")
    return {
        "entry": [group + b"e:a"],
        "lock": [group + b"l:a"],
        "epoch": [group + b"epoch"],
        "fence": [group + b"fence"],
        "tag": [stored.redis._tag(b"t")],
        "sequence": [stored.redis._sequence],
    }[what]


@pytest.mark.parametrize("what", ["entry", "lock", "epoch", "fence", "tag", "sequence"])
@pytest.mark.parametrize("content", ["list", "empty", "short", "long"])
@only_redis
def test_a_key_with_other_content_stops_nobody(on_redis: Stored, what: str, content: str) -> None:
    on_redis.fill(b"a", b"t")
    on_redis.store.sequence()
    for name in names(on_redis, what):
        on_redis.command(name, "DEL", name)
        if content == "list":
            on_redis.command(name, "RPUSH", name, "x", "y")
        else:
            on_redis.command(name, "SET", name, {"empty": b"", "short": b"x", "long": b"x" * 1000}[content])
    assert on_redis.state(b"a") in (None, "invalidated") or what in ("lock", "fence", "sequence")
    assert len(on_redis.store.sequence()) == 8
    assert swept(on_redis.store.sweep(b"*", dry_run=True))[0] == 1
    begun = on_redis.begin(b"a", b"f2", b"t")
    assert begun.held
    assert [len(one) for one in (begun.fence, begun.reading.versions.epoch or b"")] == [8, 8]
    assert [len(version or b"") for version in begun.reading.versions.tags.values()] == [8]
    assert on_redis.commit(b"a", begun, b"f2", payload=b"2")
    assert (on_redis.payload(b"a"), on_redis.state(b"a")) == (b"2", "fresh")
    assert on_redis.store.remove([b"a"])[0] == 1


@pytest.mark.parametrize("what", ["entry", "lock", "epoch", "fence", "tag", "sequence"])
@only_redis
def test_other_content_during_a_fill_stores_nothing_or_works(on_redis: Stored, what: str) -> None:
    begun = on_redis.begin(b"a", b"f1", b"t")
    for name in names(on_redis, what):
        on_redis.command(name, "DEL", name)
        on_redis.command(name, "RPUSH", name, "x")
    assert on_redis.commit(b"a", begun) == (what not in ("lock", "fence"))
    assert on_redis.state(b"a") == {"epoch": "invalidated", "tag": "invalidated", "lock": None, "fence": None}.get(
        what, "fresh"
    )
    on_redis.store.release(b"a", b"f1")
    INVALIDATIONS["renew_epoch"](on_redis.store)
    on_redis.store.renew_tags([b"t"])
    assert list(on_redis.store.sweep(b"*", dry_run=False))
    on_redis.fill(b"a", b"t", payload=b"2")
    assert on_redis.state(b"a") == "fresh"


@only_redis
def test_a_lock_without_an_end_blocks_nobody(on_redis: Stored) -> None:
    (name,) = names(on_redis, "lock")
    on_redis.command(name, "SET", name, b"f0")
    assert on_redis.begin(b"a", b"f1").held


@only_sqlite
def test_a_file_that_is_replaced_is_invalidated_where_it_is_now(stored: Stored) -> None:
    """A process that only invalidates must not write to a file that was deleted."""
    other = stored.another()
    stored.fill(b"a", b"t")
    assert other.remove([b"none"])[0] == 0  # opens the file
    for file in stored.path.parent.iterdir():
        file.unlink()
    stored.store.sequence()  # which looks for the file
    stored.fill(b"a", b"t")
    assert other.remove([b"a"])[0] == 1
    assert stored.payload(b"a") is None
    stored.fill(b"a", b"t")
    other.renew_tags([b"t"])
    assert stored.state(b"a") == "invalidated"
