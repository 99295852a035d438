"""Values that are cached, over every store."""

import json
from typing import Any

import pytest
from tests.contracts.cache_levels import Loader, Process, World, load_at_once, two_stores

from backctl.application.cache_entries import CacheEntryService
from backctl.domain.errors import InvalidCacheEntry


@two_stores
@pytest.mark.parametrize(
    "value", [None, 0, "", [], {}, False, b"", 0.0, True, 1 << 80, "é\0", b"\xff\0", [None], {"a": [1, {"b": None}]}]
)
def test_every_value_is_a_value(process: Process, world: World, value: Any) -> None:
    loader = Loader(value)
    for _ in range(3):
        found = process.cache.get_or_load("k", loader)
        assert (found, type(found)) == (value, type(value))
    assert loader.calls == 1
    other = world.process().cache
    assert other.get("k", "default") == value
    assert other.get("missing", "default") == "default"
    stored = CacheEntryService(other).value("k")
    assert (stored.value, stored.format) == (value, "bytes" if isinstance(value, bytes) else "json")


@two_stores
@pytest.mark.parametrize("value", [None, 0, "", [], False, b""])
def test_every_value_can_be_set_and_written(process: Process, value: Any) -> None:
    assert process.cache.set("k", value)
    assert process.cache.get("k", "default") == value
    assert process.cache.write_through("k2", value, lambda written: (written, 1)) == (value, 1)
    assert process.cache.get("k2", "default") == value
    assert process.cache.get_or_load("k2", Loader("other")) == value


@two_stores
def test_a_loaded_value_has_the_types_of_json_at_once(process: Process) -> None:
    for _ in range(2):
        assert process.cache.get_or_load("k", lambda: {"t": (1, 2), 3: "n"}) == {"t": [1, 2], "3": "n"}


@two_stores
@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), {"a": b""}, "\ud800"])
def test_what_json_cannot_express_is_refused_and_the_lock_is_released(process: Process, value: Any) -> None:
    with pytest.raises(InvalidCacheEntry):
        process.cache.get_or_load("k", lambda: value)
    with pytest.raises(InvalidCacheEntry):
        process.cache.set("k", value)
    with pytest.raises(InvalidCacheEntry):
        process.cache.write_through("k", value, lambda written: pytest.fail("it was written"))
    before = process.times.monotonic
    assert process.cache.get_or_load("k", Loader(1)) == 1
    assert process.times.monotonic == before


@two_stores
def test_a_large_value_is_returned_but_not_kept(process: Process, caplog: pytest.LogCaptureFixture) -> None:
    loader = Loader("x" * (1 << 20))
    assert process.cache.get_or_load("k", loader) == loader.value
    assert process.cache.get_or_load("k", loader) == loader.value
    assert loader.calls == 2
    assert "is not cached" in caplog.text


@two_stores
@pytest.mark.parametrize("depth", [10, 300, 600, 900])
def test_a_deep_value_is_returned_or_refused(process: Process, depth: int) -> None:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]

    def load() -> int:
        try:
            return len(json.dumps(process.cache.get_or_load("k", lambda: value)))
        except InvalidCacheEntry:
            return 0

    assert {load() for _ in range(3)} <= ({2 * depth + 2} if depth <= 300 else {0, 2 * depth + 2})


def test_nobody_changes_the_value_of_another(process: Process, world: World) -> None:
    def value() -> dict[str, Any]:
        return {"list": [1, {"deep": [2]}], "n": 1}

    first = process.cache.get_or_load("k", value)
    first["list"][1]["deep"].append("changed")
    first["new"] = 1
    second = process.cache.get_or_load("k", value)
    assert second == value()
    second["list"].clear()
    third = process.cache.get("k")
    assert third == value()
    third["list"][1].clear()
    assert process.cache.get_or_load("k", value) == value()
    flat = process.cache.get_or_load("flat", lambda: [1, 2])
    flat.append(3)
    assert process.cache.get_or_load("flat", lambda: [0]) == [1, 2]
    assert world.process().cache.get("k") == value()


def test_threads_that_wait_for_one_loader_do_not_share_its_value(process: Process) -> None:
    found = load_at_once(process, Loader([1]), 8)
    for value in found:
        value.append("changed")
    assert [len(value) for value in found] == [2] * 8
