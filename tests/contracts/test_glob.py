"""Globs match the same keys as a real Redis and a real Valkey."""

import platform
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.redis_servers import FLAVOURS
from tests.servers import Servers

from backctl.domain.glob import Glob, literal_glob

DATABASE = 9  # other tests use database 0
BATCH = 500
# C's `char` is unsigned on Linux for ARM, so ranges with high bytes differ there.
HIGH_BYTES = b"" if platform.machine() == "aarch64" else b"\x80\xff"
ALPHABET = b"ab*?[]^-\\!\x00" + HIGH_BYTES
WEIGHTED = ALPHABET + b"**[[]\\-"
PIECES = st.sampled_from([b"[", b"]", b"[^", b"*", b"?", b"\\", b"-", b"a", b"b", b"a-b", b"]-a", b"\\]", b"a-\\"])
PATTERNS = st.lists(PIECES, max_size=8).map(b"".join) | st.lists(st.sampled_from(WEIGHTED), max_size=12).map(bytes)
TEXTS = st.lists(st.sampled_from(ALPHABET), max_size=6).map(bytes)


@pytest.fixture(params=FLAVOURS)
def keys(request: pytest.FixtureRequest, servers: Servers) -> Iterator["Keys"]:
    with redis.Redis.from_url(servers.redis(request.param).url(DATABASE), protocol=2) as client:
        client.flushdb()
        yield Keys(client)
        client.flushdb()


class Keys:
    """The keys of a database that this test alone uses."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.stored: list[bytes] = []

    def store(self, texts: Iterable[bytes]) -> None:
        """Replace all keys."""
        self.stored = sorted(set(texts))
        pipeline = self.client.pipeline()
        pipeline.flushdb()
        for text in self.stored:
            pipeline.set(text, b"")
        pipeline.execute()

    def differences(self, patterns: Sequence[bytes]) -> list[tuple[bytes, list[bytes]]]:
        """Return each pattern for which our matches differ from those of KEYS, with the keys that differ."""
        found = []
        for start in range(0, len(patterns), BATCH):
            batch = patterns[start : start + BATCH]
            pipeline = self.client.pipeline(transaction=False)
            for pattern in batch:
                pipeline.keys(pattern)
            answers: list[Any] = pipeline.execute()
            for pattern, answer in zip(batch, answers, strict=True):
                glob = Glob(pattern)
                if different := {text for text in self.stored if glob.matches(text)} ^ set(answer):
                    found.append((pattern, sorted(different)))
        return found


def random_texts(source: random.Random, count: int, alphabet: bytes, longest: int) -> list[bytes]:
    return [bytes(source.choices(alphabet, k=source.randint(0, longest))) for _ in range(count)]


def test_every_short_pattern_matches_the_same_keys(keys: Keys) -> None:
    keys.store(bytes(text) for length in range(3) for text in product(ALPHABET, repeat=length))
    patterns = [bytes(pattern) for length in range(4) for pattern in product(ALPHABET, repeat=length)]
    assert keys.differences(patterns) == []


def test_random_patterns_match_the_same_keys(keys: Keys) -> None:
    source = random.Random(20_261_122)
    patterns = random_texts(source, 4_000, WEIGHTED, 12)
    keys.store([*random_texts(source, 200, ALPHABET, 6), *(b"a" * length for length in range(8))])
    assert keys.differences(patterns) == []


def test_classes_match_the_same_bytes(keys: Keys) -> None:
    source = random.Random(20_261_123)
    keys.store(bytes([byte]) for byte in range(256))
    alphabet = bytes(range(256 if HIGH_BYTES else 128)) + b"]^\\" * 10 + b"-" * 100
    contents = random_texts(source, 2_000, alphabet, 10)
    patterns = [b"[" + content + source.choice([b"", b"]", b"]*"]) for content in contents]
    assert keys.differences(patterns) == []


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PATTERNS, min_size=1, max_size=10), st.lists(TEXTS, max_size=20))
def test_drawn_patterns_match_the_same_keys(keys: Keys, patterns: list[bytes], texts: list[bytes]) -> None:
    keys.store([*texts, *patterns, *(Glob(pattern).literal for pattern in patterns)])
    assert keys.differences(patterns) == []


def test_a_literal_glob_finds_only_its_key(keys: Keys) -> None:
    source = random.Random(20_261_124)
    keys.store(random_texts(source, 200, ALPHABET, 6))
    pipeline = keys.client.pipeline(transaction=False)
    for text in keys.stored:
        pipeline.keys(literal_glob(text))
    assert pipeline.execute() == [[text] for text in keys.stored]


def test_scan_matches_the_same_keys(keys: Keys) -> None:
    """Redis implements SCAN apart from KEYS."""
    source = random.Random(20_261_125)
    keys.store([b"", b"*", *random_texts(source, 100, ALPHABET, 6)])
    for pattern in [b"", b"*", b"**", b"***", b"[^]*", b"[^", *random_texts(source, 200, WEIGHTED, 8)]:
        glob = Glob(pattern)
        found = set(keys.client.scan_iter(match=pattern, count=1000))
        assert found == {text for text in keys.stored if glob.matches(text)}, pattern
