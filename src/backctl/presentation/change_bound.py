"""`--max-changes`: how much one command may change at most, found out before it changes anything."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from backctl.application.views import Change
from backctl.domain.errors import TooManyChanges, UsageError, quoted

if TYPE_CHECKING:
    from backctl.application.transactions import Outcome
    from backctl.presentation.identities import Identities


@dataclass(frozen=True, slots=True)
class ChangeBound:
    """So many accounts, or so many of a hundred."""

    number: int
    is_percentage: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `20` or `5%`. Raises UsageError."""
        match = re.fullmatch(r"([0-9]{1,9})(%?)", text)
        if match is None or (match[2] and int(match[1]) > 100):
            raise UsageError(
                f"--max-changes {quoted(text)} is no bound",
                hint="write a number such as 20, or a percentage such as 5%",
            )
        return cls(int(match[1]), bool(match[2]))

    def __str__(self) -> str:
        return f"{self.number}%" if self.is_percentage else str(self.number)

    def require(self, idents: "Identities", trial: "Iterator[Outcome[Any]]", *, population: Callable[[], int]) -> None:
        """Stop when too many of `idents` would change: so many as `trial`, a dry run of all, says.

        Percentages are rounded down. An identity that fails changes nothing, and will be reported in its turn. Raises
        TooManyChanges.
        """
        most = self.number * population() // 100 if self.is_percentage else self.number
        if len(idents) <= most:
            return
        changing = set()  # one account may have several identities, in transactions that do not see each other
        for outcome in trial:
            if isinstance(outcome, Change) and outcome.changed:
                changing.add(outcome.value.id)
            if len(changing) > most:
                raise TooManyChanges(
                    f"more than {most} would change, against --max-changes {self}; nothing was changed",
                    hint="look at what would change with --dry-run alone, or raise the bound",
                )
