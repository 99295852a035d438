"""Loads Lua scripts and runs them by digest."""

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
    """The SHA-1 of the source in hexadecimal, with which a server runs a script that it has cached."""

    @classmethod
    def of(cls, *parts: bytes) -> "Script":
        source = b"\n".join(parts)
        return cls(source, sha1(source, usedforsecurity=False).hexdigest())


@cache
def source(name: str) -> bytes:
    """Return the content of a file in the folder `lua`."""
    return (Path(__file__).parent / "lua" / f"{name}.lua").read_bytes()


@cache
def script(name: str) -> Script:
    """Return the script that consists of one file."""
    return Script.of(source(name))


def evaluated(servers: RedisServers, runs: Sequence[tuple[Script, Sequence[Call]]]) -> list[Any]:
    """Run scripts and return their replies. Each call contains the number of keys, the keys and the arguments.

    All calls take one round trip, or two if a server has not cached a script. Errors are returned as replies, as by
    `RedisServers.run`.
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
