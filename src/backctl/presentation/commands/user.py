"""`backctl user …`: create, find, change, activate, deactivate and delete accounts."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from backctl.application.views import Change, UserCount, UserDeletion, UserExistence, UserView
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
from backctl.presentation.parameters import Ident, Idents, SecretFile

if TYPE_CHECKING:
    from backctl.application.account_steps import AccountSteps
    from backctl.application.transactions import StepOn

app = noun("user")

_REPORTED = ("ident", "error")
"""Further members in the report of a bulk command."""

GeneratePassword = Annotated[bool, Option("--generate-password", help="Generate a password and print it once.")]
MustChangePassword = Annotated[bool, Option("--must-change-password", help="Require a new password at the next login.")]


@leaf(
    app,
    changes="create {username}",
    secrets=("password", "password-hash"),
    view=UserView,
    members=("password", "secret_file"),
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
    secret_file: SecretFile = None,
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
        raise UsageError("--if-not-exists and --upsert exclude each other", hint="use one of them")
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


@leaf(app, name="list", kind="list", view=UserView)
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


@leaf(app, view=_details)
def show(call: Invocation, ident: Ident) -> None:
    """Show an account."""
    call.results.show(call.backend.accounts.details(ident))


@leaf(app, kind="check", view=UserExistence)
def exists(call: Invocation, ident: Ident) -> None:
    """Check whether an account exists: exit code 0 or 3."""
    call.results.check(call.backend.accounts.exists(ident), no=ExitCode.NOT_FOUND)


@leaf(app, kind="value", view=UserCount)
def count(
    call: Invocation,
    filters: Filters,
) -> None:
    """Count accounts."""
    number = call.backend.accounts.count(filters.criteria(call.now))
    call.results.value(str(number), UserCount(number))


@leaf(
    app,
    name="set-password",
    changes="set the password of {ident}",
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
    """Set the password of an account.

    This revokes the sessions of the account and ends a lock after failed logins.
    """
    accounts = call.backend.accounts
    account = accounts.show(ident)  # report a missing account before a password is typed
    from backctl.presentation.password_input import new_password

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
    call.results.changed(change, **password.members())


def _password_check() -> type:
    from backctl.application.login_views import PasswordCheck

    return PasswordCheck


@leaf(app, name="check-password", records=True, secrets=("password", "mfa-code"), kind="check", view=_password_check)
def check_password(
    call: Invocation,
    ident: Ident,
    source: Annotated[
        str | None,
        Option("--source", metavar="ADDRESS", help="IP address of the client, for authentication.source_policy."),
    ] = None,
) -> None:
    """Check the password of an account: exit code 0 or 6.

    The check is a login attempt: ten failures within fifteen minutes lock the account for fifteen minutes. An account
    with a second factor also needs a one-time code or a recovery code, and each code works once. The answer does not
    reveal whether the account exists; the event log does.
    """
    call.backend.require_installation()  # before a password is typed
    authentication = call.backend.authentication
    password = call.secrets.read("password")
    code = call.secrets.read("mfa-code") if call.secrets.is_given("mfa-code") else None
    check = authentication.authenticate(ident, password, code, by=call.attribution, source=source)
    if check.outcome == "mfa_required" and call.interactive:
        code = call.secrets.read("mfa-code")
        check = authentication.authenticate(ident, password, code, by=call.attribution)
    call.results.check(check)


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


@leaf(app, changes="activate {idents}", bulk=True, view=UserView, members=_REPORTED)
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


@leaf(app, changes="unlock {idents}", bulk=True, view=UserView, members=_REPORTED)
def unlock(call: Invocation, idents: Idents = None) -> None:
    """End the locks of accounts after failed logins.

    Also resets the count of failed logins, so that the next failure does not lock the account again.
    """
    _change_each(call, idents, lambda steps: steps.unlocking, "unlocking")


@leaf(app, changes="deactivate {idents}", bulk=True, view=UserView, members=_REPORTED)
def deactivate(call: Invocation, idents: Idents = None) -> None:
    """Deactivate accounts: nobody can log in to them."""
    _change_each(call, idents, lambda steps: steps.deactivating, "deactivating")


@leaf(app, changes="update {ident}", view=UserView)
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


@leaf(app, changes="permanently delete {idents}", bulk=True, guard="name", view=UserDeletion, members=_REPORTED)
def delete(
    call: Invocation,
    idents: Idents = None,
    erase: Annotated[
        bool, Option("--erase", help="Also erase the data of their events; actors and reasons stay.")
    ] = False,
    if_exists: Annotated[bool, Option("--if-exists", help="Succeed if there is no such account.")] = False,
) -> None:
    """Permanently delete accounts; their events stay.

    Confirm by typing the username or with --confirm USERNAME, for several accounts with their number. --yes is not
    enough. `audit list --subject IDENT` finds the events of a deleted account.
    """
    call.backend.require_installation()  # before identities are read
    accounts = call.backend.accounts
    from backctl.presentation.batch.run import change_each

    change_each(
        call,
        idents,
        partial(accounts.change_each, step=partial(accounts.steps.deleting, erase=erase, if_exists=if_exists)),
        view=UserDeletion,
        doing="deleting",
        destroys=accounts.find,
    )


def _event() -> type:
    from backctl.application.event_views import EventView

    return EventView


@leaf(app, kind="list", view=_event)
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
