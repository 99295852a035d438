"""Password hashes: bcrypt, and for what bcrypt would cut off, passlib's bcrypt-sha256 version 2.

Up to 72 bytes give a plain `$2b$` hash. A longer password goes through HMAC-SHA256 first, keyed with the 22 characters
of the salt, then standard base64, then bcrypt: https://passlib.readthedocs.io/en/stable/lib/passlib.hash.bcrypt_sha256.html
"""

from collections.abc import Callable

from backctl.domain.values import PasswordHash, Secret

_BCRYPT_BYTES = 72
_PREFIX = len("$2b$12$")
_SALT = 22
_TARGET_NS = 250_000_000
_CALIBRATED = range(10, 16)


class BcryptHasher:
    """Hashes at one cost: the base-2 logarithm of the rounds, 4 to 31."""

    def __init__(self, cost: int) -> None:
        self._cost = cost

    def begin(self, password: Secret) -> Callable[[], PasswordHash]:
        """Start hashing in a thread; the answer waits for it and gives the hash, or raises what went wrong.

        bcrypt releases the interpreter's lock, so the caller's imports and queries run meanwhile. The thread is a
        daemon: a command that fails in between ends at once.
        """
        from threading import Thread

        outcome: list[PasswordHash | BaseException] = []

        def work() -> None:
            try:
                outcome.append(hashed(password, self._cost))
            except BaseException as error:  # handed to whoever asks for the result
                outcome.append(error)

        thread = Thread(target=work, name="bcrypt", daemon=True)
        thread.start()

        def result() -> PasswordHash:
            thread.join()
            if isinstance(outcome[0], BaseException):
                raise outcome[0]
            return outcome[0]

        return result

    def calibrated_cost(self) -> int:
        """The cost that suits this machine; see `calibrate`."""
        from time import perf_counter_ns

        return calibrate(perf_counter_ns)


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
    import base64
    import hmac

    import bcrypt

    salt = setting[_PREFIX : _PREFIX + _SALT]
    digest = bcrypt.hashpw(base64.b64encode(hmac.digest(salt, raw, "sha256")), setting)[_PREFIX + _SALT :]
    cost = int(setting[4:6])
    return PasswordHash(f"$bcrypt-sha256$v=2,t=2b,r={cost}${salt.decode()}${digest.decode()}")


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
