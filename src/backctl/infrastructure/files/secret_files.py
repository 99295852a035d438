"""Reads files that contain one secret, such as those of Docker and Kubernetes."""

import os

from backctl.domain.errors import InvalidInput
from backctl.domain.quoting import quoted
from backctl.infrastructure.files.regular import TooLarge, Unreadable, open_regular, read_regular


class SecretFiles:
    """Implements the port of `application.seeding.secret_sources`. Follows links, which Kubernetes makes."""

    def require(self, path: str) -> None:
        """Raises InvalidInput unless there is a regular file that can be read."""
        try:
            os.close(open_regular(path))
        except Unreadable as error:
            raise _refusal(path, error) from None

    def read(self, path: str, limit: int) -> bytes:
        """Return the content of a file. Raises InvalidInput if it cannot be read or has more than `limit` bytes."""
        try:
            return read_regular(path, limit)
        except Unreadable as error:
            raise _refusal(path, error) from None
        except TooLarge:
            raise InvalidInput(f"the file {quoted(path, limit=400)} has more than {limit} bytes") from None


def _refusal(path: str, error: Unreadable) -> InvalidInput:
    return InvalidInput(
        f"the file {quoted(path, limit=400)} cannot be read: {error}", hint="create it, or name another source"
    )
