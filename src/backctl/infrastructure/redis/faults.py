"""Turns errors of redis-py and replies of a server into the errors of this program."""

import socket
import ssl
from collections.abc import Iterator
from typing import Final, NamedTuple

from redis import exceptions

from backctl.domain.errors import BackctlError, DamagedLimit, RedisUnavailable, RedisUnusable
from backctl.domain.quoting import quoted


class Reply(NamedTuple):
    """An error reply, by its first word; other keys begin with a space. `passes`: it can be gone a moment later."""

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
    " database": Reply("does not have the database that redis.url names", "use a smaller number", unusable=True),
    " cluster": Reply("belongs to a cluster", "write redis+cluster:// instead of redis:// in redis.url", unusable=True),
    " alone": Reply(
        "does not belong to a cluster", "write redis:// instead of redis+cluster:// in redis.url", unusable=True
    ),
    " unknown": Reply("is not known to any sentinel that answers", "check the hosts and the service in redis.url"),
    " no sentinel": Reply(
        "is not a sentinel", "name the sentinels in redis.url, by default on port 26379", unusable=True
    ),
    " paused": Reply("was unavailable a moment ago", "try again in 2 seconds"),
}
_NO_PRIMARY: Final = " unknown"
OF_A_CLUSTER: Final = "the server belongs to a cluster"
# By name, because importing the types would import the clients of redis-py.
_BY_TYPE: Final = {
    "BusyLoadingError": "LOADING",
    "ReadOnlyError": "READONLY",
    "OutOfMemoryError": "OOM",
    "TryAgainError": "TRYAGAIN",
    "MasterDownError": "MASTERDOWN",
    "ClusterDownError": "CLUSTERDOWN",
    "SlotNotCoveredError": "CLUSTERDOWN",
    "ClusterCrossSlotError": " cluster",
    "MasterNotFoundError": " unknown",
    "_Paused": " paused",
}
_BY_TEXT: Final = {
    OF_A_CLUSTER: " cluster",
    "CROSSSLOT": " cluster",
    "unknown command 'SENTINEL'": " no sentinel",
    "Cluster mode is not enabled": " alone",
    "cluster support disabled": " alone",
    "DB index is out of range": " database",
    "previous master is now a slave": "READONLY",
}
"""Parts of texts of redis-py and of servers, which have no type of their own."""
_LOGIN_WORDS: Final = ("NOAUTH", "WRONGPASS", "NOPERM")
_LONG_BEFORE_LOGIN: Final = "unauthenticated"
"""In the error of a command with more than ten arguments, which a server refuses to read before a login."""
_LOGIN_ERRORS: Final = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)


def word_of(error: BaseException) -> str:
    """Return the key in `_REPLIES` of an error: the first word of an error reply, which redis-py removes from some."""
    known = _BY_TYPE.get(type(error).__name__)
    text = str(error)
    return known or next((word for part, word in _BY_TEXT.items() if part in text), text.partition(" ")[0])


def is_lost(reply: object) -> bool:
    """Whether nobody answered, so that nobody knows whether the command was executed."""
    lost = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.RedisClusterException)
    return isinstance(reply, lost) and not any(
        isinstance(cause, _LOGIN_ERRORS) or word_of(cause) in _REPLIES.keys() - {_NO_PRIMARY}
        for cause in _causes(reply)
    )


def damaged_key(label: str) -> BackctlError:
    """Return the error for a key whose content is not what this program stores."""
    return DamagedLimit(
        f"Redis at {quoted(label, limit=400)} contains a key of another kind where backctl stores its own",
        hint="delete that key, or set redis.namespace to a name that nothing else uses",
    )


def passes(error: BaseException) -> bool:
    """Whether the same command can succeed a moment later."""
    reply = _REPLIES.get(word_of(error))
    return reply is not None and reply.passes


def fault_of(error: BaseException, label: str) -> BackctlError:
    """Return the error to raise. `label` shows the address without secrets."""
    server = f"Redis at {quoted(label, limit=400)}"
    for cause in _causes(error):
        if isinstance(cause, _LOGIN_ERRORS) or word_of(cause) in _LOGIN_WORDS or _LONG_BEFORE_LOGIN in str(cause):
            return RedisUnusable(
                f"{server} refuses the login", hint="check user, password and permissions in redis.url"
            )
    reply = next(filter(None, (_REPLIES.get(word_of(cause)) for cause in _causes(error))), None)
    if reply is not None:
        kind = RedisUnusable if reply.unusable else RedisUnavailable
        return kind(f"{server} {reply.problem}", hint=reply.hint)
    if isinstance(error, exceptions.TimeoutError):
        return RedisUnavailable(f"{server} does not answer", hint="check the server, or raise redis.timeout")
    if isinstance(error, (exceptions.ConnectionError, UnicodeError)):
        return _connecting_fault(error, server, reads_files=not label.startswith("unix:"))
    if isinstance(error, exceptions.RedisError):
        return RedisUnusable(
            f"{server} cannot execute a command: {_shown(error)}", hint="check the version of the server"
        )
    return RedisUnavailable(f"{server} cannot be reached: {_shown(error)}", hint="check redis.url and the servers")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what caused it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _connecting_fault(error: BaseException, server: str, *, reads_files: bool) -> BackctlError:
    """`reads_files`: a missing file is one of a certificate, not the socket."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return RedisUnusable(
                f"{server} does not accept an encrypted connection, or shows a wrong certificate",
                hint="check the scheme, ca_file, cert_file and key_file in redis.url",
            )
        if isinstance(cause, (socket.gaierror, UnicodeError)):
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
    return RedisUnavailable(f"{server} cannot be reached: {_shown(error)}", hint="start the server, or check redis.url")


def _shown(error: BaseException) -> str:
    return quoted(str(error).rstrip("."), limit=200)
