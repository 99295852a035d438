"""The members of an exported account, which an import reads back.

Every format has the same flat members in the same order. Times are RFC 3339 in UTC with microseconds. A missing value
is null in JSON and an empty cell in CSV; booleans are `true` and `false` in both.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from backctl.domain.mfa import Enrolment
    from backctl.domain.user import MfaState

ACCOUNT: Final = (
    "id",
    "email",
    "username",
    "role",
    "is_active",
    "expires_at",
    "must_change_password",
    "last_login_at",
    "created_at",
    "updated_at",
    "version",
)
"""The members of every export. `expires_at` is null for an account that never expires."""

HASHES: Final = ("password_hash", "password_imported")
"""Also exported with password hashes. `password_hash` is null for an account without a password."""

FACTORS: Final = (
    "mfa",
    "totp_secret",
    "totp_algorithm",
    "totp_digits",
    "totp_period",
    "totp_last_used_step",
    "mfa_enrolled_at",
    "mfa_confirmed_at",
)
"""Also exported with second factors. `mfa` is off, pending or on, and the others are null if it is off.

`totp_secret` is in base32 without padding. `totp_last_used_step` is null if no code was used. `mfa_confirmed_at` is
null while `mfa` is pending.
"""

PASSWORD: Final = "password"
"""A password that is not hashed yet. Only an import has this member; an export never does."""

IMPORTABLE: Final = (*ACCOUNT, *HASHES, PASSWORD, *FACTORS)

DESCRIPTIVE: Final = ("status", "locked_until", "has_password")
"""Members that `user list` prints and an import ignores, because they follow from others or are not kept."""

NEVER: Final = "never"
"""The value of `expires_at` for an account that never expires, where an empty CSV cell would mean "not given"."""


def members(*, hashes: bool = False, factors: bool = False) -> tuple[str, ...]:
    """Return the members of an export, in order."""
    return ACCOUNT + (HASHES if hashes else ()) + (FACTORS if factors else ())


Kind = Literal["text", "flag", "time", "number"]

KINDS: Final[Mapping[str, Kind]] = {
    "id": "text",
    "email": "text",
    "username": "text",
    "role": "text",
    "is_active": "flag",
    "expires_at": "time",
    "must_change_password": "flag",
    "last_login_at": "time",
    "created_at": "time",
    "updated_at": "time",
    "version": "number",
    "password_hash": "text",
    "password_imported": "flag",
    "mfa": "text",
    "totp_secret": "text",
    "totp_algorithm": "text",
    "totp_digits": "number",
    "totp_period": "number",
    "totp_last_used_step": "number",
    "mfa_enrolled_at": "time",
    "mfa_confirmed_at": "time",
}
"""What the members of an export contain."""


class AccountBlock(NamedTuple):
    """Some accounts, as columns of the same length, because a million of them are converted faster that way.

    `columns` are those of ACCOUNT and, if asked for, of HASHES. Times are microseconds since 1970, missing values None.
    `factors` is empty unless asked for. A second factor without an enrolment is damaged, unless its state is off.
    """

    columns: tuple[Sequence[object], ...]
    factors: "Sequence[tuple[MfaState, Enrolment | None]]"
