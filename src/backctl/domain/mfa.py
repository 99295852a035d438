"""What is stored of the second factor of an account."""

from dataclasses import dataclass, field

from backctl.domain.one_time_codes import TotpSettings
from backctl.domain.values import Instant

NEVER_USED = -1
"""Before the first step there is: RFC 6238 counts from 0."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """One-time codes that an account has or is about to have.

    `secret` is encrypted under the key `kid`. A code of `last_used_step` or of a step before it counts no more.
    """

    secret: str = field(repr=False)
    kid: str
    settings: TotpSettings
    enrolled_at: Instant
    confirmed_at: Instant | None = None
    last_used_step: int = NEVER_USED


@dataclass(frozen=True, slots=True)
class StoredCode:
    """A recovery code as it is kept: its HMAC-SHA256, in hexadecimal, under the `index` key `kid`."""

    digest: str = field(repr=False)
    kid: str
