"""Which members of a view a table shows, and what a narrow table leaves out."""

from collections.abc import Callable, Sequence
from typing import NamedTuple


class TableLayout(NamedTuple):
    """The columns of a table, as the class of its views declares them; see `backctl.application.views`."""

    names: tuple[str, ...]
    """The members, in order."""
    spare: tuple[str, ...] = ()
    """Members that a narrow table drops, in this order."""
    broken: tuple[str, ...] = ()
    """Members that a narrow table breaks into several lines, even within a word."""
    below: tuple[str, str] | None = None
    """A member, and the member that is printed below its text if it is not empty."""

    @classmethod
    def of(cls, view: object, members: tuple[str, ...]) -> "TableLayout":
        names: tuple[str, ...] = getattr(view, "TABLE", members)
        return cls(names, getattr(view, "SPARE", ()), getattr(view, "BROKEN", ()), getattr(view, "BELOW", None))

    def titles(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if self.below is None or name != self.below[1])

    def cells(self, text: Callable[[object], str]) -> Callable[[Sequence[object]], list[str]]:
        """Return the function that converts a row to its cells. `text` converts a value."""
        if self.below is None:
            return lambda row: list(map(text, row))
        above, below = map(self.names.index, self.below)

        def with_note(row: Sequence[object]) -> list[str]:
            cells = list(map(text, row))
            if row[below]:
                cells[above] += f"\n{self.names[below]}: {cells[below]}"
            del cells[below]
            return cells

        return with_note
