"""Counts what happened to the items of a batch and reports the failures."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from backctl.domain.errors import BackctlError, PartialFailure
from backctl.presentation import terminal
from backctl.presentation.batch.signals import Interruption
from backctl.presentation.errors import Terminated, document

_NAMED = 5
"""Failed items that an error message names; the report contains all of them."""


class Report:
    """The counters of one batch, and its errors in the format of the output."""

    def __init__(self, things: str, *, as_json: bool) -> None:
        """`things` names the items for messages, for example "records"; `as_json`: errors are JSON objects."""
        self._things = things
        self._as_json = as_json
        self.done = 0
        self.changed = 0
        self.failed = 0
        self._failures: list[str | int] = []
        self._hint: str | None = None

    def succeeded(self, *, changed: int, count: int = 1) -> None:
        """Count items that did not fail, and how many changes were made to them."""
        self.done += count
        self.changed += changed

    def add_failure(self, name: str | int, error: BackctlError) -> object:
        """Count an item that failed and return the `error` of its record. `name` is an identity or a line number."""
        self.done += 1
        self.failed += 1
        if self._hint is None:
            self._hint = error.hint  # of the first failure, which often explains the others
        if len(self._failures) <= _NAMED:  # one more than is named shows that there are more
            self._failures.append(name)
        return document(error) if self._as_json else error.message

    def add_failed_line(self, number: int, error: BackctlError) -> None:
        """Count a line that failed and print its error, for results that have no place for it."""
        self.add_failure(number, error)
        if self._as_json:
            terminal.say_raw(json.dumps({"line": number, "error": document(error)}) + "\n")
        else:
            terminal.say(f"line {number}: {error.message}", "error")

    def summary(self, *, total: int | None = None) -> dict[str, object]:
        """Return the end of the JSON document of a batch. `total` is the number of items, by default those done."""
        unchanged = self.done - self.failed - self.changed
        counts = {"changed": self.changed, "unchanged": unchanged, "failed": self.failed}
        return {"summary": {"total": self.done if total is None else total, **counts}}

    def answers(self, *, no: int | None = None) -> dict[str, object]:
        """Return the end of the JSON document of checks. `no` is the number of refusals; None: every failure."""
        failed = 0 if no is None else self.failed
        refused = self.failed if no is None else no
        yes = self.done - refused - failed
        return {"summary": {"total": self.done, "yes": yes, "no": refused, "failed": failed}}

    def failure(self, consequence: str = "", *, failed: str = "failed", with_hint: bool = False) -> PartialFailure:
        """The error that ends the command after its other items were processed."""
        names = [name if isinstance(name, str) else f"line {name}" for name in self._failures]
        after = f"; {consequence}" if consequence else ""
        things = f" {self._things}" if self._things else ""
        return PartialFailure(
            f"{self.failed} of {self.done}{things} {failed}{after}: {named(names)}",
            hint=self._hint if with_hint else None,
        )

    def say_stopped(self, *, total: int | None = None) -> None:
        """Say how many items were processed before the batch stopped early; `total` None if it is not known."""
        if total is None:
            terminal.say(f"stopped: {self.done} {self._things} done")
        else:
            rest = "; run the same command again to finish the rest" if self.done < total else ""
            terminal.say(f"stopped: {self.done} of {total} done{rest}")

    @contextmanager
    def interrupted_by(self, interruption: Interruption) -> Iterator[None]:
        """Handle signals within the block, and say how many items were processed if one ends it."""
        try:
            with interruption.watched():
                yield
                if interruption.has_come:
                    raise interruption.error()
        except (KeyboardInterrupt, Terminated):
            self.say_stopped()
            raise


def named(names: Sequence[str]) -> str:
    """The first names of a list for a message."""
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
