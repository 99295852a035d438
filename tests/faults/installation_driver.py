"""Run actions on an installation in a separate process, which options can kill or deprive of disk space and privileges.

Prints one line of JSON for each action: its result, or the name of the error.
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
    """Create an account with a name that no other process uses."""
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
    """Verify keyring, database and chain. Return the number of events, or the reason why the chain is broken."""
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
    """Collect the steps of a creation, and kill the process at one of them."""

    def __init__(self, die_at: str | None) -> None:
        super().__init__()
        self.steps: list[str] = []
        self._die_at = die_at

    def emit(self, record: logging.LogRecord) -> None:
        self.steps.append(record.getMessage())
        if record.getMessage() == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def die_at_call(number: int, folder: Path) -> None:
    """Kill this process at its `number`th call that touches files in `folder`."""
    calls = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal calls
        if event in AUDITED and (event == "fcntl.flock" or str(folder) in str(arguments[0])):
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def in_child(work: Callable[[], dict[str, object]]) -> dict[str, object] | None:
    """Run `work` in a forked process. Return its result, or None if the process was killed."""
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
    """Kill a creation at its first call, its second, and so on. Return what each left behind and what followed."""
    answer("write", folder / "rehearsed")  # loads everything that is loaded only once
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
    parser.add_argument("actions", help="run die-everywhere, or these comma-separated actions in order")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die-at")
    parser.add_argument("--named", action="store_true", help="act as if the configuration names the storage")
    parser.add_argument("--nobody", action="store_true", help="run as an unprivileged user")
    parser.add_argument("--largest-file", type=int, help="limit the size of files in bytes, like a full disk")
    parser.add_argument("--wait", action="store_true", help='print "ready" and wait for a line on stdin')
    options = parser.parse_args()
    if options.actions == "die-everywhere":
        say(die_everywhere(options.folder))
        return
    if options.nobody:
        # Load everything before dropping privileges: an unprivileged user may not be able to read Python's files.
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
        # Load everything slow first, so that all processes start at the same time.

        say("ready")
        sys.stdin.readline()
    for action in options.actions.split(","):
        heard.steps.clear()
        result = answer(action, options.folder, fresh_allowed=not options.named)
        say(result | {"steps": heard.steps})


if __name__ == "__main__":
    main()
