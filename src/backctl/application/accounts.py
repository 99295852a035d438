"""The use cases of accounts."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from backctl.application.attribution import Attribution
from backctl.application.guard import guarded
from backctl.application.views import Change, UserDeletion, UserExistence, UserView, is_change
from backctl.domain.access import DEFAULT_ROLE, AccessPolicy
from backctl.domain.errors import (
    EmailTaken,
    InstallationMissing,
    InvalidConfiguration,
    InvalidInput,
    UsernameTaken,
    UserNotFound,
)
from backctl.domain.repositories import (
    BY_CREATION,
    EVERY_USER,
    PAGE_SIZE,
    EventCriteria,
    Page,
    Sort,
    UserCriteria,
    checked_page_size,
    require_period,
)
from backctl.domain.values import EmailAddress, Expiry, Identity, PasswordHash, Secret, Username, folded

if TYPE_CHECKING:
    from backctl.application.account_details import UserDetails
    from backctl.application.account_steps import AccountSteps
    from backctl.application.cache_views import WarmView
    from backctl.application.cached_accounts import CachedAccounts
    from backctl.application.event_views import EventView
    from backctl.application.ports.environment import AddressParser, Clock, IdSource
    from backctl.application.ports.security import PasswordHasher
    from backctl.application.ports.storage import Reader, UnitOfWork
    from backctl.application.transactions import Outcome, StepOn, Transactions
    from backctl.domain.password_policy import PasswordPolicy

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AccountService:
    """Create, find, change and delete accounts. Every change is one transaction with its events."""

    transactions: "Callable[[], Transactions]"
    reader: "Callable[[], Reader]"
    addresses: "AddressParser"
    hasher: "Callable[[], PasswordHasher]"
    passwords: "Callable[[], PasswordPolicy]"
    access: AccessPolicy
    clock: "Clock"
    new_id: "IdSource"
    cached: "Callable[[], CachedAccounts] | None" = None

    @property
    def steps(self) -> "AccountSteps":
        """The changes as steps, to make several of them in one transaction."""
        from backctl.application.account_steps import AccountSteps  # queries do not need it

        return AccountSteps(self.access, self.clock, self.new_id)

    def require_creatable(self, *, email: str, username: str, role: str) -> None:
        """Check these values before asking for a password. Raises the errors of `create` for them."""
        self.addresses.parse(email)
        Username.parse(username)
        self.access.require_known(role)

    def require_acceptable(self, password: Secret, *, email: str, username: str) -> None:
        """Check a password before asking to repeat it, for an existing or a new account.

        Raises InvalidPassword, WeakPassword.
        """
        from backctl.domain.password_policy import prepared_new

        self.passwords().check(
            prepared_new(password),
            email=EmailAddress.of(self.addresses.key_of(email)),
            username=Username(username, folded(username, "NFKC")),
        )

    def create(
        self,
        *,
        email: str,
        username: str,
        role: str = DEFAULT_ROLE,
        expiry: Expiry | None = None,
        password: Secret | None = None,
        password_hash: Secret | None = None,
        must_change_password: bool = False,
        by: Attribution,
        dry_run: bool = False,
    ) -> Change[UserView]:
        """Create an account. Without a password, nobody can log in to it.

        `password_hash` is a hash made elsewhere, used instead of a password; the next login replaces it by a new hash.
        Raises InvalidEmail, InvalidUsername, InvalidInput for the reason, UnknownRole, InvalidPassword, WeakPassword
        and InvalidPasswordHash before it opens the database; EmailTaken and UsernameTaken from its unique keys.
        """
        from backctl.application.account_steps import NewAccount
        from backctl.domain.password_policy import prepared_new

        if password is not None and password_hash is not None:
            raise InvalidInput("a password and a password hash cannot be used together")
        address = self.addresses.parse(email)
        name = Username.parse(username)
        self.access.require_known(role)
        made_elsewhere = self.hasher().accept(password_hash) if password_hash is not None else None
        hashing: Callable[[], PasswordHash | None] = lambda: made_elsewhere  # noqa: E731 - replaced below for a password
        if password is not None:
            password = prepared_new(password)
            self.passwords().check(password, email=address, username=name)
            hashing = self.hasher().begin(password)

        def step(work: "UnitOfWork") -> Change[UserView]:
            return self.steps.creating(NewAccount(address, name, role, expiry, hashing(), must_change_password), work)

        # The database libraries load while the hash is computed.
        return self.transactions().run(step, by=by, dry_run=dry_run, creates=True, prepare=hashing)

    def set_password(
        self,
        ident: str,
        password: Secret,
        *,
        must_change_password: bool = False,
        by: Attribution,
        dry_run: bool = False,
    ) -> Change[UserView]:
        """Set the password of an account, revoke its sessions, and end a lock after failed logins.

        `must_change_password` requires a new password at the next login. Always a change, because the hash has a new
        salt. Raises UserNotFound, InvalidPassword, WeakPassword.
        """
        from backctl.domain.password_policy import prepared_new

        identity = Identity.parse(ident)
        password = prepared_new(password)
        account = self.show(ident)
        self.passwords().check(
            password,
            email=EmailAddress.of(account.email),
            username=Username(account.username, folded(account.username, "NFKC")),
        )
        hashing = self.hasher().begin(password)

        def step(work: "UnitOfWork") -> Change[UserView]:
            return self.steps.setting_password(identity, hashing(), must_change_password, work)

        return self.transactions().run(step, by=by, dry_run=dry_run, prepare=hashing)

    def ensure(
        self,
        *,
        email: str,
        username: str,
        role: str | None = None,
        expiry: Expiry | None = None,
        create: Callable[[], Change[UserView]],
        update: bool,
        by: Attribution,
        dry_run: bool = False,
    ) -> Change[UserView]:
        """Return the account with this address; call `create` if there is none.

        An existing account is left unchanged, or with `update` gets the values that are not None; its password never
        changes. `create` must call this service's `create` with the same values; it is called only if no account
        exists, so it may prompt for a password. If another process creates the account first, that one is used. A
        created account has version 1. Raises the errors of `create` and `update`.
        """
        address = self.addresses.parse(email)
        Username.parse(username)
        if role is not None:
            self.access.require_known(role)
        try:
            existing = self.find(address.address)
        except InstallationMissing:  # `create` creates one on a fresh machine, and otherwise raises this error
            existing = None
        if existing is None:
            try:
                return create()
            except (EmailTaken, UsernameTaken):
                existing = self.find(address.address)
                if existing is None:  # another account has the username
                    raise
        if not update:
            return Change(existing, changed=False)
        return self.update(
            existing.id,
            email=email,
            username=username,
            role=role,
            expiry=expiry,
            by=by,
            dry_run=dry_run,
        )

    def differences(
        self, account: UserView, *, email: str, username: str, role: str | None = None, expiry: Expiry | None = None
    ) -> tuple[str, ...]:
        """Return the names of the view's attributes that differ from these values; None is not compared.

        An expiry relative to now differs only from no expiry.
        """
        given = {
            "email": self.addresses.parse(email).address,
            "username": Username.parse(username).name,
            "role": account.role if role is None else role,
            "expires_at": account.expires_at,
        }
        if expiry is not None and (expiry.after is None or account.expires_at is None):
            given["expires_at"] = expiry.counted_from(self.clock())
        return tuple(name for name, value in given.items() if getattr(account, name) != value)

    def update(
        self,
        ident: str,
        *,
        email: str | None = None,
        username: str | None = None,
        role: str | None = None,
        expiry: Expiry | None = None,
        if_version: int | None = None,
        by: Attribution,
        dry_run: bool = False,
    ) -> Change[UserView]:
        """Change the values that are not None; a no-op if none differs.

        A new role voids the access tokens issued so far; an expiry in the past revokes all sessions. `if_version` is
        the version that the caller read. Raises UserNotFound; UserChangedMeanwhile for another version; EmailTaken,
        UsernameTaken; LastAdministrator if no active administrator would be left, now or later; and the errors of
        `create` for the values.
        """
        identity = Identity.parse(ident)
        address = None if email is None else self.addresses.parse(email)
        name = None if username is None else Username.parse(username)
        if role is not None:
            self.access.require_known(role)
        from backctl.application.account_steps import AccountChanges

        changes = AccountChanges(address, name, role, expiry, if_version)
        return self.transactions().run(partial(self.steps.updating, identity, changes), by=by, dry_run=dry_run)

    def assign_role(self, ident: str, role: str, *, by: Attribution, dry_run: bool = False) -> Change[UserView]:
        """Assign a role to an account; a no-op if it already has the role.

        Raises UnknownRole, UserNotFound, and LastAdministrator if no active administrator would be left.
        """
        return self.update(ident, role=role, by=by, dry_run=dry_run)

    def activate(self, ident: str, *, by: Attribution, dry_run: bool = False) -> Change[UserView]:
        """Activate an account; a no-op if it is already active. Raises UserNotFound."""
        step = partial(self.steps.activating, Identity.parse(ident))
        return self.transactions().run(step, by=by, dry_run=dry_run)

    def unlock(self, ident: str, *, by: Attribution, dry_run: bool = False) -> Change[UserView]:
        """End a lock after failed logins and delete the failures. A no-op without a lock. Raises UserNotFound."""
        step = partial(self.steps.unlocking, Identity.parse(ident))
        return self.transactions().run(step, by=by, dry_run=dry_run)

    def deactivate(self, ident: str, *, by: Attribution, dry_run: bool = False) -> Change[UserView]:
        """Deactivate an account and revoke its sessions; a no-op if it is already inactive.

        Locks all administrators first, so that two transactions cannot deactivate the last two at the same time.
        Raises UserNotFound, and LastAdministrator if no active administrator would be left.
        """
        step = partial(self.steps.deactivating, Identity.parse(ident))
        return self.transactions().run(step, by=by, dry_run=dry_run)

    def delete(
        self,
        ident: str,
        *,
        erase: bool = False,
        if_exists: bool = False,
        by: Attribution,
        dry_run: bool = False,
    ) -> Change[UserDeletion]:
        """Delete an account and its sessions. Its events stay; `erase` erases their data, but not their reasons.

        Locks all administrators first, so that two transactions cannot delete the last two at the same time.
        Raises UserNotFound, unless `if_exists` makes that a no-op, and LastAdministrator if no active administrator
        would be left.
        """
        step = partial(self.steps.deleting, Identity.parse(ident), erase=erase, if_exists=if_exists)
        return self.transactions().run(step, by=by, dry_run=dry_run)

    def change_each(
        self,
        idents: Iterable[str],
        step: "StepOn[T]",
        *,
        by: Attribution,
        dry_run: bool = False,
        stop: Callable[[], bool] = lambda: False,
    ) -> "Iterator[Outcome[T]]":
        """Apply the same step, such as `steps.deactivating`, to each account; many accounts share a transaction.

        Lazy and in order; see `Transactions.run_each`, also for the errors. An outcome is the change, or the error
        that the method for one account raises.
        """
        return self.transactions().run_each(idents, step, by=by, dry_run=dry_run, stop=stop)

    def find(self, ident: str) -> UserView | None:
        return self.reader().find_user(Identity.parse(ident))

    def show(self, ident: str) -> UserView:
        """Raises UserNotFound."""
        user = self.find(ident)
        if user is None:
            raise UserNotFound(ident)
        return user

    def details(self, ident: str) -> "UserDetails":
        """Return an account and when it was last seen. Raises UserNotFound."""
        from backctl.application.account_details import UserDetails

        user = self.show(ident)
        return UserDetails.seen(user, self.reader().last_seen(user.id))

    def get(self, ident: str) -> UserView:
        """Like `show`, but through the cache, for services that read the same accounts often.

        A change is visible within `cache.max_staleness`, or within 30 seconds if the cache was not available when it
        was made. Reads the database on PostgreSQL without Redis. Raises UserNotFound.
        """
        return self.show(ident) if self.cached is None else self.cached().get(ident)

    def warm(
        self, criteria: UserCriteria = EVERY_USER, *, dry_run: bool = False, progress: Callable[[], None] = lambda: None
    ) -> "Change[WarmView]":
        """Store accounts in the cache. `progress` is called after each. Raises Unavailable, Unusable."""
        if self.cached is None:
            raise InvalidConfiguration("accounts on PostgreSQL are cached only on Redis", hint="set redis.url")
        attempt = partial(self.cached().warm_all, lambda: self.stream(criteria), progress)
        return guarded(attempt, guard=self.transactions().guard, changes=is_change, dry_run=dry_run)

    def exists(self, ident: str) -> UserExistence:
        user = self.find(ident)
        return UserExistence(user is not None, ident, user.id if user else None)

    def page(
        self,
        criteria: UserCriteria = EVERY_USER,
        sort: Sort = BY_CREATION,
        *,
        limit: int = PAGE_SIZE,
        cursor: str | None = None,
    ) -> Page[UserView]:
        """Return at most `limit` (1–1000) accounts after the cursor. The cost is the same for every page."""
        return self.reader().users(self._checked(criteria), sort, limit=checked_page_size(limit), cursor=cursor)

    def numbered_page(
        self,
        criteria: UserCriteria = EVERY_USER,
        sort: Sort = BY_CREATION,
        *,
        page: int,
        page_size: int = PAGE_SIZE,
    ) -> Page[UserView]:
        """Return the page with this number, starting at 1. The cost grows with the number, unlike that of `page`."""
        if not 1 <= page <= 10**9:
            raise InvalidInput(f"there is no page {page}", hint="pages are numbered from 1")
        size = checked_page_size(page_size)
        return self.reader().users(self._checked(criteria), sort, limit=size, offset=(page - 1) * size)

    def stream(self, criteria: UserCriteria = EVERY_USER, sort: Sort = BY_CREATION) -> Iterator[UserView]:
        """Yield all matching accounts in constant memory, from one snapshot."""
        return self.reader().stream_users(self._checked(criteria), sort)

    def count(self, criteria: UserCriteria = EVERY_USER) -> int:
        return self.reader().count_users(self._checked(criteria))

    def history(
        self, ident: str, *, limit: int = PAGE_SIZE, cursor: str | None = None, newest_first: bool = False
    ) -> "Page[EventView]":
        """Return the events of an account; pass the id of a deleted one. Raises UserNotFound."""
        user, identity = self.find(ident), Identity.parse(ident)
        if user is None and identity.kind != "id":
            raise UserNotFound(ident, hint="for a deleted account, run '{backctl} audit list --subject IDENT'")
        subject = user.id if user else identity.text
        deletion = EventCriteria(types=("UserDeleted",), subjects=(subject,))
        if user is None and not self.reader().events(deletion, limit=1).items:
            raise UserNotFound(ident)  # the id may belong to something else that has events
        return self.reader().events(
            EventCriteria(subjects=(subject,)), limit=checked_page_size(limit), cursor=cursor, newest_first=newest_first
        )

    def _checked(self, criteria: UserCriteria) -> UserCriteria:
        hint = "give --created-after an earlier time than --created-before"
        require_period(criteria.created_after, criteria.created_before, hint=hint)
        for role in criteria.roles:
            if not self.reader().count_users(UserCriteria(roles=(role,))):
                self.access.require_known(role)  # accounts may still have a role that is no longer configured
        if criteria.email_domain is None:
            return criteria
        # The parser's key matches a domain in any case and in its xn-- form.
        domain = self.addresses.key_of(f"x@{criteria.email_domain.removeprefix('@')}").rpartition("@")[2]
        return replace(criteria, email_domain=domain)


# 57 letters and digits that do not look alike; 20 of them give 116 bits.
_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_GENERATED_LENGTH = 20


def generate_password() -> Secret:
    """Generate a password with 116 bits from the system's random source."""
    from secrets import choice

    return Secret("".join(choice(_ALPHABET) for _ in range(_GENERATED_LENGTH)))
