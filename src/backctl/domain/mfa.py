"""The stored state of an account's second factor."""

from dataclasses import dataclass, field

from backctl.domain.one_time_codes import TotpSettings
from backctl.domain.values import Instant

NEVER_USED = -1
"""A value before the first step; RFC 6238 counts steps from 0."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The one-time codes of an account, confirmed or not.

    `secret` is encrypted under the key `kid`. Codes of `last_used_step` and earlier steps are no longer valid.
    """

    secret: str = field(repr=False)
    kid: str
    settings: TotpSettings
    enrolled_at: Instant
    confirmed_at: Instant | None = None
    last_used_step: int = NEVER_USED


@dataclass(frozen=True, slots=True)
class StoredCode:
    """A stored recovery code: its HMAC-SHA256 under the `index` key `kid`, in hexadecimal."""

    digest: str = field(repr=False)
    kid: str
