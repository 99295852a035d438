"""Password hashes: bcrypt, and for what bcrypt would cut off, passlib's bcrypt-sha256 version 2.

Up to 72 bytes give a plain `$2b$` hash. A longer password goes through HMAC-SHA256 first, keyed with the 22 characters
of the salt, then standard base64, then bcrypt: https://passlib.readthedocs.io/en/stable/lib/passlib.hash.bcrypt_sha256.html
Hashes of other functions are checked too, see `foreign_hashes`, and none is ever made.
"""

import atexit
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns, thread_time_ns
from typing import TYPE_CHECKING, Literal, TypeVar

from backctl.domain.errors import InvalidPasswordHash
from backctl.domain.values import PasswordHash, Secret

if TYPE_CHECKING:
    from threading import Thread

    from backctl.infrastructure.crypto.foreign_hashes import ForeignHash

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
# Django's BCryptPasswordHasher and BCryptSHA256PasswordHasher write their own name before bcrypt's hash.
_DJANGO = {"bcrypt$": "", "bcrypt_sha256$": "django"}
_BCRYPT_SHA256 = re.compile(
    r"(?P<variant>\$bcrypt-sha256\$)v=2,t=2b,r=(?P<cost>[1-9][0-9]?)\$" + _SALT_AND_DIGEST % r"\$", re.ASCII
)


class BcryptHasher:
    """Hashes at one cost: the base-2 logarithm of the rounds, 4 to 31."""

    def __init__(self, cost: int, *, clock_ns: Callable[[], int] = thread_time_ns) -> None:
        """`clock_ns` tells the work of hashes of other functions: the thread's own processor time, for the time on the
        wall holds the waits for everybody else's."""
        self._cost = cost
        self._clock_ns = clock_ns

    def begin(self, password: Secret) -> Callable[[], PasswordHash]:
        """Start hashing in a thread; the answer waits for it and gives the hash, or raises what went wrong."""
        return _beside(lambda: hashed(password, self._cost))

    def begin_check(self, forms: Sequence[Secret], stored: PasswordHash | None) -> Callable[[], int | None]:
        """Start comparing in a thread; see the port."""
        return _beside(lambda: self._fitting(forms, stored))

    def verify(self, password: Secret, stored: PasswordHash | None) -> bool:
        """Whether the password fits. A failure costs as much as hashing it now, whatever is stored or nothing.

        Where the stored hash alone costs more, by a higher cost or another function, that is what a failure costs.
        Raises PasswordHashUnsupported.
        """
        parsed = _parse(stored.encoded) if stored is not None else None
        raw = password.reveal().encode()
        if isinstance(parsed, _Parsed):
            given = parsed.input_of(raw) if parsed.cost <= max(self._cost, _COST_ACCEPTED_MAX) else None
            if given is not None:
                return parsed.fits(given) or self._make_up_for_rounds(parsed.cost, password)
        elif parsed is not None and parsed.excess is None:
            begun = self._clock_ns()
            if parsed.fits(raw):
                return True
            spent = (self._clock_ns() - begun) * _turns(parsed.threads)
            return self._make_up_for_time(spent, password)
        # Nothing it could fit: an account without a password, none at all, what a stranger wrote into the column, be it
        # a hash whose cost takes days, or a plain hash, which holds at most 72 bytes.
        hashed(password, self._cost)
        return False

    def _make_up_for_rounds(self, cost: int, password: Secret) -> Literal[False]:
        """2ᶜ + 2ᶜ⁺¹ + … below the configured cost: with the hash at a lower cost the work of one at that cost."""
        for between in range(cost, self._cost):
            hashed(password, between)
        return False

    def _make_up_for_time(self, spent_ns: int, password: Secret) -> Literal[False]:
        """Hash until the failure took about as long as one hash at the configured cost.

        How other work compares with bcrypt's differs from machine to machine: a small part of that hash measures it.
        """
        measure = max(self._cost - 5, _COST_MIN)
        begun = self._clock_ns()
        hashed(password, measure)
        round_ns = max(self._clock_ns() - begun, 1) / 2**measure
        missing = 2**self._cost - 2**measure - spent_ns / round_ns
        for cost in range(self._cost - 1, _COST_MIN - 1, -1):
            if missing >= 2**cost:
                hashed(password, cost)
                missing -= 2**cost
        return False

    def is_outdated(self, stored: PasswordHash) -> bool:
        """Whether the hash is of a lower cost than this one's, of another function, or of a form before `$2b$`."""
        parsed = _parse(stored.encoded)
        return not isinstance(parsed, _Parsed) or parsed.cost < self._cost or not parsed.is_ours

    def accept(self, encoded: Secret) -> PasswordHash:
        """Take a hash made elsewhere: bcrypt of a cost of at most 20, or one that `foreign_hashes` reads.

        Raises InvalidPasswordHash, also where checking it would take too much time or memory. The hash itself never
        stands in the message.
        """
        parsed = _parse(encoded.reveal())
        if parsed is None:
            raise InvalidPasswordHash(
                "unsupported password hash",
                hint="use bcrypt ($2a$, $2b$, $2y$), or argon2, scrypt or pbkdf2 as a PHC string or in the format of "
                "passlib, Django or Werkzeug",
            )
        if isinstance(parsed, _Parsed):
            if parsed.cost > _COST_ACCEPTED_MAX:
                raise InvalidPasswordHash(f"the hash has bcrypt cost {parsed.cost}; the limit is {_COST_ACCEPTED_MAX}")
        elif parsed.excess is not None:
            raise InvalidPasswordHash(
                f"the hash {parsed.excess}", hint="create the account with --no-password, then set a new password"
            )
        return PasswordHash(encoded.reveal())

    def _fitting(self, forms: Sequence[Secret], stored: PasswordHash | None) -> int | None:
        return next((place for place, form in enumerate(forms) if self.verify(form, stored)), None)

    def calibrated_cost(self) -> int:
        """The cost that suits this machine; see `calibrate`."""
        return calibrate(perf_counter_ns)


