"""Encrypt secrets of second factors and hash recovery codes with keys of the keyring."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from backctl.domain.errors import DecryptFailed, MfaSecretUnusable
from backctl.domain.mfa import StoredCode
from backctl.domain.one_time_codes import RECOVERY_CODES, recovery_code_meant, recovery_digest
from backctl.domain.quoting import quoted
from backctl.domain.values import Instant, Secret, UserId

if TYPE_CHECKING:
    from backctl.application.ports.security import FieldCiphers
    from backctl.domain.keyring import Keyring
    from backctl.domain.mfa import Enrolment
    from backctl.domain.repositories import SecondFactors


class MfaKeys:
    """`keyring` returns the current keyring; `ciphers` is called when the first cipher is needed."""

    def __init__(self, keyring: "Callable[[], Keyring]", ciphers: "Callable[[], FieldCiphers]") -> None:
        self._keyring = keyring
        self._ciphers = ciphers

    def primary_kid(self) -> str:
        """Return the kid of the key that encrypts secrets."""
        return self._keyring().primary("encrypt").kid

    def seal(self, secret: bytes, user_id: UserId) -> tuple[str, str]:
        """Encrypt a secret, bound to this account; return it with the kid of the key."""
        key = self._keyring().primary("encrypt")
        return self._ciphers().of(key).seal(secret, _context(user_id)).decode("ascii"), key.kid

    def stored(self, factors: "SecondFactors", user_id: UserId) -> "tuple[Enrolment, bytes]":
        """Return the enrolment of an account, which must have one, and its secret. Raises MfaSecretUnusable."""
        enrolment = factors.of(user_id)
        if enrolment is None:
            raise _unreadable()
        return enrolment, self.opened(enrolment, user_id)

    def opened(self, enrolment: "Enrolment", user_id: UserId) -> bytes:
        """Decrypt the secret of an enrolment. Raises MfaSecretUnusable."""
        key = self._keyring().find(enrolment.kid)
        if key is None or key.purpose != "encrypt":
            raise MfaSecretUnusable(
                f"the second factor is encrypted under the key {quoted(enrolment.kid)}, which is not in the keyring",
                hint="use the keyring that has this key, or remove the factor with '{backctl} user mfa disable'",
            )
        try:
            return self._ciphers().of(key).open(enrolment.secret.encode("utf-8", "replace"), _context(user_id))
        except DecryptFailed:
            raise _unreadable() from None

    def follow_primary(self, secret: bytes, enrolment: "Enrolment", factors: "SecondFactors", user_id: UserId) -> None:
        """Re-encrypt a secret under the primary key, unless it already is."""
        if enrolment.kid != self.primary_kid():
            sealed, kid = self.seal(secret, user_id)
            factors.move(user_id, secret=sealed, kid=kid)

    def hidden(self, codes: Sequence[Secret], user_id: UserId) -> tuple[StoredCode, ...]:
        """Return what to store for new recovery codes. Raises ValueError unless they are ten different codes."""
        meant = {recovery_code_meant(code.reveal()) for code in codes} - {None}
        if not len(meant) == len(codes) == RECOVERY_CODES:
            raise ValueError("an account has ten different recovery codes")
        key = self._keyring().primary("index")
        digests = (recovery_digest(key.secret_bytes(), user_id, code.reveal()) for code in codes)
        return tuple(StoredCode(digest, key.kid) for digest in digests)

    def use_recovery_code(self, code: Secret, factors: "SecondFactors", user_id: UserId, *, now: Instant) -> bool:
        """Mark a recovery code as used, whatever its key; False if it is wrong or was used before.

        Raises MfaSecretUnusable if a key is missing, because then the code may be right.
        """
        meant = recovery_code_meant(code.reveal())
        if meant is None:
            return False
        ring, missing = self._keyring(), None
        for kid in factors.code_kids(user_id):
            key = ring.find(kid)
            if key is None or key.purpose != "index":
                missing = kid
            elif factors.use_code(user_id, recovery_digest(key.secret_bytes(), user_id, meant), now=now):
                return True
        if missing is not None:
            raise MfaSecretUnusable(
                f"recovery codes of the account use the key {quoted(missing)}, which is not in the keyring",
                hint="use the keyring that has this key, or create new codes with '{backctl} user mfa recovery-codes'",
            )
        return False


def _unreadable() -> MfaSecretUnusable:
    """The error for a secret that is missing, damaged or copied from another account."""
    return MfaSecretUnusable(
        "the secret of the second factor cannot be decrypted",
        hint="restore the database from a backup, or remove the factor with '{backctl} user mfa disable'",
    )


def _context(user_id: UserId) -> bytes:
    return f"mfa_secrets.secret:{user_id}".encode()
