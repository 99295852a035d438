"""Export accounts, with or without their password hashes and second factors."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from backctl.application.transfer import record
from backctl.application.transfer.formats import ExportFormat
from backctl.application.views import Change
from backctl.domain.errors import MfaSecretUnusable
from backctl.domain.events import AccountsExported
from backctl.domain.mfa import NEVER_USED, Enrolment
from backctl.domain.one_time_codes import encoded_secret
from backctl.domain.quoting import quoted
from backctl.domain.repositories import EVERY_USER, UserCriteria
from backctl.domain.values import UserId

if TYPE_CHECKING:
    from backctl.application.attribution import Attribution
    from backctl.application.mfa_keys import MfaKeys
    from backctl.application.ports.storage import Reader, UnitOfWork
    from backctl.application.transactions import Transactions
    from backctl.domain.user import MfaState

_SUBJECT = "accounts"


class Secrets(NamedTuple):
    """The secrets that an export contains: password hashes, and secrets of second factors."""

    hashes: bool = False
    mfa: bool = False


NO_SECRETS = Secrets()


@dataclass(frozen=True, slots=True)
class AccountExport:
    """The result of an export. `file` and `size_bytes` are None if no file was written."""

    file: str | None
    size_bytes: int | None
    accounts: int
    hashes: bool
    mfa: bool


@dataclass(frozen=True, slots=True)
class ExportService:
    """Stream accounts in a format that an import reads back."""

    transactions: "Callable[[], Transactions]"
    reader: "Callable[[], Reader]"
    mfa_keys: "Callable[[], MfaKeys]"

    def stream(
        self,
        criteria: UserCriteria = EVERY_USER,
        form: ExportFormat = "jsonl",
        *,
        secrets: Secrets = NO_SECRETS,
        header: bool = True,
        spreadsheet_safe: bool = False,
        by: "Attribution | None" = None,
        progress: Callable[[int], object] = lambda accounts: None,
    ) -> Iterator[bytes]:
        """Yield the matching accounts by id, in pieces of UTF-8 text, in constant memory and from one snapshot.

        An export with secrets needs `by` and the keyring, and is recorded in the event log before its first piece.
        `header` and `spreadsheet_safe` are for CSV: the line with the names of the columns, and an apostrophe before
        texts that a spreadsheet would run. A file made with it does not import unchanged. `progress` receives the
        number of accounts of each piece.

        The iterator raises MfaSecretUnusable for a secret that cannot be decrypted, and the errors of the database.
        """
        if any(secrets) and by is None:
            raise ValueError("an export with secrets is recorded: pass `by`")
        return self._pieces(criteria, form, secrets, header, spreadsheet_safe, by, progress)

    def record(self, secrets: Secrets, *, by: "Attribution", dry_run: bool = False) -> Change[None]:
        """Record an export with these secrets. `stream` does it before the first piece. Without secrets, do nothing."""
        if not any(secrets):
            return Change(None, changed=False)
        return self.transactions().run(partial(self.recording, secrets), by=by, dry_run=dry_run)

    def recording(self, secrets: Secrets, work: "UnitOfWork") -> Change[None]:
        """The step that `record` runs."""
        work.record(AccountsExported(_SUBJECT, secrets.hashes, secrets.mfa))
        work.write()
        return Change(None, changed=True)

    def _pieces(
        self,
        criteria: UserCriteria,
        form: ExportFormat,
        secrets: Secrets,
        header: bool,
        spreadsheet_safe: bool,
        by: "Attribution | None",
        progress: Callable[[int], object],
    ) -> Iterator[bytes]:
        from backctl.application.transfer.formats import written

        if by is not None:
            self.record(secrets, by=by)
        names = record.members(hashes=secrets.hashes, factors=secrets.mfa)
        yield from written(
            self._columns(criteria, secrets, progress), names, form, header=header, spreadsheet_safe=spreadsheet_safe
        )

    def _columns(
        self, criteria: UserCriteria, secrets: Secrets, progress: Callable[[int], object]
    ) -> Iterator[Sequence[Sequence[object]]]:
        for columns, factors in self.reader().export_accounts(criteria, hashes=secrets.hashes, factors=secrets.mfa):
            yield (*columns, *self._opened(columns, factors)) if factors else columns
            progress(len(columns[0]))

    def _opened(
        self, columns: Sequence[Sequence[object]], factors: "Sequence[tuple[MfaState, Enrolment | None]]"
    ) -> Sequence[Sequence[object]]:
        """Return the columns of second factors, with their secrets. Raises MfaSecretUnusable."""
        ids, usernames = columns[record.ACCOUNT.index("id")], columns[record.ACCOUNT.index("username")]
        keys = self.mfa_keys()
        rows = [
            _OFF if state == "off" else _members(state, enrolment, keys, str(user_id), str(username))
            for (state, enrolment), user_id, username in zip(factors, ids, usernames, strict=True)
        ]
        return list(zip(*rows, strict=True))


_OFF: tuple[object, ...] = ("off", *(None for _ in record.FACTORS[1:]))


def _members(
    state: "MfaState", enrolment: Enrolment | None, keys: "MfaKeys", user_id: str, username: str
) -> tuple[object, ...]:
    """Return the members of a second factor, in the order of `record.FACTORS`."""
    if enrolment is None:
        raise MfaSecretUnusable(
            f"account {quoted(username)}: the secret of the second factor is missing",
            hint="restore the database from a backup, or remove the factor with '{backctl} user mfa disable'",
        )
    try:
        secret = keys.opened(enrolment, UserId(user_id))
    except MfaSecretUnusable as error:
        raise MfaSecretUnusable(f"account {quoted(username)}: {error.message}", hint=error.hint) from None
    settings, step = enrolment.settings, enrolment.last_used_step
    return (
        state,
        encoded_secret(secret),
        settings.algorithm,
        settings.digits,
        settings.period,
        None if step == NEVER_USED else step,
        enrolment.enrolled_at,
        enrolment.confirmed_at,
    )
