"""Signed entries that others have changed or copied."""

import logging
from collections.abc import Callable

import pytest
from tests.contracts.cache_levels import SECOND, SIGNED, TTL, Away, Loader, Process, World, two_stores

from backctl.application.cache_envelope import Seal
from backctl.domain.cache_entry import Entry
from backctl.domain.cache_entry import decoded as entry_of


def raw_entry(process: Process, key: bytes) -> bytes:
    (reading,) = process.store.read([key], [[]])
    assert isinstance(reading.entry, bytes)
    return reading.entry


def put_raw(process: Process, key: bytes, raw: bytes) -> None:
    """Store bytes as somebody would who can write to the store."""
    begun = process.store.begin(key, b"x", [], hold_us=SECOND, keep_us=SECOND, take_over=True)
    assert process.store.complete(key, b"x", begun.fence, raw, ttl_us=3600 * SECOND)


def flipped(raw: bytes, entry: Entry) -> bytes:
    place = raw.index(b'"role"')
    return raw[: place + 1] + bytes([raw[place + 1] ^ 1]) + raw[place + 2 :]


TAMPERED: dict[str, Callable[[bytes, Entry], bytes]] = {
    "a flipped byte": flipped,
    "another role": lambda raw, entry: raw.replace(b'"guest"', b'"admin"'),
    "no signature": lambda raw, entry: entry._replace(mac=b"").encoded(),
    "no signature, another role": lambda raw, entry: entry._replace(mac=b"", payload=b'{"role":"admin"}').encoded(),
    "an empty signature": lambda raw, entry: entry._replace(mac=bytes(32)).encoded(),
    "a later end": lambda raw, entry: entry._replace(soft_at=entry.soft_at + 1, hard_at=entry.hard_at + 1).encoded(),
    "no tags": lambda raw, entry: entry._replace(tags=()).encoded(),
    "an unknown secret": lambda raw, entry: entry.signed(b"x" * 32, b"inst-1\0user:1").encoded(),
    "another installation": lambda raw, entry: entry.signed(b"s" * 32, b"inst-2\0user:1").encoded(),
    "another key": lambda raw, entry: entry.signed(b"s" * 32, b"inst-1\0user:2").encoded(),
}


@two_stores
@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
def test_a_tampered_account_is_a_miss_with_one_warning(
    process: Process, tamper: Callable[[bytes, Entry], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    good = {"role": "guest", "name": "ada"}
    load = Loader(good)
    assert process.levels.load("user:1", load, SIGNED) == good
    raw = raw_entry(process, b"user:1")
    entry = entry_of(raw)
    assert entry is not None
    put_raw(process, b"user:1", tamper(raw, entry))
    process.memory.clear()
    assert process.levels.load("user:1", load, SIGNED) == good
    assert load.calls == 2
    warnings = [record.message for record in caplog.records if "signature" in record.message]
    assert len(warnings) == 1
    assert "user:1" in warnings[0]
    process.memory.clear()
    assert process.levels.load("user:1", load, SIGNED) == good
    assert load.calls == 2  # it was replaced by a good one


def test_a_copied_account_is_a_miss(process: Process, world: World, caplog: pytest.LogCaptureFixture) -> None:
    process.levels.load("user:admin", Loader({"role": "admin"}), SIGNED)
    put_raw(process, b"user:1", raw_entry(process, b"user:admin"))
    other = world.process()
    assert other.levels.load("user:1", Loader({"role": "guest"}), SIGNED) == {"role": "guest"}
    assert other.levels.load("user:1", Loader("not asked"), SIGNED) == {"role": "guest"}
    assert sum("signature" in record.message for record in caplog.records) == 1


def test_a_tampered_account_never_replaces_a_loader_that_fails(
    process: Process, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    load = Loader({"role": "guest"})
    process.levels.load("user:1", load, SIGNED)
    put_raw(process, b"user:1", raw_entry(process, b"user:1").replace(b"guest", b"admin"))
    process.memory.clear()
    world.times.pass_by(TTL / SECOND)
    load.error = LookupError("no")
    with pytest.raises(LookupError):
        process.levels.load("user:1", load, SIGNED)
    assert sum("signature" in record.message for record in caplog.records) == 1


def test_an_account_of_a_process_with_another_keyring_is_a_miss(world: World) -> None:
    one, two = world.process(), world.process(secret=b"t" * 32)
    one.levels.load("user:1", Loader(1), SIGNED)
    assert two.levels.load("user:1", Loader(2), SIGNED) == 2


def test_without_a_keyring_loaders_answer(world: World) -> None:
    process = world.process()

    def no_keyring() -> Seal:
        raise Away("no keyring", hint=None)

    process.levels._envelope._seal = no_keyring
    for _ in range(3):
        assert process.levels.load("user:1", Loader(1), SIGNED) == 1
        world.times.pass_by(1.5)
    assert process.cache.get_or_load("k", Loader(2)) == 2


@two_stores
def test_a_clock_that_is_set_back_does_not_keep_accounts_out_of_the_cache(world: World) -> None:
    process = world.process()
    seal = process.levels._envelope._seal

    def no_keyring() -> Seal:
        raise Away("no keyring", hint=None)

    process.levels._envelope._seal = no_keyring
    process.levels.load("user:1", Loader(1), SIGNED)
    process.levels._envelope._seal = seal
    world.times.now -= 3600 * SECOND
    loader = Loader(1)
    for _ in range(2):
        process.levels.load("user:1", loader, SIGNED)
    assert loader.calls == 1


def test_a_store_that_is_away_is_reported_once_for_accounts_too(world: World, caplog: pytest.LogCaptureFixture) -> None:
    process = world.process()
    process.store.away = True
    for _ in range(4):
        assert process.levels.load("user:1", Loader(1), SIGNED) == 1
        world.times.pass_by(2)
    assert len(process.store.calls) == 4
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
    process.store.away = False
    load = Loader(2)
    for _ in range(2):
        assert process.levels.load("user:1", load, SIGNED) == 2
    assert load.calls == 1
    assert caplog.records[-1].message == "the cache is available again"
