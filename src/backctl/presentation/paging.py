"""The paging flags that every list command understands."""

from typing import Annotated

from typer import Option

from backctl.domain.errors import UsageError

Limit = Annotated[int | None, Option("--limit", metavar="N", help="At most N items, 1 to 1000; 50 unless given.")]
Cursor = Annotated[str | None, Option("--cursor", metavar="CURSOR", help="Continue after the previous page.")]
EventSort = Annotated[str, Option("--sort", metavar="FIELD", help="'seq' is oldest first, '-seq' newest first.")]
All = Annotated[bool, Option("--all", help="Everything instead of a page, in constant memory.")]


def refuse_mixture(*, all_: bool, cursor: str | None, limit: int | None, numbered: bool = False) -> None:
    """`--all`, `--cursor`/`--limit` and `--page`/`--page-size` are three ways through a list. Raises UsageError."""
    ways = [
        name
        for name, taken in (
            ("--all", all_),
            ("--cursor or --limit", cursor is not None or limit is not None),
            ("--page or --page-size", numbered),
        )
        if taken
    ]
    if len(ways) > 1:
        raise UsageError(f"{ways[0]} does not go with {ways[1]}", hint="choose one way through the list")
