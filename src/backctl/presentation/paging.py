"""The options of commands that print lists page by page."""

from typing import Annotated, NamedTuple

from typer import Option

from backctl.domain.errors import UsageError
from backctl.domain.repositories import PAGE_SIZE, is_newest_first


class Paging(NamedTuple):
    """`--limit` and `--cursor` for one page, or `--all`."""

    limit: Annotated[int | None, Option("--limit", metavar="N", help="Page size, 1 to 1000; 50 unless given.")] = None
    cursor: Annotated[str | None, Option("--cursor", metavar="CURSOR", help="Continue after the previous page.")] = None
    all_: Annotated[bool, Option("--all", help="Print everything instead of one page.")] = False

    def require_one_way(self, *, numbered: bool = False) -> None:
        """Raise UsageError for more than one way through a list; `numbered`: page numbers are one of them."""
        ways = [
            name
            for name, used in (
                ("--all", self.all_),
                ("--cursor or --limit", self.cursor is not None or self.limit is not None),
                ("--page or --page-size", numbered),
            )
            if used
        ]
        if len(ways) > 1:
            raise UsageError(f"{ways[0]} cannot be combined with {ways[1]}", hint="use one of them")

    @property
    def size(self) -> int:
        """The page size."""
        return PAGE_SIZE if self.limit is None else self.limit


class EventOrder(NamedTuple):
    """The order of a list of events."""

    sort: Annotated[
        str, Option("--sort", metavar="FIELD", help="'seq' shows the oldest first, '-seq' the newest first.")
    ] = "seq"

    @property
    def newest_first(self) -> bool:
        """Raises UsageError for an unknown field."""
        return is_newest_first(self.sort)
