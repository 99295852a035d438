"""What use cases need of passwords, tokens, keys and encryption; adapters in `infrastructure` provide it.

Only the types are used here: nothing of what they name is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from backctl.application.attribution import Attribution
from backctl.application.ports.storage import Transaction, UnitOfWork
from backctl.domain.values import Instant, PasswordHash, Secret

if TYPE_CHECKING:
    from backctl.domain.access_token import AccessClaims, UnverifiedToken
    from backctl.domain.events import DomainEvent
    from backctl.domain.keyring import Key, Keyring, Purpose

BlindIndex = Callable[[str], str]
"""A digest of a text under the keyring's `index` key: equal texts stay equal, and nobody else can guess them."""


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
        """The claims of a token that this installation signed and that is valid `now`; revocations are not known here.

        `audience` replaces the configured one.

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
    """A key that was made elsewhere, under a new kid; `kid` is its name there, None without one."""

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
