"""`backctl user …`: create, find, change, activate and deactivate accounts."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from backctl.application.views import Change, UserCount, UserExistence, UserView
from backctl.domain.access import DEFAULT_ROLE
from backctl.domain.errors import Hint, UsageError
from backctl.domain.quoting import quoted
from backctl.domain.repositories import PAGE_SIZE, EventCriteria, Sort
from backctl.presentation import program
from backctl.presentation.account_filters import Filters
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.errors import ExitCode
from backctl.presentation.expiry import ExpiresAt, ExpiresIn, confirm_past_expiry, expiry_of
from backctl.presentation.paging import EventOrder, Paging
from backctl.presentation.parameters import GeneratePassword, Ident, Idents, MustChangePassword, PasswordFile

if TYPE_CHECKING:
    from backctl.application.account_steps import AccountSteps
    from backctl.application.transactions import StepOn

app = noun("user")

_REPORTED = ("ident", "error")
"""Further members in the report of a bulk command."""


@leaf(
    app,
    changes="create {username}",
    secrets=("password", "password-hash"),
    view=UserView,
    members=("password", "secret_file"),
    examples="""
    # Create an administrator with a generated password
    backctl user create root@example.org --username root --role admin \\
        --generate-password
    # Create an account with a password from a file, unless it exists
    backctl user create dora@example.org --username dora --if-not-exists \\
        --password-file password.txt
    # Create an account that expires in 30 days
    backctl user create guest@example.org --username guest --no-password \\
        --expires-in 30d
    """,
)
def create(
    call: Invocation,
    email: Annotated[str, Argument(metavar="EMAIL", help="E-mail address of the account.")],
    username: Annotated[str, Option("--username", metavar="NAME", help="3 to 50 letters, digits, '.', '_' or '-'.")],
    role: Annotated[
        str | None, Option("--role", metavar="NAME", help=f"Role of the account; '{DEFAULT_ROLE}' unless given.")
    ] = None,
    expires_at: ExpiresAt = None,
    expires_in: ExpiresIn = None,
    generate_password: GeneratePassword = False,
    no_password: Annotated[bool, Option("--no-password", help="Create an account without a password.")] = False,
    secret_file: PasswordFile = None,
    must_change_password: MustChangePassword = False,
    if_not_exists: Annotated[
        bool, Option("--if-not-exists", help="Succeed without changes if the account already exists.")
    ] = False,
    upsert: Annotated[
        bool, Option("--upsert", help="Create the account, or update it if it exists; its password never changes.")
    ] = False,
) -> None:
    """Create an account.

    With --if-not-exists or --upsert, the password is used only for a new account.
    """
    if if_not_exists and upsert:
        raise UsageError("--if-not-exists and --upsert cannot be combined", hint="use one of them")
    expiry = expiry_of(expires_at, expires_in)
    from backctl.presentation.password_input import new_password, require_one_source

    has_password = require_one_source(call, generate=generate_password, none=no_password, secret_file=secret_file)
    accounts = call.backend.accounts
    accounts.require_creatable(email=email, username=username, role=DEFAULT_ROLE if role is None else role)
    confirm_past_expiry(call, expiry)
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
        call.results.changed(make(), **members)
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
    if not (change.changed and change.value.version == 1):  # it existed before
        if not upsert and (
            stays := accounts.differences(change.value, email=email, username=username, role=role, expiry=expiry)
        ):
            call.messages.warn(f"the account exists with another {' and '.join(stays)}; --upsert would change that")
        if has_password:
            call.messages.warn("the account exists and keeps its password")
    call.results.changed(change, **members)


@leaf(
    app,
    name="list",
    kind="list",
    view=UserView,
    examples="""
    # List the accounts that cannot log in
    backctl user list --inactive
    # List the administrators, the newest first
    backctl user list --role admin --sort -created_at
    # Print the e-mail addresses of all accounts
    backctl user list --all --fields email --no-header
    """,
)
def list_(
    call: Invocation,
    filters: Filters,
    paging: Paging,
    sort: Annotated[
        str,
        Option(
            "--sort",
            metavar="FIELD",
            help="Sort by created_at, email, username or id; '-' in front reverses it.",
        ),
    ] = "created_at",
    page: Annotated[int | None, Option("--page", metavar="N", help="Print page N, starting at 1.")] = None,
    page_size: Annotated[int | None, Option("--page-size", metavar="N", help="Accounts per numbered page.")] = None,
) -> None:
    """List accounts, page by page."""
    criteria = filters.criteria(call.now)
    order = Sort.parse(sort)
    numbered = page is not None or page_size is not None
    paging.require_one_way(numbered=numbered)
    accounts = call.backend.accounts
    if paging.all_:
        call.results.stream(accounts.stream(criteria, order), UserView)
    elif numbered:
        number, size = 1 if page is None else page, PAGE_SIZE if page_size is None else page_size
        found = accounts.numbered_page(criteria, order, page=number, page_size=size)
        call.results.show_page(found, UserView, next_page=f"--page {number + 1}")
    else:
        call.results.show_page(accounts.page(criteria, order, limit=paging.size, cursor=paging.cursor), UserView)


def _details() -> type:
    from backctl.application.account_details import UserDetails

    return UserDetails


@leaf(
    app,
    view=_details,
    examples="""
    # Show an account
    backctl user show ada
    # Print it as JSON
    backctl user show ada@example.org -o json
    # Print one field
    backctl user show ada --fields status --no-header
    """,
)
def show(call: Invocation, ident: Ident) -> None:
    """Show an account."""
    call.results.show(call.backend.accounts.details(ident))


@leaf(
    app,
    kind="check",
    view=UserExistence,
    examples="""
    # Check whether an account exists
    backctl user exists ada
    # Print nothing, only return the exit code
    backctl user exists ada@example.org -q
    """,
)
def exists(call: Invocation, ident: Ident) -> None:
    """Check whether an account exists: exit code 0 or 3."""
    call.results.check(call.backend.accounts.exists(ident), no=ExitCode.NOT_FOUND)


@leaf(
    app,
    kind="value",
    view=UserCount,
    examples="""
    # Count all accounts
    backctl user count
    # Count the active administrators
    backctl user count --role admin --active
    """,
)
def count(
    call: Invocation,
    filters: Filters,
) -> None:
    """Count accounts."""
    number = call.backend.accounts.count(filters.criteria(call.now))
    call.results.value(str(number), UserCount(number))


def _change_each(
    call: Invocation,
    idents: list[str] | None,
    step: "Callable[[AccountSteps], StepOn[UserView]]",
    doing: str,
    warning: Callable[[UserView], str | None] | None = None,
) -> None:
    from backctl.presentation.batch.run import change_each

    call.backend.require_installation()  # before identities are read
    accounts = call.backend.accounts
    action = partial(accounts.change_each, step=step(accounts.steps))
    change_each(call, idents, action, view=UserView, doing=doing, warning=warning)


@leaf(
    app,
    changes="activate {idents}",
    bulk=True,
    view=UserView,
    members=_REPORTED,
    examples="""
    # Activate an account
    backctl user activate eve
    # Activate the accounts in a file
    backctl user activate --from-file accounts.txt --yes
    """,
)
def activate(call: Invocation, idents: Idents = None) -> None:
    """Activate accounts that were deactivated.

    Warns if an account stays locked after failed logins; 'backctl user unlock' ends
    the lock.
    """
    _change_each(call, idents, lambda steps: steps.activating, "activating", _still_locked)


def _still_locked(account: UserView) -> str | None:
    if account.locked_until is None:
        return None
    return program.filled(
        Hint(
            f"{quoted(account.username)} is locked after failed logins until {account.locked_until}; "
            f"'{{backctl}} user unlock {account.username}' ends the lock"
        )
    )


@leaf(
    app,
    changes="unlock {idents}",
    bulk=True,
    view=UserView,
    members=_REPORTED,
    examples="""
    # End the lock of an account
    backctl user unlock ada
    # Unlock all accounts
    backctl user list --locked --all -o id | backctl user unlock - --yes
    """,
)
def unlock(call: Invocation, idents: Idents = None) -> None:
    """End the locks of accounts after failed logins.

    Also resets the count of failed logins, so that the next failure does not lock the account again.
    """
    _change_each(call, idents, lambda steps: steps.unlocking, "unlocking")


@leaf(
    app,
    changes="deactivate {idents}",
    bulk=True,
    view=UserView,
    members=_REPORTED,
    examples="""
    # Deactivate an account
    backctl user deactivate bob --reason "left the company"
    # Deactivate the accounts in a file, but not more than 20
    backctl user deactivate --from-file accounts.txt --max-changes 20 --yes
    # Deactivate the accounts without a login in the last 180 days
    backctl user list --last-login-before 180d --role user --all -o id |
        backctl user deactivate - --yes
    """,
)
def deactivate(call: Invocation, idents: Idents = None) -> None:
    """Deactivate accounts: nobody can log in to them."""
    _change_each(call, idents, lambda steps: steps.deactivating, "deactivating")


@leaf(
    app,
    changes="update {ident}",
    view=UserView,
    examples="""
    # Change the username
    backctl user update bob --username robert
    # Let an account expire at the end of 2099
    backctl user update cleo --expires-at 2099-12-31
    # Remove the expiry
    backctl user update cleo --no-expiry
    """,
)
def update(
    call: Invocation,
    ident: Ident,
    email: Annotated[str | None, Option("--email", metavar="EMAIL", help="New e-mail address.")] = None,
    username: Annotated[str | None, Option("--username", metavar="NAME", help="New username.")] = None,
    role: Annotated[str | None, Option("--role", metavar="NAME", help="New role.")] = None,
    expires_at: ExpiresAt = None,
    expires_in: ExpiresIn = None,
    no_expiry: Annotated[bool, Option("--no-expiry", help="Remove the expiry of the account.")] = False,
    if_version: Annotated[
        int | None, Option("--if-version", metavar="N", help="Update only if the account still has this version.")
    ] = None,
) -> None:
    """Update the given attributes of an account."""
    expiry = expiry_of(expires_at, expires_in, never=no_expiry)
    if email is None and username is None and role is None and expiry is None:
        raise UsageError("no attribute to change was given", hint="add --email, --username, --role or an expiry")
    accounts = call.backend.accounts
    confirm_past_expiry(call, expiry)
    change = accounts.update(
        ident,
        email=email,
        username=username,
        role=role,
        expiry=expiry,
        if_version=if_version,
        by=call.attribution,
        dry_run=call.dry_run,
    )
    call.results.changed(change)


def _event() -> type:
    from backctl.application.event_views import EventView

    return EventView


@leaf(
    app,
    kind="list",
    view=_event,
    examples="""
    # Show the events of an account
    backctl user history ada
    # Show the latest five
    backctl user history ada --sort -seq --limit 5
    """,
)
def history(call: Invocation, ident: Ident, order: EventOrder, paging: Paging) -> None:
    """Show the events of an account, oldest first."""
    newest_first = order.newest_first
    paging.require_one_way()
    if paging.all_:
        subject = call.backend.accounts.history(ident, limit=1).items[0].subject
        events = call.backend.audit.stream(EventCriteria(subjects=(subject,)), newest_first=newest_first)
        call.results.stream(events, _event())
    else:
        page = call.backend.accounts.history(ident, limit=paging.size, cursor=paging.cursor, newest_first=newest_first)
        call.results.show_page(page, _event())
