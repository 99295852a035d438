"""What the use cases ask of the world outside; adapters in `infrastructure` answer.

Of what it names only the types count: nothing of it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from backctl.application.attribution import Attribution
from backctl.domain.values import EmailAddress, Identity, Instant, PasswordHash, Secret, UserId

if TYPE_CHECKING:
    from backctl.application.database_views import BackupView, CheckView, DatabaseStatus, UpgradeView
    from backctl.application.reactions import LoggedEvent
    from backctl.application.token_views import SessionView
    from backctl.application.views import Change, EventView, MfaStatus, UserView
    from backctl.domain.access_token import AccessClaims, UnverifiedToken
    from backctl.domain.audit import ChainReport
    from backctl.domain.events import DomainEvent
    from backctl.domain.keyring import Key, Keyring, Purpose
    from backctl.domain.repositories import (
        EventCriteria,
        LoginFailures,
        Page,
        SecondFactors,
        SessionRepository,
        Sort,
        UserCriteria,
        UserRepository,
    )
    from backctl.domain.sessions import Standing

Clock = Callable[[], Instant]
"""The present moment, as the caller is to believe it."""

IdSource = Callable[[], str]
"""A new UUIDv7 (RFC 9562 §5.7) at each call, for an account, a session or an event."""


BlindIndex = Callable[[str], str]
"""A digest of a text under the keyring's `index` key: equal texts stay equal, and nobody else can guess them."""


class CleanedText(NamedTuple):
    """A text made harmless, and how often each kind of thing was taken out: `control`, `bidi`, `html`."""

    text: str
    changes: Mapping[str, int]


TextCleaner = Callable[[str], CleanedText]
"""Raises InputTooDeep for what cannot be cleaned in bounded time."""


class AddressParser(Protocol):
    """Judges the syntax of e-mail addresses without asking the network."""

    def parse(self, text: str) -> EmailAddress:
        """Raises InvalidEmail."""
        ...

    def key_of(self, text: str) -> str:
        """The key a stored address would have: enough to look one up, cheaper than `parse`. Never raises."""
        ...


class PasswordHasher(Protocol):
    """Turns prepared passwords into PasswordHash values. Slow on purpose."""

    def begin(self, password: Secret) -> Callable[[], PasswordHash]:
        """Start hashing beside the caller, who goes on and asks for the result later."""
        ...

    def begin_check(self, forms: Sequence[Secret], stored: PasswordHash | None) -> Callable[[], int | None]:
        """Start comparing; the result is the place in `forms` of the first that fits the hash, None when none does.

        A failure takes as long as hashing each form at the configured cost, without a stored hash too; longer only
        where the stored one was made with more work. The result raises PasswordHashUnsupported.
        """
        ...

    def is_outdated(self, stored: PasswordHash) -> bool:
        """Whether the hash is of a lower cost or an older scheme than one made now."""
        ...

    def accept(self, encoded: Secret) -> PasswordHash:
        """Take a hash that was made elsewhere. Raises InvalidPasswordHash for an unknown scheme or too much work."""
        ...


class TokenCodec(Protocol):
    """Turns claims into a signed access token and back, with the keys of purpose `sign`. Knows no database."""

    def load(self) -> None:
        """Load what `sign` needs, so that nobody who waits for a lock has to wait for that, too. Reads no key."""
        ...

    def sign(self, claims: AccessClaims) -> Secret:
        """The token that says `claims`, under the primary key. Raises InvalidInput when it would be too long."""
        ...

    def verify(self, token: str, *, now: Instant, audience: str | None = None) -> AccessClaims:
        """What a token of ours says that counts `now`; `audience` stands for the configured one. Knows no revocation.

        Raises TokenInvalid, TokenExpired, TokenNotYetValid; none of them repeats a part of the token.
        """
        ...

    def inspect(self, token: str) -> UnverifiedToken:
        """What a token says about itself, which nobody checked. Raises TokenInvalid when it cannot be read."""
        ...


Read = Callable[[int], bytes]
"""At most so many bytes of what is to come; none at its end."""


class FieldCipher(Protocol):
    """Encrypts and decrypts under one key."""

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """The encrypted value, ASCII without a line end. Raises InvalidInput for what is too long for one."""
        ...

    def open(self, value: bytes, context: bytes) -> bytes:
        """Raises DecryptFailed."""
        ...

    def seal_stream(self, read: Read, context: bytes) -> Iterator[bytes]:
        """An encrypted stream in constant memory."""
        ...

    def open_stream(self, read: Read, context: bytes) -> Iterator[bytes]:
        """The plaintext of a stream whose first line was read; complete when the iterator ends.

        Raises DecryptFailed.
        """
        ...


