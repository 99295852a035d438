"""Reads regular files that a person named, without waiting for a pipe or a device."""

import os
import stat

from backctl.domain.errors import raise_exhaustion

_AT_ONCE = 1 << 20


class Unreadable(Exception):
    """A file cannot be read. The text is the reason in words."""


class TooLarge(Exception):
    """A file has more bytes than allowed."""


def open_regular(path: str) -> int:
    """Return the descriptor of a regular file, following links. Raises Unreadable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise_exhaustion(error)
        raise Unreadable(error.strerror) from None
    except ValueError:
        raise Unreadable("a file name cannot contain a NUL character") from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise Unreadable("it is not a regular file")


def read_regular(path: str, limit: int) -> bytes:
    """Return the content of a regular file. Raises Unreadable, and TooLarge for more than `limit` bytes."""
    with open(open_regular(path), "rb", buffering=0) as file:
        raw = bytearray()
        try:
            while len(raw) <= limit and (block := file.read(min(_AT_ONCE, limit + 1 - len(raw)))):
                raw += block
        except OSError as error:
            raise_exhaustion(error)
            raise Unreadable(error.strerror) from None
    if len(raw) > limit:
        raise TooLarge
    return bytes(raw)
