"""`--max-changes`: how much one command may change at most, found out before it changes anything."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from backctl.domain.errors import BackctlError, TooManyChanges, Unavailable, Unusable, UsageError, quoted

if TYPE_CHECKING:
    from backctl.presentation.bulk import Action


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

    def require(self, idents: Iterable[str], action: "Action", *, population: Callable[[], int]) -> None:
        """Try `action` on every identity and undo it; stop when too many would change. Percentages are rounded down.

        An identity that fails changes nothing, and will be reported in its turn. Raises TooManyChanges.
        """
        most = self.number * population() // 100 if self.is_percentage else self.number
        changing = set()
        for ident in dict.fromkeys(idents):
            try:
                change = action(ident, True)
            except (Unavailable, Unusable):
                raise
            except BackctlError:
                continue
            if change.changed:
                changing.add(change.value.id)
            if len(changing) > most:
                raise TooManyChanges(
                    f"more than {most} would change, against --max-changes {self}; nothing was changed",
                    hint="look at what would change with --dry-run alone, or raise the bound",
                )
