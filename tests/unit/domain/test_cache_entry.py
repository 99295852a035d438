"""The format of cache entries, when they may be used, and what their signatures protect."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.domain.cache_entry import (
    KEY_MAX,
    TAG_MAX,
    TAGS_MAX,
    Entry,
    State,
    Versions,
    checked_key,
    checked_tags,
    decoded,
    is_reserved,
)
from backctl.domain.errors import InvalidCacheEntry
from backctl.domain.values import SKEW

NOW = 1_795_000_000_000_000
SECOND = 1_000_000
SECRET = b"s" * 32
CONTEXT = b"installation\0user:1"
EPOCH, VERSION = b"epoch--1", b"version1"

versions = st.binary(min_size=8, max_size=8)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    created, soft, hard = sorted(draw(st.lists(st.integers(0, (1 << 63) - 1), min_size=3, max_size=3)))
    tags = draw(st.lists(st.tuples(st.binary(min_size=1, max_size=TAG_MAX), versions), max_size=TAGS_MAX))
    return Entry(
        created,
        soft,
        hard,
        draw(versions),
        tuple(tags),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.text(st.characters(codec="utf-8"), max_size=63)),
        draw(st.binary(max_size=100)),
        draw(st.just(b"") | st.binary(min_size=32, max_size=32)),
        draw(st.just(0) | st.integers(created, soft)),
        draw(st.booleans()),
    )


def an_entry(**changes: Any) -> Entry:
    entry = Entry(
        NOW, NOW + SECOND, NOW + 2 * SECOND, EPOCH, ((b"tag", VERSION), (b"t2", VERSION)), False, False, "box:1", b"[1]"
    )
    return entry._replace(**changes)


@given(entries())
def test_what_is_encoded_is_decoded(entry: Entry) -> None:
    assert decoded(entry.encoded()) == entry


@given(entries(), st.binary(min_size=1, max_size=40))
def test_a_signature_fits_after_a_round_trip_and_only_in_its_context(entry: Entry, other: bytes) -> None:
    read = decoded(entry.signed(SECRET, CONTEXT).encoded())
    assert read is not None
    assert read.is_signed(SECRET, CONTEXT)
    assert not read.is_signed(SECRET, CONTEXT + other)
    assert not read.is_signed(b"t" * 32, CONTEXT)
    assert not read._replace(payload=read.payload + other).is_signed(SECRET, CONTEXT)


def test_every_truncation_is_a_miss_or_has_a_wrong_signature() -> None:
    raw = an_entry().signed(SECRET, CONTEXT).encoded()
    for size in range(len(raw)):
        entry = decoded(raw[:size])
        assert entry is None or not entry.is_signed(SECRET, CONTEXT)


def test_every_bit_flip_is_a_miss_or_has_a_wrong_signature() -> None:
    raw = an_entry(writer="schöne:1").signed(SECRET, CONTEXT).encoded()
    for place in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[place // 8] ^= 1 << place % 8
        entry = decoded(bytes(damaged))
        assert entry is None or not entry.is_signed(SECRET, CONTEXT), place


def test_a_flag_that_this_version_does_not_know_is_a_miss() -> None:
    raw = bytearray(an_entry().encoded())
    for flag in (16, 32, 64, 128):
        assert decoded(bytes(raw[:4]) + bytes([raw[4] | flag]) + bytes(raw[5:])) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_without_an_error(noise: bytes) -> None:
    assert decoded(noise) is None
    entry = decoded(b"bkc\x02" + noise)
    if entry is not None:
        assert not entry.is_signed(SECRET, CONTEXT)
        assert entry.state(Versions(None, {}), NOW) == "invalidated"


@pytest.mark.parametrize("version", [0, 1, 3, 255])
def test_another_format_version_is_a_miss(version: int) -> None:
    raw = an_entry().encoded()
    assert decoded(raw[:3] + bytes([version]) + raw[4:]) is None


@pytest.mark.parametrize("raw", [None, "bkc\x02", 0, [b"bkc\x02"], b"", b"bkc\x02", memoryview(b"bkc\x02" * 20)])
def test_what_is_not_an_entry_is_a_miss(raw: object) -> None:
    assert decoded(raw) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"soft_at": NOW - 1},
        {"hard_at": NOW},
        {"hard_at": 1 << 63},
        {"hard_at": (1 << 64) - 1},
        {"created_at": NOW + 5 * SECOND},
        {"renew_at": NOW - 1},
        {"renew_at": NOW + SECOND + 1},
        {"renew_at": (1 << 64) - 1},
    ],
)
def test_times_in_the_wrong_order_are_a_miss(changes: dict[str, int]) -> None:
    assert decoded(an_entry(**changes).encoded()) is None


@pytest.mark.parametrize("writer", ["x" * 255, "é" * 127])
def test_a_long_writer_is_stored_whole(writer: str) -> None:
    assert decoded(an_entry(writer=writer).encoded()) == an_entry(writer=writer)


@pytest.mark.parametrize("writer", ["x" * 300, "é" * 128, "box\udcff:1"])
def test_a_writer_that_cannot_be_stored_does_not_break_the_signature(writer: str) -> None:
    entry = decoded(an_entry(writer=writer).signed(SECRET, CONTEXT).encoded())
    assert entry is not None
    assert entry.payload == b"[1]"
    assert entry.is_signed(SECRET, CONTEXT)


CURRENT = Versions(EPOCH, {b"tag": VERSION, b"t2": VERSION, b"unrelated": b"whatever"})


@dataclass(frozen=True)
class Case:
    entry: Entry
    versions: Versions
    now: int
    state: State


CASES = {
    "at its creation": Case(an_entry(), CURRENT, NOW, "fresh"),
    "before its soft end": Case(an_entry(), CURRENT, NOW + SECOND - 1, "fresh"),
    "at its soft end": Case(an_entry(), CURRENT, NOW + SECOND, "stale"),
    "before its hard end": Case(an_entry(), CURRENT, NOW + 2 * SECOND - 1, "stale"),
    "at its hard end": Case(an_entry(), CURRENT, NOW + 2 * SECOND, "expired"),
    "without a stale phase": Case(an_entry(hard_at=NOW + SECOND), CURRENT, NOW + SECOND, "expired"),
    "another epoch": Case(an_entry(), CURRENT._replace(epoch=b"epoch--2"), NOW, "invalidated"),
    "no epoch": Case(an_entry(), CURRENT._replace(epoch=None), NOW, "invalidated"),
    "an empty epoch and none": Case(an_entry(epoch=b""), CURRENT._replace(epoch=None), NOW, "invalidated"),
    "another version of a tag": Case(
        an_entry(), CURRENT._replace(tags={b"tag": VERSION, b"t2": b"version2"}), NOW, "invalidated"
    ),
    "a tag without a version": Case(
        an_entry(), CURRENT._replace(tags={b"tag": VERSION, b"t2": None}), NOW, "invalidated"
    ),
    "a tag that was not read": Case(an_entry(), CURRENT._replace(tags={b"tag": VERSION}), NOW, "invalidated"),
    "one of two versions of a tag": Case(
        an_entry(tags=((b"tag", VERSION), (b"tag", b"version2"))), CURRENT, NOW, "invalidated"
    ),
    "no tags": Case(an_entry(tags=()), CURRENT._replace(tags={}), NOW, "fresh"),
    "from a slightly faster clock": Case(an_entry(), CURRENT, NOW - SKEW, "fresh"),
    "from the future": Case(an_entry(), CURRENT, NOW - SKEW - 1, "expired"),
    "invalidated rather than ended": Case(an_entry(), CURRENT._replace(epoch=None), NOW + 9 * SECOND, "invalidated"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_whether_an_entry_may_be_used(case: Case) -> None:
    assert case.entry.state(case.versions, case.now) == case.state


@pytest.mark.parametrize(
    "changes",
    [
        {"created_at": NOW - 1},
        {"soft_at": NOW + 2 * SECOND},
        {"hard_at": NOW + 3 * SECOND},
        {"epoch": b"epoch--2"},
        {"tags": ()},
        {"tags": ((b"tag", VERSION),)},
        {"tags": ((b"t2", VERSION), (b"tag", VERSION))},
        {"tags": ((b"tag", VERSION), (b"t2", b"version2"))},
        {"negative": True},
        {"binary": True},
        {"writer": "box:2"},
        {"payload": b"[2]"},
        {"payload": b""},
        {"mac": b""},
        {"mac": bytes(32)},
        {"renew_at": NOW + 1},
        {"renewed": True},
    ],
)
def test_a_signature_covers_every_field(changes: dict[str, Any]) -> None:
    signed = an_entry().signed(SECRET, CONTEXT)
    assert signed.is_signed(SECRET, CONTEXT)
    assert not signed._replace(**changes).is_signed(SECRET, CONTEXT)


def test_bytes_do_not_move_between_the_context_the_header_and_the_payload() -> None:
    mac = an_entry().signed(SECRET, b"ab").mac
    assert an_entry().signed(SECRET, b"a").mac != mac
    assert an_entry(writer="box:1[", payload=b"1]").signed(SECRET, b"ab").mac != mac


def test_keys() -> None:
    assert checked_key("é" * (KEY_MAX // 2)) == ("é" * (KEY_MAX // 2)).encode()
    assert checked_key("\0") == b"\0"
    assert checked_key("\udcff:\udc80") == b"\xff:\x80"  # bytes that the command line received
    with pytest.raises(InvalidCacheEntry, match="empty"):
        checked_key("")
    with pytest.raises(InvalidCacheEntry, match="513 bytes"):
        checked_key("x" * (KEY_MAX + 1))
    with pytest.raises(InvalidCacheEntry, match="514 bytes"):
        checked_key("é" * (KEY_MAX // 2 + 1))


@pytest.mark.parametrize("key", ["\ud800", "x\udfff", "\udcc3\udca9"])
def test_a_key_that_has_no_bytes_of_its_own_is_refused(key: str) -> None:
    """Otherwise, the memory would have two keys for one entry of the store, and an invalidation drops one of them."""
    with pytest.raises(InvalidCacheEntry):
        checked_key(key)


def test_tags() -> None:
    assert checked_tags(["b", "a", "b"]) == (b"b", b"a")
    assert checked_tags([]) == ()
    assert checked_tags(["x" * TAG_MAX]) == (b"x" * TAG_MAX,)
    assert len(checked_tags([*map(str, range(TAGS_MAX)), "0"])) == TAGS_MAX
    with pytest.raises(InvalidCacheEntry, match="17 tags"):
        checked_tags([*map(str, range(TAGS_MAX + 1))])
    for tag in ("", "x" * (TAG_MAX + 1), "é" * (TAG_MAX // 2 + 1), "\ud800"):
        with pytest.raises(InvalidCacheEntry):
            checked_tags(["good", tag])
    with pytest.raises(InvalidCacheEntry, match="string"):
        checked_tags("report")


@pytest.mark.parametrize(
    ("key", "reserved"),
    [
        (b"user", True),
        (b"user:", True),
        (b"user:1", True),
        (b"user::", True),
        (b"revocation:x:y", True),
        (b"users:1", False),
        (b"User:1", False),
        (b" user:1", False),
        (b":user:1", False),
        (b"report:user:1", False),
        (b"user\0:1", False),
        (b"", False),
    ],
)
def test_reserved_namespaces(key: bytes, reserved: bool) -> None:
    assert is_reserved(key) is reserved
