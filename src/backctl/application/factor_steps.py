"""Changes of second factors whose secrets come from elsewhere, in an open unit of work."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from backctl.domain.errors import MfaSecretUnusable
from backctl.domain.mfa import NEVER_USED, Enrolment
from backctl.domain.one_time_codes import TotpSettings
from backctl.domain.values import Instant, UserId

if TYPE_CHECKING:
    from backctl.application.mfa_keys import MfaKeys
    from backctl.application.ports.storage import UnitOfWork
    from backctl.domain.user import User


@dataclass(frozen=True, slots=True)
class GivenFactor:
    """A second factor of another program or installation. `secret` is not encrypted and never shown."""

    state: Literal["pending", "on"]
    secret: bytes = field(repr=False)
    settings: TotpSettings
    enrolled_at: Instant | None = None
    confirmed_at: Instant | None = None
    last_used_step: int = NEVER_USED

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a second factor is not pickled")


@dataclass(frozen=True, slots=True)
class FactorSteps:
    """`mfa_keys` is called for the first second factor."""

    mfa_keys: "Callable[[], MfaKeys]"

    def enrolment(self, factor: GivenFactor, user_id: UserId, *, now: Instant) -> Enrolment:
        """Return what to store, with the secret encrypted for this account."""
        sealed, kid = self.mfa_keys().seal(factor.secret, user_id)
        confirmed_at = factor.confirmed_at
        enrolled_at = next(at for at in (factor.enrolled_at, confirmed_at, now) if at is not None)
        if confirmed_at is None and factor.state == "on":
            confirmed_at = enrolled_at
        return Enrolment(sealed, kid, factor.settings, enrolled_at, confirmed_at, factor.last_used_step)

    def differs(self, user: "User", factor: GivenFactor, work: "UnitOfWork") -> bool:
        """Whether an account has another second factor, or one that cannot be read."""
        stored = work.second_factors.of(user.id)
        if stored is None or user.mfa_state != factor.state or stored.settings != factor.settings:
            return True
        try:
            return self.mfa_keys().opened(stored, user.id) != factor.secret
        except MfaSecretUnusable:
            return True

    def replace(self, user: "User", factor: GivenFactor, work: "UnitOfWork", *, now: Instant) -> None:
        """Give an account this second factor, and revoke its sessions."""
        user.disable_mfa(now=now)
        give(user, factor, now=now)
        work.second_factors.enroll(user.id, self.enrolment(factor, user.id, now=now))
        work.sessions.revoke_all(user.id, "mfa_reset", now=now)
        work.write()


def give(user: "User", factor: GivenFactor, *, now: Instant) -> None:
    """Record that an account without a second factor gets this one."""
    settings = factor.settings
    user.enroll_mfa(algorithm=settings.algorithm, digits=settings.digits, period=settings.period, now=now)
    if factor.state == "on":
        user.confirm_mfa(now=now)
