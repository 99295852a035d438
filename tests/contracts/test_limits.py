"""One suite for every store of rate limits. The pure algorithms are the reference."""

import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.limit_checks import checked
from tests.redis_stores import ON_REDIS, redis_servers, redis_url

from backctl.application.ports.limits import LimitStore, Outcome, Request, Usage
from backctl.domain.rate_limit import ALGORITHMS, LIMIT_MAX, NEVER, WINDOW_MAX, Algorithm, Policy, decide
from backctl.infrastructure.redis.connection import RedisServers
from backctl.infrastructure.redis.limits import RedisLimits
from backctl.infrastructure.sqlite.limits import SqliteLimits

NOW = 1_795_000_000_000_000
SECOND = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


class Stored(NamedTuple):
    store: LimitStore
    clock: Clock
    another: Callable[[], LimitStore]
    """Opens the same store as another process would."""
    forgets: bool = True
    """Whether the store deletes states that have ended by its own clock. Redis does so by the clock of the computer."""


class AtClock:
    """A store on Redis whose scripts contain the time of the test."""

    def __init__(self, servers: RedisServers, namespace: str, clock: Clock) -> None:
        self._servers = servers
        self._namespace = namespace
        self._clock = clock

    def check(
        self, policies: Sequence[Policy], requests: Sequence[Request], *, consume: bool = True
    ) -> Sequence[Outcome]:
        return self._now().check(policies, requests, consume=consume)

    def reset(self, policies: Sequence[Policy], identifier: bytes, *, dry_run: bool = False) -> bool:
        return self._now().reset(policies, identifier, dry_run=dry_run)

    def usage(self, policies: Sequence[Policy]) -> Iterator[Usage]:
        return self._now().usage(policies)

    def close(self) -> None:
        self._servers.close()

    def _now(self) -> RedisLimits:
        source = f"local function now() return {self._clock.now} end\nlocal function expire() end\n"
        source += "local function set(key, value) redis.call('SET', key, value) end\n"
        return RedisLimits(self._servers, namespace=self._namespace, clock=source)


STORES = ("sqlite", *ON_REDIS)


@pytest.fixture(params=STORES)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Stored]]:
    """Opens a new, empty store each time."""
    kind: str = request.param
    stores: list[LimitStore] = []

    def open_new() -> Stored:
        clock, namespace = Clock(), secrets.token_hex(8)

        def open_store() -> LimitStore:
            if kind == "sqlite":
                stores.append(SqliteLimits(tmp_path / namespace / "limits.db", timeout_us=30 * SECOND, clock=clock))
            else:
                url = redis_url(request.getfixturevalue("servers"), kind)
                stores.append(AtClock(redis_servers(url), namespace, clock))
            return stores[-1]

        return Stored(open_store(), clock, open_store, kind == "sqlite")

    yield open_new
    for store in stores:
        store.close()


@pytest.fixture
def stored(opened: Callable[[], Stored]) -> Stored:
    return opened()


def admitted(store: LimitStore, policy: Policy, identifier: bytes = b"ada", cost: int = 1) -> bool:
    return checked(store, [policy], [Request(identifier, cost)])[0][0].allowed


