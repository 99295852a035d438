"""One suite for every shared level of the cache."""

import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.contracts.cache_stores import INVALIDATIONS, Stored, swept

from backctl.domain.cache_entry import decoded

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
