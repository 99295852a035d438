"""Ports for passwords, tokens, keys and encryption. Adapters in `infrastructure` implement them.

Most imports are for type checkers only, so that importing this module loads little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from backctl.application.attribution import Attribution
from backctl.application.ports.storage import Transaction, UnitOfWork
from backctl.domain.values import Instant, PasswordHash, Secret, UserId

if TYPE_CHECKING:
    from backctl.domain.access_token import AccessClaims, UnverifiedToken
    from backctl.domain.events import DomainEvent, KeyringReplaced
    from backctl.domain.keyring import Key, Keyring, Purpose

BlindIndex = Callable[[str], str]
"""Returns a digest of a text under the keyring's `index` key. Nobody can compute it without the key."""


class PasswordHasher(Protocol):
    """Turns prepared passwords into PasswordHash values. Slow on purpose."""

    def begin(self, password: Secret) -> Callable[[], PasswordHash]:
        """Start hashing in the background. The returned function waits for the hash."""
        ...

    def hash_all(self, jobs: Sequence[tuple[Secret, PasswordHash | None]]) -> list[PasswordHash | None]:
        """Hash many passwords on all processors, in order. A job with a stored hash that fits gives None instead.

        A stored hash that cannot be compared on this machine does not fit.
        """
        ...

    def begin_check(self, forms: Sequence[Secret], stored: PasswordHash | None) -> Callable[[], int | None]:
        """Start comparing in the background. The returned function waits for the index of the first match in `forms`.

        It returns None when nothing matches, and raises PasswordHashUnsupported. A mismatch takes as long as hashing
        each form at the configured cost, even without a stored hash, and longer only if the stored hash cost more.
        """
        ...

    def is_outdated(self, stored: PasswordHash) -> bool:
        """Whether the hash has a lower cost or an older scheme than a new hash would have."""
        ...

    def cuts(self, password: Secret, stored: PasswordHash) -> bool:
        """Whether only the beginning of this password is compared with the hash, as the program that made it does."""
        ...

    def accept(self, encoded: Secret, *, imported: bool = True) -> PasswordHash:
        """Accept a hash made elsewhere. Raises InvalidPasswordHash for an unknown scheme or too high a cost.

        With `imported=False`, a hash in a format of this hasher is accepted as its own, for example from an export.
        """
        ...

    def scheme_of(self, stored: PasswordHash) -> str:
        """Return the name of the hash function, such as `bcrypt` or `argon2id`; `unknown` for a damaged hash."""
        ...


class TokenCodec(Protocol):
    """Turns claims into a signed access token and back, with the keys of purpose `sign`. Uses no database."""

    def load(self) -> None:
        """Load the modules that `sign` needs; call it before taking a lock. Reads no key."""
        ...

    def sign(self, claims: AccessClaims) -> Secret:
        """Sign `claims` with the primary key and return the token. Raises InvalidInput when it would be too long."""
        ...

    def verify(self, token: str, *, now: Instant, audience: str | None = None) -> AccessClaims:
        """Return the claims of a token that this installation signed and that is valid at `now`. Ignores revocations.

        `audience` replaces the configured one.

        Raises TokenInvalid, TokenExpired, TokenNotYetValid. No message contains a part of the token.
        """
        ...

    def inspect(self, token: str) -> UnverifiedToken:
        """Read the header and payload of a token without verifying them. Raises TokenInvalid when it is malformed."""
        ...


Read = Callable[[int], bytes]
"""Reads at most the given number of bytes from a stream; returns no bytes at its end."""


class FieldCipher(Protocol):
    """Encrypts and decrypts under one key."""

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """Encrypt a value as ASCII without a line ending. Raises InvalidInput when `plaintext` is too long."""
        ...

    def open(self, value: bytes, context: bytes) -> bytes:
        """Decrypt a value. Raises DecryptFailed."""
        ...

    def seal_stream(self, read: Read, context: bytes) -> Iterator[bytes]:
        """Encrypt a stream in constant memory."""
        ...

    def open_stream(self, read: Read, context: bytes) -> Iterator[bytes]:
        """Decrypt a stream whose first line was read already. The plaintext is complete when the iterator ends.

        Raises DecryptFailed.
        """
        ...


