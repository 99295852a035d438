"""Asks before the first change of a run, when a dry run has shown that there will be one."""

from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


class Guard:
    """Never asks. Subclasses ask before a run changes anything, for example for a confirmation."""

    @property
    def is_due(self) -> bool:
        """Whether `ask` must be called before the next change. False once it was answered."""
        return False

    def ask(self) -> None:
        """Return if the change may be made. Raises Refused otherwise."""


def guarded(attempt: Callable[[bool], R], *, guard: Guard, changes: Callable[[R], bool], dry_run: bool) -> R:
    """Call `attempt(dry_run)` and return its result; ask the guard first if something would change.

    If the guard is due, a dry run comes first. If it shows no change, its result is returned and the guard is not
    asked. The guard is asked outside any transaction, so that nobody waits for a lock until a person answers.
    """
    if not dry_run and guard.is_due:
        trial = attempt(True)
        if not changes(trial):
            return trial
        guard.ask()
    return attempt(dry_run)
