"""One-time codes: TOTP (RFC 6238 over RFC 4226) with its secret and its URI, and recovery codes.

Pure functions: the time, the key and every random byte are passed in. Comparisons take the same time whatever is given.
"""

import base64
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from backctl.domain.errors import InvalidInput, quoted
from backctl.domain.values import Instant

Algorithm = Literal["sha1", "sha256", "sha512"]

SECRET_BYTES = 20  # RFC 4226 §4, R6: 160 bits are recommended
RECOVERY_CODES = 10
RECOVERY_BYTES = 10
"""Of each recovery code: 80 bits, which nobody guesses and which no slow hash has to protect."""

_STEPS_EITHER_SIDE = 1  # RFC 6238 §5.2
_MICROSECONDS = 1_000_000
_GROUP = 4
# https://www.crockford.com/base32.html: no I, L, O and U, and whoever writes one of the first three is understood.
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RFC4648 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_TO_CROCKFORD = str.maketrans(_RFC4648, _CROCKFORD)
_MISREAD = str.maketrans("OIL", "011", "- ")


@dataclass(frozen=True, slots=True)
class TotpSettings:
    """What both sides agree on. Raises InvalidInput for what no authenticator has."""

    algorithm: Algorithm = "sha1"
    digits: int = 6
    period: int = 30
    """Seconds of one step."""

    def __post_init__(self) -> None:
        if self.algorithm not in ("sha1", "sha256", "sha512"):
            raise InvalidInput(
                f"invalid one-time code algorithm {quoted(self.algorithm)}", hint="use sha1, sha256 or sha512"
            )
        if not 6 <= self.digits <= 8:  # RFC 4226 §5.3: at least 6; nobody shows more than 8
            raise InvalidInput(f"one-time codes have 6 to 8 digits, not {self.digits}")
        if not 10 <= self.period <= 300:
            raise InvalidInput(f"a one-time code is valid for 10 to 300 seconds, not {self.period}")

    def step_of(self, now: Instant) -> int:
        """The number of the step at this moment: RFC 6238 §4.2, T0 = 0."""
        return now // (self.period * _MICROSECONDS)


DEFAULT_TOTP = TotpSettings()
"""What every authenticator understands; some ignore what else a URI says."""


def hotp(secret: bytes, counter: int, *, digits: int = 6, algorithm: Algorithm = "sha1") -> str:
    """The code for a counter: RFC 4226 §5.3, with the other hash functions of RFC 6238 §1.2."""
    mac = hmac.digest(secret, counter.to_bytes(8), algorithm)
    offset = mac[-1] & 0xF
    number = int.from_bytes(mac[offset : offset + 4]) & 0x7FFF_FFFF
    return str(number % 10**digits).zfill(digits)


def totp(secret: bytes, now: Instant, settings: TotpSettings = DEFAULT_TOTP) -> str:
    """The code at this moment: RFC 6238 §4.2. Raises OverflowError before 1970."""
    return hotp(secret, settings.step_of(now), digits=settings.digits, algorithm=settings.algorithm)


def fitting_step(
    secret: bytes, code: str, *, now: Instant, last_used: int | None, settings: TotpSettings = DEFAULT_TOTP
) -> int | None:
    """The step that the code is of: this one, the one before or the one after, and later than the last one used.

    None when it fits none of them. The caller stores the step in the transaction that accepts the code: that, and
    nothing here, makes a code good for one use. Of two steps that happen to have the same code it is the later, or the
    code could be used again. What is typed may hold spaces.
    """
    given = code.replace(" ", "")
    if re.fullmatch(f"[0-9]{{{settings.digits}}}", given, re.ASCII) is None:
        return None
    found = None
    for step in _steps_around(settings.step_of(now)):
        made = hotp(secret, step, digits=settings.digits, algorithm=settings.algorithm)
        if hmac.compare_digest(made, given) and (last_used is None or step > last_used):
            found = step
    return found


def _steps_around(step: int) -> Iterator[int]:
    yield from range(max(step - _STEPS_EITHER_SIDE, 0), step + _STEPS_EITHER_SIDE + 1)


# The secret.


def encoded_secret(secret: bytes) -> str:
    """The secret as authenticators take it: base32 (RFC 4648 §6), capital letters, no padding."""
    return base64.b32encode(secret).decode().rstrip("=")


def otpauth_uri(secret: bytes, *, issuer: str, account: str, settings: TotpSettings = DEFAULT_TOTP) -> str:
    """What the QR code of an authenticator holds: https://github.com/google/google-authenticator/wiki/Key-Uri-Format

    Every parameter is written: some apps have other defaults. Raises InvalidInput for an issuer or account that is
    empty or holds a colon, which separates the two. The URI holds the secret.
    """
    for name, text in (("issuer", issuer), ("account", account)):
        if not text or ":" in text or not text.isprintable():
            raise InvalidInput(
                f"the {name} {quoted(text)} of a one-time code is empty, or contains a colon or a control character"
            )
    parameters = {
        "secret": encoded_secret(secret),
        "issuer": quote(issuer, safe=""),
        "algorithm": settings.algorithm.upper(),
        "digits": str(settings.digits),
        "period": str(settings.period),
    }
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return f"otpauth://totp/{quote(issuer, safe='')}:{quote(account, safe='@')}?{query}"


# Recovery codes.


def recovery_codes(randomness: bytes) -> tuple[str, ...]:
    """Ten codes such as `7K3M-0QZX-ABCD-8J2W`, 80 bits each, from a hundred random bytes."""
    if len(randomness) != RECOVERY_CODES * RECOVERY_BYTES:
        raise ValueError(f"ten codes take {RECOVERY_CODES * RECOVERY_BYTES} bytes, not {len(randomness)}")
    pieces = (randomness[at : at + RECOVERY_BYTES] for at in range(0, len(randomness), RECOVERY_BYTES))
    return tuple(_grouped(base64.b32encode(piece).decode().translate(_TO_CROCKFORD)) for piece in pieces)


def recovery_code_meant(text: str) -> str | None:
    """The code as it was given out, whatever case, dashes and spaces were typed, and O, I and L for digits.

    None for what is no code.
    """
    bare = text.upper().translate(_MISREAD)
    if not text.isascii() or re.fullmatch(f"[{_CROCKFORD}]{{{RECOVERY_BYTES * 8 // 5}}}", bare) is None:
        return None
    return _grouped(bare)


def recovery_digest(key: bytes, user_id: str, code: str) -> str:
    """What is stored of a code: HMAC-SHA256 under the keyring's `index` key, 64 hexadecimal digits.

    Bound to its account, so that a row moved to another one opens nothing there. `code` is as it was given out.
    """
    return hmac.digest(key, b"\0".join((_RECOVERY_LABEL, user_id.encode(), code.encode())), "sha256").hex()


_RECOVERY_LABEL = b"backctl-recovery-code-1"


def _grouped(bare: str) -> str:
    return "-".join(bare[at : at + _GROUP] for at in range(0, len(bare), _GROUP))
