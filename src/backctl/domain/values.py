"""The value objects of accounts. An instance is always valid.

Nothing here reads a clock, a file or a random source. Unicode tables are those of the interpreter.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NewType, Self

from backctl.domain.errors import InvalidEmail, InvalidIdentity, InvalidInput, InvalidUsername
from backctl.domain.plain_text import has_ignorable
from backctl.domain.quoting import quoted

UserId = NewType("UserId", str)
"""A UUIDv7 in its canonical form: 36 lower-case characters with dashes."""

SessionId = NewType("SessionId", str)
"""A UUIDv7 in its canonical form."""

EventId = NewType("EventId", str)
"""A UUIDv7 in its canonical form."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")


def is_uuid(text: str) -> bool:
    """Whether `text` has the format of a UUID, in any version and case."""
    return _UUID.match(text) is not None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = _EPOCH.replace(tzinfo=None)
_MICROSECOND = timedelta(microseconds=1)
EARLIEST, LATEST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The first and last instant of the years 1 to 9999, the range of RFC 3339."""
SKEW = 5 * 60 * 1_000_000
"""The tolerated difference between the clocks of machines that share an installation, in microseconds."""
# RFC 3339 §5.6, or only its full-date. `datetime.fromisoformat` accepts more of ISO 8601: week dates, compact forms,
# other separators, and hour 24 since Python 3.13.
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[Tt ]((?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d)(?:(\.\d{1,6})\d*)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d))?",
    re.ASCII,
)

EMAIL_MAX_OCTETS = 254  # RFC 5321 §4.5.3.1.3 without the angle brackets (erratum 1690)
USERNAME_MIN, USERNAME_MAX = 3, 50
REASON_MAX = 1000
_IDENTITY_MAX = 320
# Names of ASCII characters that `Username.parse` accepts; NFC and NFKC leave them unchanged.
_PLAIN_USERNAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{{USERNAME_MIN - 1},{USERNAME_MAX - 1}}}")


class Instant(int):
    """A point in time: an integer of microseconds since 1970-01-01T00:00:00Z, shown as RFC 3339."""

    __slots__ = ()

    def isoformat(self) -> str:
        """Return RFC 3339 in UTC with microseconds and `Z`, e.g. `2026-11-22T09:24:02.123456Z`."""
        # Not strftime: on some systems its %Y has no leading zeros before the year 1000.
        return (_NAIVE_EPOCH + timedelta(microseconds=self)).isoformat(timespec="microseconds") + "Z"

    __str__ = isoformat

    def plus(self, microseconds: int) -> "Instant":
        return Instant(self + microseconds)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse RFC 3339, or a date, which means midnight in UTC. Raises InvalidInput for anything else.

        Times without an offset are refused, because they depend on the machine's time zone. So are leap seconds.
        Fractions of a microsecond are dropped.
        """
        try:
            if (match := _RFC3339.fullmatch(text)) is None:
                raise ValueError
            date, time, fraction, offset = match.groups()
            moment = datetime.fromisoformat(f"{date}T{time or '00:00:00'}{fraction or ''}{(offset or 'Z').upper()}")
        except ValueError:
            raise InvalidInput(
                f"{quoted(text)} is not a date or time",
                hint="write a date such as 2026-11-22, or RFC 3339 such as 2026-11-22T09:24:02Z",
            ) from None
        stamp = (moment - _EPOCH) // _MICROSECOND
        if not EARLIEST <= stamp <= LATEST:  # because of the offset
            raise InvalidInput(f"{quoted(text)} is out of range", hint="use a time within the years 1 to 9999 in UTC")
        return cls(stamp)


class RelativeInstant(Instant):
    """A point in time, given as a distance from now; the distance is negative for the past.

    Its `repr` is the distance, not the time. The cursor of a query contains the `repr` of the criteria, so the cursor
    stays valid when the same distance is given later.
    """

    distance: int

    @classmethod
    def of(cls, distance: int, now: Instant) -> "RelativeInstant":
        """Return the time `distance` microseconds after `now`. Raises InvalidInput outside the years 1 to 9999."""
        moment = cls(now + distance)
        if not EARLIEST <= moment <= LATEST:
            raise InvalidInput("the time is outside the years 1 to 9999")
        moment.distance = distance
        return moment

    def __repr__(self) -> str:
        return f"now{self.distance:+}"


@dataclass(frozen=True, slots=True)
class Expiry:
    """When an account expires: `at` a time, `after` this many microseconds, or never if both are None."""

    at: Instant | None = None
    after: int | None = None

    def counted_from(self, now: Instant) -> Instant | None:
        """Return the time of expiry, or None for never. Raises InvalidInput outside the years 1 to 9999."""
        moment = self.at if self.after is None else now.plus(self.after)
        if moment is not None and not EARLIEST <= moment <= LATEST:
            raise InvalidInput("the expiry is outside the years 1 to 9999")
        return moment


NEVER = Expiry()


