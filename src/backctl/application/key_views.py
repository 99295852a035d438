"""Results of the key service. Only `KeyExport` contains a secret."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from backctl.domain.keyring import Key, KeyState, NextStep, Purpose
from backctl.domain.values import Instant

Form = Literal["jwk", "pem"]


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key without its secret.

    `promoted_at` is None if the key was created as primary or never was primary. `expires_at` is None without an
    expiry.
    """

    PLURAL: ClassVar = "keys"
    TABLE: ClassVar = ("id", "purpose", "state", "alg", "created_at", "promoted_at", "expires_at")
    SPARE: ClassVar = ("promoted_at", "alg", "created_at")

    id: str
    purpose: Purpose
    state: KeyState
    kty: str
    alg: str
    use: str
    created_at: Instant
    promoted_at: Instant | None
    expires_at: Instant | None

    @classmethod
    def of(cls, key: Key) -> Self:
        return cls(
            id=key.kid,
            purpose=key.purpose,
            state=key.state,
            kty=key.kty,
            alg=key.alg,
            use=key.use,
            created_at=Instant.parse(key.created),
            promoted_at=_moment(key.promoted),
            expires_at=_moment(key.not_after),
        )


@dataclass(frozen=True, slots=True)
class DueView:
    """What a rotation would do now for a purpose. `ok`: a step is due; otherwise `step` is None."""

    TABLE: ClassVar = ("purpose", "ok", "step", "key_id", "primary_since")

    ok: bool
    purpose: Purpose
    key_id: str
    primary_since: Instant
    step: NextStep | None


@dataclass(frozen=True, slots=True)
class RotationView:
    """The ids of the keys that a rotation changed. A new primary key was both added and promoted."""

    added_key_ids: tuple[str, ...]
    promoted_key_ids: tuple[str, ...]
    retired_key_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wrapping:
    """Whether the keyring is encrypted with a passphrase, and its number of keys."""

    wrapped: bool
    keys: int


@dataclass(frozen=True, slots=True)
class ImportedKey:
    """An imported key. `original_id` is the `kid` that it had elsewhere, if that differs from `id`."""

    id: str
    purpose: Purpose
    state: KeyState
    alg: str
    original_id: str | None


@dataclass(frozen=True, slots=True)
class KeyExport:
    """An exported key: its JWK as JSON, or PEM; None if it was written to a file. Its `repr` shows no secret."""

    id: str
    form: Form
    private: bool
    document: str | None

    def __repr__(self) -> str:
        return f"KeyExport(id={self.id!r})"


@dataclass(frozen=True, slots=True)
class ReplacementView:
    """A keyring file that was lost. `replaced` is False if it exists, or if an interrupted change had left it.

    `lost_key_ids` are the lost audit keys, `unverified` is the number of events that nobody can verify without them,
    and `mfa_disabled` are the usernames of the accounts whose second factors nobody can read.
    """

    file: str
    installation_id: str
    replaced: bool
    unverified: int
    lost_key_ids: tuple[str, ...]
    mfa_disabled: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DestroyedKey:
    """A key that was destroyed."""

    id: str
    purpose: Purpose
    destroyed_at: Instant


def _moment(text: str | None) -> Instant | None:
    return None if text is None else Instant.parse(text)
