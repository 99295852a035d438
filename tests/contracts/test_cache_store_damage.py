"""Keys on Redis with content that another program has written."""

from collections.abc import Sequence

import pytest
from tests.contracts.cache_stores import INVALIDATIONS, Stored, only_redis, only_sqlite, swept


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
