"""The cache compared with cachetools, cashews, dogpile.cache and redis-py: reading values, and invalidating them.

Ours gives each caller a copy of the value; the others give all callers the same object.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from statistics import median
from typing import Any, Self

import redis
from cachetools import TTLCache
from cashews import Cache
from dogpile.cache import make_region
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.redis_servers import RedisServer

from backctl import open_backend
from backctl.application.caching import CacheService
from backctl.backend import Backend
from benchmarks.calls import Call, CallTiming, interleaved_calls
from benchmarks.measure import Broken
from benchmarks.report import Comparison, Figure, section
from benchmarks.sandbox import Sandbox
from benchmarks.seeding import Account

FEW, MANY = 1000, 1_000_000
"""How many entries an invalidation affects."""
TTL_S = 3600
"""Longer than any benchmark."""
_SWEEPS = 3
"""How often at most a million entries are stored and removed in each way."""
_CHUNK = 10_000
"""How many entries are stored while the server answers nobody else."""
_IN_A_LOOP = 1000
"""How many asynchronous calls share the cost of entering the event loop."""
_TIMEOUT_S = 60
_SOON = 1e-6
"""The part of the TTL after which an entry is due almost at once."""

YEAR = 2026
KEY = "report:0"
REPORT = {
    "id": 7,
    "name": "sales",
    "year": YEAR,
    "total": 12.5,
    "open": True,
    "owner": "ada",
    "note": None,
    "pages": 31,
}
_SHOWN = Account(7)

_MEMORY, _STORE = "get_or_load, memory", "get_or_load, Redis"
_CACHETOOLS, _CASHEWS, _DOGPILE = "cachetools, with a lock", "cashews, in an event loop", "dogpile.cache"
_REDIS_PY = "redis-py, GET and json.loads"
_OFFLINE, _ONLINE = "tokens.verify, offline", "tokens.verify, revocation from memory"
_OURS, _SCAN = "backctl", "redis-py, SCAN and UNLINK"
_CLI, _KEYS = "redis-cli --scan, xargs, redis-cli unlink", "redis-py, KEYS and DEL"

# Stores the entry in KEYS[1] under further names. ARGV: the name without its number; the first and the last number.
_COPY = """
local entry, left = redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])
for number = ARGV[2], ARGV[3] do
    redis.call('SET', ARGV[1] .. string.format('%d', number), entry, 'PX', left)
end
"""
# Asks a server all the time, until the end of standard input. Writes the longest time that it waited for an answer.
_PINGS = r"""
import select, socket, sys, time
worst = 0.0
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    print(flush=True)
    while not select.select([sys.stdin], [], [], 0.0005)[0]:
        started = time.perf_counter()
        connection.sendall(b"PING\r\n")
        connection.recv(16)
        worst = max(worst, time.perf_counter() - started)
