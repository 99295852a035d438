"""Answers the questions of a plan from one snapshot of the database."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from typing import Any, Final

from backctl.domain.access import ADMINISTRATOR
from backctl.domain.repositories import AccountKeys
from backctl.domain.seed import AccountState
from backctl.domain.values import EARLIEST, LATEST, Instant, UserId
from backctl.infrastructure.sql.dialect import Dialect, Type
from backctl.infrastructure.sql.misread import Misread
from backctl.infrastructure.sql.queries import Statement

# In the order of AccountState.
_STATES: Final = (
    "SELECT id, email, email_key, username, username_key, role, is_active, expires_at, password_hash IS NOT NULL, "
    "mfa_state = 'on', version, l.name FROM users LEFT JOIN seeded_accounts l ON l.user_id = users.id"
)
_COLUMNS: Final[Sequence[tuple[str, Type]]] = (("id", "uuid"), ("email_key", "text"), ("username_key", "text"))
"""The columns of `AccountKeys`, and their types."""
_UUID_LENGTH: Final = 36

Run = Callable[[Statement], Generator[tuple[Any, ...], None, None]]
"""Runs a statement in the snapshot and yields its rows, in constant memory."""


class SqlAccountSnapshot:
    """Runs statements in one snapshot. `naming_damage` turns errors about values into errors that name the row.

    Methods raise DatabaseDamaged for a row with impossible values.
    """

    def __init__(self, run: Run, dialect: Dialect, naming_damage: Callable[[], AbstractContextManager[None]]) -> None:
        self._run = run
        self._dialect = dialect
        self._naming_damage = naming_damage

    def holders(self, keys: Sequence[AccountKeys]) -> Sequence[AccountState]:
        conditions, values = list[str](), list[str | list[str]]()
        for place, (column, kind) in enumerate(_COLUMNS):
            asked = sorted({key for known in keys if (key := known[place]) is not None})
            if asked:
                condition, passed = self._dialect.among(column, kind, asked)
                conditions.append(condition)
                values += passed
        if not conditions:
            return ()
        return tuple(self._states(f" WHERE {' OR '.join(conditions)}", tuple(values)))

    def seeded_by(self, names: Sequence[str]) -> Iterator[AccountState]:
        condition, values = self._dialect.among("l.name", "text", names)
        return self._states(f" WHERE {condition} ORDER BY id", values)

    def administrators(self) -> Iterator[AccountState]:
        condition = f" WHERE role = {self._dialect.placeholder} AND is_active = TRUE ORDER BY id"
        return self._states(condition, (ADMINISTRATOR,))

    def _states(self, clause: str, values: tuple[str | list[str], ...]) -> Iterator[AccountState]:
        with self._naming_damage(), closing(self._run(Statement(_STATES + clause, values))) as rows:
            for row in rows:
                yield _state(*row)


def _state(
    user_id: str,
    email: str,
    email_key: str,
    username: str,
    username_key: str,
    role: str,
    is_active: int,
    expires: int | None,
    has_password: int,
    has_mfa: int,
    version: int,
    seed: str | None,
) -> AccountState:
    """Raises Misread for values that only another program can have written."""
    if (
        not type(user_id) is type(email) is type(email_key) is type(username) is type(username_key) is type(role) is str
        or len(user_id) != _UUID_LENGTH
        or type(version) is not int
        or not (expires is None or (type(expires) is int and EARLIEST <= expires <= LATEST))
    ):
        raise Misread("users", user_id)
    if seed is not None and type(seed) is not str:
        raise Misread("seeded_accounts", user_id)
    return AccountState(
        UserId(user_id),
        email,
        email_key,
        username,
        username_key,
        role,
        is_active == 1,
        None if expires is None else Instant(expires),
        has_password == 1,
        has_mfa == 1,
        version,
        seed,
    )
