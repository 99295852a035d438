"""The options that select accounts."""

from typing import TYPE_CHECKING, Annotated, NamedTuple, cast

from typer import Option

from backctl.domain.account_status import STATUSES, Status
from backctl.domain.errors import UsageError
from backctl.domain.repositories import UserCriteria
from backctl.presentation.times import Now, future_time, past_time
from backctl.presentation.typer_internals import TyperChoice

if TYPE_CHECKING:
    from backctl.domain.user import MfaState

_MFA_STATES = ("off", "pending", "on")


class Filters(NamedTuple):
    """Selects accounts by their members."""

    role: Annotated[
        list[str] | None, Option("--role", metavar="NAME", help="Only accounts with this role; may be repeated.")
    ] = None
    status: Annotated[
        list[str] | None,
        Option(
            "--status",
            metavar="|".join(STATUSES),
            click_type=TyperChoice(STATUSES),
            help="Only accounts with this status; may be repeated.",
        ),
    ] = None
    active: Annotated[
        bool | None,
        Option("--active/--inactive", help="Only accounts that can log in now (status active), or only the others."),
    ] = None
    locked: Annotated[
        bool, Option("--locked", help="Only accounts with a lock after failed logins, even if closed or expired.")
    ] = False
    created_after: Annotated[
        str | None,
        Option(
            "--created-after", metavar="TIME", help="Only accounts created at this time or later; 7d is 7 days ago."
        ),
    ] = None
    created_before: Annotated[
        str | None,
        Option("--created-before", metavar="TIME", help="Only accounts created before this time; 7d is 7 days ago."),
    ] = None
    expires_before: Annotated[
        str | None,
        Option("--expires-before", metavar="TIME", help="Only accounts that expire before this time; 7d is in 7 days."),
    ] = None
    last_login_before: Annotated[
        str | None,
        Option(
            "--last-login-before",
            metavar="TIME",
            help="Only accounts without a login since this time; 7d is 7 days ago.",
        ),
    ] = None
    mfa: Annotated[
        list[str] | None,
        Option(
            "--mfa",
            metavar="|".join(_MFA_STATES),
            click_type=TyperChoice(_MFA_STATES),
            help="Only accounts with the second factor in this state; may be repeated.",
        ),
    ] = None
    must_change_password: Annotated[
        bool, Option("--must-change-password", help="Only accounts that must change their password at the next login.")
    ] = False
    no_password: Annotated[bool, Option("--no-password", help="Only accounts without a password.")] = False
    email_domain: Annotated[
        str | None, Option("--email-domain", metavar="DOMAIN", help="Only accounts with an address in this domain.")
    ] = None
    search: Annotated[
        str | None,
        Option("--search", metavar="TEXT", help="Only accounts with this text in the username or the address."),
    ] = None

    def criteria(self, now: Now) -> UserCriteria:
        """Raises InvalidInput for a time that cannot be read, UsageError for filters that cannot be combined."""
        statuses = self._statuses()
        if self.locked and set(statuses) == {"active"}:
            raise UsageError("--locked cannot be combined with the status 'active'", hint="omit one of them")
        return UserCriteria(
            roles=tuple(self.role or ()),
            statuses=statuses,
            locked=self.locked,
            created_after=past_time(self.created_after, now),
            created_before=past_time(self.created_before, now),
            expires_before=future_time(self.expires_before, now),
            last_login_before=past_time(self.last_login_before, now),
            mfa=cast("tuple[MfaState, ...]", tuple(self.mfa or ())),
            must_change_password=self.must_change_password,
            no_password=self.no_password,
            email_domain=self.email_domain,
            search=self.search,
        )

    def _statuses(self) -> tuple[Status, ...]:
        if self.active is None:
            return cast(tuple[Status, ...], tuple(self.status or ()))
        if self.status:
            raise UsageError(
                f"--{'active' if self.active else 'inactive'} cannot be combined with --status",
                hint="use --status alone; it may be repeated",
            )
        return ("active",) if self.active else tuple(status for status in STATUSES if status != "active")
