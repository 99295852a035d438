"""Stores one-time codes and recovery codes, on the connection of one transaction.

If two processes use the same code, the condition of the UPDATE accepts only one of them, whatever they have read.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import BigInteger, Connection, Row, case, delete, func, insert, literal, or_, select, update

from backctl.domain.errors import DatabaseDamaged, InvalidInput
from backctl.domain.mfa import Enrolment, StoredCode
from backctl.domain.one_time_codes import STEPS_EITHER_SIDE, Algorithm, TotpSettings
from backctl.domain.quoting import quoted
from backctl.domain.values import EARLIEST, LATEST, SKEW, Instant, UserId
from backctl.infrastructure.sql import tables
from backctl.infrastructure.sql.engine import insert_many

_secrets = tables.mfa_secrets.c
_codes = tables.recovery_codes.c
_COLUMNS = tuple(_secrets.keys())


class SqlSecondFactors:
    def __init__(self, connection: Callable[[], Connection]) -> None:
        self._connection = connection

    # One-time codes.

    def of(self, user_id: UserId) -> Enrolment | None:
        row = self._connection().execute(select(tables.mfa_secrets).where(_secrets.user_id == user_id)).first()
        return None if row is None else _enrolment(row)

    def enroll(self, user_id: UserId, enrolment: Enrolment) -> None:
        self.forget(user_id)
        self.enroll_all({user_id: enrolment})

    def enroll_all(self, enrolments: Mapping[UserId, Enrolment]) -> None:
        rows = [
            (
                user_id,
                enrolment.secret,
                enrolment.kid,
                enrolment.settings.algorithm,
                enrolment.settings.digits,
                enrolment.settings.period,
                int(enrolment.enrolled_at),
                None if enrolment.confirmed_at is None else int(enrolment.confirmed_at),
                enrolment.last_used_step,
            )
            for user_id, enrolment in enrolments.items()
        ]
        if rows:
            insert_many(self._connection(), tables.mfa_secrets, _COLUMNS, rows)

    def confirm(self, user_id: UserId, *, now: Instant) -> None:
        self._connection().execute(
            update(tables.mfa_secrets).where(_secrets.user_id == user_id).values(confirmed_at=int(now))
        )

    def use_step(self, user_id: UserId, step: int, *, latest: int) -> bool:
        used = self._connection().execute(
            update(tables.mfa_secrets)
            .where(_secrets.user_id == user_id, or_(_secrets.last_used_step < step, _secrets.last_used_step > latest))
            .values(last_used_step=step)
        )
        return used.rowcount == 1

    def use_steps_until(self, now: Instant) -> None:
        step, latest = (
            literal(moment // 1_000_000, BigInteger) // _secrets.period + STEPS_EITHER_SIDE
            for moment in (int(now), int(now.plus(SKEW)))
        )
        # Keep a later step that was used on a machine whose clock is ahead; see `latest_step`.
        kept = case((_secrets.last_used_step.between(step, latest), _secrets.last_used_step), else_=step)
        self._connection().execute(update(tables.mfa_secrets).values(last_used_step=kept))

    def move(self, user_id: UserId, *, secret: str, kid: str) -> None:
        self._connection().execute(
            update(tables.mfa_secrets).where(_secrets.user_id == user_id).values(secret=secret, kid=kid)
        )

    def not_under(self, kid: str, *, after: UserId | None, limit: int) -> Sequence[UserId]:
        others = select(_secrets.user_id).where(_secrets.kid != kid)
        if after is not None:
            others = others.where(_secrets.user_id > after)
        return self._connection().scalars(others.order_by(_secrets.user_id).limit(limit)).all()

    # Recovery codes.

    def give_codes(self, user_id: UserId, codes: Sequence[StoredCode], *, now: Instant) -> None:
        connection = self._connection()
        connection.execute(delete(tables.recovery_codes).where(_codes.user_id == user_id))
        connection.execute(
            insert(tables.recovery_codes),
            [
                {"user_id": user_id, "digest": code.digest, "kid": code.kid, "created_at": int(now), "used_at": None}
                for code in codes
            ],
        )

    def code_kids(self, user_id: UserId) -> Sequence[str]:
        kids = select(_codes.kid).where(_codes.user_id == user_id, _codes.used_at.is_(None)).distinct()
        return self._connection().scalars(kids.order_by(_codes.kid)).all()

    def use_code(self, user_id: UserId, digest: str, *, now: Instant) -> bool:
        used = self._connection().execute(
            update(tables.recovery_codes)
            .where(_codes.user_id == user_id, _codes.digest == digest, _codes.used_at.is_(None))
            .values(used_at=int(now))
        )
        return used.rowcount == 1

    def codes_left(self, user_id: UserId) -> int:
        left = select(func.count()).where(_codes.user_id == user_id, _codes.used_at.is_(None))
        return self._connection().scalars(left).one()

    def forget(self, user_id: UserId) -> None:
        connection = self._connection()
        connection.execute(delete(tables.recovery_codes).where(_codes.user_id == user_id))
        connection.execute(delete(tables.mfa_secrets).where(_secrets.user_id == user_id))


def needs_key(connection: Connection, kid: str) -> bool:
    """Whether a secret or an unused recovery code depends on the key with this kid."""
    secret = select(_secrets.user_id).where(_secrets.kid == kid).limit(1)
    code = select(_codes.user_id).where(_codes.kid == kid, _codes.used_at.is_(None)).limit(1)
    return any(connection.execute(found).first() is not None for found in (secret, code))


def _enrolment(row: Row[Any]) -> Enrolment:
    """Raises DatabaseDamaged: anyone who can write an SQLite file can change these values."""
    try:
        times = [row.enrolled_at, row.enrolled_at if row.confirmed_at is None else row.confirmed_at]
        whole = (row.digits, row.period, row.last_used_step, *times)
        if not all(type(number) is int for number in whole) or not all(EARLIEST <= time <= LATEST for time in times):
            raise ValueError(whole)
        if not isinstance(row.secret, str) or not isinstance(row.kid, str):
            raise TypeError(row.kid)
        settings = TotpSettings(cast(Algorithm, row.algorithm), row.digits, row.period)
    except (ValueError, TypeError, InvalidInput) as error:
        raise DatabaseDamaged(
            f"table mfa_secrets, row {quoted(str(row.user_id))}: the second factor contains an impossible value",
            hint="enroll the account again, or restore the database from a backup",
        ) from error
    return Enrolment(
        secret=row.secret,
        kid=row.kid,
        settings=settings,
        enrolled_at=Instant(row.enrolled_at),
        confirmed_at=None if row.confirmed_at is None else Instant(row.confirmed_at),
        last_used_step=row.last_used_step,
    )
