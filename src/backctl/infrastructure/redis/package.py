"""Imports only a part of redis-py, for commands that end after one request."""

import sys
from importlib.util import find_spec, module_from_spec


def import_without_clients() -> None:
    """Let `import redis.connection` skip the code of the package `redis`.

    That code imports asyncio and every client, which takes longer than the rest of a command. Afterwards the package
    contains nothing but its modules, so this is only for a process that uses no client of redis-py.
    """
    if "redis" not in sys.modules and (spec := find_spec("redis")) is not None:
        sys.modules["redis"] = module_from_spec(spec)  # found, but not executed