class FieldCiphers(Protocol):
    """Knows what encrypted things look like, and makes the cipher of a key."""

    def of(self, key: Key) -> FieldCipher: ...

    def kid_of_value(self, value: bytes) -> str:
        """The kid that a value names. Raises DecryptFailed for what is none."""
        ...

    def kid_of_stream(self, read: Read) -> str:
        """The kid that a stream names; reads its first line and no more. Raises DecryptFailed."""
        ...


class KeyringSource(Protocol):
    """Where the keyring comes from."""

    def current(self) -> Keyring:
        """The keyring as it is now; the same object while it has not changed. Raises what its file raises."""
        ...

    def current_or_new(self) -> Keyring:
        """The same; on a fresh machine the installation is made, for something is about to be encrypted."""
        ...


class NewFile(Protocol):
    """A file that was just written."""

    def remove(self) -> None:
        """Remove it, unless another file has its name by now. Raises FolderUnusable."""
        ...


class WholeFiles(Protocol):
    """Results that appear whole or not at all."""

    def write(self, path: str, pieces: Iterable[bytes], *, replace: bool) -> int:
        """A new file of the pieces, once the last of them is there; answers its size in bytes.

        Raises FileTaken unless `replace`; FolderUnusable, DiskFull, and what the pieces raise.
        """
        ...

    def held_back(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The same pieces, the first one only when the last one has come."""
        ...


class Transaction(Protocol):
    """What the runner needs of a unit of work and of a keyring change.

    Entering begins it; leaving without `commit` rolls back. `dry_run` makes `commit` do all its work and roll back.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def commit(self) -> None:
        """Make it durable. Raises what the transaction's own `commit` raises."""
        ...

    @property
    def committed(self) -> Sequence[LoggedEvent]:
        """The events of the transaction once they are durable; none before, and none in a dry run."""
        ...


class UnitOfWork(Transaction, Protocol):
    """One transaction: the state and its events, or neither."""

    users: UserRepository
    login_failures: LoginFailures

    @property
    def sessions(self) -> SessionRepository: ...

    @property
    def second_factors(self) -> SecondFactors: ...

    def record(self, *events: DomainEvent) -> None:
        """Have events appended that no aggregate recorded, after those of the aggregates."""
        ...

    def erase_events(self, subject: str) -> int:
        """Blank the data of everything recorded about `subject` so far; the chain holds. How many had any."""
        ...

    def write(self) -> None:
        """Write the changed aggregates, within the transaction: each has its next version then.

        Raises EmailTaken, UsernameTaken, UserChangedMeanwhile.
        """
        ...

    def attempt(self) -> AbstractContextManager[None]:
        """What is done within is written at its end, or undone when it raises; the transaction goes on either way.

        Undone are rows and events alike, and whatever was handed out must be asked for once more. Passes on what is
        raised. Only Unavailable, Unusable and what is no BackctlError leave a transaction that cannot go on.
        """
        ...

    def commit(self) -> None:
        """Write the changed aggregates, append their events to the log, make it all durable.

        Raises EmailTaken, UsernameTaken, UserChangedMeanwhile; DatabaseLocked, DatabaseFull.
        """
        ...


class UnitOfWorkFactory(Protocol):
    def __call__(self, *, by: Attribution, dry_run: bool, creates: bool = False) -> UnitOfWork:
        """A unit of work not yet begun, with who acts and why. Everything it needs is loaded when this returns.

        `creates` is for use cases that can succeed where there is nothing yet: on a fresh machine they make the
        installation. All others find it empty, and nothing is made. Raises InvalidInput for the reason before anything
        is opened.
        """
        ...


class KeyringChange(Transaction, Protocol):
    """One change of the keyring and the events that record it: both, or neither.

    Entering begins it: nobody else changes the keyring until the end. Entering raises KeyringLocked, and what reading
    keyring and database raises.
    """

    @property
    def ring(self) -> Keyring:
        """The keyring as it is, or as `replace` has left it."""
        ...

    @property
    def work(self) -> UnitOfWork:
        """The transaction of its events, for steps that change other state with it."""
        ...

    @property
    def is_wrapped(self) -> bool:
        """Whether the keyring is stored under a passphrase."""
        ...

    def needs(self, kid: str) -> bool:
        """Whether a table of backctl's own refers to the key."""
        ...

    def replace(self, ring: Keyring, *events: DomainEvent) -> None:
        """Let `ring` be the keyring from the commit on, and record `events` with it."""
        ...

    def rewrap(self, passphrase: Secret | None, *events: DomainEvent) -> None:
        """Store the keyring under another passphrase, or in plain, from the commit on, and record `events` with it."""
        ...

    def enter(self, context: AbstractContextManager[object]) -> None:
        """Keep `context` open until the change has ended; it sees the error when the change fails."""
        ...


class KeyringChangeFactory(Protocol):
    def __call__(self, *, by: Attribution, dry_run: bool) -> KeyringChange:
        """A change not yet begun; on a fresh machine the installation is made.

        Raises InvalidInput for the reason before anything is opened, and KeyringReadOnly where the keyring does not lie
        in a file.
        """
        ...


class KeyMaker(Protocol):
    def __call__(self, purpose: Purpose, now: Instant, *, alg: str | None = None, kid: str | None = None) -> Key:
        """A new key. RSA takes a second. Raises InvalidKey for an algorithm that does not serve the purpose."""
        ...


class ForeignKey(NamedTuple):
    """A key that was made elsewhere, under a name of ours; `kid` is how it was called there, None for nothing."""

    key: Key
    kid: str | None


class KeyExchange(Protocol):
    """Keys in the forms of the world outside."""

    def read(self, text: Secret, *, purpose: Purpose, alg: str | None, now: Instant) -> ForeignKey:
        """The key that a private JWK or a PEM text holds. `alg` decides where the text does not say.

        Raises InvalidKey.
        """
        ...

    def pem(self, key: Key, *, private: bool) -> str:
        """PKCS #8, or the public half as SubjectPublicKeyInfo. Raises InvalidKey for a symmetric key."""
        ...


class Reader(Protocol):
    """The read side: rows straight into views, one statement each."""

    def find_user(self, ident: Identity) -> UserView | None: ...

    def mfa_of(self, ident: Identity) -> MfaStatus | None:
        """The second factor of an account, of one without any too; None without the account."""
        ...

    def password_of(self, ident: Identity) -> PasswordHash | None:
        """The stored hash of an account; None without the account or without a password."""
        ...

    def users(
        self, criteria: UserCriteria, sort: Sort, *, limit: int, cursor: str | None = None, offset: int = 0
    ) -> Page[UserView]:
        """At most `limit` accounts, from the cursor (cheap at any depth) or after `offset` of them (not so)."""
        ...

    def stream_users(self, criteria: UserCriteria, sort: Sort) -> Iterator[UserView]:
        """All of them in constant memory, from one snapshot."""
        ...

    def count_users(self, criteria: UserCriteria) -> int: ...

    def sessions(self, user_id: UserId, *, now: Instant, limit: int, cursor: str | None = None) -> Page[SessionView]:
        """At most `limit` sessions of an account, the oldest first."""
        ...

    def stream_sessions(self, user_id: UserId, *, now: Instant) -> Iterator[SessionView]:
        """All of them in constant memory, from one snapshot."""
        ...

    def standings(self, asked: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Standing]:
        """By session and `jti`, what is known of access tokens whose sessions still exist. One statement for all."""
        ...

    def events(
        self, criteria: EventCriteria, *, limit: int, cursor: str | None = None, newest_first: bool = False
    ) -> Page[EventView]: ...

    def stream_events(self, criteria: EventCriteria, *, newest_first: bool = False) -> Iterator[EventView]: ...

    def verify_chain(self, keys: AuditKeys) -> ChainReport:
        """Walk the event log from one snapshot."""
        ...


AuditKeys = Callable[[Sequence[str]], dict[str, bytes]]
"""kid → key of every audit key, given the kids of those that a log was written with. Called when there is a log."""


class HealthProbe(Protocol):
    """Looks at one part of the installation without changing it."""

    @property
    def check(self) -> str:
        """The stable name of the check, e.g. `keyring.valid`."""
        ...

    def examine(self) -> CheckView:
        """Raises BackctlError when that part is not usable: a failure with its hint."""
        ...


class DatabaseCare(Protocol):
    """Looks after a database as a whole."""

    def status(self) -> DatabaseStatus:
        """What is there, whatever its revision. Raises DatabaseUnusable for what is no database of ours."""
        ...

    def upgrade(self, *, by: Attribution, dry_run: bool) -> Change[UpgradeView]:
        """Bring the schema to the revision of this program, once, however many try at the same time, and record it.

        Only under the keyring that belongs to it. Raises DatabaseMissing, SchemaTooNew, DatabaseLocked, DatabaseFull,
        KeyringMismatch and what the keyring's file raises; then nothing has changed.
        """
        ...

    def probes(self) -> tuple[HealthProbe, ...]:
        """The checks of schema and contents, in the order in which one explains the next."""
        ...

    def back_up(self, file: str) -> BackupView:
        """Copy the database as it is at this moment to a new file, whole or not at all.

        Raises FileTaken, FolderUnusable, DatabaseFull, and UsageError where the database's own tools make copies.
        """
        ...