print(worst)
"""


def reading(sandbox: Sandbox, rounds: int) -> str:
    """A small JSON object from memory and from Redis, an account, and an access token, within one process."""
    with closing(RedisServer()) as server:
        installed = sandbox.installation("cache", 50).settings() | {"BACKCTL_TOKENS_REVOCATION_MAX_AGE": "60s"}
        with _open(installed, server) as backend, _open(installed, server, memory_entries=0) as on_redis:
            parts = [
                _from_memory(backend, rounds),
                _from_redis(on_redis, server, rounds),
                _renewing(backend, on_redis, rounds),
                _accounts(backend, on_redis, rounds),
                _tokens(backend, rounds),
            ]
    return "\n".join(parts)


def invalidating(sandbox: Sandbox, rounds: int) -> str:
    """A million entries by a glob, by their tag and all at once."""
    installed = sandbox.installation("cache", 0).settings()
    with (
        closing(RedisServer()) as small,
        closing(RedisServer()) as large,
        _open(installed, small) as few,
        _open(installed, large) as many,
    ):
        _store(few.cache, small, FEW)
        _store(many.cache, large, MANY)
        return _together(few, many, rounds) + "\n" + _sweeping(many.cache, large, min(rounds, _SWEEPS))


def _open(environment: dict[str, str], server: RedisServer, *, memory_entries: int = 10_000) -> Backend:
    return open_backend(
        environ=environment | {"BACKCTL_REDIS_URL": server.url(), "BACKCTL_CACHE_MEMORY_ENTRIES": str(memory_entries)}
    )


# Reading.


def _from_memory(backend: Backend, rounds: int) -> str:
    kept: Any = TTLCache(10_000, TTL_S)
    kept[KEY] = REPORT
    lock = threading.Lock()
    region: Any = make_region().configure("dogpile.cache.memory", expiration_time=TTL_S)

    def in_cachetools() -> bool:
        with lock:
            report = kept[KEY]
        return bool(report["year"] == YEAR)

    def in_dogpile() -> bool:
        return bool(region.get_or_create(KEY, _load)["year"] == YEAR)

    with asyncio.Runner() as runner:
        mem: Any = Cache()
        mem.setup("mem://", size=10_000)

        async def in_cashews() -> bool:
            right = 0
            for _ in range(_IN_A_LOOP):
                right += (await mem.get_or_set(KEY, _load, expire=TTL_S))["year"] == YEAR
            return right == _IN_A_LOOP

        calls = [
            _cached(_MEMORY, backend),
            Call(_CACHETOOLS, in_cachetools),
            Call(_CASHEWS, lambda: runner.run(in_cashews()), _IN_A_LOOP),
            Call(_DOGPILE, in_dogpile),
        ]
        timings = interleaved_calls(calls, rounds)
        runner.run(mem.close())
    comparisons = [
        Comparison(_MEMORY, _CACHETOOLS, 2),
        Comparison(_MEMORY, _CASHEWS, 1.0),
        Comparison(_MEMORY, _DOGPILE, 1.0),
    ]
    return section("A cached value in memory", timings, comparisons, (), what="call", unit="µs")


def _from_redis(backend: Backend, server: RedisServer, rounds: int) -> str:
    with closing(_client(server)) as client:
        client.set("raw", json.dumps(REPORT), ex=TTL_S)

        def raw() -> bool:
            return bool(json.loads(client.get("raw"))["year"] == YEAR)

        timings = interleaved_calls([_cached(_STORE, backend), Call(_REDIS_PY, raw)], rounds, seconds=0.1)
    comparisons = [Comparison(_STORE, _REDIS_PY, 1.3)]
    return section("A cached value on Redis", timings, comparisons, (), what="call", unit="µs")


def _renewing(backend: Backend, on_redis: Backend, rounds: int) -> str:
    """A value that is being renewed, compared with one that is not due yet."""
    parts = []
    for place, cache in (("in memory", backend.cache), ("on Redis", on_redis.cache)):
        may_end, started = threading.Event(), threading.Event()

        def load(may_end: threading.Event = may_end, started: threading.Event = started) -> dict[str, Any]:
            if threading.current_thread() is not threading.main_thread():
                started.set()
                may_end.wait()
            return _load()

        def read(key: str, part: float, cache: CacheService = cache, load: Callable[[], Any] = load) -> bool:
            return bool(cache.get_or_load(key, load, ttl=TTL_S, refresh_after=part)["year"] == YEAR)

        fresh, due = partial(read, f"{KEY} {place}", 0.8), partial(read, f"{KEY} due {place}", _SOON)
        while due() and not started.wait(0.01):
            continue
        names = f"before it is due, {place}", f"while it is renewed, {place}"
        timings = interleaved_calls([Call(names[0], fresh), Call(names[1], due)], rounds, seconds=0.1)
        may_end.set()
        comparisons = [Comparison(names[1], names[0], 1.1)]
        parts.append(section(f"Refresh-ahead, {place}", timings, comparisons, (), what="call", unit="µs"))
    return "\n".join(parts)


def _accounts(backend: Backend, on_redis: Backend, rounds: int) -> str:
    def read(get: Callable[[str], Any]) -> bool:
        return bool(get(_SHOWN.id).email == _SHOWN.email)

    names = "accounts.get, memory", "accounts.get, Redis", "accounts.show"
    reads = backend.accounts.get, on_redis.accounts.get, backend.accounts.show
    calls = [Call(name, partial(read, get)) for name, get in zip(names, reads, strict=True)]
    comparisons = [Comparison(name, names[-1]) for name in names[:-1]]
    return section("An account", interleaved_calls(calls, rounds), comparisons, (), what="call", unit="µs")


def _tokens(backend: Backend, rounds: int) -> str:
    token = backend.tokens.issue(_SHOWN.username, ttl=TTL_S * 1_000_000, by=backend.by()).value.access_token
    assert token is not None

    def verify(*, offline: bool) -> bool:
        return backend.tokens.verify(token, offline=offline).sub == _SHOWN.id

    calls = [Call(_ONLINE, partial(verify, offline=False)), Call(_OFFLINE, partial(verify, offline=True))]
    comparisons = [Comparison(_ONLINE, _OFFLINE, 1.3)]
    return section("An access token", interleaved_calls(calls, rounds), comparisons, (), what="call", unit="µs")


def _load() -> dict[str, Any]:
    return dict(REPORT)


def _cached(name: str, backend: Backend) -> Call:
    cache = backend.cache
    cache.set(KEY, REPORT, ttl=TTL_S)
    return Call(name, lambda: cache.get_or_load(KEY, _fail)["year"] == YEAR)


def _fail() -> dict[str, Any]:
    raise Broken(f"{KEY} is not cached")


def _client(server: RedisServer) -> Any:
    """Return a client whose connections have the same settings as ours."""
    retry = Retry(NoBackoff(), 0)
    return redis.Redis(port=server.port, protocol=2, socket_timeout=_TIMEOUT_S, retry=retry, driver_info=None)


# Invalidating.


def _store(cache: CacheService, server: RedisServer, count: int) -> bytes:
    """Store that many entries with a tag, as copies of one. Return a glob for their keys in Redis."""
    cache.set(KEY, REPORT, ttl=TTL_S, tags=["report"])
    (name,) = server.ask("KEYS", f"*:e:{KEY}")
    start = name.removesuffix(b"0")
    for at in range(1, count, _CHUNK):
        server.ask("EVAL", _COPY, 1, name, start, at, min(at + _CHUNK, count) - 1)
    if not all(cache.get(f"report:{number}") == REPORT for number in (1, count - 1)):
        raise Broken("an entry is not cached")
    return bytes(start + b"*")


def _together(few: Backend, many: Backend, rounds: int) -> str:
    """Invalidate by tag and everything. Nothing is stored again, which does not change the work."""

    def by_tag(cache: CacheService) -> bool:
        cache.invalidate_tags("report")
        return cache.get(KEY) is None

    def everything(cache: CacheService) -> bool:
        cache.invalidate_all()
        return cache.get(KEY) is None

    calls, comparisons = [], []
    for name, invalidate in (("invalidate_tags", by_tag), ("invalidate_all", everything)):
        small, large = f"{name}, {FEW:,} entries", f"{name}, {MANY:,} entries"
        calls += [Call(small, partial(invalidate, few.cache)), Call(large, partial(invalidate, many.cache))]
        comparisons.append(Comparison(large, small, 1.5))
    timings = interleaved_calls(calls, rounds, seconds=0.1)
    return section("Invalidating by tag, and everything", timings, comparisons, (), what="call and a miss", unit="µs")


def _sweeping(cache: CacheService, server: RedisServer, rounds: int) -> str:
    times: dict[str, list[float]] = {}
    pings: dict[str, list[float]] = {}
    with closing(_client(server)) as client:
        for turn in range(rounds):
            ways = list(_ways(cache, client, server).items())
            for place in range(len(ways)):
                name, remove = ways[(place + turn) % len(ways)]
                glob = _store(cache, server, MANY)
                others = server.ask("DBSIZE") - MANY
                with _Pings(server) as waiting:
                    started = time.perf_counter()
                    remove(glob)
                    times.setdefault(name, []).append(time.perf_counter() - started)
                pings.setdefault(name, []).append(waiting.worst)
                if server.ask("DBSIZE") != others or cache.get(KEY) is not None:
                    raise Broken(f"{name} removed too many entries or not all")
            with _Pings(server) as waiting:
                time.sleep(1)
            pings.setdefault("nothing", []).append(waiting.worst)
    timings = {name: CallTiming(tuple(taken)) for name, taken in times.items()}
    targets: Mapping[str, float] = {_SCAN: 0.6}
    comparisons = [Comparison(_OURS, name, targets.get(name)) for name in timings if name != _OURS]
    figures = [_worst(name, waited) for name, waited in pings.items()]
    return section(f"Removing {MANY:,} entries whose keys match a glob", timings, comparisons, figures, what="sweep")


def _ways(cache: CacheService, client: Any, server: RedisServer) -> dict[str, Callable[[bytes], object]]:
    """Return functions that remove all entries. They take a glob for the keys in Redis."""

    def ours(glob: bytes) -> None:
        if (found := cache.invalidate("report:*").entries) != MANY:
            raise Broken(f"backctl removed {found} entries")

    def scan(glob: bytes) -> None:
        cursor = -1
        while cursor:
            cursor, keys = client.scan(max(cursor, 0), match=glob, count=1000)
            if keys:
                client.unlink(*keys)

    ways: dict[str, Callable[[bytes], object]] = {
        _OURS: ours,
        _SCAN: scan,
        _KEYS: lambda glob: client.delete(*client.keys(glob)),
    }
    if shutil.which("redis-cli"):
        cli = f"redis-cli -p {server.port}"
        script = f'{cli} --scan --pattern "$0" | xargs -n 1000 {cli} unlink >/dev/null'
        ways[_CLI] = lambda glob: subprocess.run(["sh", "-c", script, glob], check=True)
    return ways


class _Pings:
    """Another client that asks the server while something happens; `worst` is how long it waited at most, in s."""

    def __init__(self, server: RedisServer) -> None:
        self._argv = (sys.executable, "-I", "-S", "-c", _PINGS, str(server.port))
        self.worst = 0.0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        self.worst = float(self._process.communicate()[0])


def _worst(name: str, waited: list[float]) -> Figure:
    shown = f"{median(waited) * 1e3:.1f} ({max(waited) * 1e3:.1f})"
    title = f"{name}: longest PING meanwhile, ms: median of the sweeps (of all)"
    if name != _OURS:
        return Figure(title, shown)
    return Figure(title, shown, "< 10", median(waited) < 0.01)
