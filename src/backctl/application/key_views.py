"""What the key service answers. Nothing here holds a secret but `KeyExport`, which is made to."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from backctl.domain.keyring import Key, KeyState, NextStep, Purpose
from backctl.domain.values import Instant

Form = Literal["jwk", "pem"]


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key without its secret.

    `promoted_at` None: it was in use from its creation, or never was. `not_after` None: it serves without an end.
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
class DestroyedKey:
    """A key that was destroyed."""

    kid: str
    purpose: Purpose
    destroyed_at: Instant


@dataclass(frozen=True, slots=True)
class DueView:
    """What a rotation would do now for a purpose; `step` is None for nothing."""

    purpose: Purpose
    kid: str
    primary_since: Instant
    due: bool
    step: NextStep | None


@dataclass(frozen=True, slots=True)
class RotationView:
    """The kids of the keys that a rotation touched; a promoted one that it made stands in `added`, too."""

    added: tuple[str, ...]
    promoted: tuple[str, ...]
    retired: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wrapping:
    """Whether the keyring is stored under a passphrase, and how many keys it holds."""

    wrapped: bool
    keys: int


@dataclass(frozen=True, slots=True)
class ImportedKey:
    """A key from elsewhere. `foreign_kid` is how it was called there, where that is not its name here."""

    kid: str
    purpose: Purpose
    state: KeyState
    alg: str
    foreign_kid: str | None


@dataclass(frozen=True, slots=True)
class KeyExport:
    """A key for elsewhere: its JWK as JSON, or PEM; None where that went into a file. Its `repr` shows no secret."""

    kid: str
    form: Form
    private: bool
    document: str | None

    def __repr__(self) -> str:
        return f"KeyExport(kid={self.kid!r})"


def _moment(text: str | None) -> Instant | None:
    return None if text is None else Instant.parse(text)
