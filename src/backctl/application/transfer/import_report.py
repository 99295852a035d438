"""Count what became of the rows of an import."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backctl.application.ports.security import PasswordHasher
    from backctl.application.transfer.account_row import AccountRow
    from backctl.application.transfer.import_steps import RowOutcome

PLAIN, NONE = "plain", "none"
"""The entries of `password_schemes` for passwords that are not hashed yet, and for rows without a password."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The result of an import, or in a dry run of what it would do.

    `total` rows are accounts; `ignored` rows are something else. `undone` rows failed only because others did.
    `errors` counts the failed rows by the code of their error. `password_schemes` counts the valid rows by the function
    that hashed their password; it is None if no dry run has counted them. `results_file` has a line for each row; it is
    None if no file was written.
    """

    total: int
    created: int
    updated: int
    unchanged: int
    failed: int
    undone: int
    ignored: int
    errors: Mapping[str, int]
    password_schemes: Mapping[str, int] | None
    results_file: str | None = None


@dataclass(slots=True)
class ImportTally:
    """Counts outcomes and, with a `hasher`, how the passwords of valid rows are hashed."""

    hasher: "PasswordHasher | None" = None
    results: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    schemes: Counter[str] = field(default_factory=Counter)
    ignored: int = 0

    @property
    def total(self) -> int:
        return self.results.total()

    @property
    def failed(self) -> int:
        return self.results["failed"]

    @property
    def changed(self) -> int:
        return self.results["created"] + self.results["updated"]

    def add(self, outcomes: "Sequence[RowOutcome]") -> None:
        for outcome in outcomes:
            self.results[outcome.result] += 1
            if outcome.error is not None:
                self.errors[outcome.error.code] += 1

    def see(self, row: "AccountRow") -> None:
        """Count the password of a valid row. Pass this method to an import as `see`."""
        if self.hasher is None:
            return
        if row.password_hash is not None:
            self.schemes[self.hasher.scheme_of(row.password_hash)] += 1
        else:
            self.schemes[NONE if row.password is None else PLAIN] += 1

    def report(self, results_file: str | None = None) -> ImportReport:
        counts = self.results
        return ImportReport(
            self.total,
            counts["created"],
            counts["updated"],
            counts["unchanged"],
            counts["failed"],
            counts["undone"],
            self.ignored,
            dict(sorted(self.errors.items())),
            None if self.hasher is None else dict(sorted(self.schemes.items())),
            results_file,
        )
