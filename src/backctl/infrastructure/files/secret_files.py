"""Reads files that contain one secret, such as those of Docker and Kubernetes."""

import os
import stat

from backctl.domain.errors import InvalidInput, raise_exhaustion
from backctl.domain.quoting import quoted


class SecretFiles:
    """Implements the port of `application.seeding.secret_sources`. Links are followed; Kubernetes mounts them."""

    def require(self, path: str) -> None:
        """Raises InvalidInput unless there is a regular file that can be read."""
        os.close(_opened(path))

    def read(self, path: str, limit: int) -> bytes:
        """Return the content of a file. Raises InvalidInput if it cannot be read or has more than `limit` bytes."""
        with open(_opened(path), "rb", buffering=0) as file:
            raw = bytearray()
            try:
                while len(raw) <= limit and (block := file.read(limit + 1 - len(raw))):
                    raw += block
            except OSError as error:
                raise _unreadable(path, error) from None
        if len(raw) > limit:
            raise InvalidInput(f"the file {quoted(path, limit=400)} has more than {limit} bytes")
        return bytes(raw)


def _opened(path: str) -> int:
    """Open a regular file without waiting. Raises InvalidInput."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidInput(f"{quoted(path, limit=400)} is not a regular file")
    return descriptor


def _unreadable(path: str, error: OSError | ValueError) -> InvalidInput:
    raise_exhaustion(error)
    reason = error.strerror if isinstance(error, OSError) else "a file name cannot contain a NUL character"
    return InvalidInput(
        f"the file {quoted(path, limit=400)} cannot be read: {reason}", hint="create it, or name another source"
    )