def _turns(threads: int) -> int:
    """How often each of this machine's processors has its turn until as many threads have done the same work."""
    import os

    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return -(-threads // processors)


_computing: "set[Thread]" = set()


@atexit.register
def _wait_for_threads() -> None:
    """Thrown out of bcrypt by the end of the interpreter, a thread would abort the process."""
    for thread in tuple(_computing):
        thread.join()


def _beside(compute: Callable[[], T]) -> Callable[[], T]:
    """Compute in a thread; the answer waits for it and gives the result, or raises what went wrong.

    bcrypt releases the interpreter's lock, so the caller's imports and queries run meanwhile. The thread is a daemon,
    so that a program may end at once; one that ends as Python programs do waits for it.
    """
    from threading import Thread

    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(compute())
        except BaseException as error:  # handed to whoever asks for the result
            errors.append(error)
        finally:
            _computing.discard(thread)

    thread = Thread(target=work, name="bcrypt", daemon=True)
    _computing.add(thread)
    try:
        thread.start()
    except BaseException:
        _computing.discard(thread)
        raise

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
    prehash: str = ""
    """Whose hash of the password bcrypt was given: `passlib`, `django`, or empty for the password itself."""

    @property
    def is_ours(self) -> bool:
        """Whether it is of a form that is made here."""
        return self.variant == "$2b$" and self.prehash != "django"

    def input_of(self, raw: bytes) -> bytes | None:
        """What bcrypt is given: the password, or what stands for it. None for what plain bcrypt cannot hold."""
        if self.prehash == "passlib":
            return _prehash(raw, self.salt.encode())
        if self.prehash == "django":
            import hashlib

            return hashlib.sha256(raw).hexdigest().encode()
        return raw if len(raw) <= _BCRYPT_BYTES else None

    def fits(self, given: bytes) -> bool:
        import hmac

        import bcrypt

        made = bcrypt.hashpw(given, f"{self.variant}{self.cost:02d}${self.salt}".encode())
        return hmac.compare_digest(made[_PREFIX + _SALT :], self.digest.encode())


def _parse(encoded: str) -> "_Parsed | ForeignHash | None":
    """The parts of a hash; None for any other text."""
    name = next((name for name in _DJANGO if encoded.startswith(name)), "")
    match = _BCRYPT.fullmatch(encoded, len(name))
    variant, prehash = (match["variant"], _DJANGO.get(name, "")) if match is not None else ("$2b$", "passlib")
    match = match or _BCRYPT_SHA256.fullmatch(encoded)
    if match is not None:
        in_range = _COST_MIN <= int(match["cost"]) <= _COST_MAX
        return _Parsed(variant, int(match["cost"]), match["salt"], match["digest"], prehash) if in_range else None
    from backctl.infrastructure.crypto import foreign_hashes

    return foreign_hashes.parse(encoded)


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
