"""The files that an import writes while it runs: what became of each row, and the passwords that it generated.

Both are on disk before the transaction that they describe is committed: a password whose account exists is never lost,
and an id that an account got is never forgotten. After a crash, the last lines can describe accounts that do not exist,
so a resumed import asks the database.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from backctl.application.transfer.import_steps import RowOutcome
from backctl.domain.errors import BackctlError, FolderUnusable, InvalidInput
from backctl.domain.quoting import quoted
from backctl.domain.values import Secret, UserId, is_uuid

if TYPE_CHECKING:
    from backctl.application.ports.environment import GrowingFile


class GeneratedPassword(NamedTuple):
    """The password of a new account that the import has generated."""

    id: UserId | None
    email: str | None
    username: str | None
    password: Secret


def described(error: BackctlError) -> dict[str, object]:
    return {"code": error.code, "message": error.message, "hint": error.hint}


class ImportJournal:
    """Writes one JSON object per line: to `results` for each row, to `secrets` for each generated password.

    `describe` returns the JSON form of an error. `resumed` is what `resumed_ids` returned for the results of an earlier
    run.
    """

    def __init__(
        self,
        results: "GrowingFile | None" = None,
        secrets: "GrowingFile | None" = None,
        *,
        describe: Callable[[BackctlError], object] = described,
        resumed: Mapping[int, int] | None = None,
    ) -> None:
        self._results = results
        self._secrets = secrets
        self._describe = describe
        self._resumed = resumed or {}
        self.has_passwords = False
        """Whether a generated password was written."""

    def id_of(self, line: int, email: str) -> UserId | None:
        """Return the id that an earlier run gave to the new account of a row."""
        number = self._resumed.get(_place(line, email)) if self._resumed else None
        return None if number is None else UserId(str(UUID(int=number)))

    def for_dry_run(self) -> "ImportJournal":
        """Return a journal that knows the same ids, and writes nothing."""
        return ImportJournal(resumed=self._resumed)

    def write(self, outcomes: Sequence[RowOutcome], generated: Sequence[GeneratedPassword]) -> None:
        """Append what a transaction is about to do. Raises DiskFull, FolderUnusable."""
        if self._secrets is not None and generated:
            self._secrets.append(_lines(map(_secret, generated)))
            self.has_passwords = True
        if self._results is not None and outcomes:
            self._results.append(_lines(map(self._result, outcomes)))

    def keep(self) -> None:
        """Keep what was written since the last call: the transaction was committed."""
        for file in (self._results, self._secrets):
            if file is not None:
                file.keep()

    def undo(self) -> None:
        """Remove what was written since the last call of `keep`: the transaction was rolled back."""
        for file in (self._results, self._secrets):
            if file is not None:
                file.undo()

    def _result(self, outcome: RowOutcome) -> dict[str, object]:
        members: dict[str, object] = {
            "line": outcome.line,
            "result": outcome.result,
            "id": outcome.id,
            "email": outcome.email,
        }
        return members if outcome.error is None else members | {"error": self._describe(outcome.error)}


NO_JOURNAL = ImportJournal()


def _secret(generated: GeneratedPassword) -> dict[str, object]:
    return generated._asdict() | {"password": generated.password.reveal()}


def require_passwords(lines: Iterable[bytes], path: str) -> None:
    """Raise FolderUnusable unless all lines of a file that exists are those of generated passwords."""
    for number, line in enumerate(lines, start=1):
        try:
            found = json.loads(line)
            is_password = isinstance(found, dict) and "password" in found
        except (ValueError, RecursionError):
            is_password = False
        if not is_password:
            raise FolderUnusable(
                f"line {number} of {quoted(path)} is not a generated password in JSON", hint="choose another file"
            )


def _lines(objects: Iterable[dict[str, object]]) -> bytes:
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects).encode("utf-8", "replace")


def _place(line: int, email: str) -> int:
    """Return a number for a row, to save memory. A line can hold many rows, but only one with this address."""
    return hash((line, email))


def resumed_ids(lines: Iterable[bytes]) -> dict[int, int]:
    """Return the ids of new accounts in the results of an earlier run, for `ImportJournal`.

    Raises InvalidInput for a file that is not one of results.
    """
    ids: dict[int, int] = {}
    for number, line in enumerate(lines, start=1):
        try:
            found = json.loads(line)
            row, result, user_id, email = found["line"], found["result"], found["id"], found["email"]
            if type(row) is not int:
                raise ValueError(row)
            if result == "created" and is_uuid(user_id):
                ids[_place(row, email)] = UUID(user_id).int
        except (ValueError, TypeError, KeyError, RecursionError):
            raise InvalidInput(
                f"line {number} is not the result of an import", hint="name the file that --results has written"
            ) from None
    return ids
