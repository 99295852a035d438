"""The `doctor` checks that every SQL database has, under the same names."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Protocol

from backctl.domain.errors import BackctlError, InstallationMissing, Unusable
from backctl.domain.keyring import Keyring
from backctl.domain.quoting import quoted
from backctl.domain.values import SKEW, Instant
from backctl.infrastructure.probes import NO_INSTALLATION, NO_KEYRING, UNOPENED, Finding, Probe, fail, ok, warn
from backctl.infrastructure.sql.schema import REVISION, StoredInstallation, check_match, require_current

_RELEASED = Instant.parse("2026-01-01")
_LATEST = {
    # Not the event with the highest number: the clock may have been set right since. Ids begin with their time.
    "an event": "SELECT occurred_at FROM events ORDER BY id DESC LIMIT 1",
    "an account": "SELECT max(created_at) FROM users",
    "a change of an account": "SELECT max(updated_at) FROM users",
}
"""The queries for the latest times in the database, by what they are the times of."""


class HealthSource(Protocol):
    """Read-only access to an installation."""

    @property
    def label(self) -> str: ...

    def stored(self) -> StoredInstallation: ...

    def open_keyring(self) -> Keyring: ...

    def clock(self) -> Instant: ...


class DatabaseHealth(ABC):
    """The checks of an installation's database. A subclass per kind of database implements the queries."""

    upgrade_hint: ClassVar[str]
    """The hint for an outdated schema."""

    def __init__(self, source: HealthSource) -> None:
        self._source = source
        self._seen: tuple[Finding | None] | None = None

    @abstractmethod
    def files(self) -> Sequence[Path]:
        """Files and folders of the database on this machine; they may be missing."""

    def probes(self, *, leeway: int) -> dict[str, Probe]:
        """Return the checks by name. `leeway` is how far ahead a token may be dated, in microseconds."""
        looks: dict[str, Callable[[], Finding]] = {
            "database.open": self._open,
            "database.writable": self._writable,
            "database.revision": self._opened(self._is_current),
            "database.integrity": self._opened(self._is_whole),
            "keyring.matches": self._opened(self._has_its_keys),
            "clock.sane": self._agrees_with_the_clock,
            "tokens.issuable": self._opened(lambda: self._issues_tokens(leeway)),
        }
        return {check: Probe(check, look) for check, look in looks.items()}

    @abstractmethod
    def _require_creatable(self) -> None:
        """Raise an error if `init` could not create the database."""

    @abstractmethod
    def _takes_changes(self) -> Finding:
        """Whether a write transaction can begin."""

    @abstractmethod
    def _is_whole(self) -> Finding:
        """Whether the database's own checks find damage."""

    @abstractmethod
    def _clocks(self) -> Sequence[tuple[str, Instant]]:
        """Return other times to compare the clock with, each with its name."""

    @abstractmethod
    def _ask(self, *questions: str) -> list[Sequence[Sequence[Any]]]:
        """Run each statement and return its rows, at any revision of the database."""

    def _opened(self, look: Callable[[], Finding]) -> Callable[[], Finding]:
        """Return a check that runs `look` only if the database opens; otherwise `database.open` reports the cause."""
        return lambda: self._unopened() or look()

    def _unopened(self) -> Finding | None:
        """Return why the database cannot be checked; None if it opens. Connects once, because a server may be slow."""
        if self._seen is None:
            with suppress(BackctlError):
                self._open()
        return None if self._seen is None else self._seen[0]

    def _open(self) -> Finding:
        try:
            stored = self._source.stored()
        except BackctlError as error:
            self._seen = (NO_INSTALLATION if isinstance(error, InstallationMissing) else UNOPENED,)
            raise
        self._seen = (None,)
        return ok(f"installation {stored.installation_id}")

    def _writable(self) -> Finding:
        unopened = self._unopened()
        if unopened is NO_INSTALLATION:
            self._require_creatable()
        return unopened or self._takes_changes()

    def _is_current(self) -> Finding:
        stored = self._source.stored()
        if stored.revision < REVISION:
            return warn(
                f"revision {stored.revision} is older than revision {REVISION} of this backctl", self.upgrade_hint
            )
        require_current(stored, self._source.label)
        return ok(f"revision {stored.revision}")

    def _has_its_keys(self) -> Finding:
        try:
            keyring = self._source.open_keyring()
        except Unusable:  # `keyring.valid` reports it
            return NO_KEYRING
        check_match(self._source.stored().audit_kids, keyring)
        return ok("the keyring holds every audit key of the database")

    def _agrees_with_the_clock(self) -> Finding:
        latest: list[tuple[str, Instant]] = []
        if self._unopened() is None:
            for what, rows in zip(_LATEST, self._ask(*_LATEST.values()), strict=True):
                latest += [(what, Instant(at)) for (at,) in rows if isinstance(at, int)]
            latest += self._clocks()
        return is_sane(self._source.clock(), latest)

    def _issues_tokens(self, leeway: int) -> Finding:
        return is_issuable(*self._ask(*dated_ahead(self._source.clock(), leeway)))


def is_sane(now: Instant, latest: Iterable[tuple[str, Instant]]) -> Finding:
    """Check that the clock is later than the release of this program and not behind the `latest` times."""
    if now < _RELEASED:
        return fail(f"the clock says {now}, which is earlier than this release of backctl", "set the system clock")
    for what, moment in latest:
        if moment > now + SKEW:
            return warn(
                f"the clock says {now}, but {what} is from {moment}",
                "set the system clock if it is wrong; a time that was recorded while it was ahead stays as it is",
            )
    return ok(f"the clock says {now}")


def dated_ahead(now: Instant, leeway: int) -> tuple[str, str]:
    """Return two statements, valid on every database, that find what is dated later than `now` plus `leeway`.

    The first selects issuers whose tokens are all revoked up to such a time, the second counts sessions of such a time.
    """
    limit = now + leeway
    return (
        f"SELECT issuer, not_before FROM token_issuers WHERE not_before > {limit}",  # noqa: S608 - a number
        f"""
        SELECT count(*) FROM sessions
        WHERE revoked_at IS NULL AND expires_at > {int(now)} AND (created_at > {limit} OR not_before > {limit})
        """,  # noqa: S608 - numbers
    )


def is_issuable(barred: Sequence[Sequence[Any]], ahead: Sequence[Sequence[Any]]) -> Finding:
    """Check that a token issued now would be valid now, from the rows that `dated_ahead` selects."""
    if barred:
        issuer, moment = barred[0]
        return fail(
            f"all tokens of {quoted(issuer)} were revoked while the clock was ahead: none can be issued before "
            f"{Instant(moment)}",
            "check the clock, then run '{backctl} token revoke --all' again",
        )
    if count := ahead[0][0]:
        return warn(
            f"the clock was ahead when {count} sessions began or their accounts' roles changed: they cannot get tokens",
            "ask their owners to log in again, or end all sessions with '{backctl} token revoke --all'",
        )
    return ok("tokens issued now are valid immediately")
