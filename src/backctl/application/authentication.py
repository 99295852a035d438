"""Check passwords and codes of the second factor. Failures are counted and recorded; all refusals look the same."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from backctl.application.attribution import Attribution
from backctl.application.login_views import PasswordCheck
from backctl.domain.errors import UserChangedMeanwhile, UserNotFound
from backctl.domain.password_policy import prepared
from backctl.domain.quoting import quoted
from backctl.domain.values import Identity, Secret, folded

if TYPE_CHECKING:
    from backctl.application.limit_views import LimitView
    from backctl.application.mfa_keys import MfaKeys
    from backctl.application.ports.environment import AddressParser, Clock
    from backctl.application.ports.security import BlindIndex, PasswordHasher
    from backctl.application.ports.storage import Reader, UnitOfWork
    from backctl.application.transactions import Transactions
    from backctl.domain.lockout import Proof, Verdict
    from backctl.domain.user import User
    from backctl.domain.values import Instant, PasswordHash, UserId

_ATTEMPTS = 3  # a concurrent login may have rehashed the password


@dataclass(frozen=True, slots=True)
class AuthenticationService:
    """Check passwords and codes. Every check is one transaction with its events.

    `mfa_keys` are loaded when the first account requires a code.
    """

    transactions: "Callable[[], Transactions]"
    reader: "Callable[[], Reader]"
    addresses: "AddressParser"
    hasher: "PasswordHasher"
    clock: "Clock"
    blind_index: "BlindIndex"
    mfa_keys: "Callable[[], MfaKeys]"
    throttle: "Callable[[str], LimitView] | None" = None

    def authenticate(
        self,
        ident: str,
        password: Secret,
        mfa_code: Secret | None = None,
        *,
        by: Attribution,
        source: str | None = None,
    ) -> PasswordCheck:
        """Check a password, and a code if the account has a second factor. Records the outcome.

        A second factor requires a one-time code or a recovery code; each can be used once. Without a code, the outcome
        of the right password is `mfa_required`, which is not a failure; a wrong code is `refused`, a failure like a
        wrong password. An account without a second factor ignores the code.

        Unknown, inactive and expired accounts and wrong passwords are all `refused`, take the time of one hash at the
        configured cost and run the same statements; only the event log records the cause. If the stored hash is more
        expensive than that, a refusal takes longer until a successful login replaces the hash. Ten failures within
        fifteen minutes make the outcome `locked` for fifteen minutes, for unknown names too. A success resets the
        failures and replaces a hash with a lower cost or an older scheme.

        `source` is the IP address of the client. If the policy `authentication.source_policy` refuses it, the outcome
        is `throttled`: no password is hashed, nothing is counted as a failure or recorded.

        Raises InstallationMissing, InvalidIdentity, InvalidPassword for an impossible password,
        PasswordHashUnsupported, MfaSecretUnusable; InvalidInput for a source that is not an address, and the errors of
        the limit's store.
        """
        identity = Identity.parse(ident)
        self.reader()  # raises InstallationMissing before a rate limit is stored
        if source is not None and self.throttle is not None:
            limit = self.throttle(source)
            if not limit.ok:
                return PasswordCheck(False, ident, "throttled", None, retry_after=limit.retry_after)
        # Try the password as typed too: a hash made elsewhere used the raw bytes.
        typed, normal = password, prepared(password)
        forms = (normal,) if normal.reveal() == typed.reveal() else (normal, typed)
        for _ in range(_ATTEMPTS):
            answer = self._attempt(identity, forms, mfa_code, by)
            if answer is not None:
                return answer.told(ident)
        raise UserChangedMeanwhile(f"the password of {quoted(ident)} kept changing during the login", hint="try again")

    def _attempt(
        self, identity: Identity, forms: tuple[Secret, ...], code: Secret | None, by: Attribution
    ) -> "_Answer | None":
        """Check the password once; None if it was replaced between reading it and locking the account."""
        stored = self.reader().password_of(identity)
        checking = self.hasher.begin_check(forms, stored)

        @cache
        def better() -> "PasswordHash | None":
            return self._better_hash(forms, stored, checking())

        def step(work: "UnitOfWork") -> "_Answer | None":
            return self._judging(identity, stored, checking() is not None, better(), code, work)

        # The database libraries load while the password is hashed.
        return self.transactions().run_any(step, by=by, prepare=better, commits=lambda answer: answer is not None)

    def _judging(
        self,
        identity: Identity,
        stored: "PasswordHash | None",
        fits: bool,
        better: "PasswordHash | None",
        code: Secret | None,
        work: "UnitOfWork",
    ) -> "_Answer | None":
        """The step that `_attempt` runs. `fits` says whether the password matches the `stored` hash."""
        from backctl.domain.lockout import asks_for_code, ended_locks, judge

        try:
            user = work.users.get(identity)
        except UserNotFound:
            user = None
        if user is not None and user.password_hash != stored:
            return None
        now = self.clock()
        key = user.id if user is not None else self.blind_index(self._spelt_one_way(identity))
        failures = work.login_failures.of(key)
        factor = _Factor("missing")
        if user is not None and asks_for_code(user, failures, fits=fits, now=now):
            factor = self._proven(work, user, code, now)
        verdict = judge(user, failures, fits=fits, now=now, proof=factor.proof)
        if user is not None and verdict.ok:
            user.log_in(now=now)
            if better is not None:
                user.rehash_password(better, now=now)
        swept = work.login_failures.keep(key, verdict.failures, now=now)
        work.record(*ended_locks(swept, now=now), *verdict.events)
        work.write()
        return _Answer(verdict, user.id if user is not None and verdict.ok else None, factor)

    def _proven(self, work: "UnitOfWork", user: "User", code: Secret | None, now: "Instant") -> "_Factor":
        """Check the code; a right code is used up."""
        from backctl.domain.one_time_codes import fitting_step, latest_step, recovery_code_meant

        if code is None:
            return _Factor("missing")
        keys, factors = self.mfa_keys(), work.second_factors
        if recovery_code_meant(code.reveal()) is not None:
            if not keys.use_recovery_code(code, factors, user.id, now=now):
                return _Factor("wrong")
            left = factors.codes_left(user.id)
            user.use_recovery_code(left=left, now=now)
            return _Factor("recovery_code", left)
        enrolment, secret = keys.stored(factors, user.id)
        step = fitting_step(
            secret, code.reveal(), now=now, last_used=enrolment.last_used_step, settings=enrolment.settings
        )
        latest = latest_step(now, enrolment.settings)
        if step is None or not factors.use_step(user.id, step, latest=latest):
            return _Factor("wrong")
        keys.follow_primary(secret, enrolment, factors, user.id)
        return _Factor("totp")

    def _better_hash(
        self, forms: tuple[Secret, ...], stored: "PasswordHash | None", fitting: int | None
    ) -> "PasswordHash | None":
        if stored is None or fitting is None or not (fitting > 0 or self.hasher.is_outdated(stored)):
            return None
        if self.hasher.cuts(forms[fitting], stored):  # or a typing error in the rest would become the password
            return None
        return self.hasher.begin(forms[0])()

    def _spelt_one_way(self, identity: Identity) -> str:
        """Return the same text for every spelling of the same identity."""
        match identity.kind:
            case "id":
                return identity.text
            case "email":
                return self.addresses.key_of(identity.text)
            case "username":
                return folded(identity.text, "NFKC")


@dataclass(frozen=True, slots=True)
class _Factor:
    """The result for the second factor; `left` is the number of remaining recovery codes if one was used."""

    proof: "Proof"
    left: int | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    verdict: "Verdict"
    user_id: "UserId | None" = None
    factor: _Factor = _Factor("missing")

    def told(self, ident: str) -> PasswordCheck:
        verdict, proof = self.verdict, self.factor.proof
        return PasswordCheck(
            verdict.ok,
            ident,
            verdict.outcome,
            verdict.failures.locked_until,
            self.user_id,
            proof if proof == "totp" or proof == "recovery_code" else None,
            self.factor.left,
        )
