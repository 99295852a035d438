"""`backctl user …`: create, find, change, open, close and delete accounts."""

from functools import partial
from typing import Annotated

from typer import Argument, Option

from backctl.application.views import Change, UserDeletion, UserExistence, UserView
from backctl.domain.access import DEFAULT_ROLE
from backctl.domain.errors import UsageError
from backctl.domain.repositories import PAGE_SIZE, EventCriteria, Sort, UserCriteria, is_newest_first
from backctl.domain.values import Instant
from backctl.presentation.context import Invocation
from backctl.presentation.errors import ExitCode
from backctl.presentation.expiry import ExpiresAt, ExpiresIn, expiry_of
from backctl.presentation.grammar import Idents, leaf, noun
from backctl.presentation.new_password import new_password, require_one_way
from backctl.presentation.paging import All, Cursor, EventSort, Limit, refuse_mixture

app = noun("user")

_REPORTED = ("ident", "error")
"""What the report on many accounts says of each beside the account itself."""

Ident = Annotated[str, Argument(metavar="IDENT", help="An id, an e-mail address or a username.")]

Role = Annotated[str | None, Option("--role", metavar="NAME", help="With this role.")]
Active = Annotated[bool | None, Option("--active/--inactive", help="Open or closed accounts only.")]
After = Annotated[str | None, Option("--created-after", metavar="TIME", help="Created at this time or later.")]
Before = Annotated[str | None, Option("--created-before", metavar="TIME", help="Created before this time.")]
Domain = Annotated[str | None, Option("--email-domain", metavar="DOMAIN", help="With an address in this domain.")]
Search = Annotated[str | None, Option("--search", metavar="TEXT", help="With this in the username or the address.")]


def _criteria(
    role: str | None,
    active: bool | None,
    after: str | None,
    before: str | None,
    domain: str | None,
    search: str | None,
) -> UserCriteria:
    return UserCriteria(
        role=role,
        is_active=active,
        created_after=Instant.parse(after) if after is not None else None,
        created_before=Instant.parse(before) if before is not None else None,
        email_domain=domain,
        search=search,
    )


GeneratePassword = Annotated[bool, Option("--generate-password", help="Make a password and print it once.")]
SecretFile = Annotated[
    str | None, Option("--secret-file", metavar="FILE", help="Write the made password to this new file instead.")
]
MustChangePassword = Annotated[
    bool, Option("--must-change-password", help="Another password has to be chosen at the next login.")
]


@leaf(app, mutation=True, secrets=("password", "password-hash"), view=UserView, members=("password", "secret_file"))
def create(
    call: Invocation,
    email: Annotated[str, Argument(metavar="EMAIL", help="The account's e-mail address.")],
    username: Annotated[str, Option("--username", metavar="NAME", help="3 to 50 letters, digits, '.', '_' or '-'.")],
    role: Annotated[
        str | None, Option("--role", metavar="NAME", help=f"What the account may do; '{DEFAULT_ROLE}' unless given.")
    ] = None,
    expires_at: ExpiresAt = None,
    expires_in: ExpiresIn = None,
    generate_password: GeneratePassword = False,
    no_password: Annotated[bool, Option("--no-password", help="Nobody can log in to the account.")] = False,
    secret_file: SecretFile = None,
    must_change_password: MustChangePassword = False,
    if_not_exists: Annotated[
        bool, Option("--if-not-exists", help="Leave an account with this address as it is, and be content.")
    ] = False,
    upsert: Annotated[
        bool, Option("--upsert", help="Give an account with this address what is given here, but for the password.")
    ] = False,
) -> None:
    """Create an account.

    With --if-not-exists or --upsert the password is for a new account only: one that exists keeps its own.
    """
    if if_not_exists and upsert:
        raise UsageError("--if-not-exists and --upsert exclude each other", hint="give one of them")
    expiry = expiry_of(expires_at, expires_in)
    has_password = require_one_way(call, generate=generate_password, none=no_password, secret_file=secret_file)
    accounts = call.backend.accounts
    accounts.require_creatable(email=email, username=username, role=DEFAULT_ROLE if role is None else role)
    members: dict[str, object] = {}

    def make() -> Change[UserView]:
        with new_password(
            call,
            generate=generate_password,
            none=no_password,
            secret_file=secret_file,
            judge=lambda typed: accounts.require_acceptable(typed, email=email, username=username),
        ) as password:
            change = accounts.create(
                email=email,
                username=username,
                role=DEFAULT_ROLE if role is None else role,
                expiry=expiry,
                password=password.secret,
                password_hash=password.hashed,
                must_change_password=must_change_password,
                by=call.attribution,
                dry_run=call.dry_run,
            )
        members.update(password.members())
        return change

    if not (if_not_exists or upsert):
        call.changed(make(), **members)
        return
    change = accounts.ensure(
        email=email,
        username=username,
        role=role,
        expiry=expiry,
        create=make,
        update=upsert,
        by=call.attribution,
        dry_run=call.dry_run,
    )
    if not (change.changed and change.value.version == 1):  # it existed
        if not upsert and (
            stays := accounts.differences(change.value, email=email, username=username, role=role, expiry=expiry)
        ):
            call.warn(f"the account exists with another {' and '.join(stays)}; --upsert would change that")
        if has_password:
            call.warn("the account exists and keeps its password")
    call.changed(change, **members)


