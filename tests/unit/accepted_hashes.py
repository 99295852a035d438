"""What holds for every hash of another program that is accepted."""

from backctl.domain.values import PasswordHash, Secret
from backctl.infrastructure.crypto.password_hasher import BcryptHasher


def accepted(hasher: BcryptHasher, encoded: str, password: str) -> PasswordHash:
    """Accept the hash. Check that it is stored as it is, and that it fits the password but not a longer one."""
    stored = hasher.accept(Secret(encoded))
    assert stored.encoded == encoded
    assert hasher.verify(Secret(password), stored)
    assert not hasher.verify(Secret(password + "x"), stored)
    return stored