class Secret:
    """A secret text that `repr` and formatting do not show, and that compares by identity only."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret('…')"

    __str__ = __repr__

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a secret is not pickled")


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """An encoded password hash, e.g. `$2b$12$…`. Never shown. `imported`: another program made it."""

    encoded: str
    imported: bool = False

    def __repr__(self) -> str:
        return "PasswordHash('…')"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a password hash is not pickled")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who made a change: a label chosen by the caller, and the user and host of the operating system."""

    label: str
    os_user: str
    host: str

    def __post_init__(self) -> None:
        for name in (self.label, self.os_user, self.host):
            if not name or len(name) > 200 or not name.isprintable():
                raise InvalidInput(f"the actor {quoted(name)} must be 1 to 200 printable characters")


def checked_reason(reason: str | None) -> str | None:
    """Return the reason for a change if it can be recorded. Raises InvalidInput."""
    if reason is not None and not (0 < len(reason) <= REASON_MAX and reason.isprintable()):
        raise InvalidInput(f"the reason {quoted(reason)} must be 1 to {REASON_MAX} printable characters")
    return reason


def folded(text: str, form: Literal["NFC", "NFKC"]) -> str:
    """Normalize and casefold until nothing changes, so that spellings that look the same are equal."""
    while True:
        step = unicodedata.normalize(form, unicodedata.normalize(form, text).casefold())
        if step == text:
            return text
        text = step


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """An e-mail address as given (normalized) and the key under which it is unique.

    The `AddressParser` port checks the syntax (RFC 5321, 5322, 6531); this class checks only the invariants that other
    code relies on.
    """

    address: str
    key: str
    domain: str

    @classmethod
    def of(cls, normalised: str) -> Self:
        """Create it from an address that an AddressParser normalized. Raises InvalidEmail for a broken invariant."""
        local, at, domain = normalised.rpartition("@")
        printable = normalised.isprintable() and " " not in normalised
        if not (at and local and domain and printable and len(normalised.encode()) <= EMAIL_MAX_OCTETS):
            raise InvalidEmail(f"{quoted(normalised)} is not an e-mail address")
        return cls(normalised, folded(normalised, "NFC"), folded(domain, "NFC"))


@dataclass(frozen=True, slots=True)
class Username:
    """A name as given (NFC) and the key under which it is unique: NFKC and casefold to a fixed point."""

    name: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse 3–50 letters, marks, digits and `._-`, starting with a letter or digit; not in the format of a UUID.

        The key must obey the same rules, so that compatibility characters cannot bypass them. Raises InvalidUsername.
        """
        if _PLAIN_USERNAME.fullmatch(text) and not _UUID.match(text):
            return cls(text, text.lower())
        if len(text) > 4 * USERNAME_MAX:
            raise cls._refusal(text, f"it has more than {USERNAME_MAX} characters")
        name = unicodedata.normalize("NFC", text)
        if not USERNAME_MIN <= len(name) <= USERNAME_MAX:
            raise cls._refusal(text, f"it has {len(name)} characters, not {USERNAME_MIN} to {USERNAME_MAX}")
        key = folded(name, "NFKC")
        for form in (name, key):
            if wrong := _first_forbidden(form):
                raise cls._refusal(text, f"it contains {quoted(wrong)} (U+{ord(wrong):04X})")
            if unicodedata.category(form[0])[0] not in "LN":
                raise cls._refusal(text, "it does not start with a letter or digit")
            if _UUID.match(form):
                raise cls._refusal(text, "it looks like an account's id")
        if not USERNAME_MIN <= len(key) <= USERNAME_MAX:
            raise cls._refusal(text, f"normalized it has {len(key)} characters, not {USERNAME_MIN} to {USERNAME_MAX}")
        return cls(name, key)

    @staticmethod
    def _refusal(text: str, why: str) -> InvalidUsername:
        return InvalidUsername(
            f"{quoted(text)} is not a username: {why}",
            hint="use 3 to 50 letters, digits, '.', '_' or '-', starting with a letter or digit",
        )


def _first_forbidden(text: str) -> str | None:
    for character in text:
        if character in "._-":
            continue
        category = unicodedata.category(character)
        if (category[0] not in "LM" and category != "Nd") or has_ignorable(character):
            return character
    return None


@dataclass(frozen=True, slots=True)
class Identity:
    """An account's id, e-mail address or username as typed. The format decides the kind; `text` is not yet a key."""

    kind: Literal["id", "email", "username"]
    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a UUID as an id, a text with `@` as an e-mail address, and anything else as a username.

        Raises InvalidIdentity for a text that can be none of them.
        """
        if not text or len(text) > _IDENTITY_MAX or not text.isprintable() or any(map(str.isspace, text)):
            raise InvalidIdentity(
                f"{quoted(text)} cannot be an account",
                hint="give an id, an e-mail address or a username",
            )
        if _UUID.match(text):
            return cls("id", text.lower())
        return cls("email" if "@" in text else "username", text)