@leaf(app, name="list", view=UserView)
def list_(
    call: Invocation,
    role: Role = None,
    active: Active = None,
    created_after: After = None,
    created_before: Before = None,
    email_domain: Domain = None,
    search: Search = None,
    sort: Annotated[
        str, Option("--sort", metavar="FIELD", help="By created_at, email, username or id; '-' before it reverses.")
    ] = "created_at",
    limit: Limit = None,
    cursor: Cursor = None,
    page: Annotated[int | None, Option("--page", metavar="N", help="The page with this number, from 1.")] = None,
    page_size: Annotated[int | None, Option("--page-size", metavar="N", help="Accounts on a numbered page.")] = None,
    all_: All = False,
) -> None:
    """List accounts, page by page."""
    criteria = _criteria(role, active, created_after, created_before, email_domain, search)
    order = Sort.parse(sort)
    numbered = page is not None or page_size is not None
    refuse_mixture(all_=all_, cursor=cursor, limit=limit, numbered=numbered)
    accounts = call.backend.accounts
    if all_:
        call.stream(accounts.stream(criteria, order), UserView)
    elif numbered:
        number, size = 1 if page is None else page, PAGE_SIZE if page_size is None else page_size
        found = accounts.numbered_page(criteria, order, page=number, page_size=size)
        call.show_page(found, UserView, onward=f"--page {number + 1}")
    else:
        size = PAGE_SIZE if limit is None else limit
        call.show_page(accounts.page(criteria, order, limit=size, cursor=cursor), UserView)


@leaf(app, view=UserView)
def show(call: Invocation, ident: Ident) -> None:
    """Show an account."""
    call.show(call.backend.accounts.show(ident))


@leaf(app, view=UserExistence)
def exists(call: Invocation, ident: Ident) -> None:
    """Say whether an account exists: exit code 0 or 3."""
    existence = call.backend.accounts.exists(ident)
    call.check(existence, existence.exists, no=ExitCode.NOT_FOUND)


@leaf(app)
def count(
    call: Invocation,
    role: Role = None,
    active: Active = None,
    created_after: After = None,
    created_before: Before = None,
    email_domain: Domain = None,
    search: Search = None,
) -> None:
    """Count accounts."""
    criteria = _criteria(role, active, created_after, created_before, email_domain, search)
    number = call.backend.accounts.count(criteria)
    call.value(str(number), {"count": number})


@leaf(
    app,
    name="set-password",
    mutation=True,
    secrets=("password",),
    view=UserView,
    members=("password", "secret_file"),
)
def set_password(
    call: Invocation,
    ident: Ident,
    generate_password: GeneratePassword = False,
    secret_file: SecretFile = None,
    must_change_password: MustChangePassword = False,
) -> None:
    """Give an account another password.

    A lock after failed logins ends with it, and so do the sessions of the account.
    """
    accounts = call.backend.accounts
    account = accounts.show(ident)  # before anybody types a password in vain
    with new_password(
        call,
        generate=generate_password,
        secret_file=secret_file,
        judge=lambda typed: accounts.require_acceptable(typed, email=account.email, username=account.username),
    ) as password:
        change = accounts.set_password(
            ident,
            password.required(),
            must_change_password=must_change_password,
            by=call.attribution,
            dry_run=call.dry_run,
        )
    call.changed(change, **password.members())


def _password_check() -> type:
    from backctl.application.login_views import PasswordCheck

    return PasswordCheck


