"""The `doctor` checks of Redis."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Final

from backctl.application.ports.limits import Request, raised
from backctl.domain.errors import Unavailable, Unusable
from backctl.domain.rate_limit import Policy
from backctl.infrastructure.probes import Finding, Probe, fail, ok, warn
from backctl.infrastructure.redis.connection import RedisServers
from backctl.infrastructure.redis.limits import RedisLimits

_OLDEST: Final = (7, 0)
_NOT_CHECKED: Final = Finding("warn", "not checked: Redis cannot be reached", None)
_PROBED: Final = Policy("doctor", 1, 1_000_000)


class RedisHealth:
    """Examines every primary. `clock` returns microseconds; `leeway` is the clock difference that is tolerated."""

    def __init__(self, servers: RedisServers, limits: RedisLimits, *, clock: Callable[[], int], leeway: int) -> None:
        self._servers = servers
        self._limits = limits
        self._clock = clock
        self._leeway = leeway

    def probes(self) -> tuple[Probe, ...]:
        checks: dict[str, Callable[[], Finding]] = {
            "redis.version": self._version,
            "redis.eviction": self._eviction,
            "redis.clock": self._clocks,
            "redis.scripts": self._scripts,
        }
        if self._servers.has_slots:
            checks["redis.cluster"] = self._cluster
        others = (Probe(name, partial(self._if_reachable, check)) for name, check in checks.items())
        return (Probe("redis.reachable", self._reachable), *others)

    def _if_reachable(self, check: Callable[[], Finding]) -> Finding:
        return check() if self._answers else _NOT_CHECKED

    @cached_property
    def _answers(self) -> bool:
        try:
            self._reachable()
        except (Unavailable, Unusable):
            return False
        return True

    @cached_property
    def _infos(self) -> list[dict[str, str]]:
        return [parsed_info(reply) for reply in self._servers.on_each_primary("INFO")]

    def _reachable(self) -> Finding:
        number = len(self._servers.on_each_primary("PING"))
        return ok(f"{number} primaries answer" if self._servers.has_slots else "the server answers")

    def _version(self) -> Finding:
        found = set()
        for info in self._infos:
            name = "Valkey" if "valkey_version" in info else "Redis"
            version = info.get("valkey_version") or info.get("redis_version", "")
            found.add(f"{name} {version}")
            if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < _OLDEST:
                return fail(f"{name} {version} is too old", "use Redis 7 or later, or Valkey", "unusable")
        return ok(", ".join(sorted(found)))

    def _eviction(self) -> Finding:
        for info in self._infos:
            policy = info.get("maxmemory_policy", "noeviction")
            if policy != "noeviction" and info.get("maxmemory", "0") != "0":
                return warn(
                    f"when its memory is full, the server deletes rate limits that have not ended ({policy})",
                    "set maxmemory-policy to noeviction, or use a server of its own",
                )
        return ok("the server keeps every rate limit until it ends")

    def _clocks(self) -> Finding:
        for seconds, microseconds in self._servers.on_each_primary("TIME"):
            distance = int(seconds) * 1_000_000 + int(microseconds) - self._clock()
            if abs(distance) > self._leeway:
                way = "ahead of" if distance > 0 else "behind"
                return warn(
                    f"the server's clock is {abs(distance) / 1_000_000:.1f} s {way} that of this machine",
                    "synchronise the clocks, for example with NTP",
                )
        return ok("the clocks agree")

    def _scripts(self) -> Finding:
        raised(self._limits.check([_PROBED], [Request(b"doctor")], consume=False)[0])
        return ok("the server runs scripts")

    def _cluster(self) -> Finding:
        for reply in self._servers.on_each_primary("CLUSTER", "INFO"):
            info = parsed_info(reply)
            if info.get("cluster_state") != "ok":
                return fail("the cluster is down", "see `CLUSTER INFO` and `CLUSTER NODES`", "unavailable")
            if info.get("cluster_slots_ok") != "16384":
                return fail("not every slot of the cluster has a primary", "see `CLUSTER NODES`", "unavailable")
        return ok("every slot has a primary")


def parsed_info(reply: bytes) -> dict[str, str]:
    """Parse what `INFO` or `CLUSTER INFO` returns."""
    lines = reply.decode(errors="backslashreplace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
