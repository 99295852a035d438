"""Settings of the cache, in a backend that was opened with them."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import backctl
from backctl.backend import Backend


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExitStack]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with ExitStack() as backends:
        yield backends


def open_backend(opened: ExitStack, **settings: str) -> Backend:
    environ = {f"BACKCTL_CACHE_{name.upper()}": value for name, value in settings.items()}
    return opened.enter_context(backctl.open_backend(environ=environ))


@pytest.mark.parametrize("memory", ["1000", "0"])
def test_none_is_not_cached_if_the_setting_is_zero(opened: ExitStack, memory: str) -> None:
    cache = open_backend(opened, negative_ttl="0s", memory_entries=memory).cache
    found = [None, None, 1]
    assert [cache.get_or_load("k", lambda: found.pop(0)) for _ in range(5)] == [None, None, 1, 1, 1]
    cache.delete("k")
    found[:] = [None, 2]
    assert [cache.get_or_load("k", lambda: found.pop(0), negative_ttl=60) for _ in range(2)] == [None, None]