@leaf(app, name="check-password", secrets=("password", "mfa-code"), view=_password_check)
def check_password(call: Invocation, ident: Ident) -> None:
    """Say whether a password opens an account: exit code 0 or 6.

    It counts as a login, and ten failures in fifteen minutes lock the account for fifteen minutes. An account with a
    second factor opens with a one-time code or a recovery code beside the password, and each code counts once. The
    answer does not tell whether the account exists; the event log does.
    """
    authentication = call.backend.authentication
    password = call.secret("password")
    code = call.secret("mfa-code") if call.secret_given("mfa-code") else None
    check = authentication.authenticate(ident, password, code, by=call.attribution)
    if check.outcome == "mfa_required" and call.interactive:
        code = call.secret("mfa-code")
        check = authentication.authenticate(ident, password, code, by=call.attribution)
    call.check(check, check.ok)


@leaf(app, mutation=True, bulk=True, view=UserView, members=_REPORTED)
def activate(call: Invocation, idents: Idents = None) -> None:
    """Open closed accounts."""
    accounts = call.backend.accounts
    call.each(
        idents,
        partial(accounts.change_each, step=accounts.steps.activating),
        view=UserView,
        doing="activating",
    )


@leaf(app, mutation=True, bulk=True, guard="yes", view=UserView, members=_REPORTED)
def deactivate(call: Invocation, idents: Idents = None) -> None:
    """Close accounts; nobody can log in to them any more."""
    accounts = call.backend.accounts
    call.each(
        idents,
        partial(accounts.change_each, step=accounts.steps.deactivating),
        view=UserView,
        doing="deactivating",
        ask="deactivate {count} accounts",
    )


@leaf(app, mutation=True, view=UserView)
def update(
    call: Invocation,
    ident: Ident,
    email: Annotated[str | None, Option("--email", metavar="EMAIL", help="The new e-mail address.")] = None,
    username: Annotated[str | None, Option("--username", metavar="NAME", help="The new username.")] = None,
    role: Annotated[str | None, Option("--role", metavar="NAME", help="The new role.")] = None,
    expires_at: ExpiresAt = None,
    expires_in: ExpiresIn = None,
    no_expiry: Annotated[bool, Option("--no-expiry", help="The account does not end by itself.")] = False,
    if_version: Annotated[
        int | None, Option("--if-version", metavar="N", help="Only if the account still has this version.")
    ] = None,
) -> None:
    """Change what is given of an account, and nothing else."""
    expiry = expiry_of(expires_at, expires_in, never=no_expiry)
    if email is None and username is None and role is None and expiry is None:
        raise UsageError("nothing to change is given", hint="add --email, --username, --role or an expiry")
    change = call.backend.accounts.update(
        ident,
        email=email,
        username=username,
        role=role,
        expiry=expiry,
        if_version=if_version,
        by=call.attribution,
        dry_run=call.dry_run,
    )
    call.changed(change)


@leaf(app, mutation=True, bulk=True, guard="name", view=UserDeletion, members=_REPORTED)
def delete(
    call: Invocation,
    idents: Idents = None,
    erase: Annotated[
        bool, Option("--erase", help="Blank the data of their events too; actors and reasons stay.")
    ] = False,
    if_exists: Annotated[bool, Option("--if-exists", help="Be content when there is no such account.")] = False,
) -> None:
    """Delete accounts for good; their events stay.

    The events are found by the id of the account. Confirmed by the username, typed or given with --confirm; for several
    accounts by their number. --yes is not enough.
    """
    accounts = call.backend.accounts
    call.each(
        idents,
        partial(accounts.change_each, step=partial(accounts.steps.deleting, erase=erase, if_exists=if_exists)),
        view=UserDeletion,
        doing="deleting",
        destroys=accounts.find,
    )


def _event() -> type:
    from backctl.application.event_views import EventView

    return EventView


@leaf(app, view=_event)
def history(
    call: Invocation,
    ident: Ident,
    sort: EventSort = "seq",
    limit: Limit = None,
    cursor: Cursor = None,
    all_: All = False,
) -> None:
    """Show what happened to an account, oldest first."""
    newest_first = is_newest_first(sort)
    refuse_mixture(all_=all_, cursor=cursor, limit=limit)
    if all_:
        subject = call.backend.accounts.history(ident, limit=1).items[0].subject
        call.stream(call.backend.audit.stream(EventCriteria(subject=subject), newest_first=newest_first), _event())
        return
    size = PAGE_SIZE if limit is None else limit
    page = call.backend.accounts.history(ident, limit=size, cursor=cursor, newest_first=newest_first)
    call.show_page(page, _event())