class FieldCiphers(Protocol):
    """Reads the kid of encrypted data and creates the cipher of a key."""

    def of(self, key: Key) -> FieldCipher: ...

    def kid_of_value(self, value: bytes) -> str:
        """Return the kid in an encrypted value. Raises DecryptFailed for anything else."""
        ...

    def kid_of_stream(self, read: Read) -> str:
        """Return the kid in an encrypted stream. Reads only its first line. Raises DecryptFailed."""
        ...


class KeyringChange(Transaction, Protocol):
    """One change of the keyring, which is saved together with the events that record it or not at all.

    Entering begins the change and locks the keyring until its end. Entering raises KeyringLocked, and the errors of
    reading the keyring and the database.
    """

    @property
    def ring(self) -> Keyring:
        """The current keyring, or the one passed to `replace`."""
        ...

    @property
    def work(self) -> UnitOfWork:
        """The transaction that records the events. Steps use it to change other state with the keyring."""
        ...

    @property
    def is_dry_run(self) -> bool:
        """Whether the commit will roll everything back."""
        ...

    @property
    def is_wrapped(self) -> bool:
        """Whether the keyring is stored under a passphrase."""
        ...

    def needs(self, kid: str) -> bool:
        """Whether a table of backctl refers to the key."""
        ...

    def replace(self, ring: Keyring, *events: DomainEvent) -> None:
        """Replace the keyring with `ring` and record `events`, both at the commit."""
        ...

    def rewrap(self, passphrase: Secret | None, *events: DomainEvent) -> None:
        """Store the keyring under `passphrase`, or unencrypted for None, and record `events`, both at the commit."""
        ...

    def enter(self, context: AbstractContextManager[object]) -> None:
        """Enter `context` now and exit it when the change ends, with the error if the change fails."""
        ...


class KeyringChangeFactory(Protocol):
    def __call__(self, *, by: Attribution, dry_run: bool) -> KeyringChange:
        """Return a change that has not begun.

        Raises InvalidInput for an invalid reason before it opens anything, and KeyringReadOnly when the keyring is not
        in a file.
        """
        ...


KeyringState = Literal["lost", "interrupted", "present"]
"""Whether the keyring is lost, an interrupted change has left it under another name, or it exists."""


class KeyringReplacement(Transaction, Protocol):
    """The replacement of a lost keyring, which is saved together with its events or not at all.

    Entering begins it and locks the keyring until its end. Entering raises KeyringLocked, the errors of opening the
    database, and those of reading a keyring that exists.
    """

    @property
    def state(self) -> KeyringState: ...

    @property
    def path(self) -> str:
        """The path of the keyring."""
        ...

    @property
    def installation_id(self) -> str: ...

    @property
    def ring(self) -> Keyring:
        """The new keyring, for the state `lost`."""
        ...

    @property
    def work(self) -> UnitOfWork: ...

    @property
    def interrupted(self) -> tuple[KeyringReplaced, Sequence[UserId]] | None:
        """The event of an interrupted replacement, and the accounts whose second factors it has disabled.

        None if another change of the keyring was interrupted.
        """
        ...

    def replace(self) -> KeyringReplaced:
        """Begin a new segment of the event log. Call it last, and only for a lost keyring. Returns its first event."""
        ...


class KeyringReplacementFactory(Protocol):
    def __call__(self, *, by: Attribution, dry_run: bool) -> KeyringReplacement:
        """Return a replacement that has not begun.

        Raises KeyringReadOnly if the keyring is not in a file, InstallationMissing, the errors of reading a keyring
        that exists, and SchemaOutdated for a dry run on an older database, which is upgraded otherwise.
        """
        ...


class KeyMaker(Protocol):
    def __call__(self, purpose: Purpose, now: Instant, *, alg: str | None = None, kid: str | None = None) -> Key:
        """Create a key; RSA takes about a second. Raises InvalidKey for an algorithm unsuitable for the purpose."""
        ...


class ForeignKey(NamedTuple):
    """A key made elsewhere, stored under a new kid. `kid` is its original kid, or None."""

    key: Key
    kid: str | None


class KeyExchange(Protocol):
    """Imports keys from JWK and PEM texts, and exports them as PEM."""

    def read(self, text: Secret, *, purpose: Purpose, alg: str | None, now: Instant) -> ForeignKey:
        """Read the key in a private JWK or a PEM text. `alg` applies if the text names no algorithm.

        Raises InvalidKey.
        """
        ...

    def pem(self, key: Key, *, private: bool) -> str:
        """Export as PKCS #8, or the public half as SubjectPublicKeyInfo. Raises InvalidKey for a symmetric key."""
        ...
