"""The error of a reader that cannot convert the values of a row. `damage` finds the column."""

from typing import Final

ABOUT_VALUES: Final = (TypeError, ValueError, OverflowError, KeyError, RecursionError)
"""Errors that an impossible value in a row can cause."""


class Misread(ValueError):
    """A row contains a value of the wrong type or range. `row` is its primary key; `column` may be unknown."""

    def __init__(self, table: str, row: object, column: str = "") -> None:
        super().__init__(table, row)
        self.table = table
        self.row = str(row)
        self.column = column
