"""Limits of what one command may do: `--max-changes`, checked before it changes anything, and `--max-errors`."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from backctl.application.views import is_change
from backctl.domain.errors import TooManyChanges, UsageError
from backctl.domain.quoting import quoted

if TYPE_CHECKING:
    from backctl.application.transactions import Outcome
    from backctl.presentation.batch.identities import Identities


@dataclass(frozen=True, slots=True)
class Bound:
    """A number, or a percentage of something."""

    flag: ClassVar[str]

    number: int
    is_percentage: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `20` or `5%`. Raises UsageError."""
        match = re.fullmatch(r"([0-9]{1,9})(%?)", text)
        if match is None or (match[2] and int(match[1]) > 100):
            raise UsageError(
                f"invalid limit {cls.flag} {quoted(text)}",
                hint="write a number such as 20, or a percentage such as 5%",
            )
        return cls(int(match[1]), bool(match[2]))

    def __str__(self) -> str:
        return f"{self.number}%" if self.is_percentage else str(self.number)


class ErrorBound(Bound):
    """The most rows that may fail, or the percentage of the rows so far."""

    __slots__ = ()

    flag = "--max-errors"

    def is_exceeded(self, *, failed: int, done: int) -> bool:
        return failed * 100 > self.number * done if self.is_percentage else failed > self.number


class ChangeBound(Bound):
    """The most accounts that may change, or the percentage of all accounts."""

    __slots__ = ()

    flag = "--max-changes"

    def most(self, population: Callable[[], int]) -> int:
        """Return the number of accounts; a percentage is rounded down."""
        return self.number * population() // 100 if self.is_percentage else self.number

    def exceeded(self, most: int, *, look: str = "run it with --dry-run and without --max-changes") -> TooManyChanges:
        """Return the error. `look` is what to do to see the changes."""
        return TooManyChanges(
            f"more than {most} would change, over --max-changes {self}; nothing was changed",
            hint=f"{look} to see what would change, or raise the limit",
        )

    def require(self, idents: "Identities", trial: "Iterator[Outcome[Any]]", *, population: Callable[[], int]) -> None:
        """Raise TooManyChanges if `trial`, a dry run of all `idents`, changes more accounts than the limit.

        Identities that fail change nothing; the real run reports them.
        """
        most = self.most(population)
        if len(idents) <= most:
            return
        changing = set()  # one account may be named twice, in dry runs that do not see each other
        for outcome in trial:
            if is_change(outcome):
                changing.add(outcome.value.id)
            if len(changing) > most:
                raise self.exceeded(most)
