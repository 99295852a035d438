"""One-time codes (TOTP, RFC 6238 and RFC 4226) with their secret and URI, and recovery codes.

Pure functions: time, keys and random bytes are parameters. Comparisons take constant time.
"""

import base64
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from backctl.domain.errors import InvalidInput
from backctl.domain.quoting import quoted
from backctl.domain.values import SKEW, Instant

Algorithm = Literal["sha1", "sha256", "sha512"]

SECRET_BYTES = 20  # RFC 4226 §4, R6 recommends 160 bits
SECRET_MIN, SECRET_MAX = 10, 128
"""Bytes of a secret of another program. Early authenticators used 10; no program uses more than 128."""
DIGITS_MIN, DIGITS_MAX = 6, 8  # RFC 4226 §5.3: at least 6; no authenticator shows more than 8
PERIOD_MIN, PERIOD_MAX = 10, 300
RECOVERY_CODES = 10
RECOVERY_BYTES = 10
"""Bytes of a recovery code: 80 bits cannot be guessed and need no slow hash."""

STEPS_EITHER_SIDE = 1  # RFC 6238 §5.2
_MICROSECONDS = 1_000_000
_GROUP = 4
# https://www.crockford.com/base32.html: no I, L, O and U; I, L and O are read as 1, 1 and 0.
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RFC4648 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_TO_CROCKFORD = str.maketrans(_RFC4648, _CROCKFORD)
_MISREAD = str.maketrans("OIL", "011", "- ")


@dataclass(frozen=True, slots=True)
class TotpSettings:
    """The parameters of one-time codes. Raises InvalidInput for values that no authenticator supports."""

    algorithm: Algorithm = "sha1"
    digits: int = 6
    period: int = 30
    """Length of a step in seconds."""

    def __post_init__(self) -> None:
        if self.algorithm not in ("sha1", "sha256", "sha512"):
            raise InvalidInput(
                f"invalid one-time code algorithm {quoted(self.algorithm)}", hint="use sha1, sha256 or sha512"
            )
        if not DIGITS_MIN <= self.digits <= DIGITS_MAX:
            raise InvalidInput(f"one-time codes have {DIGITS_MIN} to {DIGITS_MAX} digits, not {self.digits}")
        if not PERIOD_MIN <= self.period <= PERIOD_MAX:
            raise InvalidInput(f"a one-time code is valid for {PERIOD_MIN} to {PERIOD_MAX} seconds, not {self.period}")

    def step_of(self, now: Instant) -> int:
        """Return the number of the step at `now` (RFC 6238 §4.2, T0 = 0)."""
        return now // (self.period * _MICROSECONDS)


DEFAULT_TOTP = TotpSettings()
"""The settings that every authenticator supports; some ignore other settings in a URI."""


def hotp(secret: bytes, counter: int, *, digits: int = 6, algorithm: Algorithm = "sha1") -> str:
    """Return the code for a counter (RFC 4226 §5.3), also with the hash functions of RFC 6238 §1.2."""
    mac = hmac.digest(secret, counter.to_bytes(8), algorithm)
    offset = mac[-1] & 0xF
    number = int.from_bytes(mac[offset : offset + 4]) & 0x7FFF_FFFF
    return str(number % 10**digits).zfill(digits)


def totp(secret: bytes, now: Instant, settings: TotpSettings = DEFAULT_TOTP) -> str:
    """Return the code at `now` (RFC 6238 §4.2). Raises OverflowError before 1970."""
    return hotp(secret, settings.step_of(now), digits=settings.digits, algorithm=settings.algorithm)


def fitting_step(
    secret: bytes, code: str, *, now: Instant, last_used: int | None, settings: TotpSettings = DEFAULT_TOTP
) -> int | None:
    """Return the step of a valid code: the current, previous or next step, and later than `last_used`; else None.

    The caller must store the step in the transaction that accepts the code; only that makes a code single-use. If two
    steps have the same code, the later one is returned, because otherwise the code could be used again. Spaces in the
    code are ignored. A `last_used` after `latest_step` is ignored, because it would lock the account out until then.
    """
    if last_used is not None and last_used > latest_step(now, settings):
        last_used = None
    given = code.replace(" ", "")
    if re.fullmatch(f"[0-9]{{{settings.digits}}}", given, re.ASCII) is None:
        return None
    found = None
    for step in _steps_around(settings.step_of(now)):
        made = hotp(secret, step, digits=settings.digits, algorithm=settings.algorithm)
        if hmac.compare_digest(made, given) and (last_used is None or step > last_used):
            found = step
    return found


