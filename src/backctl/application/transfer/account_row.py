"""Turn the members of a record into the validated values of an account.

The members are those of `record.py`. A member that is missing or null is not given: a new account gets the default and
an existing one keeps its value. Only `expires_at: null` has a meaning, which is never.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from backctl.application.factor_steps import GivenFactor
from backctl.application.transfer.record import DESCRIPTIVE, IMPORTABLE
from backctl.application.transfer.record import NEVER as NEVER_WRITTEN
from backctl.domain.errors import InvalidInput
from backctl.domain.mfa import NEVER_USED
from backctl.domain.one_time_codes import (
    DEFAULT_TOTP,
    DIGITS_MAX,
    DIGITS_MIN,
    PERIOD_MAX,
    PERIOD_MIN,
    Algorithm,
    TotpSettings,
    checked_secret,
)
from backctl.domain.quoting import quoted
from backctl.domain.values import (
    NEVER,
    EmailAddress,
    Expiry,
    Instant,
    PasswordHash,
    Secret,
    UserId,
    Username,
    is_uuid,
)

if TYPE_CHECKING:
    from backctl.application.ports.environment import AddressParser
    from backctl.application.ports.security import PasswordHasher
    from backctl.application.transfer.raw_rows import RawRow
    from backctl.domain.access import AccessPolicy
    from backctl.domain.password_policy import PasswordPolicy

_ACCEPTED: Final = frozenset((*IMPORTABLE, *DESCRIPTIVE))
_WORD = re.compile(r"[\w-]{1,80}", re.ASCII)
_INTEGER = re.compile(r"[0-9]{1,19}", re.ASCII)
_INTEGER_MAX = 2**63 - 1  # the range of a bigint column
# Events contain exact integers up to 2⁵³ only, and every change of the account increments its version.
_VERSION_MAX = 2**52
_CREATION_MAX = Instant(2**53)

_TYPES: Final = {bool: "a boolean", int: "a number", float: "a number", list: "an array", dict: "an object"}


class AccountRow(NamedTuple):
    """The validated values of one record; None if not given. `line` is the line on which the record begins.

    `expiry` is `NEVER` for an account that never expires. `password` is prepared for hashing. The password policy was
    checked only if the record has both `email` and `username`.
    """

    line: int
    id: UserId | None
    email: EmailAddress | None
    username: Username | None
    role: str | None
    is_active: bool | None
    expiry: Expiry | None
    must_change_password: bool | None
    last_login_at: Instant | None
    created_at: Instant | None
    updated_at: Instant | None
    version: int | None
    password: Secret | None
    password_hash: PasswordHash | None
    factor: GivenFactor | None


class RowParser:
    """Parses records. One parser is used for a whole file, because it remembers what it has validated."""

    def __init__(
        self,
        *,
        addresses: "AddressParser",
        hasher: "Callable[[], PasswordHasher]",
        passwords: "Callable[[], PasswordPolicy]",
        access: "AccessPolicy",
    ) -> None:
        """`hasher` and `passwords` are called only for records with a password or a hash."""
        self._addresses = addresses
        self._hasher = hasher
        self._passwords = passwords
        self._access = access

    def parse(self, raw: "RawRow") -> AccountRow:
        """Validate all members of a record.

        Raises InvalidEmail, InvalidUsername, UnknownRole, InvalidPassword, WeakPassword, InvalidPasswordHash, and
        InvalidInput for everything else. No message contains a password, a hash or the secret of a second factor.
        """
        members = raw.members
        if not members.keys() <= _ACCEPTED:
            raise _unknown(members)
        email_text, username_text = _text(members, "email"), _text(members, "username")
        role = _text(members, "role")
        created_at, updated_at = _creation_and_update(members)
        email = None if email_text is None else self._addresses.parse(email_text)
        username = None if username_text is None else Username.parse(username_text)
        return AccountRow(
            raw.line,
            _id(members),
            email,
            username,
            None if role is None else self._access.require_known(role),
            _boolean(members, "is_active"),
            _expiry(members),
            _boolean(members, "must_change_password"),
            _instant(members, "last_login_at"),
            created_at,
            updated_at,
            _integer(members, "version", 1, _VERSION_MAX),
            self._password(members, email, username),
            self._password_hash(members),
            _factor(members),
        )

    def _password(
        self, members: Mapping[str, object], email: EmailAddress | None, username: Username | None
    ) -> Secret | None:
        text = _text(members, "password") if "password" in members else None
        if text is None:
            return None
        from backctl.domain.password_policy import prepared_new

        if members.get("password_hash") is not None:
            raise InvalidInput(
                "the record has both a password and a password_hash",
                hint="drop one of them, for example with '--map password='",
            )
        if not text:
            raise InvalidInput("password is empty", hint="leave it out for an account without a password")
        password = prepared_new(Secret(text))
        if email is not None and username is not None:
            self._passwords().check(password, email=email, username=username)
        return password

    def _password_hash(self, members: Mapping[str, object]) -> PasswordHash | None:
        encoded, imported = _text(members, "password_hash"), _boolean(members, "password_imported")
        if encoded is None:  # `user list` prints password_imported alone
            return None
        return self._hasher().accept(Secret(encoded), imported=imported is not False)


def _id(members: Mapping[str, object]) -> UserId | None:
    text = _text(members, "id")
    if text is None:
        return None
    if not is_uuid(text):
        raise InvalidInput(
            f"id: {quoted(text)} is not a UUID",
            hint="drop ids of another format with '--map id='; accounts then get new ids",
        )
    return UserId(text.lower())


def _creation_and_update(members: Mapping[str, object]) -> tuple[Instant | None, Instant | None]:
    created_at = _instant(members, "created_at")
    if created_at is None:
        return None, _instant(members, "updated_at")
    if created_at > _CREATION_MAX:  # the next change of the account is not recorded as earlier
        raise InvalidInput(f"created_at {created_at} is after {_CREATION_MAX}")
    if members.get("updated_at") == members["created_at"]:  # most accounts were never changed
        return created_at, created_at
    updated_at = _instant(members, "updated_at")
    if updated_at is not None and updated_at < created_at:
        raise InvalidInput(f"updated_at {updated_at} is before created_at {created_at}")
    return created_at, updated_at


def _expiry(members: Mapping[str, object]) -> Expiry | None:
    if "expires_at" not in members:
        return None
    value = members["expires_at"]
    if value is None or value == NEVER_WRITTEN:
        return NEVER
    return Expiry(at=_instant(members, "expires_at"))


# Second factors.


def _factor(members: Mapping[str, object]) -> GivenFactor | None:
    """Return the second factor; None if there is none, also when there are settings without a secret."""
    if "mfa" not in members and "totp_secret" not in members:
        return None
    given, secret = _text(members, "mfa"), _text(members, "totp_secret")
    if secret is None and given in (None, "off"):
        return None
    state: Literal["pending", "on"]
    match given:
        case None | "on":
            state = "on"
        case "pending":
            state = "pending"
        case "off":
            raise InvalidInput(
                "mfa is off, but there is a totp_secret", hint="write 'on' or 'pending', or drop the secret"
            )
        case other:
            raise InvalidInput(f"mfa: {quoted(other)} is not off, pending or on")
    if secret is None:
        raise InvalidInput(
            f"mfa is {state}, but there is no totp_secret",
            hint="export with --include-mfa, or import the accounts without second factors with '--map mfa='",
        )
    confirmed_at = _instant(members, "mfa_confirmed_at")
    if state == "pending" and confirmed_at is not None:
        raise InvalidInput("mfa is pending, but mfa_confirmed_at is given")
    last_used_step = _integer(members, "totp_last_used_step", 0)
    return GivenFactor(
        state,
        checked_secret(secret, "totp_secret"),
        _settings(members),
        _instant(members, "mfa_enrolled_at"),
        confirmed_at,
        NEVER_USED if last_used_step is None else last_used_step,
    )


def _settings(members: Mapping[str, object]) -> TotpSettings:
    algorithm: Algorithm
    match (_text(members, "totp_algorithm") or DEFAULT_TOTP.algorithm).lower():
        case "sha1" | "sha256" | "sha512" as known:
            algorithm = known
        case other:
            raise InvalidInput(f"totp_algorithm: {quoted(other)} is not sha1, sha256 or sha512")
    digits = _integer(members, "totp_digits", DIGITS_MIN, DIGITS_MAX)
    period = _integer(members, "totp_period", PERIOD_MIN, PERIOD_MAX)
    return TotpSettings(algorithm, digits or DEFAULT_TOTP.digits, period or DEFAULT_TOTP.period)


# The types of members. CSV has only text, so the text of a boolean or a number is accepted too.


def _text(members: Mapping[str, object], name: str) -> str | None:
    value = members.get(name)
    if value is None or isinstance(value, str):
        return value
    raise _wrong_type(name, "text", value)


def _boolean(members: Mapping[str, object], name: str) -> bool | None:
    value = members.get(name)
    if value is None or isinstance(value, bool):
        return value
    if value == "true":
        return True
    if value == "false":
        return False
    raise _wrong_type(name, "true or false", value)


def _integer(members: Mapping[str, object], name: str, least: int, most: int = _INTEGER_MAX) -> int | None:
    value = members.get(name)
    if value is None:
        return None
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(name, "an integer", value)
    if not least <= value <= most:
        raise InvalidInput(f"{name} must be {least} to {most}, not {value}")
    return value


def _instant(members: Mapping[str, object], name: str) -> Instant | None:
    text = _text(members, name)
    if text is None:
        return None
    try:
        return Instant.parse(text)
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error.message}", hint=error.hint) from None


# Errors.


def _wrong_type(name: str, expected: str, value: object) -> InvalidInput:
    found = quoted(value) if isinstance(value, str) else _TYPES.get(type(value), "another type")
    return InvalidInput(f"{name} must be {expected}, not {found}")


def _unknown(members: Mapping[str, object]) -> InvalidInput:
    name = next(name for name in members if name not in _ACCEPTED)
    shown = name if _WORD.fullmatch(name) else "NAME"
    return InvalidInput(
        f"an account has no member {quoted(name)}",
        hint=f"ignore it with '--map {shown}=', or rename it with '--map {shown}=MEMBER'",
    )
