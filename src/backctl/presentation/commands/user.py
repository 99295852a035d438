"""`backctl user …`: create, find, open and close accounts."""

from typing import Annotated

from typer import Argument, Option

from backctl.application.views import EventView, PasswordCheck, UserExistence, UserView
from backctl.domain.access import DEFAULT_ROLE
from backctl.domain.repositories import PAGE_SIZE, Sort, UserCriteria
from backctl.domain.values import Instant
from backctl.presentation.context import Invocation
from backctl.presentation.errors import ExitCode
from backctl.presentation.grammar import Idents, leaf, noun
from backctl.presentation.new_password import new_password
from backctl.presentation.paging import All, Cursor, Limit, refuse_mixture

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
    role: Annotated[str, Option("--role", metavar="NAME", help="What the account may do.")] = DEFAULT_ROLE,
    generate_password: GeneratePassword = False,
    no_password: Annotated[bool, Option("--no-password", help="Nobody can log in to the account.")] = False,
    secret_file: SecretFile = None,
    must_change_password: MustChangePassword = False,
) -> None:
    """Create an account."""
    accounts = call.container.accounts
    with new_password(call, generate=generate_password, none=no_password, secret_file=secret_file) as password:
        change = accounts.create(
            email=email,
            username=username,
            role=role,
            password=password.secret,
            password_hash=password.hashed,
            must_change_password=must_change_password,
            actor=call.actor,
            reason=call.reason,
            dry_run=call.dry_run,
        )
    call.changed(change, **password.members())


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
        str, Option("--sort", metavar="FIELD", help="created_at, email, username or id; '-' before it reverses.")
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
    accounts = call.container.accounts
    if all_:
        call.stream(accounts.stream(criteria, order), UserView)
    elif numbered:
        size = PAGE_SIZE if page_size is None else page_size
        call.show_page(
            accounts.numbered_page(criteria, order, page=1 if page is None else page, page_size=size), UserView
        )
    else:
        size = PAGE_SIZE if limit is None else limit
        call.show_page(accounts.page(criteria, order, limit=size, cursor=cursor), UserView)


@leaf(app, view=UserView)
def show(call: Invocation, ident: Ident) -> None:
    """Show an account."""
    call.show(call.container.accounts.show(ident))


@leaf(app, view=UserExistence)
def exists(call: Invocation, ident: Ident) -> None:
    """Say whether an account exists: exit code 0 or 3."""
    existence = call.container.accounts.exists(ident)
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
    number = call.container.accounts.count(criteria)
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
    """Give an account another password, and end a lock after failed logins."""
    accounts = call.container.accounts
    accounts.show(ident)  # before anybody types a password in vain
    with new_password(call, generate=generate_password, secret_file=secret_file) as password:
        change = accounts.set_password(
            ident,
            password.required(),
            must_change_password=must_change_password,
            actor=call.actor,
            reason=call.reason,
            dry_run=call.dry_run,
        )
    call.changed(change, **password.members())


@leaf(app, name="check-password", secrets=("password",), view=PasswordCheck)
def check_password(call: Invocation, ident: Ident) -> None:
    """Say whether a password opens an account, as a login: exit code 0 or 6.

    Failures count: ten in fifteen minutes lock the account for fifteen minutes. The answer does not tell whether the
    account exists; the event log does.
    """
    authentication = call.container.authentication
    password = call.secret("password")
    check = authentication.check_password(ident, password, actor=call.actor, reason=call.reason)
    call.check(check, check.ok)


@leaf(app, mutation=True, bulk=True, view=UserView, members=_REPORTED)
def activate(call: Invocation, idents: Idents = None) -> None:
    """Open closed accounts."""
    accounts = call.container.accounts
    call.each(
        idents,
        lambda ident: accounts.activate(ident, actor=call.actor, reason=call.reason, dry_run=call.dry_run),
        view=UserView,
        doing="activating",
    )


@leaf(app, mutation=True, bulk=True, guard="yes", view=UserView, members=_REPORTED)
def deactivate(call: Invocation, idents: Idents = None) -> None:
    """Close accounts; nobody can log in to them any more."""
    accounts = call.container.accounts
    call.each(
        idents,
        lambda ident: accounts.deactivate(ident, actor=call.actor, reason=call.reason, dry_run=call.dry_run),
        view=UserView,
        doing="deactivating",
        ask="deactivate {count} accounts",
    )


@leaf(app, view=EventView)
def history(call: Invocation, ident: Ident, limit: Limit = None, cursor: Cursor = None) -> None:
    """Show what happened to an account, oldest first."""
    size = PAGE_SIZE if limit is None else limit
    call.show_page(call.container.accounts.history(ident, limit=size, cursor=cursor), EventView)
