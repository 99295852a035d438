"""The use cases of accounts."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from backctl.application.attribution import Attribution
from backctl.application.views import Change, UserDeletion, UserExistence, UserView
from backctl.domain.access import DEFAULT_ROLE, AccessPolicy
from backctl.domain.errors import EmailTaken, InvalidInput, UsernameTaken, UserNotFound
from backctl.domain.repositories import (
    BY_CREATION,
    EVERY_USER,
    PAGE_SIZE,
    EventCriteria,
    Page,
    Sort,
    UserCriteria,
    checked_page_size,
)
from backctl.domain.values import EmailAddress, Expiry, Identity, PasswordHash, Secret, Username, folded

if TYPE_CHECKING:
    from backctl.application.account_steps import AccountSteps
    from backctl.application.event_views import EventView
    from backctl.application.ports.environment import AddressParser, Clock, IdSource
    from backctl.application.ports.security import PasswordHasher
    from backctl.application.ports.storage import Reader, UnitOfWork
    from backctl.application.transactions import Outcome, StepOn, Transactions
    from backctl.domain.password_policy import PasswordPolicy

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AccountService:
    """Create, find, change, open, close and delete accounts. Every mutation is one transaction with its events."""

    transactions: "Callable[[], Transactions]"
    reader: "Callable[[], Reader]"
    addresses: "AddressParser"
    hasher: "Callable[[], PasswordHasher]"
    passwords: "Callable[[], PasswordPolicy]"
    access: AccessPolicy
    clock: "Clock"
    new_id: "IdSource"

    @property
    def steps(self) -> "AccountSteps":
        """The changes as steps, for whoever makes several of them in one transaction."""
        from backctl.application.account_steps import AccountSteps  # queries need none of it

        return AccountSteps(self.access, self.clock, self.new_id)

    def require_creatable(self, *, email: str, username: str, role: str) -> None:
        """Judge what can be judged before a password is asked for. Raises what `create` raises for these three."""
        self.addresses.parse(email)
        Username.parse(username)
        self.access.require_known(role)

    def require_acceptable(self, password: Secret, *, email: str, username: str) -> None:
        """Judge a password before it is repeated, for an account there is or will be.

        Raises InvalidPassword, WeakPassword.
        """
        from backctl.domain.password_policy import prepared

        self.passwords().check(
            prepared(password),
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
        """Open an account; without a password nobody can log in to it.

        `password_hash` is one made elsewhere, in place of a password; a login replaces it by one of ours.
        Raises InvalidEmail, InvalidUsername, InvalidInput for the reason, UnknownRole, InvalidPassword, WeakPassword
        and InvalidPasswordHash before anything is opened; EmailTaken and UsernameTaken from the database's unique keys.
        """
        from backctl.application.account_steps import NewAccount
        from backctl.domain.password_policy import prepared

        if password is not None and password_hash is not None:
            raise InvalidInput("a password and a password hash cannot be used together")
        address = self.addresses.parse(email)
        name = Username.parse(username)
        self.access.require_known(role)
        made_elsewhere = self.hasher().accept(password_hash) if password_hash is not None else None
        hashing: Callable[[], PasswordHash | None] = lambda: made_elsewhere  # noqa: E731 - or a hash that is being made
        if password is not None:
            password = prepared(password)
            self.passwords().check(password, email=address, username=name)
            hashing = self.hasher().begin(password)

        def step(work: "UnitOfWork") -> Change[UserView]:
            return self.steps.creating(NewAccount(address, name, role, expiry, hashing(), must_change_password), work)

        # Loads the database's libraries while the hash is made.
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
        """Give the account another password; end its sessions, and a lock that failed logins brought about.

        `must_change_password` obliges its owner to choose another at the next login. Always a change, for the hash has
        a new salt. Raises UserNotFound, InvalidPassword, WeakPassword.
        """
        from backctl.domain.password_policy import prepared

        identity = Identity.parse(ident)
        password = prepared(password)
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
        """The account with this address, by `create` where there is none.

        One that exists is left as it is, or with `update` given what is not None here; its password is never touched.
        `create` is this service's, called with the same values and a password that may cost a question: it is only
        called to make an account, and its conflict is forgiven when somebody else was quicker. A made account is a
        change of version 1. Raises what `create` and `update` raise.
        """
        address = self.addresses.parse(email)
        Username.parse(username)
        if role is not None:
            self.access.require_known(role)
        existing = self.find(address.address)
        if existing is None:
            try:
                return create()
            except (EmailTaken, UsernameTaken):
                existing = self.find(address.address)
                if existing is None:  # it is the name that belongs to another account
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
        """Which of these attributes the account has otherwise, by their names in a view; None asks nothing.

        An expiry counted from now is another one only where there is none.
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
        """Give the account what is not None here; a no-op when it is so already.

        Another role voids the access tokens issued so far, an expiry that is past ends all sessions.
        `if_version` is the state that the caller saw. Raises UserNotFound; UserChangedMeanwhile for another version;
        EmailTaken, UsernameTaken; LastAdministrator when at some time nobody else could administer; and for the values
        what `create` raises.
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
        """Give the account this role; a no-op when it has it already.

        Raises UnknownRole, UserNotFound, and LastAdministrator when nobody else could administer.
        """
        return self.update(ident, role=role, by=by, dry_run=dry_run)

    def activate(self, ident: str, *, by: Attribution, dry_run: bool = False) -> Change[UserView]:
        """Open a closed account; a no-op when it is open already. Raises UserNotFound."""
        step = partial(self.steps.activating, Identity.parse(ident))
        return self.transactions().run(step, by=by, dry_run=dry_run)

    def deactivate(self, ident: str, *, by: Attribution, dry_run: bool = False) -> Change[UserView]:
        """Close the account and end its sessions; a no-op when it is closed already.

        Administrators' rows are locked first: two sessions closing the last two must not both succeed.
        Raises UserNotFound, and LastAdministrator when nobody else could administer.
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
        """Remove the account with its sessions; its events stay, and with `erase` lose their data, not their reasons.

        Administrators' rows are locked first: two sessions deleting the last two must not both succeed.
        Raises UserNotFound, unless `if_exists` makes that a no-op, and LastAdministrator when nobody else could
        administer.
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
        """Make the same change of each account, such as `steps.deactivating`; many share a transaction.

        Lazy, and in order; see `Transactions.run_each`, also for what is raised. An outcome is the change, or what the
        method for one account raises.
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

    def exists(self, ident: str) -> UserExistence:
        user = self.find(ident)
        return UserExistence(ident, user is not None, user.id if user else None)

    def page(
        self,
        criteria: UserCriteria = EVERY_USER,
        sort: Sort = BY_CREATION,
        *,
        limit: int = PAGE_SIZE,
        cursor: str | None = None,
    ) -> Page[UserView]:
        """At most `limit` (1–1000) accounts from the cursor on, as cheap at any depth as at the beginning."""
        return self.reader().users(self._checked(criteria), sort, limit=checked_page_size(limit), cursor=cursor)

    def numbered_page(
        self,
        criteria: UserCriteria = EVERY_USER,
        sort: Sort = BY_CREATION,
        *,
        page: int,
        page_size: int = PAGE_SIZE,
    ) -> Page[UserView]:
        """The page with that number, from 1 on. Its cost grows with the number; `page` does not have that fault."""
        if not 1 <= page <= 10**9:
            raise InvalidInput(f"there is no page {page}", hint="pages are numbered from 1")
        size = checked_page_size(page_size)
        return self.reader().users(self._checked(criteria), sort, limit=size, offset=(page - 1) * size)

    def stream(self, criteria: UserCriteria = EVERY_USER, sort: Sort = BY_CREATION) -> Iterator[UserView]:
        """Every account that fits, one after the other, in constant memory and from one snapshot."""
        return self.reader().stream_users(self._checked(criteria), sort)

    def count(self, criteria: UserCriteria = EVERY_USER) -> int:
        return self.reader().count_users(self._checked(criteria))

    def history(
        self, ident: str, *, limit: int = PAGE_SIZE, cursor: str | None = None, newest_first: bool = False
    ) -> "Page[EventView]":
        """What happened to one account; a deleted one is known by its id. Raises UserNotFound."""
        user, identity = self.find(ident), Identity.parse(ident)
        if user is None and identity.kind != "id":
            raise UserNotFound(ident)
        subject = user.id if user else identity.text
        deletion = EventCriteria(type="UserDeleted", subject=subject)
        if user is None and not self.reader().events(deletion, limit=1).items:
            raise UserNotFound(ident)  # other things have ids and events too
        return self.reader().events(
            EventCriteria(subject=subject), limit=checked_page_size(limit), cursor=cursor, newest_first=newest_first
        )

    def _checked(self, criteria: UserCriteria) -> UserCriteria:
        if criteria.role is not None and not self.reader().count_users(UserCriteria(role=criteria.role)):
            self.access.require_known(criteria.role)  # a slip; but a role may have accounts and be configured no more
        if criteria.email_domain is None:
            return criteria
        # Through the parser's key, so that a domain is found in any case and in its xn-- form alike.
        domain = self.addresses.key_of(f"x@{criteria.email_domain.removeprefix('@')}").rpartition("@")[2]
        return replace(criteria, email_domain=domain)


# 57 letters and digits that are not taken for one another; 20 of them are 116 bits.
_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_GENERATED_LENGTH = 20


def generate_password() -> Secret:
    """A password that nobody guesses: 116 bits from the system's random source."""
    from secrets import choice

    return Secret("".join(choice(_ALPHABET) for _ in range(_GENERATED_LENGTH)))