def latest_step(now: Instant, settings: TotpSettings = DEFAULT_TOTP) -> int:
    """Return the latest step that any machine can accept at `now`. Later ones were used while a clock was ahead."""
    return settings.step_of(now.plus(SKEW)) + STEPS_EITHER_SIDE


def _steps_around(step: int) -> Iterator[int]:
    yield from range(max(step - STEPS_EITHER_SIDE, 0), step + STEPS_EITHER_SIDE + 1)


# The secret.


def encoded_secret(secret: bytes) -> str:
    """Encode the secret for authenticators: base32 (RFC 4648 §6) in capital letters without padding."""
    return base64.b32encode(secret).decode().rstrip("=")


def decoded_secret(text: str) -> bytes:
    """Decode a secret as authenticators do: base32 in any case, with or without padding and spaces.

    Raises ValueError, whose message does not contain the secret.
    """
    bare = text.replace(" ", "").rstrip("=").upper()
    return base64.b32decode(bare + "=" * (-len(bare) % 8))


def checked_secret(text: str, name: str) -> bytes:
    """Decode a secret that a user has given under a name. Raises InvalidInput without the secret."""
    try:
        secret = decoded_secret(text)
    except ValueError:
        raise InvalidInput(f"{name} is not base32", hint="use the letters A–Z and 2–7") from None
    if not SECRET_MIN <= len(secret) <= SECRET_MAX:
        raise InvalidInput(f"{name} has {len(secret)} bytes, not {SECRET_MIN} to {SECRET_MAX}")
    return secret


def otpauth_uri(secret: bytes, *, issuer: str, account: str, settings: TotpSettings = DEFAULT_TOTP) -> str:
    """Return the URI for a QR code: https://github.com/google/google-authenticator/wiki/Key-Uri-Format

    It omits parameters that have the default values of the format, so that the QR code is small. Raises InvalidInput
    for an issuer or account that is empty or contains a colon, which separates the two. The URI contains the secret.
    """
    for name, text in (("issuer", issuer), ("account", account)):
        if not text or ":" in text or not text.isprintable():
            raise InvalidInput(
                f"the {name} {quoted(text)} of a one-time code is empty, or contains a colon or a control character"
            )
    parameters = {"secret": encoded_secret(secret), "issuer": quote(issuer, safe="")}
    if settings.algorithm != DEFAULT_TOTP.algorithm:
        parameters["algorithm"] = settings.algorithm.upper()
    if settings.digits != DEFAULT_TOTP.digits:
        parameters["digits"] = str(settings.digits)
    if settings.period != DEFAULT_TOTP.period:
        parameters["period"] = str(settings.period)
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return f"otpauth://totp/{quote(issuer, safe='')}:{quote(account, safe='@')}?{query}"


# Recovery codes.


def recovery_codes(randomness: bytes) -> tuple[str, ...]:
    """Return ten codes such as `7K3M-0QZX-ABCD-8J2W`, of 80 bits each, made from 100 random bytes."""
    if len(randomness) != RECOVERY_CODES * RECOVERY_BYTES:
        raise ValueError(f"ten codes take {RECOVERY_CODES * RECOVERY_BYTES} bytes, not {len(randomness)}")
    pieces = (randomness[at : at + RECOVERY_BYTES] for at in range(0, len(randomness), RECOVERY_BYTES))
    return tuple(_grouped(base64.b32encode(piece).decode().translate(_TO_CROCKFORD)) for piece in pieces)


def recovery_code_meant(text: str) -> str | None:
    """Return the code in its canonical form; None for a text that is not a code.

    Case, dashes and spaces are ignored, and the letters O, I and L are read as digits.
    """
    bare = text.upper().translate(_MISREAD)
    if not text.isascii() or re.fullmatch(f"[{_CROCKFORD}]{{{RECOVERY_BYTES * 8 // 5}}}", bare) is None:
        return None
    return _grouped(bare)


def recovery_digest(key: bytes, user_id: str, code: str) -> str:
    """Return the digest to store for a code: HMAC-SHA256 under the keyring's `index` key, 64 hexadecimal digits.

    It is bound to the account, so that a row copied to another account is useless there. `code` must be canonical.
    """
    return hmac.digest(key, b"\0".join((_RECOVERY_LABEL, user_id.encode(), code.encode())), "sha256").hex()


_RECOVERY_LABEL = b"backctl-recovery-code-1"


def _grouped(bare: str) -> str:
    return "-".join(bare[at : at + _GROUP] for at in range(0, len(bare), _GROUP))
