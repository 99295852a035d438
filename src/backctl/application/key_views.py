"""Results of the key service. Only `KeyExport` contains a secret."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from backctl.domain.keyring import Key, KeyState, NextStep, Purpose
from backctl.domain.values import Instant

Form = Literal["jwk", "pem"]


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key without its secret.

    `promoted_at` is None if the key was created as primary or never was primary. `not_after` is None for no end.
    """

    TABLE: ClassVar = ("kid", "purpose", "state", "alg", "created_at", "promoted_at", "not_after")

    kid: str
    purpose: Purpose
    state: KeyState
    kty: str
    alg: str
    use: str
    created_at: Instant
    promoted_at: Instant | None
    not_after: Instant | None

    @classmethod
    def of(cls, key: Key) -> Self:
        return cls(
            kid=key.kid,
            purpose=key.purpose,
            state=key.state,
            kty=key.kty,
            alg=key.alg,
            use=key.use,
            created_at=Instant.parse(key.created),
            promoted_at=_moment(key.promoted),
            not_after=_moment(key.not_after),
        )


@dataclass(frozen=True, slots=True)
class DueView:
    """What a rotation would do now for a purpose; `step` is None if nothing is due."""

    purpose: Purpose
    kid: str
    primary_since: Instant
    due: bool
    step: NextStep | None


@dataclass(frozen=True, slots=True)
class RotationView:
    """The kids of the keys that a rotation changed; a new primary key is in both `added` and `promoted`."""

    added: tuple[str, ...]
    promoted: tuple[str, ...]
    retired: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wrapping:
    """Whether the keyring is encrypted with a passphrase, and its number of keys."""

    wrapped: bool
    keys: int


@dataclass(frozen=True, slots=True)
class ImportedKey:
    """An imported key. `foreign_kid` is its original kid if that differs from `kid`."""

    kid: str
    purpose: Purpose
    state: KeyState
    alg: str
    foreign_kid: str | None


@dataclass(frozen=True, slots=True)
class KeyExport:
    """An exported key: its JWK as JSON, or PEM; None if it was written to a file. Its `repr` shows no secret."""

    kid: str
    form: Form
    private: bool
    document: str | None

    def __repr__(self) -> str:
        return f"KeyExport(kid={self.kid!r})"


@dataclass(frozen=True, slots=True)
class DestroyedKey:
    """A key that was destroyed."""

    kid: str
    purpose: Purpose
    destroyed_at: Instant


def _moment(text: str | None) -> Instant | None:
    return None if text is None else Instant.parse(text)
