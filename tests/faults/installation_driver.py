"""A process of its own that works on an installation and is told how it will be disturbed.

Prints one line of JSON for each action: what was answered, or the name of the error.
"""

import argparse
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.installations import sqlite_installation

from backctl.application.attribution import Attribution
from backctl.domain.access import DEFAULT_ROLE
from backctl.domain.errors import BackctlError
from backctl.domain.repositories import EVERY_USER
from backctl.domain.user import User
from backctl.domain.values import UserId, Username
from backctl.infrastructure.addresses import EmailValidatorParser
from backctl.infrastructure.host import new_id, now, os_actor
from backctl.infrastructure.sqlite.installation import SqliteInstallation

NOBODY = 65534
AUDITED = ("open", "os.link", "os.remove", "os.mkdir", "os.chmod", "os.listdir", "fcntl.flock", "sqlite3.connect")


def installation(
    folder: Path, notices: list[str], *, fresh_allowed: bool = True, timeout_us: int = 30_000_000
) -> SqliteInstallation:
    return sqlite_installation(
        folder / "backctl.db",
        folder / "keyring.json",
        fresh_allowed=fresh_allowed,
        timeout_us=timeout_us,
        notice=notices.append,
    )


def create(there: SqliteInstallation) -> object:
    return there.create(Attribution(os_actor())).changed


def write(there: SqliteInstallation, *, dry_run: bool = False) -> object:
    """Open an account that no other process opens."""
    name = f"user-{os.getpid()}"
    address = EmailValidatorParser().parse(f"{name}@example.org")
    work = there.unit_of_work(by=Attribution(os_actor()), dry_run=dry_run, creates=True)
    user = User.create(
        id=UserId(new_id()),
        email=address,
        username=Username.parse(name),
        password_hash=None,
        role=DEFAULT_ROLE,
        now=now(),
    )
    with work:
        work.users.add(user)
        work.commit()
    return name


def rehearse(there: SqliteInstallation) -> object:
    return write(there, dry_run=True)


def read(there: SqliteInstallation) -> object:
    return there.reader().count_users(EVERY_USER)


def verify(there: SqliteInstallation) -> object:
    """Keyring, database and chain as a whole: the number of events, or why not."""
    report = there.reader().verify_chain(there.audit_keys)
    return report.events if report.intact else report.reason


ACTIONS: dict[str, Callable[[SqliteInstallation], object]] = {
    action.__name__: action for action in (create, write, rehearse, read, verify)
}


def answer(action: str, folder: Path, **options: bool | int) -> dict[str, object]:
    notices: list[str] = []
    there = installation(folder, notices, **options)  # type: ignore[arg-type]
    try:
        return {"answer": ACTIONS[action](there), "notices": notices}
    except BackctlError as error:
        return {"error": type(error).__name__, "message": error.message, "notices": notices}
    finally:
        there.close()


class Announced(logging.Handler):
    """Hears the steps of a creation, and ends the process at one of them without a word."""

    def __init__(self, die_at: str | None) -> None:
        super().__init__()
        self.steps: list[str] = []
        self._die_at = die_at

    def emit(self, record: logging.LogRecord) -> None:
        self.steps.append(record.getMessage())
        if record.getMessage() == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def die_at_call(number: int, folder: Path) -> None:
    """End this process at its `number`th call that touches the folder's files."""
    calls = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal calls
        if event in AUDITED and (event == "fcntl.flock" or str(folder) in str(arguments[0])):
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def in_child(work: Callable[[], dict[str, object]]) -> dict[str, object] | None:
    """What `work` answers in a forked process; None when that was killed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.write(writing, json.dumps(work()).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    result: dict[str, object] = json.loads(text)
    return result


def die_everywhere(folder: Path) -> dict[str, object]:
    """Interrupt a creation at its first call, its second, and so on; what each left behind, and what came after."""
    answer("write", folder / "rehearsed")  # everything is loaded once, here
    rounds: list[dict[str, object]] = []
    while True:
        place = folder / str(len(rounds) + 1)

        def interrupted(place: Path = place, number: int = len(rounds) + 1) -> dict[str, object]:
            die_at_call(number, place)
            return answer("create", place)

        if in_child(interrupted) is not None:
            return {"rounds": rounds}
        left = sorted(os.listdir(place)) if place.exists() else []
        rounds.append(
            {
                "left": left,
                "sound": in_child(lambda place=place: answer("verify", place)) if "backctl.db" in left else None,  # type: ignore[misc]
                "next": in_child(lambda place=place: answer("write", place)),  # type: ignore[misc]
                "verified": in_child(lambda place=place: answer("verify", place)),  # type: ignore[misc]
                "then": sorted(os.listdir(place)),
            }
        )


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("actions", help="die-everywhere, or any of them in their order, with commas between")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die-at")
    parser.add_argument("--named", action="store_true", help="the configuration names the storage")
    parser.add_argument("--nobody", action="store_true", help="as an unprivileged user")
    parser.add_argument("--largest-file", type=int, help="the disk is full beyond so many bytes of a file")
    parser.add_argument("--wait", action="store_true", help='say "ready" and begin at a line on stdin')
    options = parser.parse_args()
    if options.actions == "die-everywhere":
        say(die_everywhere(options.folder))
        return
    if options.nobody:
        # Everything is loaded before privileges go: the interpreter's files may be out of an unprivileged user's reach.
        with TemporaryDirectory() as elsewhere:
            for action in ("write", "verify", "rehearse"):
                answer(action, Path(elsewhere) / "data")
            answer("read", Path(elsewhere) / "nothing")
    heard = Announced(options.die_at)
    logger = logging.getLogger("backctl.installation")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(heard)
    if options.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.largest_file, options.largest_file))
    if options.nobody and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    if options.wait:
        # What takes long is loaded first, so that all begin at once.

        say("ready")
        sys.stdin.readline()
    for action in options.actions.split(","):
        heard.steps.clear()
        result = answer(action, options.folder, fresh_allowed=not options.named)
        say(result | {"steps": heard.steps})


if __name__ == "__main__":
    main()
