"""Results of the services for encryption and sanitizing."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SanitizedValue:
    """A sanitized text or JSON value, and whether it differs from the input."""

    value: object
    changed: bool


@dataclass(frozen=True, slots=True)
class SanitizedPart:
    """The number of strings at one place of an input that were changed in one way.

    `pointer` is an RFC 6901 pointer with `*` for array indexes, and empty for the whole input; that of a key is that
    of its object. `kind` is `html`, `control` or `bidi`.
    """

    pointer: str
    part: Literal["key", "value"]
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class EncryptedValue:
    """A value encrypted under the key `key_id`; `changed` is False if it already was."""

    value: str
    key_id: str
    changed: bool


@dataclass(frozen=True, slots=True, repr=False)
class DecryptedValue:
    """A plaintext: `value` as text if it is UTF-8, and always in base64."""

    value: str | None
    base64: str


@dataclass(frozen=True, slots=True)
class CipherReport:
    """The result for the file that was written. Records that failed were left out."""

    file: str
    size_bytes: int
    records: int
    values: int
    changed_values: int
    failed_records: int
