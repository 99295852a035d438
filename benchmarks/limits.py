"""Rate limits compared with `limits` and `throttled-py` on the same Redis server, and with a pipeline of redis-py."""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import redis
import throttled
from limits import parse, storage, strategies
from tests.limit_checks import checked
from tests.redis_servers import RedisServer
from throttled import rate_limiter, store

from backctl.application.ports.limits import LimitStore, Request
from backctl.domain.rate_limit import ALGORITHMS, Policy
from backctl.infrastructure.redis.address import parse_address
from backctl.infrastructure.redis.connection import RedisServers
from backctl.infrastructure.redis.limits import RedisLimits, script
from backctl.infrastructure.sqlite.limits import SqliteLimits
from benchmarks.calls import Call, interleaved_calls
from benchmarks.measure import Broken, Command, interleaved
from benchmarks.report import Comparison, Figure, section
from benchmarks.sandbox import Sandbox

HOUR = 3_600_000_000
MANY = 1_000_000
"""A limit that no benchmark reaches, where the algorithm permits it."""
BATCH = 4096
FULL = 1000
PROCESSES, ADMITTED = 200, 50
_LOG_MAX = 100_000

_COMPARABLE = {
    "sliding-window": ("limits MovingWindow",),  # both exact
    "sliding-counter": (
        "limits SlidingWindowCounter",
        "throttled-py sliding_window",
    ),  # both an estimate from two counts
    "gcra": ("throttled-py gcra",),
}

_PASS = "python -c pass"
_SCRIPT = """
import sys
from limits import parse, storage, strategies

limiter = strategies.MovingWindowRateLimiter(storage.storage_from_string(sys.argv[1]))
sys.exit(0 if limiter.hit(parse("100000/hour"), "ada") else 6)
"""


