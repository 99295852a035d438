"""Temporary installations of backctl and of the Django project, with the same accounts.

They are in one temporary folder, which is the home folder of every measured process and is removed at the end.
"""

import json
import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from benchmarks.measure import Broken, Command

if TYPE_CHECKING:
    from tests.servers import PostgresServer

CHECKOUT = Path(__file__).resolve().parent.parent
DJANGO_PEER = Path(__file__).resolve().parent / "django_peer"


class Sandbox:
    """A temporary home folder and the installations in it. Use it as a context manager.

    `long` asks for the larger amounts that take minutes.
    """

    def __init__(self, *, long: bool = False) -> None:
        self.long = long
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.root = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="backctl-bench-")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def environment(self, home: str, **further: str) -> dict[str, str]:
        """Return the environment for a process: a separate home folder, and no variables of the caller."""
        folder = self.root / home
        folder.mkdir(exist_ok=True)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C.UTF-8",
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_STATE_HOME": str(folder / "state"),
        } | further

    @cached_property
    def backctl(self) -> tuple[str, ...]:
        """The command for backctl: the script installed next to this interpreter, or the module."""
        script = Path(sys.executable).with_name("backctl")
        return (str(script),) if script.exists() else (sys.executable, "-m", "backctl")

    def installation(self, home: str, users: int) -> "Installation":
        """Return a home folder with an initialised backctl and that many accounts."""
        environment = self.environment(home)
        output = Command("init", (*self.backctl, "init", "-o", "json"), environment).run(0).output
        database = Path(json.loads(output.head)["database"].removeprefix("sqlite:///"))
        if not database.is_relative_to(self.root):
            raise Broken(f"init made {database}, outside {self.root}")
        self._seed("backctl", database, users)
        return Installation(environment, database)

    def django(self, users: int) -> "Installation":
        """Return a migrated Django project with that many accounts."""
        database = self.root / "django.sqlite3"
        environment = self.environment("django", DJANGO_PEER_DATABASE=str(database))
        Command("migrate", (*DJANGO, "migrate", "--verbosity", "0"), environment).run(0)
        self._seed("django", database, users)
        return Installation(environment, database)

    def server(self, *, durable: bool = False) -> "PostgresServer":
        """Return a PostgreSQL server that stops with the sandbox, with fast settings because it is not measured.

        A `durable` server flushes every commit to the disk, for measurements of writes.
        """
        from tests.servers import PostgresServer

        server = PostgresServer(18, {"fsync": "on", "full_page_writes": "on"} if durable else {})
        self._stack.callback(server.close)
        return server

    def installation_on(self, server: "PostgresServer", home: str, users: int) -> dict[str, str]:
        """Return the environment of a backctl with that many accounts on the server."""
        url = server.url(server.create_database())
        environment = self.environment(home, BACKCTL_DATABASE_URL=url)
        Command("init", (*self.backctl, "init"), environment).run(0)
        self._seed("backctl", url, users)
        return environment

    def django_on(self, server: "PostgresServer", users: int) -> dict[str, str]:
        """Return the environment of a Django project with that many accounts on the server."""
        url = server.url(server.create_database())
        environment = self.environment("django-on-server", DJANGO_PEER_DATABASE=url)
        Command("migrate", (*DJANGO, "migrate", "--verbosity", "0"), environment).run(0)
        self._seed("django", url, users)
        return environment

    def _seed(self, whose: str, database: Path | str, users: int) -> None:
        """Insert the accounts in a separate process, so that its memory does not affect later measurements."""
        environment = self.environment("seeding", PYTHONPATH=str(CHECKOUT))
        Command(
            "seeding", (sys.executable, "-m", "benchmarks.seeding", whose, str(database), str(users)), environment
        ).run(0)


DJANGO = (sys.executable, str(DJANGO_PEER / "manage.py"))


@dataclass(frozen=True, slots=True)
class Installation:
    """A database with accounts, and the environment in which commands find it."""

    environment: dict[str, str]
    database: Path

    def settings(self) -> dict[str, str]:
        """Return the settings with which this process opens it, whose home folder is not used."""
        configuration = self.database.parent / "empty.toml"
        configuration.touch(mode=0o600)
        return {
            "BACKCTL_CONFIG": str(configuration),
            "BACKCTL_DATABASE_URL": f"sqlite:///{self.database}",
            "BACKCTL_KEYRING_PATH": str(self.database.parent / "keyring.json"),
        }
