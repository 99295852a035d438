"""Run actions on the keys of an installation in a separate process, which options can kill or deprive of disk space.

Prints one line of JSON for each step of a change, and one for each action: its result, or the name of the error.
"""

import argparse
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable

import backctl
from backctl.backend import Backend
from backctl.domain.errors import BackctlError, KeyringMissing
from backctl.domain.repositories import EventCriteria

DAY = 86_400_000_000
AUDITED = ("open", *(f"os.{call}" for call in ("rename", "remove", "chmod", "chown", "listdir", "link")), "fcntl.flock")
AUDITED = (*AUDITED, "sqlite3.connect")


def rotate(backend: Backend, older_than: int = 0) -> object:
    """Rotate one purpose immediately: create a key, promote it and retire the old one."""
    actor = backend.by()
    return backend.keys.rotate(("sign",), older_than=older_than, overlap=7 * DAY, by=actor).changed


def rotate_if_old(backend: Backend) -> object:
    return rotate(backend, older_than=30 * DAY)


def rotate_audit(backend: Backend) -> object:
    return backend.keys.rotate(("audit",), older_than=0, overlap=0, by=backend.by()).changed


def add(backend: Backend) -> object:
    return backend.keys.add("encrypt", by=backend.by()).changed


def wrap(backend: Backend) -> object:
    return backend.keys.wrap(backctl.Secret("sesame"), rewrap=True, by=backend.by()).changed


def replace_lost(backend: Backend) -> object:
    """Replace a lost keyring, and return whether it was replaced, and whose second factors were disabled."""
    change = backend.keyring_replacement.replace(by=backend.by())
    return [change.changed, change.value.replaced, *change.value.mfa_disabled]


def rename(backend: Backend) -> object:
    """Give an account a new name again and again, also while the keyring is lost, and stop when it was replaced."""
    number = 0
    while True:
        number += 1
        say({"step": "renaming"})
        replaced = backend.audit.page(EventCriteria(types=("KeyringReplaced",)), limit=1).items
        try:
            backend.accounts.update("ada@example.org", username=f"ada{number}", by=backend.by("writer"))
        except KeyringMissing:
            continue
        if replaced:
            return number


def primary(backend: Backend) -> object:
    return next(key.id for key in backend.keys.all("sign") if key.state == "primary")


def promoted(backend: Backend) -> object:
    """Return the signing keys that were promoted according to the event log, in order."""
    events = [event for event in backend.audit.stream() if event.type == "KeyPromoted"]
    return [event.subject for event in events if event.data is not None and event.data["purpose"] == "sign"]


def verify(backend: Backend) -> object:
    return backend.audit.verify().ok


def unverified(backend: Backend) -> object:
    """Return the number of events that nobody can verify, and the first event that is wrong."""
    view = backend.audit.verify()
    return [view.unverified, view.broken_seq]


KEYS = (rotate, rotate_if_old, rotate_audit, add, wrap, replace_lost)
ACTIONS: dict[str, Callable[[Backend], object]] = {
    action.__name__: action for action in (*KEYS, rename, primary, promoted, verify, unverified)
}


def answer(action: str) -> dict[str, object]:
    try:
        with backctl.open_backend() as backend:
            return {"answer": ACTIONS[action](backend)}
    except BackctlError as error:
        return {"error": type(error).__name__, "message": error.message}


class Announced(logging.Handler):
    """Print the steps of a change, and kill the process at one of them."""

    def __init__(self, die_at: str | None) -> None:
        super().__init__()
        self._die_at = die_at

    def emit(self, record: logging.LogRecord) -> None:
        say({"step": record.getMessage()})
        if record.getMessage() == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def die_at_call(number: int) -> None:
    """Kill this process at its `number`th call that touches the keyring, its lock or a staged file."""
    calls = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal calls
        if event in AUDITED and (
            event == "fcntl.flock" or "keyring" in str(arguments[0]) or ".lock" in str(arguments[0])
        ):
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def fill_the_disk() -> None:
    """Prevent files from growing as soon as a change is staged."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(".change"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    sys.addaudithook(hook)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("actions", help="run these comma-separated actions in order")
    parser.add_argument("--die-at", help="kill the process at this step")
    parser.add_argument("--die-at-call", type=int)
    parser.add_argument("--full-disk", action="store_true")
    options = parser.parse_args()
    logger = logging.getLogger("backctl.keyring")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(Announced(options.die_at))
    if options.die_at_call is not None:
        answer("primary")  # loads everything that is loaded only once
        die_at_call(options.die_at_call)
    if options.full_disk:
        fill_the_disk()
    for action in options.actions.split(","):
        say(answer(action))


if __name__ == "__main__":
    main()
