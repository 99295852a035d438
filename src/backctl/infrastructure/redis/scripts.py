"""Lua scripts: loads their source, and runs them by their digest."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError

from backctl.infrastructure.redis.connection import RedisServers
from backctl.infrastructure.redis.exchange import Call


class Script(NamedTuple):
    source: bytes
    digest: str
    """Its SHA-1 in hexadecimal, by which a server that knows it runs it."""

    @classmethod
    def of(cls, *parts: bytes) -> "Script":
        source = b"\n".join(parts)
        return cls(source, sha1(source, usedforsecurity=False).hexdigest())


@cache
def source(name: str) -> bytes:
    """Return the content of a file in `lua`."""
    return (Path(__file__).parent / "lua" / f"{name}.lua").read_bytes()


@cache
def script(name: str) -> Script:
    """Return the script in a file of its own."""
    return Script.of(source(name))


def evaluated(servers: RedisServers, runs: Sequence[tuple[Script, Sequence[Call]]]) -> list[Any]:
    """Return the replies of scripts. Their calls contain the number of keys, the keys and the arguments.

    All calls take one round trip, two if a server does not know a script. Errors are replies, as in `RedisServers.run`.
    """
    wanted = [(script, call) for script, calls in runs for call in calls]
    replies = servers.run([Call(key, ("EVALSHA", script.digest, *words)) for script, (key, words) in wanted])
    missing = [number for number, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    if missing:
        again = [(wanted[number][0].source, wanted[number][1]) for number in missing]
        answers = servers.run([Call(key, ("EVAL", source, *words)) for source, (key, words) in again])
        for number, reply in zip(missing, answers, strict=True):
            replies[number] = reply
    return replies
