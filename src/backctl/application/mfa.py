"""The use cases of second factors: one-time codes from an authenticator, and recovery codes if it is lost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from backctl.application.attribution import Attribution
from backctl.application.login_views import MfaStatus
from backctl.application.mfa_keys import MfaKeys
from backctl.application.views import Change
from backctl.domain.errors import MfaCodeWrong, MfaSecretUnusable, UserNotFound
from backctl.domain.mfa import Enrolment
from backctl.domain.one_time_codes import (
    DEFAULT_TOTP,
    RECOVERY_BYTES,
    RECOVERY_CODES,
    SECRET_BYTES,
    TotpSettings,
    encoded_secret,
    fitting_step,
    latest_step,
    otpauth_uri,
    recovery_codes,
)
from backctl.domain.user import require_mfa_pending
from backctl.domain.values import Identity, Instant, Secret, UserId

if TYPE_CHECKING:
    from backctl.application.ports.environment import Clock
    from backctl.application.ports.storage import Reader, UnitOfWork
    from backctl.application.transactions import Transactions
    from backctl.domain.user import User

_BATCH = 100  # accounts that one transaction locks


class MfaEnrolment(NamedTuple):
    """An unconfirmed enrolment: the data to enter into an authenticator. It cannot be shown again."""

    status: MfaStatus
    secret: Secret
    """In base32, for typing."""
    uri: Secret
    """Secret and settings, for a QR code."""


@dataclass(frozen=True, slots=True)
class MfaReencryption:
    """The number of secrets re-encrypted under the primary key, and the usernames whose secret cannot be decrypted."""

    moved: int
    unusable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MfaService:
    """Enroll, confirm and remove second factors. Every change is one transaction with its events.

    `issuer` is the name that authenticators show for the account.
    """

    transactions: "Callable[[], Transactions]"
    reader: "Callable[[], Reader]"
    keys: MfaKeys
    clock: "Clock"
    issuer: str

    def status(self, ident: str) -> MfaStatus:
        """Raises UserNotFound."""
        status = self.reader().mfa_of(Identity.parse(ident))
        if status is None:
            raise UserNotFound(ident)
        return status

    def require_pending(self, ident: str) -> None:
        """Check the account before asking for a code. Raises UserNotFound, MfaNotPending."""
        found = self.status(ident)
        require_mfa_pending(found.mfa, found.username)

    def enroll(
        self,
        ident: str,
        settings: TotpSettings = DEFAULT_TOTP,
        *,
        by: Attribution,
        dry_run: bool = False,
    ) -> Change[MfaEnrolment]:
        """Create a secret for the account's authenticator; logins require a code only after `confirm`.

        Replaces an unconfirmed secret. Raises UserNotFound, MfaAlreadyOn.
        """
        from secrets import token_bytes

        step = partial(self.enrolling, Identity.parse(ident), token_bytes(SECRET_BYTES), settings)
        return self.transactions().run(step, by=by, dry_run=dry_run)

    def enrolling(
        self, identity: Identity, secret: bytes, settings: TotpSettings, work: "UnitOfWork"
    ) -> Change[MfaEnrolment]:
        """The step that `enroll` runs."""
        user, now = work.users.get(identity), self.clock()
        user.enroll_mfa(algorithm=settings.algorithm, digits=settings.digits, period=settings.period, now=now)
        uri = otpauth_uri(secret, issuer=_shown(self.issuer), account=user.email.address, settings=settings)
        sealed, kid = self.keys.seal(secret, user.id)
        enrolment = Enrolment(sealed, kid, settings, enrolled_at=user.updated_at)
        work.second_factors.enroll(user.id, enrolment)
        work.write()
        status = MfaStatus.of(user, enrolment, recovery_codes_left=0)
        return Change(MfaEnrolment(status, Secret(encoded_secret(secret)), Secret(uri)), changed=True)

    def confirm(
        self,
        ident: str,
        code: Secret,
        codes: Sequence[Secret],
        *,
        by: Attribution,
        dry_run: bool = False,
    ) -> Change[MfaStatus]:
        """Confirm the second factor with a code from the authenticator; logins require one from now on.

        Revokes all sessions. `codes` are recovery codes from `new_recovery_codes`, for the account's owner. The
        confirming code is used up. Raises UserNotFound, MfaNotPending, MfaCodeWrong, MfaSecretUnusable.
        """
        step = partial(self.confirming, Identity.parse(ident), code, codes)
        return self.transactions().run(step, by=by, dry_run=dry_run)

    def confirming(
        self, identity: Identity, code: Secret, codes: Sequence[Secret], work: "UnitOfWork"
    ) -> Change[MfaStatus]:
        """The step that `confirm` runs."""
        user, now = work.users.get(identity), self.clock()
        require_mfa_pending(user.mfa_state, user.username.name)
        enrolment, secret = self.keys.stored(work.second_factors, user.id)
        step = fitting_step(
            secret, code.reveal(), now=now, last_used=enrolment.last_used_step, settings=enrolment.settings
        )
        latest = latest_step(now, enrolment.settings)
        if step is None or not work.second_factors.use_step(user.id, step, latest=latest):
            raise MfaCodeWrong(
                "the code is not the current one",
                hint="try the next code; the two clocks may differ by at most half a minute",
            )
        user.confirm_mfa(now=now)
        work.second_factors.confirm(user.id, now=user.updated_at)
        self._give(work, user, codes, now)
        work.sessions.revoke_all(user.id, "mfa_reset", now=now)
        work.write()
        confirmed = replace(enrolment, confirmed_at=user.updated_at)
        return Change(MfaStatus.of(user, confirmed, recovery_codes_left=len(codes)), changed=True)

    def renew_recovery_codes(
        self,
        ident: str,
        codes: Sequence[Secret],
        *,
        by: Attribution,
        dry_run: bool = False,
    ) -> Change[MfaStatus]:
        """Replace the recovery codes of the account by these, from `new_recovery_codes`.

        Raises UserNotFound, MfaNotOn.
        """
        step = partial(self.renewing_recovery_codes, Identity.parse(ident), codes)
        return self.transactions().run(step, by=by, dry_run=dry_run)

    def renewing_recovery_codes(
        self, identity: Identity, codes: Sequence[Secret], work: "UnitOfWork"
    ) -> Change[MfaStatus]:
        """The step that `renew_recovery_codes` runs."""
        user = work.users.get(identity)
        self._give(work, user, codes, self.clock())
        work.write()
        enrolment = work.second_factors.of(user.id)
        return Change(MfaStatus.of(user, enrolment, recovery_codes_left=len(codes)), changed=True)

    def disable(self, ident: str, *, by: Attribution, dry_run: bool = False) -> Change[MfaStatus]:
        """Remove the second factor with its secret and recovery codes; a no-op if there is none.

        Revokes all sessions if the second factor was confirmed. Raises UserNotFound.
        """
        return self.transactions().run(partial(self.disabling, Identity.parse(ident)), by=by, dry_run=dry_run)

    def disabling(self, identity: Identity, work: "UnitOfWork") -> Change[MfaStatus]:
        """The step that `disable` runs."""
        user, now = work.users.get(identity), self.clock()
        was_on = user.mfa_state == "on"
        changed = user.disable_mfa(now=now)
        if changed:
            work.second_factors.forget(user.id)
        if was_on:
            work.sessions.revoke_all(user.id, "mfa_reset", now=now)
        work.write()
        return Change(MfaStatus.of(user, None, recovery_codes_left=0), changed)

    def reencrypt(
        self,
        *,
        by: Attribution,
        dry_run: bool = False,
        progress: "Callable[[int], None]" = lambda accounts: None,
    ) -> Change[MfaReencryption]:
        """Re-encrypt every secret under the primary key, as the next login would, so that old keys can be destroyed.

        A transaction handles at most 100 accounts and then calls `progress` with their number. A secret that cannot be
        decrypted stays unchanged, and its account is reported. No event is recorded, because no account changes.
        """
        moved, unusable = 0, list[str]()
        after: UserId | None = None
        run_any = self.transactions().run_any
        while seen := run_any(partial(self.reencrypting, after), by=by, dry_run=dry_run, commits=_Seen.is_change):
            moved += seen.moved
            unusable += seen.unusable
            progress(seen.moved + len(seen.unusable))
            after = seen.last
        return Change(MfaReencryption(moved, tuple(unusable)), changed=moved > 0)

    def reencrypting(self, after: UserId | None, work: "UnitOfWork") -> "_Seen | None":
        """The step that `reencrypt` runs: handle the next accounts after the id `after`; None when none are left."""
        moved, unusable = 0, list[str]()
        factors = work.second_factors
        work.users.lock_administrators()  # administrators are always locked first, to avoid deadlocks
        kid = self.keys.primary_kid()
        found = factors.not_under(kid, after=after, limit=_BATCH)
        for user_id in found:
            try:
                user = work.users.get(Identity("id", user_id))
            except UserNotFound:  # deleted meanwhile
                continue
            enrolment = factors.of(user_id)
            if enrolment is None or enrolment.kid == kid:  # removed, or re-encrypted by a login
                continue
            try:
                secret = self.keys.opened(enrolment, user_id)
            except MfaSecretUnusable:
                unusable.append(user.username.name)
            else:
                self.keys.follow_primary(secret, enrolment, factors, user_id)
                moved += 1
        return _Seen(moved, unusable, found[-1]) if found else None

    def new_recovery_codes(self) -> tuple[Secret, ...]:
        """Generate ten recovery codes of 80 bits each. Pass them to `confirm` or `renew_recovery_codes`."""
        from secrets import token_bytes

        return tuple(map(Secret, recovery_codes(token_bytes(RECOVERY_CODES * RECOVERY_BYTES))))

    def _give(self, work: "UnitOfWork", user: "User", codes: Sequence[Secret], now: Instant) -> None:
        user.renew_recovery_codes(len(codes), now=now)
        work.second_factors.give_codes(user.id, self.keys.hidden(codes, user.id), now=now)


@dataclass(frozen=True, slots=True)
class _Seen:
    """The result for a batch of accounts, and the last id in it."""

    moved: int
    unusable: list[str]
    last: UserId

    @staticmethod
    def is_change(seen: "_Seen | None") -> bool:
        return seen is not None and seen.moved > 0


def _shown(issuer: str) -> str:
    """Return the issuer to show in an authenticator: the host of a URL, without colons, which end it in a URI."""
    bare = issuer.partition("://")[2].partition("/")[0] if "://" in issuer else issuer
    return bare.replace(":", " ").strip() or issuer.replace(":", " ").strip() or "backctl"
