"""A service or a worker of write-behind that gets a signal at a point: `SIGNAL POINT NUMBER LEASE ARGUMENTS…`.

POINT is `nowhere`, or `before`, `in` or `after` and the name of a function of the worker or the queue; NUMBER tells in
which of its calls. LEASE is in microseconds. ARGUMENTS are those of the program, or `queue FIRST COUNT KEYS`, to queue
COUNT numbers beginning with FIRST under KEYS keys. The service adds each accepted number to the file `accepted`. A
worker makes short pauses, and tries failed updates again only after ten minutes.
"""

import functools
import itertools
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import backctl
from backctl.application import draining
from backctl.domain.errors import BackctlError
from backctl.infrastructure.redis import exchange
from backctl.infrastructure.redis.queue import RedisQueue
from backctl.infrastructure.sql import update_target
from backctl.infrastructure.sqlite import own_file
from backctl.infrastructure.sqlite.queue import SqliteQueue

EDGES = {
    "write": (update_target, "_write"),
    "commit": (update_target, "_commit"),
    "apply": (update_target.SqlUpdateTarget, "apply"),
}
"""Functions of the worker. Those of the queue are named as its methods."""


replace: Callable[[object, str, object], None] = setattr


def prepare(number: int, point: str, passes: int) -> None:
    """Let the process send itself a signal in the nth call of a function, before it, or after it.

    "in put" is before the commit of a queue in a file, or after the command was sent to Redis.
    """
    where, name = point.split()
    calls = itertools.count(1)
    inside = [False]

    def send() -> None:
        os.kill(os.getpid(), number)

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def watching(*words: Any, **more: Any) -> Any:
            now = where if next(calls) == passes else ""
            if now == "before":
                send()
            inside[0] = now == "in"
            try:
                result = call(*words, **more)
            finally:
                inside[0] = False
            if now == "after":
                send()
            return result

        return watching

    for owner, attribute in [EDGES[name]] if name in EDGES else [(RedisQueue, name), (SqliteQueue, name)]:
        replace(owner, attribute, watched(getattr(owner, attribute)))
    watch_inside(lambda: send() if inside[0] else None)


def watch_inside(passes: Callable[[], object]) -> None:
    read, connect = exchange._read_all, vars(own_file)["connect"]

    def reading(*words: Any) -> Any:
        passes()
        return read(*words)

    def connecting(*words: Any, **more: Any) -> Any:
        connection = connect(*words, **more)
        connection.set_trace_callback(lambda statement: statement == "COMMIT" and passes())
        return connection

    replace(exchange, "_read_all", reading)
    replace(own_file, "connect", connecting)


def queue(first: int, count: int, keys: int) -> int:
    sys.path.insert(0, "")
    ledger = import_module("ledger")
    accepted = os.open("accepted", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with backctl.open_backend() as backend:
        ledger.register(backend.cache)
        for number in range(first, first + count):
            try:
                backend.cache.write_behind("ledger", f"k{number % keys}", number)
            except BackctlError as error:
                sys.stdout.write(error.message)
                return 5
            os.write(accepted, b"%d\n" % number)
    return 0


def main() -> int:
    number, point, passes, lease, *arguments = sys.argv[1:]
    if point != "nowhere":
        prepare(signal.Signals[number], point, int(passes))
    replace(draining, "LEASE_US", int(lease))
    replace(draining, "IDLE_S", 0.05)
    replace(draining, "_PAUSES_S", (0.05, 0.2))
    replace(draining, "retry_after", lambda attempts: 600_000_000)
    if arguments[0] == "queue":
        return queue(*map(int, arguments[1:]))
    from backctl.presentation.app import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
