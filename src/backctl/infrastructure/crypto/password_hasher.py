"""Hashes passwords with bcrypt, and passwords that bcrypt would truncate with passlib's bcrypt-sha256 version 2.

A password of up to 72 bytes gets a plain `$2b$` hash. A longer one goes through HMAC-SHA256 first, keyed with the 22
characters of the salt, then standard base64, then bcrypt: https://passlib.readthedocs.io/en/stable/lib/passlib.hash.bcrypt_sha256.html
Also checks hashes of other functions but never creates them; see `foreign_hashes`.
"""

import atexit
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter_ns, thread_time_ns
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

from backctl.domain.errors import InvalidPasswordHash, PasswordHashUnsupported
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
_COST_MIN, _COST_MAX = 4, 17  # 17 takes about seven seconds; the cost is a logarithm, so 31 would take a day
_COST_FORMAT_MAX = 31
# 22 characters hold 132 bits but a salt has 128, and 31 characters hold 186 bits but a digest has 184. The spare bits
# of the last character are zero in every canonical hash. `$2$` and `$2x$` are other, broken functions.
_SALT_AND_DIGEST = r"(?P<salt>[./A-Za-z0-9]{21}[.Oeu])%s(?P<digest>[./A-Za-z0-9]{30}[.CGKOSWaeimquy26])"
_BCRYPT = re.compile(r"(?P<variant>\$2[aby]\$)(?P<cost>[0-9]{2})\$" + _SALT_AND_DIGEST % "", re.ASCII)
# Django's BCryptPasswordHasher and BCryptSHA256PasswordHasher put a prefix before bcrypt's hash.
_DJANGO = {"bcrypt$": "", "bcrypt_sha256$": "django"}
_BCRYPT_SHA256 = re.compile(
    r"(?P<variant>\$bcrypt-sha256\$)v=2,t=2b,r=(?P<cost>[1-9][0-9]?)\$" + _SALT_AND_DIGEST % r"\$", re.ASCII
)


