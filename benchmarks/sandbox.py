"""Throw-away installations of backctl and of its Django peer with the same accounts in them.

Everything lies in one temporary folder, which is the home folder of every process measured; nothing is left behind.
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
    """A temporary home folder and what was set up in it. Use it as a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.root = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="backctl-bench-")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def environment(self, home: str, **further: str) -> dict[str, str]:
        """What a process gets: a home folder of its own and nothing of the caller's, bytecode caching included."""
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
        """How backctl is called: the installed script beside this interpreter, else the module."""
        script = Path(sys.executable).with_name("backctl")
        return (str(script),) if script.exists() else (sys.executable, "-m", "backctl")

    def installation(self, home: str, users: int) -> "Installation":
        """A home folder with an initialised backctl and that many accounts."""
        environment = self.environment(home)
        output = Command("init", (*self.backctl, "init", "-o", "json"), environment).run(0).output
        database = Path(json.loads(output.head)["database"].removeprefix("sqlite:///"))
        if not database.is_relative_to(self.root):
            raise Broken(f"init made {database}, outside {self.root}")
        self._seed("backctl", database, users)
        return Installation(environment, database)

    def django(self, users: int) -> "Installation":
        """A migrated Django project with that many accounts."""
        database = self.root / "django.sqlite3"
        environment = self.environment("django", DJANGO_PEER_DATABASE=str(database))
        Command("migrate", (*DJANGO, "migrate", "--verbosity", "0"), environment).run(0)
        self._seed("django", database, users)
        return Installation(environment, database)

    def server(self) -> "PostgresServer":
        """A PostgreSQL server that ends with the sandbox; as quick as it gets, for it is not what is measured."""
        from tests.servers import PostgresServer

        server = PostgresServer(18)
        self._stack.callback(server.close)
        return server

    def installation_on(self, server: "PostgresServer", home: str, users: int) -> dict[str, str]:
        """The environment of a backctl with that many accounts on the server."""
        url = server.url(server.create_database())
        environment = self.environment(home, BACKCTL_DATABASE_URL=url)
        Command("init", (*self.backctl, "init"), environment).run(0)
        self._seed("backctl", url, users)
        return environment

    def django_on(self, server: "PostgresServer", users: int) -> dict[str, str]:
        """The environment of a Django project with that many accounts on the server."""
        url = server.url(server.create_database())
        environment = self.environment("django-on-server", DJANGO_PEER_DATABASE=url)
        Command("migrate", (*DJANGO, "migrate", "--verbosity", "0"), environment).run(0)
        self._seed("django", url, users)
        return environment

    def _seed(self, whose: str, database: Path | str, users: int) -> None:
        """In a process of its own: the memory it needs must not be counted as that of the next one measured."""
        environment = self.environment("seeding", PYTHONPATH=str(CHECKOUT))
        Command(
            "seeding", (sys.executable, "-m", "benchmarks.seeding", whose, str(database), str(users)), environment
        ).run(0)


DJANGO = (sys.executable, str(DJANGO_PEER / "manage.py"))


@dataclass(frozen=True, slots=True)
class Installation:
    """Where accounts live and the environment in which commands find them."""

    environment: dict[str, str]
    database: Path
