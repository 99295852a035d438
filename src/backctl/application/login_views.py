"""Views of logins and second factors."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from backctl.application.durations import Seconds
from backctl.domain.values import Instant, UserId

if TYPE_CHECKING:
    from backctl.domain.mfa import Enrolment
    from backctl.domain.user import User


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """The result of checking a password and, if the account requires one, a second factor.

    `must_change`: both are right, but the password must be changed first. `mfa_required`: the password is right, but
    the account requires a code too. `user_id` and `second_factor` are None unless `ok`; `second_factor` is also None
    when no code was required. `recovery_codes_left` is set only if a recovery code was used. `retry_after` is set only
    if the outcome is `throttled`: the seconds until a login from the same source is checked.
    """

    ok: bool
    ident: str
    outcome: Literal["ok", "must_change", "mfa_required", "refused", "locked", "throttled"]
    locked_until: Instant | None
    user_id: UserId | None = None
    second_factor: Literal["totp", "recovery_code"] | None = None
    recovery_codes_left: int | None = None
    retry_after: Seconds | None = None


@dataclass(frozen=True, slots=True)
class MfaStatus:
    """The second factor of an account. `mfa` is `off`, `pending` until a code has confirmed it, or `on`."""

    user_id: UserId
    username: str
    mfa: str
    algorithm: str | None
    digits: int | None
    period: int | None
    enrolled_at: Instant | None
    confirmed_at: Instant | None
    recovery_codes_left: int

    @classmethod
    def of(cls, user: "User", enrolment: "Enrolment | None", *, recovery_codes_left: int) -> Self:
        return cls(
            user_id=user.id,
            username=user.username.name,
            mfa=user.mfa_state,
            algorithm=enrolment.settings.algorithm if enrolment else None,
            digits=enrolment.settings.digits if enrolment else None,
            period=enrolment.settings.period if enrolment else None,
            enrolled_at=enrolment.enrolled_at if enrolment else None,
            confirmed_at=enrolment.confirmed_at if enrolment else None,
            recovery_codes_left=recovery_codes_left,
        )