class BcryptHasher:
    """Hashes with one cost: the base-2 logarithm of the rounds, 4 to 17."""

    def __init__(self, cost: int, *, clock_ns: Callable[[], int] = thread_time_ns) -> None:
        """`clock_ns` measures the work of other hash functions. By default, it is the processor time of the thread,
        because wall-clock time includes waiting for other threads."""
        self._cost = cost
        self._clock_ns = clock_ns

    def begin(self, password: Secret) -> Callable[[], PasswordHash]:
        """Start hashing in a thread. Calling the result waits and returns the hash, or raises the error."""
        return _beside(lambda: hashed(password, self._cost))

    def hash_all(self, jobs: Sequence[tuple[Secret, PasswordHash | None]]) -> list[PasswordHash | None]:
        """Hash many passwords, one in each processor's thread; see the port. An interruption waits for those only."""
        from concurrent.futures import ThreadPoolExecutor

        def made(job: tuple[Secret, PasswordHash | None]) -> PasswordHash | None:
            password, stored = job
            with suppress(PasswordHashUnsupported):  # it cannot be compared here, so it is replaced
                if stored is not None and self.verify(password, stored):
                    return None
            return hashed(password, self._cost)

        pool = ThreadPoolExecutor(_processors(), thread_name_prefix="bcrypt")
        try:
            return list(pool.map(made, jobs))
        finally:
            pool.shutdown(cancel_futures=True)

    def begin_check(self, forms: Sequence[Secret], stored: PasswordHash | None) -> Callable[[], int | None]:
        """Start comparing in a thread; see the port."""
        return _beside(lambda: self._fitting(forms, stored))

    def verify(self, password: Secret, stored: PasswordHash | None) -> bool:
        """Whether the password matches. A failure takes as long as a hash with the configured cost, even without one.

        If the stored hash is more expensive, because of its cost or its function, a failure takes that time instead.
        Raises PasswordHashUnsupported.
        """
        parsed = _parse(stored.encoded) if stored is not None else None
        raw = password.reveal().encode()
        if isinstance(parsed, _Parsed):
            cut = stored is not None and stored.imported
            given = parsed.input_of(raw, cut=cut) if parsed.cost <= _COST_MAX else None
            if given is not None:
                return parsed.fits(given) or self._make_up_for_rounds(parsed.cost, password)
        elif parsed is not None and parsed.excess is None:
            begun = self._clock_ns()
            if parsed.fits(raw):
                return True
            spent = (self._clock_ns() - begun) * _turns(parsed.threads)
            return self._make_up_for_time(spent, password)
        # Nothing can match: there is no account or no password, someone changed the column, the cost of the hash is too
        # high, or the password is too long for a plain hash.
        hashed(password, self._cost)
        return False

    def _make_up_for_rounds(self, cost: int, password: Secret) -> Literal[False]:
        """Hash 2ᶜ + 2ᶜ⁺¹ + … rounds. With the failed check, this adds up to one hash at the configured cost."""
        for between in range(cost, self._cost):
            hashed(password, between)
        return False

    def _make_up_for_time(self, spent_ns: int, password: Secret) -> Literal[False]:
        """Hash until the failure took about as long as one hash at the configured cost.

        Measures a small part of that hash first, because the relative speed of hash functions depends on the machine.
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
        """Whether the hash was imported, or has a lower cost, another function, or a format older than `$2b$`."""
        parsed = _parse(stored.encoded)
        return stored.imported or not isinstance(parsed, _Parsed) or parsed.cost < self._cost or not parsed.is_ours

    def cuts(self, password: Secret, stored: PasswordHash) -> bool:
        """Whether `verify` compares only the first 72 bytes of this password: with an imported plain bcrypt hash."""
        if not stored.imported or len(password.reveal().encode()) <= _BCRYPT_BYTES:
            return False
        parsed = _parse(stored.encoded)
        return isinstance(parsed, _Parsed) and not parsed.prehash

    def accept(self, encoded: Secret, *, imported: bool = True) -> PasswordHash:
        """Accept a hash of another program: bcrypt with a cost of at most 17, or a format that `foreign_hashes` reads.

        With `imported=False`, a hash in a format that this module creates is accepted as its own. Raises
        InvalidPasswordHash, also if checking it would take too much time or memory. The message never contains the
        hash.
        """
        parsed = _parse(encoded.reveal())
        if parsed is None:
            raise InvalidPasswordHash(
                "unsupported password hash",
                hint="use bcrypt ($2a$, $2b$, $2y$), or argon2, scrypt or pbkdf2 as a PHC string or in the format of "
                "passlib, Django or Werkzeug",
            )
        if isinstance(parsed, _Parsed):
            excess = f"has bcrypt cost {parsed.cost}; the limit is {_COST_MAX}" if parsed.cost > _COST_MAX else None
        else:
            excess = parsed.excess
        if excess is not None:
            raise InvalidPasswordHash(
                f"the hash {excess}", hint="create the account without a password, then set a new one"
            )
        is_own = isinstance(parsed, _Parsed) and parsed.is_ours and encoded.reveal().startswith("$")
        return PasswordHash(encoded.reveal(), imported=imported or not is_own)

    def scheme_of(self, stored: PasswordHash) -> str:
        """Return the name of the hash function; `unknown` if someone changed the column."""
        parsed = _parse(stored.encoded)
        return "unknown" if parsed is None else parsed.scheme

    def _fitting(self, forms: Sequence[Secret], stored: PasswordHash | None) -> int | None:
        return next((place for place, form in enumerate(forms) if self.verify(form, stored)), None)

    def calibrated_cost(self) -> int:
        """Return the best cost for this machine; see `calibrate`."""
        return calibrate(perf_counter_ns)


def _turns(threads: int) -> int:
    """Return how many rounds the machine's processors need to run this number of equal threads."""
    return -(-threads // _processors())


def _processors() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_computing: "set[Thread]" = set()


@atexit.register
def _wait_for_threads() -> None:
    """Wait, because a thread that runs bcrypt while the interpreter exits would abort the process."""
    for thread in tuple(_computing):
        thread.join()


def _beside(compute: Callable[[], T]) -> Callable[[], T]:
    """Compute in a thread. Calling the returned function waits and returns the result, or raises the error.

    bcrypt releases the interpreter's lock, so the caller's imports and queries run meanwhile. The thread is a daemon,
    so that a program can exit immediately; a normal exit waits for it.
    """
    from threading import Thread

    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(compute())
        except BaseException as error:  # raised when the result is requested
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


class _Parsed(NamedTuple):
    variant: str
    cost: int
    salt: str
    digest: str
    prehash: str = ""
    """The scheme that hashes the password before bcrypt: `passlib`, `django`, or empty for none."""

    @property
    def scheme(self) -> str:
        """The name of the hash function: `bcrypt`, `bcrypt-sha256` or `django-bcrypt-sha256`."""
        return {"": "bcrypt", "passlib": "bcrypt-sha256", "django": "django-bcrypt-sha256"}[self.prehash]

    @property
    def is_ours(self) -> bool:
        """Whether this module creates hashes of this format."""
        return self.variant == "$2b$" and self.prehash != "django"

    def input_of(self, raw: bytes, *, cut: bool) -> bytes | None:
        """Return the input of bcrypt: the password or its hash. None if the password is too long for plain bcrypt.

        `cut` returns the first 72 bytes of such a password instead, as PHP and Node.js do.
        """
        if self.prehash == "passlib":
            return _prehash(raw, self.salt.encode())
        if self.prehash == "django":
            import hashlib

            return hashlib.sha256(raw).hexdigest().encode()
        return raw[:_BCRYPT_BYTES] if cut or len(raw) <= _BCRYPT_BYTES else None

    def fits(self, given: bytes) -> bool:
        import hmac

        import bcrypt

        made = bcrypt.hashpw(given, f"{self.variant}{self.cost:02d}${self.salt}".encode())
        return hmac.compare_digest(made[_PREFIX + _SALT :], self.digest.encode())


def _parse(encoded: str) -> "_Parsed | ForeignHash | None":
    """Parse a hash; None for any other text."""
    name = "" if encoded.startswith("$") else next((name for name in _DJANGO if encoded.startswith(name)), "")
    match = _BCRYPT.fullmatch(encoded, len(name))
    variant, prehash = (match["variant"], _DJANGO.get(name, "")) if match is not None else ("$2b$", "passlib")
    match = match or _BCRYPT_SHA256.fullmatch(encoded)
    if match is not None:
        _, cost, salt, digest = match.groups()
        in_range = _COST_MIN <= int(cost) <= _COST_FORMAT_MAX
        return _Parsed(variant, int(cost), salt, digest, prehash) if in_range else None
    from backctl.infrastructure.crypto import foreign_hashes

    return foreign_hashes.parse(encoded)


def hashed(password: Secret, cost: int, *, salt: str | None = None) -> PasswordHash:
    """Hash a password. `salt` (22 characters of bcrypt's alphabet) is for published test vectors; random by default."""
    import bcrypt

    raw = password.reveal().encode()
    setting = bcrypt.gensalt(cost) if salt is None else f"$2b${cost:02d}${salt}".encode()
    if len(raw) <= _BCRYPT_BYTES:
        return PasswordHash(bcrypt.hashpw(raw, setting).decode())
    return prehashed(raw, setting)


def prehashed(raw: bytes, setting: bytes) -> PasswordHash:
    """Hash a password of any length with bcrypt-sha256 version 2. `setting` is bcrypt's `$2b$cost$salt`."""
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
    """Return the cost (10 to 15) whose hashing time is closest to 250 ms on this machine.

    Measures the lowest cost three times and uses the fastest run, which has the fewest interruptions. Each step doubles
    the work, so the other times follow. One hash with the chosen cost confirms or corrects the choice.
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
