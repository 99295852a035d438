"""A service whose writer adds a row for each update, so that a second application shows.

It fails for keys that begin with `bad`, unless the file `mended` exists. If the file `gate` exists, it creates the file
`begun` and waits until `gate` is removed.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from backctl.application.caching import CacheService

TABLE = "CREATE TABLE ledger (number {} PRIMARY KEY, key TEXT, value INTEGER, process INTEGER)"


def write(connection: Connection, updates: Mapping[str, Any]) -> None:
    if Path("gate").exists():
        Path("begun").touch()
        while Path("gate").exists():
            time.sleep(0.01)
    if any(key.startswith("bad") for key in updates) and not Path("mended").exists():
        raise ValueError("a bad key")
    rows = [{"key": key, "value": value, "process": os.getpid()} for key, value in updates.items()]
    connection.execute(text("INSERT INTO ledger (key, value, process) VALUES (:key, :value, :process)"), rows)


def register(cache: CacheService) -> None:
    cache.register_writer("ledger", write)
