"""Whether a password opens an account: counted, recorded, and answered alike for every reason to refuse."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backctl.application.repeating import repeatable
from backctl.application.views import PasswordCheck
from backctl.domain.errors import UserChangedMeanwhile, UserNotFound, quoted
from backctl.domain.password_policy import prepared
from backctl.domain.values import Actor, Identity, Secret, folded

if TYPE_CHECKING:
    from backctl.application.ports import AddressParser, BlindIndex, Clock, PasswordHasher, Reader, UnitOfWorkFactory
    from backctl.domain.lockout import Verdict
    from backctl.domain.values import PasswordHash

_ATTEMPTS = 3  # a login beside this one may have rehashed the same password


@dataclass(frozen=True, slots=True)
class AuthenticationService:
    """Check passwords. Every check is one transaction with its events."""

    unit_of_work: "UnitOfWorkFactory"
    reader: "Callable[[], Reader]"
    addresses: "AddressParser"
    hasher: "PasswordHasher"
    clock: "Clock"
    blind_index: "BlindIndex"
    is_fresh: Callable[[], bool]
    pause: Callable[[int], None]

    def check_password(self, ident: str, password: Secret, *, actor: Actor, reason: str | None = None) -> PasswordCheck:
        """Say whether this password opens the account, and remember the answer.

        Unknown, closed, expired and wrong are all `refused`, cost one hash at the configured cost and run the same
        statements; the event log alone knows the cause. Where the stored hash took more work to make, elsewhere or at
        a higher cost, a refusal takes that long, until a success has replaced it. After ten failures in fifteen
        minutes the answer is `locked` for fifteen minutes, for names that no account has too. A success resets the
        count and replaces a hash of an older cost or scheme. Raises InvalidIdentity, InvalidPassword for what no
        password can be, and PasswordHashUnsupported.
        """
        identity = Identity.parse(ident)
        # As typed, too: a hash from elsewhere was made of the raw bytes.
        typed, normal = password, prepared(password)
        forms = (normal,) if normal.reveal() == typed.reveal() else (normal, typed)
        for _ in range(_ATTEMPTS):
            verdict = self._attempt(identity, forms, actor, reason)
            if verdict is not None:
                return PasswordCheck(ident, verdict.ok, verdict.outcome, verdict.failures.locked_until)
        raise UserChangedMeanwhile(
            f"the password of {quoted(ident)} was changed again and again meanwhile", hint="try again"
        )

    @repeatable
    def _attempt(
        self, identity: Identity, forms: tuple[Secret, ...], actor: Actor, reason: str | None
    ) -> "Verdict | None":
        """None when the stored password was replaced between looking at it and locking its account."""
        from backctl.domain.lockout import RecentFailures, judge

        stored = self.reader().password_of(identity)
        checking = self.hasher.begin_check(forms, stored)
        # Loads the database's libraries while the hash is made.
        work = self.unit_of_work(actor=actor, reason=reason, dry_run=False)
        fitting = checking()
        if self.is_fresh():  # there is no key to count a name under, and nothing to count it in
            return judge(None, RecentFailures(), fits=False, now=self.clock())
        better = self._better_hash(forms, stored, fitting)
        with work:
            try:
                user = work.users.get(identity)
            except UserNotFound:
                user = None
            if user is not None and user.password_hash != stored:
                return None
            now = self.clock()
            key = user.id if user is not None else self.blind_index(self._spelt_one_way(identity))
            verdict = judge(user, work.login_failures.of(key), fits=fitting is not None, now=now)
            if user is not None and verdict.ok and better is not None:
                user.rehash_password(better, now=now)
            work.login_failures.keep(key, verdict.failures, now=now)
            work.record(*verdict.events)
            work.commit()
        return verdict

    def _better_hash(
        self, forms: tuple[Secret, ...], stored: "PasswordHash | None", fitting: int | None
    ) -> "PasswordHash | None":
        if stored is None or fitting is None or not (fitting > 0 or self.hasher.is_outdated(stored)):
            return None
        return self.hasher.begin(forms[0])()

    def _spelt_one_way(self, identity: Identity) -> str:
        """The same text for every spelling that would find the same account, if there were one."""
        match identity.kind:
            case "id":
                return identity.text
            case "email":
                return self.addresses.key_of(identity.text)
            case "username":
                return folded(identity.text, "NFKC")
