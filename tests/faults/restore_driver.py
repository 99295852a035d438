"""Restore a database in separate processes that are killed, run out of disk space, or use it at the same time.

`sweep` prints one line of JSON for each step at which a restore was killed; `write` and `read` print one for each turn
until the file `stop` exists.
"""

import json
import os
import resource
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from tests.faults.installation_driver import in_child

import backctl
from backctl.backend import Backend
from backctl.domain.errors import BackctlError, TokenRevoked
from backctl.domain.values import Secret
from backctl.infrastructure.sqlite import restoring

COPY = "copy.db"


def opened(folder: Path) -> Backend:
    environ = {
        "HOME": str(folder),
        "BACKCTL_DATABASE_URL": f"sqlite:///{folder}/accounts.db",
        "BACKCTL_KEYRING_PATH": f"{folder}/keys.json",
        "BACKCTL_PASSWORDS_BCRYPT_COST": "4",
        "BACKCTL_DATABASE_TIMEOUT": "60s",
        "BACKCTL_TOKENS_REVOCATION_MAX_AGE": "1m",
    }
    return backctl.open_backend(environ=environ)


def prepare(folder: Path) -> str:
    """Create a database in which Bob is closed, and a copy in which he is not. Return a token that is valid in both."""
    folder.mkdir(exist_ok=True)
    with opened(folder) as backend:
        by = backend.by("me")
        backend.initialise(by=by)
        for name in ("ada", "bob"):
            backend.accounts.create(email=f"{name}@example.org", username=name, by=by)
        token = backend.tokens.issue("ada", by=by).value.access_token
        backend.database.back_up(str(folder / COPY))
        backend.accounts.deactivate("bob", by=by)
    assert token is not None
    return token.reveal()


def restore(folder: Path) -> dict[str, object]:
    with opened(folder) as backend:
        try:
            return {"changed": backend.database.restore(str(folder / COPY), by=backend.by("me")).changed}
        except BackctlError as error:
            return {"error": type(error).__name__, "message": error.message}


def look(folder: Path, token: str) -> dict[str, object]:
    """Return the state of the database."""
    with opened(folder) as backend:
        events = [event.type for event in backend.audit.stream()]
        return {
            "bob": backend.accounts.show("bob").status,
            "restores": events.count("DatabaseRestored"),
            "intact": backend.audit.verify().ok and has_whole_pages(folder),
            "token": is_valid(backend, token),
            "hidden": sorted(name for name in os.listdir(folder) if name.startswith(".")),
            "asides": sum("before-restore" in name for name in os.listdir(folder)),
        }


def has_whole_pages(folder: Path) -> bool:
    with closing(sqlite3.connect(folder / "accounts.db")) as connection:
        found: list[tuple[str]] = connection.execute("PRAGMA integrity_check").fetchall()
    return found == [("ok",)]


def is_valid(backend: Backend, token: str) -> bool:
    try:
        backend.tokens.verify(Secret(token))
    except TokenRevoked:
        return False
    return True


def steps(react: Callable[[int, str], object]) -> None:
    """Call `react` with the number and the name of each step of a restore, which writes a few pages per step."""
    reached = iter(range(1, 10_000))
    restoring._PAGES = 32  # type: ignore[misc]

    def step(name: str) -> None:
        react(next(reached), name)

    restoring._step = step


def sweep(folder: Path, *, missing: bool) -> None:
    """Kill a restore at its first step, its second, and so on. `missing`: there is no database that it replaces."""
    token = in_child(lambda: {"token": prepare(folder / "0")})
    assert token is not None
    text = str(token["token"])
    for number in range(1, 10_000):
        place = folder / str(number)
        shutil.copytree(folder / "0", place)
        if missing:
            (place / "accounts.db").unlink()

        def interrupted(place: Path = place, number: int = number) -> dict[str, object]:
            def die(reached: int, name: str) -> None:
                if reached == number:
                    (place / "step").write_text(name)
                    os.kill(os.getpid(), signal.SIGKILL)

            steps(die)
            return restore(place)

        if in_child(interrupted) is not None:
            return
        step = (place / "step").read_text()
        exists = (place / "accounts.db").exists()
        left = in_child(lambda place=place: look(place, text)) if exists else None  # type: ignore[misc]
        again = in_child(lambda place=place: restore(place))  # type: ignore[misc]
        say({"step": step, "left": left, "again": again, "then": in_child(lambda place=place: look(place, text))})  # type: ignore[misc]
        shutil.rmtree(place)


def full(folder: Path, step: str) -> None:
    """Restore while no file can grow beyond 64 KiB from the given step on."""
    token = in_child(lambda: {"token": prepare(folder)})
    assert token is not None

    def limited() -> dict[str, object]:
        def limit(reached: int, name: str) -> None:
            if name == step:
                resource.setrlimit(resource.RLIMIT_FSIZE, (65536, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

        steps(limit)
        return restore(folder)

    say({"outcome": in_child(limited), "left": in_child(lambda: look(folder, str(token["token"])))})


def turns(folder: Path) -> Iterator[None]:
    while not (folder / "stop").exists():
        yield


def write(folder: Path) -> None:
    """Issue tokens, which are events too."""
    with opened(folder) as backend:
        for _ in turns(folder):
            token = backend.tokens.issue("ada", by=backend.by("writer")).value.access_token
            assert token is not None
            say({"token": token.reveal()})


def read(folder: Path, token: str) -> None:
    """Read accounts, the event log, and through the cache whether a token was revoked."""
    with opened(folder) as backend:
        for _ in turns(folder):
            page = backend.audit.verify()
            say({"bob": backend.accounts.show("bob").status, "intact": page.ok, "token": is_valid(backend, token)})


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    action, place, *others = sys.argv[1:]
    match action:
        case "sweep":
            sweep(Path(place), missing=others == ["missing"])
        case "full":
            full(Path(place), others[0])
        case "write":
            write(Path(place))
        case "read":
            read(Path(place), others[0])
