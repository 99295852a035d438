"""What the services answer that work on contents: encryption and cleaning."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SanitizedPart:
    """How many strings at one place of an input were changed in one way.

    `path` is an RFC 6901 pointer with `*` for any place of an array, empty for the whole; that of a key names its
    object. `kind` is `html`, `control` or `bidi`.
    """

    path: str
    part: Literal["key", "value"]
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class EncryptedValue:
    """A value under the key `kid`; `changed` says whether it came there just now."""

    value: str
    kid: str
    changed: bool


@dataclass(frozen=True, slots=True, repr=False)
class DecryptedValue:
    """A plaintext: as text where it is UTF-8, and in base64."""

    value: str | None
    base64: str


@dataclass(frozen=True, slots=True)
class CipherReport:
    """What became of a file: its values, how many of them changed, and how many records were left out."""

    out: str
    size_bytes: int
    records: int
    values: int
    changed_values: int
    failed_records: int
