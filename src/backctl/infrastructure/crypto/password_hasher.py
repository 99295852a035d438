"""Password hashes: bcrypt, and for what bcrypt would cut off, passlib's bcrypt-sha256 version 2.

Up to 72 bytes give a plain `$2b$` hash. A longer password goes through HMAC-SHA256 first, keyed with the 22 characters
of the salt, then standard base64, then bcrypt: https://passlib.readthedocs.io/en/stable/lib/passlib.hash.bcrypt_sha256.html
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from backctl.domain.errors import InvalidPasswordHash
from backctl.domain.values import PasswordHash, Secret

T = TypeVar("T")

_BCRYPT_BYTES = 72
_PREFIX = len("$2b$12$")
_SALT = 22
_TARGET_NS = 250_000_000
_CALIBRATED = range(10, 16)
_COST_MIN, _COST_MAX = 4, 31
_COST_ACCEPTED_MAX = 20  # a minute or two; the cost is the logarithm, so 31 would be a day
# 22 characters hold 132 bits of which a salt has 128, 31 hold 186 of which a digest has 184: the last character of each
# has spare bits, which are zero in every hash that is to be found again. `$2$` and `$2x$` are other, broken functions.
_SALT_AND_DIGEST = r"(?P<salt>[./A-Za-z0-9]{21}[.Oeu])%s(?P<digest>[./A-Za-z0-9]{30}[.CGKOSWaeimquy26])"
_BCRYPT = re.compile(r"(?P<variant>\$2[aby]\$)(?P<cost>[0-9]{2})\$" + _SALT_AND_DIGEST % "", re.ASCII)
_BCRYPT_SHA256 = re.compile(
    r"(?P<variant>\$bcrypt-sha256\$)v=2,t=2b,r=(?P<cost>[1-9][0-9]?)\$" + _SALT_AND_DIGEST % r"\$", re.ASCII
)


class BcryptHasher:
    """Hashes at one cost: the base-2 logarithm of the rounds, 4 to 31."""

    def __init__(self, cost: int) -> None:
        self._cost = cost

    def begin(self, password: Secret) -> Callable[[], PasswordHash]:
        """Start hashing in a thread; the answer waits for it and gives the hash, or raises what went wrong."""
        return _beside(lambda: hashed(password, self._cost))

    def begin_check(self, forms: Sequence[Secret], stored: PasswordHash | None) -> Callable[[], int | None]:
        """Start comparing in a thread; see the port."""
        return _beside(lambda: self._fitting(forms, stored))

    def verify(self, password: Secret, stored: PasswordHash | None) -> bool:
        """Whether the password fits. A failure costs as much as hashing it now, whatever is stored or nothing."""
        parsed = _parse(stored.encoded) if stored is not None else None
        given = parsed.input_of(password.reveal().encode()) if parsed is not None else None
        if parsed is None or given is None:
            # Nothing it could fit: an account without a password, none at all, what a stranger wrote into the column,
            # or a plain hash, which holds at most 72 bytes.
            hashed(password, self._cost)
            return False
        if parsed.fits(given):
            return True
        # 2ᶜ + 2ᶜ⁺¹ + … below the configured cost: together with the hash at a lower cost the work of one at that cost.
        for cost in range(parsed.cost, self._cost):
            hashed(password, cost)
        return False

    def is_outdated(self, stored: PasswordHash) -> bool:
        """Whether the hash is of a lower cost than this one's, or of bcrypt's variants before `$2b$`."""
        parsed = _parse(stored.encoded)
        return parsed is None or parsed.cost < self._cost or parsed.variant not in ("$2b$", "$bcrypt-sha256$")

    def accept(self, encoded: Secret) -> PasswordHash:
        """Take bcrypt (`$2a$`, `$2b$`, `$2y$`) or bcrypt-sha256 version 2, of a cost of at most 20.

        Raises InvalidPasswordHash. The hash itself never stands in the message.
        """
        parsed = _parse(encoded.reveal())
        if parsed is None:
            raise InvalidPasswordHash(
                "this is no hash of a password that backctl can check",
                hint="it takes bcrypt ($2a$, $2b$, $2y$) and passlib's $bcrypt-sha256$v=2",
            )
        if parsed.cost > _COST_ACCEPTED_MAX:
            raise InvalidPasswordHash(
                f"the hash has a cost of {parsed.cost}; more than {_COST_ACCEPTED_MAX} would keep every login waiting"
            )
        return PasswordHash(encoded.reveal())

    def _fitting(self, forms: Sequence[Secret], stored: PasswordHash | None) -> int | None:
        return next((place for place, form in enumerate(forms) if self.verify(form, stored)), None)

    def calibrated_cost(self) -> int:
        """The cost that suits this machine; see `calibrate`."""
        from time import perf_counter_ns

        return calibrate(perf_counter_ns)


def _beside(compute: Callable[[], T]) -> Callable[[], T]:
    """Compute in a thread; the answer waits for it and gives the result, or raises what went wrong.

    bcrypt releases the interpreter's lock, so the caller's imports and queries run meanwhile. The thread is a daemon:
    a command that fails in between ends at once.
    """
    from threading import Thread

    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(compute())
        except BaseException as error:  # handed to whoever asks for the result
            errors.append(error)

    thread = Thread(target=work, name="bcrypt", daemon=True)
    thread.start()

    def result() -> T:
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    return result


@dataclass(frozen=True, slots=True)
class _Parsed:
    variant: str
    cost: int
    salt: str
    digest: str

    def input_of(self, raw: bytes) -> bytes | None:
        """What bcrypt is given: the password, or what stands for it. None for what plain bcrypt cannot hold."""
        if self.variant == "$bcrypt-sha256$":
            return _prehash(raw, self.salt.encode())
        return raw if len(raw) <= _BCRYPT_BYTES else None

    def fits(self, given: bytes) -> bool:
        import hmac

        import bcrypt

        variant = "$2b$" if self.variant == "$bcrypt-sha256$" else self.variant
        made = bcrypt.hashpw(given, f"{variant}{self.cost:02d}${self.salt}".encode())
        return hmac.compare_digest(made[_PREFIX + _SALT :], self.digest.encode())


def _parse(encoded: str) -> _Parsed | None:
    """The parts of a hash; None for any other text."""
    match = _BCRYPT.fullmatch(encoded) or _BCRYPT_SHA256.fullmatch(encoded)
    if match is None or not _COST_MIN <= int(match["cost"]) <= _COST_MAX:
        return None
    return _Parsed(match["variant"], int(match["cost"]), match["salt"], match["digest"])


def hashed(password: Secret, cost: int, *, salt: str | None = None) -> PasswordHash:
    """The encoded hash. `salt` (22 characters of bcrypt's alphabet) is for published vectors; else it is random."""
    import bcrypt

    raw = password.reveal().encode()
    setting = bcrypt.gensalt(cost) if salt is None else f"$2b${cost:02d}${salt}".encode()
    if len(raw) <= _BCRYPT_BYTES:
        return PasswordHash(bcrypt.hashpw(raw, setting).decode())
    return prehashed(raw, setting)


def prehashed(raw: bytes, setting: bytes) -> PasswordHash:
    """bcrypt-sha256 version 2 of a password of any length; `setting` is bcrypt's `$2b$cost$salt`."""
    import bcrypt

    salt = setting[_PREFIX : _PREFIX + _SALT]
    digest = bcrypt.hashpw(_prehash(raw, salt), setting)[_PREFIX + _SALT :]
    cost = int(setting[4:6])
    return PasswordHash(f"$bcrypt-sha256$v=2,t=2b,r={cost}${salt.decode()}${digest.decode()}")


def _prehash(raw: bytes, salt: bytes) -> bytes:
    import base64
    import hmac

    return base64.b64encode(hmac.digest(salt, raw, "sha256"))


def calibrate(clock_ns: Callable[[], int]) -> int:
    """The cost from 10 to 15 whose hash takes nearest 250 ms on this machine.

    Each step doubles the work, so the cheapest is measured three times (the quickest run has the fewest
    interruptions), the others follow from it, and one hash at the chosen cost confirms or corrects the choice.
    """
    cheapest = _CALIBRATED[0]
    choice = _nearest(cheapest, min(_measured(cheapest, clock_ns) for _ in range(3)))
    return _nearest(choice, _measured(choice, clock_ns))


def _measured(cost: int, clock_ns: Callable[[], int]) -> int:
    import bcrypt

    setting = bcrypt.gensalt(cost)
    begun = clock_ns()
    bcrypt.hashpw(b"calibration", setting)
    return max(clock_ns() - begun, 1)


def _nearest(cost: int, duration_ns: int) -> int:
    return min(_CALIBRATED, key=lambda other: abs(duration_ns * 2.0 ** (other - cost) - _TARGET_NS))
