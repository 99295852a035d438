"""Finds out which queued updates a Redis server can lose."""

from typing import Any, Final

from backctl.domain.errors import BackctlError
from backctl.infrastructure.probes import Finding, fail, ok, warn
from backctl.infrastructure.redis.connection import RedisServers
from backctl.infrastructure.redis.exchange import Call, Word
from backctl.infrastructure.redis.health import parsed_info

_APPEND: Final = "set appendonly to yes"


class QueueDurability:
    """Examines the primary that has the queue, of which `key` is a key."""

    def __init__(self, servers: RedisServers, key: bytes) -> None:
        self._servers = servers
        self._key = key

    def finding(self) -> Finding:
        """Raises RedisUnavailable, RedisUnusable."""
        info = parsed_info(self._reply("INFO"))
        policy = info.get("maxmemory_policy", "noeviction")
        if policy.startswith("allkeys") and info.get("maxmemory", "0") != "0":
            return fail(
                f"when its memory is full, the server deletes queued updates ({policy})",
                "set maxmemory-policy to noeviction, or use a server of its own",
            )
        if info.get("aof_enabled") != "1":
            return self._without_log()
        if info.get("aof_last_write_status", "ok") != "ok":
            return warn(
                "the server cannot write to its append-only file, so a crash loses updates",
                "see its log, and free space on its disk",
            )
        return self._with_log(info)

    def _without_log(self) -> Finding:
        if self._setting("save") == "":
            return warn("the server saves nothing to disk: when it stops, it loses all queued updates", _APPEND)
        return warn(
            "the server has no append-only file: a crash loses the updates that were queued since its last snapshot",
            _APPEND,
        )

    def _with_log(self, info: dict[str, str]) -> Finding:
        takes_over = self._servers.has_slots or info.get("connected_slaves", "0") != "0"
        replicas = "; a replica that takes over may lack the last updates" if takes_over else ""
        match self._setting("appendfsync"):
            case "always":
                return ok(f"each update is flushed to disk before it is accepted{replicas}")
            case "everysec":
                return ok(f"a power failure loses the updates of about one second (appendfsync everysec){replicas}")
            case "no":
                return warn(
                    f"a power failure loses the updates of about half a minute (appendfsync no){replicas}",
                    "set appendfsync to everysec, or to always",
                )
            case _:
                return ok(f"the server has an append-only file; it does not show how often it is flushed{replicas}")

    def _setting(self, name: str) -> str | None:
        """Return a setting of the server; None if it does not show it, as services of cloud providers do."""
        try:
            _, value = self._reply("CONFIG", "GET", name)
        except (BackctlError, ValueError):
            return None
        return bytes(value).decode(errors="replace")

    def _reply(self, *command: Word) -> Any:
        (reply,) = self._servers.run([Call(self._key, command)])
        if isinstance(reply, BackctlError):
            raise reply
        return reply
