"""The use cases of sessions: list, revoke and sweep."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from backctl.application.attribution import Attribution
from backctl.application.token_views import Revocation, SessionView
from backctl.application.views import Change
from backctl.domain.errors import InvalidInput, UserNotFound
from backctl.domain.repositories import PAGE_SIZE, Page, Swept, checked_page_size
from backctl.domain.values import Identity, Instant, UserId

if TYPE_CHECKING:
    from backctl.application.ports.environment import Clock
    from backctl.application.ports.storage import Reader, UnitOfWork
    from backctl.application.transactions import Transactions

BATCH_SIZE = 1000
OLDER_THAN = 86_400 * 1_000_000
"""Microseconds for which ended sessions are kept, so that `token list` still shows them for a day."""
_BATCH_MAX = 100_000


@dataclass(frozen=True, slots=True)
class SessionService:
    """Sessions of accounts, with or without a refresh token. Every change is one transaction with its events.

    `leeway` is how long services may accept an expired access token, in microseconds.
    """

    transactions: "Callable[[], Transactions]"
    reader: "Callable[[], Reader]"
    clock: "Clock"
    issuer: str
    leeway: int

    def page(self, ident: str, *, limit: int = PAGE_SIZE, cursor: str | None = None) -> Page[SessionView]:
        """Return the sessions of an account, oldest first, including revoked and expired ones until they are swept.

        Raises UserNotFound.
        """
        user_id, size = self._account(ident), checked_page_size(limit)
        return self.reader().sessions(user_id, now=self.clock(), limit=size, cursor=cursor)

    def stream(self, ident: str) -> Iterator[SessionView]:
        """Yield all sessions of an account in constant memory. Raises UserNotFound."""
        return self.reader().stream_sessions(self._account(ident), now=self.clock())

    def sweep(
        self,
        *,
        older_than: int = 0,
        batch_size: int = BATCH_SIZE,
        by: Attribution,
        dry_run: bool = False,
        progress: Callable[[int], None] = lambda rows: None,
    ) -> Change[Swept]:
        """Remove sessions, refresh tokens and revocations that expired `older_than` microseconds ago or earlier.

        Every transaction removes at most `batch_size` of each and then calls `progress` with their number. Keeps what a
        token within its leeway needs. A dry run is one transaction. Raises InvalidInput.
        """
        if not 1 <= batch_size <= _BATCH_MAX:
            raise InvalidInput(f"a batch has 1 to {_BATCH_MAX} rows, not {batch_size}")
        if older_than < 0:
            raise InvalidInput("the age cannot be negative")
        before = self.clock().plus(-max(older_than, self.leeway))
        step = partial(self.sweeping, before, batch_size, everything=dry_run)
        swept, more = Swept(), True
        while more:
            found = self.transactions().run_any(step, by=by, dry_run=dry_run, commits=lambda batch: batch.total > 0)
            swept, more = swept.plus(found), bool(found.total) and not dry_run
            progress(found.total)
        return Change(swept, changed=swept.total > 0)

    def sweeping(self, before: Instant, batch_size: int, work: "UnitOfWork", *, everything: bool) -> Swept:
        """The step that `sweep` runs: remove one batch, or with `everything` all batches."""
        swept = Swept()
        while (found := work.sessions.sweep(before, limit=batch_size)).total:
            swept = swept.plus(found)
            if not everything:
                break
        return swept

    def revoke(self, session_id: str, *, by: Attribution, dry_run: bool = False) -> Change[Revocation]:
        """Revoke a session and all its tokens; a no-op if it is already revoked. Raises SessionNotFound."""
        return self.transactions().run(partial(self.revoking, session_id), by=by, dry_run=dry_run)

    def revoking(self, session_id: str, work: "UnitOfWork") -> Change[Revocation]:
        """The step that `revoke` runs."""
        session = work.sessions.get(session_id)
        changed = session.revoke("requested", now=self.clock())
        work.write()
        return Change(Revocation("session", session.id, session.user_id, revoked_sessions=int(changed)), changed)

    def revoke_user(self, ident: str, *, by: Attribution, dry_run: bool = False) -> Change[Revocation]:
        """Revoke all sessions of an account; a no-op if none is open. Raises UserNotFound."""
        return self.transactions().run(partial(self.revoking_user, Identity.parse(ident)), by=by, dry_run=dry_run)

    def revoking_user(self, identity: Identity, work: "UnitOfWork") -> Change[Revocation]:
        """The step that `revoke_user` runs."""
        user = work.users.get(identity)
        count = work.sessions.revoke_all(user.id, "requested", now=self.clock())
        work.write()
        return Change(Revocation("user", user.id, user.id, revoked_sessions=count), changed=count > 0)

    def revoke_all(self, *, by: Attribution, dry_run: bool = False) -> Change[Revocation]:
        """Revoke all sessions of the configured issuer that were opened so far. Always a change.

        If this ran while the clock was ahead, run it again: then new tokens are valid at once, and old ones are not.
        """
        return self.transactions().run(self.revoking_all, by=by, dry_run=dry_run)

    def revoking_all(self, work: "UnitOfWork") -> Change[Revocation]:
        """The step that `revoke_all` runs."""
        count = work.sessions.bar(self.issuer, leeway=self.leeway, now=self.clock())
        work.write()
        return Change(Revocation("issuer", self.issuer, None, revoked_sessions=count), changed=True)

    def _account(self, ident: str) -> UserId:
        user = self.reader().find_user(Identity.parse(ident))
        if user is None:
            raise UserNotFound(ident)
        return user.id
