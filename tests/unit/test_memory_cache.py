"""The level of the cache in the memory of a process."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from backctl.application.cache_values import itself
from backctl.application.ports.cache import Change, Held
from backctl.infrastructure.memory.cache import MemoryCache


def held(value: object, *tags: bytes) -> Held:
    return Held(value, 1e9, tags, itself)


def filled(*keys: str, size: int = 100) -> MemoryCache:
    memory = MemoryCache(size)
    for key in keys:
        memory.put(key, held(key), generation=memory.generation)
    return memory


def kept(memory: MemoryCache, *keys: str) -> list[str]:
    return [key for key in keys if memory.get(key) is not None]


def test_what_is_put_is_found() -> None:
    memory = filled("a")
    found = memory.get("a")
    assert found is not None
    assert found.value == "a"
    assert memory.get("b") is None


def test_the_last_put_of_a_key_replaces_the_others() -> None:
    memory = filled("a")
    memory.put("a", held(2), generation=memory.generation)
    found = memory.get("a")
    assert found is not None
    assert (found.value, len(memory)) == (2, 1)


def test_it_never_exceeds_its_size() -> None:
    memory = MemoryCache(3)
    for number in range(50):
        memory.put(str(number), held(number), generation=memory.generation)
        assert len(memory) == min(number + 1, 3)
    assert kept(memory, *map(str, range(50))) == ["47", "48", "49"]


def test_the_least_recently_used_is_forgotten_first() -> None:
    memory = filled("a", "b", "c", size=3)
    memory.get("a")
    memory.put("b", held("new"), generation=memory.generation)
    memory.put("d", held("d"), generation=memory.generation)
    assert kept(memory, "a", "b", "c", "d") == ["a", "b", "d"]


def test_a_size_of_zero_keeps_nothing() -> None:
    memory = filled("a", size=0)
    assert not memory.is_used
    assert len(memory) == 0
    assert MemoryCache(1).is_used


ODD = "\udcff\udc80"  # the bytes ff 80


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (Change("keys", (b"a", b"missing")), ["é:1", "x*", "x1", ODD]),
        (Change("keys", ("é:1".encode(),)), ["a", "x*", "x1", ODD]),
        (Change("keys", (b"\xff\x80",)), ["a", "é:1", "x*", "x1"]),
        (Change("keys", (b"x*",)), ["a", "é:1", "x1", ODD]),
        (Change("keys"), ["a", "é:1", "x*", "x1", ODD]),
        (Change("glob", (b"x*",)), []),  # matching could take long
        (Change("all"), []),
    ],
)
def test_a_change_drops_what_it_names(change: Change, left: list[str]) -> None:
    keys = ("a", "é:1", "x*", "x1", ODD)
    memory = filled(*keys)
    memory.drop(change)
    assert kept(memory, *keys) == left


def test_a_change_of_tags_drops_values_with_any_of_them() -> None:
    memory = MemoryCache(10)
    for key, tags in {"a": (b"x",), "b": (b"x", b"y"), "c": (b"xy",), "d": ()}.items():
        memory.put(key, held(key, *tags), generation=memory.generation)
    memory.drop(Change("tags", (b"y", b"z")))
    assert kept(memory, "a", "b", "c", "d") == ["a", "c", "d"]
    memory.drop(Change("tags", (b"x",)))
    assert kept(memory, "a", "b", "c", "d") == ["c", "d"]


@pytest.mark.parametrize(
    "change", [Change("keys", (b"other",)), Change("tags", (b"t",)), Change("glob", (b"n",)), None]
)
def test_a_value_from_before_any_change_is_refused(change: Change | None) -> None:
    """The change may concern the value, which is not there yet."""
    memory = MemoryCache(10)
    generation = memory.generation
    memory.clear() if change is None else memory.drop(change)
    memory.put("a", held(1), generation=generation)
    assert memory.get("a") is None
    memory.put("a", held(1), generation=memory.generation)
    assert memory.get("a") is not None


def test_clear_drops_everything() -> None:
    memory = filled("a", "b")
    memory.clear()
    assert len(memory) == 0


def test_threads_use_it_at_once() -> None:
    memory, start = MemoryCache(20), threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for round_ in range(400):
            key = str((number * 7 + round_) % 40)
            memory.put(key, held(key, key.encode()), generation=memory.generation)
            found = memory.get(key)
            assert found is None or found.value == key
            match round_ % 40:
                case 10:
                    memory.drop(Change("tags", (key.encode(),)))
                case 20:
                    memory.drop(Change("glob", (b"1*",)))
                case 30:
                    memory.clear()
            assert len(memory) <= 20

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert memory.generation == 8 * 30