@st.composite
def steps(draw: st.DrawFn, policies: list[Policy]) -> tuple[int, int, list[Policy], bool]:
    """Draw by how much the clock moves, a cost, the policies to check, and whether to consume."""
    window = max(policy.window for policy in policies)
    jumps = (0, 1, window // 3, 2 * window + 1, -2 * window)
    ahead = draw(st.one_of(st.integers(-window, window), st.sampled_from(jumps)))
    chosen = draw(st.lists(st.sampled_from(policies), min_size=1, unique_by=id))
    return ahead, draw(st.integers(1, 5)), chosen, draw(st.booleans())


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_the_store_agrees_with_the_pure_algorithms(opened: Callable[[], Stored], data: st.DataObject) -> None:
    windows = st.integers(1_000, 5_000)
    policies = [
        Policy(algorithm, data.draw(st.integers(1, 6)), data.draw(windows), algorithm, burst)
        for algorithm, burst in zip(ALGORITHMS, (None, None, data.draw(st.none() | st.integers(1, 8))), strict=True)
    ]
    store, clock, _, forgets = opened()
    reference = {policy: policy.begin() for policy in policies}
    for ahead, cost, chosen, consume in data.draw(st.lists(steps(policies), max_size=25)):
        clock.now += ahead
        states = [(policy, reference[policy]) for policy in chosen]
        expected = decide(states, cost, clock.now, consume=consume)
        assert checked(store, chosen, [Request(b"ada", cost)], consume=consume) == [expected]
        if consume and forgets:  # a clock that then goes back does not bring it back
            ended = [policy for policy, state in reference.items() if state.ends_at <= clock.now]
            reference.update((policy, policy.begin()) for policy in ended)


@st.composite
def large(draw: st.DrawFn, algorithm: Algorithm) -> Policy:
    """Draw a policy whose products exceed 64 bits."""
    limit = draw(st.integers(LIMIT_MAX // 2, LIMIT_MAX))
    window = draw(st.integers(WINDOW_MAX // 2, WINDOW_MAX))
    return Policy(algorithm, limit, window, algorithm, draw(st.integers(1, limit)) if algorithm == "gcra" else None)


@pytest.mark.parametrize("algorithm", ["sliding-counter", "gcra"])
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_large_numbers_are_exact(opened: Callable[[], Stored], algorithm: Algorithm, data: st.DataObject) -> None:
    policy = data.draw(large(algorithm))
    store, clock, _, _ = opened()
    state = policy.begin()
    for _ in range(data.draw(st.integers(1, 6))):
        clock.now += data.draw(st.integers(0, policy.window))
        cost = data.draw(st.integers(1, policy.capacity))
        assert checked(store, [policy], [Request(b"ada", cost)]) == [decide([(policy, state)], cost, clock.now)]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_threads_that_share_a_store_admit_exactly_the_limit(stored: Stored, algorithm: Algorithm) -> None:
    policy = Policy("p", 50, 60 * SECOND, algorithm)
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda _: admitted(stored.store, policy), range(200))) == 50


def test_another_process_sees_what_was_consumed(stored: Stored) -> None:
    policy = Policy("p", 2, SECOND)
    assert admitted(stored.store, policy)
    other = stored.another()
    assert [admitted(other, policy), admitted(other, policy), admitted(stored.store, policy)] == [True, False, False]


def test_identifiers_are_independent_whatever_their_bytes(stored: Stored) -> None:
    policy = Policy("p", 1, SECOND)
    identifiers = [
        b"",
        b"a",
        b"A",
        b"a ",
        b"{a}",
        b"a:b",
        b"a*",
        b"\0",
        b"\xff",
        b"\xc3\xa4",  # the same letter, composed
        b"a\xcc\x88",  # and decomposed
        b"x" * 1024,
    ]
    requests = [Request(identifier) for identifier in identifiers]
    assert all(answer[0].allowed for answer in checked(stored.store, [policy], requests))
    assert not any(answer[0].allowed for answer in checked(stored.store, [policy], requests))


def test_one_call_answers_in_the_order_of_the_requests(stored: Stored) -> None:
    policy = Policy("p", 3, SECOND)
    requests = [Request(b"a", 2), Request(b"b", 4), Request(b"a", 2), Request(b"a", 1)]
    answers = [answer[0] for answer in checked(stored.store, [policy], requests)]
    assert [(answer.allowed, answer.remaining, answer.retry_after) for answer in answers] == [
        (True, 1, 0),
        (False, 3, NEVER),
        (False, 1, SECOND),
        (True, 0, 0),
    ]


@pytest.mark.parametrize(
    "changed",
    [
        Policy("p", 2, SECOND),
        Policy("p", 1, 2 * SECOND),
        Policy("q", 1, SECOND),
        Policy("p", 1, SECOND, "gcra"),
        Policy("p", 1, SECOND, "sliding-counter"),
    ],
)
def test_a_changed_policy_starts_clean(stored: Stored, changed: Policy) -> None:
    assert admitted(stored.store, Policy("p", 1, SECOND))
    assert admitted(stored.store, changed)
    assert not admitted(stored.store, Policy("p", 1, SECOND))


def test_a_look_consumes_nothing(stored: Stored) -> None:
    policy = Policy("p", 1, SECOND)
    for _ in range(3):
        assert checked(stored.store, [policy], [Request(b"ada")], consume=False)[0][0].allowed
    assert admitted(stored.store, policy)
    assert not checked(stored.store, [policy], [Request(b"ada")], consume=False)[0][0].allowed


def test_a_reset_forgets_one_identifier(stored: Stored) -> None:
    one, two = Policy("one", 1, SECOND), Policy("two", 1, SECOND, "gcra")
    assert not stored.store.reset([one, two], b"ada")
    for identifier in (b"ada", b"bob"):
        assert all(decision.allowed for decision in checked(stored.store, [one, two], [Request(identifier)])[0])
    assert stored.store.reset([one, two], b"ada", dry_run=True)
    assert not admitted(stored.store, one)
    assert stored.store.reset([one, two], b"ada")
    assert not stored.store.reset([one, two], b"ada")
    assert admitted(stored.store, two)
    assert not admitted(stored.store, two, b"bob")


def test_usage_lists_the_identifiers_that_have_consumed_something(stored: Stored) -> None:
    policies = [Policy(algorithm, 2, SECOND, algorithm) for algorithm in ALGORITHMS]
    assert list(stored.store.usage(policies)) == []
    for identifier in (b"bob", b"ada"):
        checked(stored.store, policies[:2], [Request(identifier)])
    checked(stored.store, [policies[0]], [Request(b"ada")])
    checked(stored.store, [Policy("other", 1, SECOND)], [Request(b"eve")])
    found = [
        (usage.identifier, usage.decision.policy.name, usage.decision.allowed) for usage in stored.store.usage(policies)
    ]
    assert sorted(found) == [
        (b"ada", "sliding-counter", True),
        (b"ada", "sliding-window", False),
        (b"bob", "sliding-counter", True),
        (b"bob", "sliding-window", True),
    ]
    assert [identifier for identifier, _, _ in found] == [b"ada", b"ada", b"bob", b"bob"]
    stored.clock.now += 5 * SECOND
    assert list(stored.store.usage(policies)) == []


def test_a_store_that_was_closed_opens_again(stored: Stored) -> None:
    policy = Policy("p", 1, SECOND)
    assert admitted(stored.store, policy)
    stored.store.close()
    assert not admitted(stored.store, policy)


_WORKER = """
import sys, time
from pathlib import Path
from backctl.application.ports.limits import Request
from backctl.domain.rate_limit import Policy

_, place, algorithm, namespace = sys.argv
if "://" in place:
    from backctl.infrastructure.redis.address import parse_address
    from backctl.infrastructure.redis.connection import RedisServers
    from backctl.infrastructure.redis.limits import RedisLimits

    servers = RedisServers(
        parse_address(place), label="redis", timeout_s=60, monotonic=time.monotonic, pause=time.sleep
    )
    store = RedisLimits(servers, namespace=namespace)
else:
    from backctl.infrastructure.sqlite.limits import SqliteLimits

    store = SqliteLimits(Path(place), timeout_us=60_000_000, clock=lambda: time.time_ns() // 1000)
policy = Policy("p", 50, 3_600_000_000, algorithm)
sys.stdin.read()
print(sum(store.check([policy], [Request(b"ada")])[0][0].allowed for _ in range(200)))
"""


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", ["sqlite", "redis", "cluster"])
def test_processes_that_share_a_store_admit_exactly_the_limit(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, algorithm: str
) -> None:
    """Sixteen processes also create the file, or load the script, at the same moment."""
    place = str(tmp_path / "limits.db")
    if kind != "sqlite":
        place = redis_url(request.getfixturevalue("servers"), kind)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, place, algorithm, f"{tmp_path.name}-{algorithm}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(16)
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.close()
    counts = []
    for worker in workers:
        assert worker.stdout is not None
        with worker.stdout:
            counts.append(int(worker.stdout.read()))
        assert worker.wait(60) == 0
    assert sum(counts) == 50


@pytest.mark.parametrize("recreates", ["this process", "the other process"])
def test_processes_share_a_file_that_was_deleted_while_one_had_it_open(tmp_path: Path, recreates: str) -> None:
    place = tmp_path / "limits.db"
    store = SqliteLimits(place, timeout_us=60 * SECOND, clock=lambda: time.time_ns() // 1000)
    policy = Policy("p", 50, 3600 * SECOND, "sliding-window")

    def other() -> int:
        command = [sys.executable, "-c", _WORKER, str(place), "sliding-window", ""]
        return int(subprocess.run(command, input=b"", capture_output=True, check=True, timeout=120).stdout)

    assert sum(admitted(store, policy) for _ in range(20)) == 20
    for file in tmp_path.iterdir():
        file.unlink()
    if recreates == "this process":
        assert sum(admitted(store, policy) for _ in range(20)) == 20
        assert other() == 30
    else:
        assert other() == 50
    assert not admitted(store, policy)
    store.close()
