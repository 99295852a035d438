"""Turns errors of redis-py and replies of a server into the errors of this program."""

import socket
import ssl
from typing import Final, NamedTuple

from redis import exceptions

from backctl.domain.errors import BackctlError, RedisUnavailable, RedisUnusable
from backctl.domain.quoting import quoted


class Reply(NamedTuple):
    """An error reply, by its first word. `passes`: it can be gone a moment later."""

    problem: str
    hint: str
    passes: bool = False
    unusable: bool = False


_REPLIES: Final = {
    "LOADING": Reply("is still loading its data", "try again later", passes=True),
    "BUSY": Reply("is busy with a script", "try again later, or end the script with `SCRIPT KILL`", passes=True),
    "READONLY": Reply("is a replica, which accepts no writes", "name the primary in redis.url", passes=True),
    "TRYAGAIN": Reply("is moving the keys to another node", "try again later", passes=True),
    "CLUSTERDOWN": Reply("belongs to a cluster that is down", "see `CLUSTER INFO`", passes=True),
    "MASTERDOWN": Reply("has lost the connection to its primary", "try again later", passes=True),
    "NOREPLICAS": Reply("has too few replicas to accept writes", "see min-replicas-to-write in its configuration"),
    "MISCONF": Reply("refuses writes, because it cannot save its data", "see its log, and free space on its disk"),
    "OOM": Reply("has no memory left", "raise its maxmemory"),
    "WRONGTYPE": Reply(
        "contains a key of another kind where backctl stores its own",
        "delete that key, or set redis.namespace to a name that nothing else uses",
        unusable=True,
    ),
    "damaged": Reply(
        "contains a damaged key where backctl stores its own",
        "delete that key, or set redis.namespace to a name that nothing else uses",
        unusable=True,
    ),
}
_LOGIN_WORDS: Final = ("NOAUTH", "WRONGPASS", "NOPERM")
_LONG_BEFORE_LOGIN: Final = "unauthenticated"
"""In the error of a command with more than ten arguments, which a server refuses to read before a login."""
_LOGIN_ERRORS: Final = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)


def word_of(error: Exception) -> str:
    """Return the first word of an error reply. redis-py removes some of them."""
    if isinstance(error, exceptions.BusyLoadingError):
        return "LOADING"
    if isinstance(error, exceptions.ReadOnlyError):
        return "READONLY"
    text = str(error)
    if "damaged state" in text:
        return "damaged"
    by_type = {"OutOfMemoryError": "OOM", "TryAgainError": "TRYAGAIN", "MasterDownError": "MASTERDOWN"}
    return by_type.get(type(error).__name__) or (
        "CLUSTERDOWN" if type(error).__name__ in ("ClusterDownError", "SlotNotCoveredError") else text.partition(" ")[0]
    )


def passes(error: Exception) -> bool:
    """Whether the same command can succeed a moment later."""
    reply = _REPLIES.get(word_of(error))
    return reply is not None and reply.passes


def fault_of(error: Exception, label: str) -> BackctlError:
    """Return the error to raise. `label` shows the address without secrets."""
    server = f"Redis at {quoted(label, limit=400)}"
    if isinstance(error, _LOGIN_ERRORS) or word_of(error) in _LOGIN_WORDS or _LONG_BEFORE_LOGIN in str(error):
        return RedisUnusable(
            f"{server} refuses the login", hint="check the user, password and permissions in redis.url"
        )
    if reply := _REPLIES.get(word_of(error)):
        kind = RedisUnusable if reply.unusable else RedisUnavailable
        return kind(f"{server} {reply.problem}", hint=reply.hint)
    if isinstance(error, exceptions.TimeoutError):
        return RedisUnavailable(f"{server} does not answer", hint="check the server, or raise redis.timeout")
    if isinstance(error, exceptions.ConnectionError):
        return _connecting_fault(error, server, reads_files=not label.startswith("unix:"))
    if isinstance(error, exceptions.RedisError):
        return RedisUnusable(
            f"{server} cannot execute a command: {_shown(error)}", hint="check the version of the server"
        )
    return RedisUnavailable(f"{server} cannot be reached: {_shown(error)}", hint="check redis.url and the servers")


def _connecting_fault(error: Exception, server: str, *, reads_files: bool) -> BackctlError:
    """`reads_files`: a missing file is one of a certificate, not the socket."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return RedisUnusable(
                f"{server} does not accept an encrypted connection, or shows a wrong certificate",
                hint="check the scheme, ca_file, cert_file and key_file in redis.url",
            )
        if isinstance(cause, socket.gaierror):
            return RedisUnavailable(f"{server} has an unknown host name", hint="check the host in redis.url")
        if reads_files and isinstance(cause, (FileNotFoundError, PermissionError)):
            return RedisUnusable(
                f"{server} needs a certificate or key that cannot be read: {(cause.strerror or '').lower()}",
                hint="check ca_file, cert_file and key_file in redis.url",
            )
        if isinstance(cause, OSError) and cause.strerror:
            return RedisUnavailable(
                f"{server} cannot be reached: {cause.strerror.lower()}", hint="start the server, or check redis.url"
            )
        cause = cause.__cause__ or cause.__context__
    return RedisUnavailable(f"{server} cannot be reached: {_shown(error)}", hint="start the server, or check redis.url")


def _shown(error: Exception) -> str:
    return quoted(str(error).rstrip("."), limit=200)
