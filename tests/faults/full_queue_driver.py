"""A service and a worker whose queue is on a disk that becomes full: `FOLDER disk|limit`. Prints what happened as JSON.

With `limit`, files cannot grow instead. FOLDER is that of the queue.
"""

import json
import resource
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from tests.faults import ledger

import backctl
from backctl.application import draining
from backctl.backend import Backend
from backctl.domain.errors import BackctlError

folder, how = Path(sys.argv[1]), sys.argv[2]
BALLAST = folder / "ballast"
MEANWHILE = 10
UNLIMITED = resource.getrlimit(resource.RLIMIT_FSIZE)


def fill() -> None:
    if how == "limit":
        largest = max(path.stat().st_size for path in folder.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, UNLIMITED[1]))
        return
    with BALLAST.open("wb", buffering=0) as ballast:
        for size in (1 << 20, 1 << 12, 1 << 9):
            with suppress(OSError):
                while ballast.write(bytes(size)):
                    pass


def empty() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, UNLIMITED)
    BALLAST.unlink(missing_ok=True)


def told(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or the code of its error."""
    try:
        return call()
    except BackctlError as error:
        return error.code


class Story:
    """What a service and a worker do, one after the other."""

    def __init__(self, backend: Backend) -> None:
        self.cache = backend.cache
        self.cache.register_writer("ledger", self._write)
        self.accepted: list[int] = []
        self.refused: list[str] = []
        self._numbers = iter(range(10_000))
        self._during: Callable[[], object] = lambda: None

    def put(self, count: int) -> None:
        """Queue updates of different keys."""
        for number in (next(self._numbers) for _ in range(count)):
            error = told(lambda number=number: self.cache.write_behind("ledger", f"k{number}", number))  # type: ignore[misc]
            if error is None:
                self.accepted.append(number)
            else:
                self.refused.append(error)

    def drain(self, during: Callable[[], object] = lambda: None) -> Any:
        self._during = during
        report = told(self.cache.drain)
        self._during = lambda: None
        return report if isinstance(report, str) else [report.written, report.superseded, report.dead, report.waiting]

    def _write(self, connection: Connection, updates: Mapping[str, Any]) -> None:
        ledger.write(connection, updates)
        self._during()


def main() -> None:
    setattr(draining, "LEASE_US", 1)  # noqa: B010 - a constant
    with backctl.open_backend() as backend:
        on_sqlite = told(lambda: backend.initialise(by=backend.by("test")).changed) is True
        database = folder / "backctl.db"
        if on_sqlite:
            with closing(sqlite3.connect(database)) as connection, connection:
                connection.execute(ledger.TABLE.format("INTEGER"))
        story = Story(backend)
        story.put(10)
        fill()
        story.put(100)
        while_full = story.drain()
        empty()
        story.put(10)
        afterwards = story.drain()
        story.put(MEANWHILE)
        full_meanwhile = story.drain(fill)
        empty()
        in_the_end = story.drain()
    rows = []
    if on_sqlite:
        with closing(sqlite3.connect(database)) as connection:
            rows = connection.execute("SELECT value FROM ledger").fetchall()
    print(  # noqa: T201 - the answer
        json.dumps(
            {
                "accepted": story.accepted,
                "refused": story.refused,
                "full": [while_full, full_meanwhile],
                "free": [afterwards, in_the_end],
                "rows": [value for (value,) in rows],
            }
        )
    )


main()
