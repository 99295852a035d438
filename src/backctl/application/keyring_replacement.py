"""The use case of replacing a lost keyring."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from backctl.application.attribution import Attribution
from backctl.application.key_views import ReplacementView
from backctl.application.views import Change, is_change
from backctl.domain.errors import UserNotFound
from backctl.domain.values import Identity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from backctl.application.ports.environment import Clock
    from backctl.application.ports.security import KeyringReplacement, KeyringReplacementFactory
    from backctl.application.ports.storage import UnitOfWork
    from backctl.application.transactions import Transactions
    from backctl.domain.events import KeyringReplaced
    from backctl.domain.values import UserId

_BATCH = 100


@dataclass(frozen=True, slots=True)
class KeyringReplacementService:
    """Replace a keyring file that is lost and has no backup.

    `issuer` and `leeway` are those of the tokens, as in `SessionService`.
    """

    transactions: "Callable[[], Transactions]"
    begin: "KeyringReplacementFactory"
    installation_id: "Callable[[], str]"
    """Returns the id of the installation. Raises InstallationMissing and the errors of opening the database."""
    clock: "Clock"
    issuer: str
    leeway: int

    def replace(self, *, by: Attribution, dry_run: bool = False) -> Change[ReplacementView]:
        """Create a new keyring and begin a new segment of the event log; a no-op if the keyring exists.

        All sessions end. Second factors, which nobody can read without the old keys, are disabled. Completes an
        interrupted change instead if that has left the keyring under another name. Raises KeyringReadOnly if the
        configuration gives the keyring, and the errors of reading a keyring that exists.
        """
        begin = partial(self.begin, by=by)
        return self.transactions().run_on(begin, self.replacing, commits=is_change, dry_run=dry_run)

    def replacing(self, replacement: "KeyringReplacement") -> Change[ReplacementView]:
        """The step that `replace` runs."""
        match replacement.state:
            case "present":
                return Change(_view(replacement, None, ()), changed=False)
            case "interrupted":
                event, accounts = replacement.interrupted or (None, ())
                return Change(_view(replacement, event, _names(accounts, replacement.work)), changed=True)
        work, now = replacement.work, self.clock()
        disabled = self._disable_factors(replacement.ring.primary("encrypt").kid, work)
        work.login_failures.forget_unknown()
        for issuer in dict.fromkeys((self.issuer, *work.sessions.issuers())):
            work.sessions.bar(issuer, leeway=self.leeway, now=now)
        return Change(_view(replacement, replacement.replace(), disabled), changed=True)

    def _disable_factors(self, kid: str, work: "UnitOfWork") -> tuple[str, ...]:
        """Disable every second factor that is not under the key `kid`, and return the usernames."""
        names, now = list[str](), self.clock()
        work.users.lock_administrators()  # administrators are always locked first, to avoid deadlocks
        after: UserId | None = None
        while found := work.second_factors.not_under(kid, after=after, limit=_BATCH):
            after = found[-1]
            for user_id in found:
                try:
                    user = work.users.get(Identity("id", user_id))
                except UserNotFound:  # deleted meanwhile
                    continue
                user.disable_mfa(now=now)
                work.second_factors.forget(user_id)
                names.append(user.username.name)
        return tuple(names)


def _names(accounts: "Iterable[UserId]", work: "UnitOfWork") -> tuple[str, ...]:
    return tuple(work.users.get(Identity("id", user_id)).username.name for user_id in accounts)


def _view(
    replacement: "KeyringReplacement", event: "KeyringReplaced | None", disabled: tuple[str, ...]
) -> ReplacementView:
    return ReplacementView(
        file=replacement.path,
        installation_id=replacement.installation_id,
        replaced=event is not None,
        unverified=0 if event is None else event.old_seq,
        lost_key_ids=() if event is None else event.lost_keys,
        mfa_disabled=disabled,
    )
