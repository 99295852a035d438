"""The use cases of accounts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from backctl.application.repeating import repeatable
from backctl.application.views import Change, EventView, UserExistence, UserView
from backctl.domain.access import DEFAULT_ROLE, AccessPolicy
from backctl.domain.errors import InvalidInput, UserNotFound
from backctl.domain.password_policy import PasswordPolicy, prepared
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
from backctl.domain.values import Actor, Identity, Secret, Username, checked_reason

if TYPE_CHECKING:
    from backctl.application.ports import (
        AddressParser,
        Clock,
        IdSource,
        PasswordHasher,
        Reader,
        UnitOfWorkFactory,
    )


@dataclass(frozen=True, slots=True)
class AccountService:
    """Create, find, open and close accounts. Every mutation is one transaction with its events."""

    unit_of_work: "UnitOfWorkFactory"
    reader: "Callable[[], Reader]"
    addresses: "AddressParser"
    hasher: "PasswordHasher"
    passwords: PasswordPolicy
    access: AccessPolicy
    clock: "Clock"
    new_id: "IdSource"
    pause: "Callable[[int], None]"

    def require_creatable(self, *, email: str, username: str, role: str) -> None:
        """Judge what can be judged before a password is asked for. Raises what `create` raises for these three."""
        self.addresses.parse(email)
        Username.parse(username)
        self.access.require_known(role)

    @repeatable
    def create(
        self,
        *,
        email: str,
        username: str,
        role: str = DEFAULT_ROLE,
        password: Secret | None = None,
        actor: Actor,
        reason: str | None = None,
        dry_run: bool = False,
    ) -> Change[UserView]:
        """Open an account; without a password nobody can log in to it.

        Raises InvalidEmail, InvalidUsername, InvalidInput for the reason, UnknownRole, InvalidPassword and WeakPassword
        before anything is opened;
        EmailTaken and UsernameTaken from the database's unique keys.
        """
        from backctl.domain.user import User  # with all events; queries need neither

        address = self.addresses.parse(email)
        name = Username.parse(username)
        reason = checked_reason(reason)
        self.access.require_known(role)
        hashing = None
        if password is not None:
            password = prepared(password)
            self.passwords.check(password, email=address, username=name)
            hashing = self.hasher.begin(password)
        work = self.unit_of_work(dry_run=dry_run)  # loads the database's libraries while the hash is made
        user = User.create(
            id=self.new_id(),
            email=address,
            username=name,
            password_hash=hashing() if hashing else None,
            role=role,
            now=self.clock(),
        )
        with work:
            work.users.add(user)
            work.commit(actor, reason)
        return Change(UserView.of(user), changed=True)

    @repeatable
    def activate(
        self, ident: str, *, actor: Actor, reason: str | None = None, dry_run: bool = False
    ) -> Change[UserView]:
        """Open a closed account; a no-op when it is open already. Raises UserNotFound."""
        identity, reason = Identity.parse(ident), checked_reason(reason)
        with self.unit_of_work(dry_run=dry_run) as work:
            user = work.users.get(identity)
            if not user.activate(now=self.clock()):
                return Change(UserView.of(user), changed=False)
            work.commit(actor, reason)
        return Change(UserView.of(user), changed=True)

    @repeatable
    def deactivate(
        self, ident: str, *, actor: Actor, reason: str | None = None, dry_run: bool = False
    ) -> Change[UserView]:
        """Close the account; a no-op when it is closed already.

        Administrators' rows are locked first: two sessions closing the last two must not both succeed.
        Raises UserNotFound, and LastAdministrator when nobody else could administer.
        """
        identity, reason = Identity.parse(ident), checked_reason(reason)
        with self.unit_of_work(dry_run=dry_run) as work:
            administrators = work.users.lock_administrators()
            user = work.users.get(identity)
            self.access.require_another_administrator(user, administrators)
            if not user.deactivate(now=self.clock()):
                return Change(UserView.of(user), changed=False)
            work.commit(actor, reason)
        return Change(UserView.of(user), changed=True)

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

    def history(self, ident: str, *, limit: int = PAGE_SIZE, cursor: str | None = None) -> Page[EventView]:
        """What happened to one account, oldest first; a deleted one is known by its id. Raises UserNotFound."""
        user, identity = self.find(ident), Identity.parse(ident)
        if user is None and identity.kind != "id":
            raise UserNotFound(ident)
        subject = user.id if user else identity.text
        page = self.reader().events(EventCriteria(subject=subject), limit=checked_page_size(limit), cursor=cursor)
        if user is None and not any(event.type.startswith("User") for event in page.items):
            raise UserNotFound(ident)  # other things have ids and events too
        return page

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