def checking(sandbox: Sandbox, rounds: int) -> str:
    """Single checks in a service, each of another of 100 identifiers, and checks of many identifiers at once."""
    with _server(sandbox) as server:
        limits = _limits(server)
        calls = [_ours(f"backctl {algorithm}", limits, algorithm) for algorithm in ALGORITHMS]
        file = SqliteLimits(sandbox.root / "limits.db", timeout_us=10_000_000, clock=lambda: time.time_ns() // 1000)
        calls += [_ours(f"backctl {algorithm}, SQLite", file, algorithm) for algorithm in ALGORITHMS]
        peers = _peers(server)
        calls += [Call(name, function) for name, function in peers.items()]
        single = section(
            "Checking a rate limit",
            interleaved_calls(calls, rounds),
            [Comparison(f"backctl {ours}", peer, 1 / 1.2) for ours, theirs in _COMPARABLE.items() for peer in theirs],
            (_memory(server),),
            what="check",
            unit="µs",
        )
        many = _batches(server, limits, rounds)
        file.close()
        limits.close()
    return single + "\n" + many


def once(sandbox: Sandbox, rounds: int) -> str:
    """One check in a new process; and 200 processes at once against a limit of 50."""
    with _server(sandbox) as server:
        environment = sandbox.environment("embedded")
        on_redis = sandbox.environment("redis", BACKCTL_REDIS_URL=server.url())
        check = (*sandbox.backctl, "ratelimit", "check", "-q", "demo", "ada", "--rate", "100000/1h")
        commands = [
            Command(_PASS, (sys.executable, "-c", "pass"), environment),
            Command("ratelimit check, embedded", check, environment),
            Command("ratelimit check, Redis", check, on_redis),
            Command("a script with limits", (sys.executable, "-c", _SCRIPT, server.url()), environment),
        ]
        return section(
            "One check in a process",
            interleaved(commands, rounds),
            [
                Comparison("ratelimit check, Redis", "a script with limits", 1.0),
                Comparison("ratelimit check, embedded", _PASS, 8),
            ],
            [_exactness("embedded", sandbox, environment), _exactness("Redis", sandbox, on_redis)],
        )


class _server:  # noqa: N801 - a context manager, used like a function
    """A Redis server that stops at the end."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._server = RedisServer()

    def __enter__(self) -> RedisServer:
        return self._server

    def __exit__(self, *_: object) -> None:
        self._server.close()


def _limits(server: RedisServer) -> RedisLimits:
    servers = RedisServers(
        parse_address(server.url()), label="redis", timeout_s=10, monotonic=time.monotonic, pause=time.sleep
    )
    return RedisLimits(servers, namespace="bench")


def _ours(name: str, limits: LimitStore, algorithm: Any) -> Call:
    policy = Policy("p", _LOG_MAX if algorithm == "sliding-window" else MANY, HOUR, algorithm)
    numbers = itertools.count()

    def check() -> bool:
        request = Request(b"user%d" % (next(numbers) % 100))
        return checked(limits, [policy], [request])[0][0].allowed

    return Call(name, check)


def _peers(server: RedisServer) -> dict[str, Callable[[], bool]]:
    """Return a check of each peer, with its fastest comparable algorithms."""
    kept = storage.storage_from_string(server.url())
    rate = parse(f"{_LOG_MAX}/hour")
    numbers = itertools.count()

    def hit(limiter: strategies.RateLimiter) -> bool:
        return bool(limiter.hit(rate, f"user{next(numbers) % 100}"))

    def limit(limiter: throttled.Throttled) -> bool:
        return not limiter.limit(f"user{next(numbers) % 100}").limited

    found: dict[str, Callable[[], bool]] = {
        "limits MovingWindow": partial(hit, strategies.MovingWindowRateLimiter(kept)),
        "limits SlidingWindowCounter": partial(hit, strategies.SlidingWindowCounterRateLimiter(kept)),
    }
    for using in ("sliding_window", "gcra"):
        quota = rate_limiter.per_hour(_LOG_MAX, burst=_LOG_MAX)
        limiter = throttled.Throttled(using=using, quota=quota, store=store.RedisStore(server=server.url()))
        found[f"throttled-py {using}"] = partial(limit, limiter)
    return found


def _batches(server: RedisServer, ours: RedisLimits, rounds: int) -> str:
    policy = Policy("p", MANY, HOUR, "gcra")
    requests = [Request(b"user%d" % number) for number in range(BATCH)]
    client = redis.Redis.from_url(server.url(), protocol=2)
    digest = client.script_load(script(frozenset({policy.algorithm})).source.decode())
    suffix = f"gcra:{policy.limit}:{policy.window}:{policy.capacity}:p".encode()

    def together() -> bool:
        return all(decision.allowed for (decision,) in checked(ours, [policy], requests))

    def pipelined() -> bool:
        pipeline = client.pipeline(transaction=False)
        for request in requests:
            pipeline.evalsha(digest, 1, b"one:{%b}:%b" % (request.identifier, suffix), 1, 1)
        return len(pipeline.execute()) == BATCH

    names = "backctl, many identifiers in a call", "a pipeline of redis-py, an identifier in a call"
    timings = interleaved_calls([Call(names[0], together, BATCH), Call(names[1], pipelined, BATCH)], rounds)
    client.close()
    return section(
        f"Checking {BATCH:,} identifiers at once", timings, [Comparison(*names, 0.5)], (), what="identifier", unit="µs"
    )


def _memory(server: RedisServer) -> Figure:
    """Bytes for each request of a full sliding window of 1,000, beside those of the peers."""
    limits = _limits(server)
    policy = Policy("full", FULL, HOUR)
    peer = strategies.MovingWindowRateLimiter(storage.storage_from_string(server.url()))
    other = throttled.Throttled(
        using="gcra", quota=rate_limiter.per_hour(FULL, burst=FULL), store=store.RedisStore(server=server.url())
    )
    used = {}
    fills: dict[str, Callable[[], object]] = {
        "backctl": partial(checked, limits, [policy], [Request(b"full")]),
        "limits": partial(peer.hit, parse(f"{FULL}/hour"), "full"),
        "throttled-py (gcra, not exact)": partial(other.limit, "full"),
    }
    for name, fill in fills.items():
        before = {key: server.ask("MEMORY", "USAGE", key) for key in server.ask("KEYS", "*")}
        for _ in range(FULL):
            fill()
        after = {key: server.ask("MEMORY", "USAGE", key) for key in server.ask("KEYS", "*")}
        used[name] = sum(size for key, size in after.items() if key not in before) / FULL
    limits.close()
    shown = ", ".join(f"{name} {size:.1f}" for name, size in used.items())
    return Figure("bytes for each request of a full window of 1,000", shown, "<= 7", used["backctl"] <= 7)


def _exactness(where: str, sandbox: Sandbox, environment: dict[str, str]) -> Figure:
    check = (*sandbox.backctl, "ratelimit", "check", "-q", "race", "ada", "--rate", f"{ADMITTED}/1h", "--timeout", "1m")
    processes = [subprocess.Popen(check, env=environment) for _ in range(PROCESSES)]
    codes = [process.wait() for process in processes]
    if set(codes) - {0, 6}:
        raise Broken(f"a check ended with {sorted(set(codes))}")
    admitted = codes.count(0)
    return Figure(f"admitted of {PROCESSES} processes, {where}", str(admitted), f"= {ADMITTED}", admitted == ADMITTED)
