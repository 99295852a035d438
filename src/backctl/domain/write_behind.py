"""Write-behind: updates that are queued now and written to the database later. The pure rules.

An update replaces a waiting one of the same writer and key, so only the last value is written. Positions order the
updates of a queue: an update is written only if nothing with the same or a later position was written for its key.
"""

import re
from typing import Final, NamedTuple

from backctl.domain.cache_entry import RESERVED
from backctl.domain.errors import InvalidCacheEntry
from backctl.domain.quoting import quoted

UPDATE_MAX: Final = 65_536
"""The largest value of an update, in bytes."""
VERSION_MAX: Final = 1_000_000
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_FIRST_RETRY_US: Final = 1_000_000
_LAST_RETRY_US: Final = 300_000_000


class WriterId(NamedTuple):
    """Which writer writes an update, and the version of the format of its values."""

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    @classmethod
    def parse(cls, text: str) -> "WriterId | None":
        """Return the writer that `str` returned the text for; None for other text."""
        name, _, version = text.partition("@")
        if _NAME.fullmatch(name) and version.isascii() and version.isdigit() and 1 <= int(version[:9]) <= VERSION_MAX:
            return cls(name, int(version))
        return None


class QueuedValue(NamedTuple):
    """A value in the queue: JSON, or with `binary` the bytes themselves."""

    payload: bytes
    binary: bool = False


def checked_writer(name: str, version: int = 1) -> WriterId:
    """Return the id of a writer. Raises InvalidCacheEntry."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in RESERVED:
        raise InvalidCacheEntry(
            f"{quoted(str(name))} cannot be the name of a writer",
            hint="use up to 64 lower-case letters, digits, '-' and '_', beginning with a letter; "
            f"{' and '.join(map(quoted, RESERVED))} are reserved",
        )
    if type(version) is not int or not 1 <= version <= VERSION_MAX:
        raise InvalidCacheEntry(
            f"the version of a writer is {quoted(str(version))}", hint=f"use an integer from 1 to {VERSION_MAX}"
        )
    return WriterId(name, version)


def checked_update(payload: bytes, *, binary: bool) -> QueuedValue:
    """Return the value of an update. Raises InvalidCacheEntry if it is too large."""
    if len(payload) > UPDATE_MAX:
        raise InvalidCacheEntry(
            f"the value has {len(payload)} bytes", hint=f"use at most {UPDATE_MAX}, or write it to the database"
        )
    return QueuedValue(payload, binary)


def retry_after(attempts: int) -> int:
    """Return how long to wait after this many failed attempts, in microseconds: 1 s, doubled each time, up to 5 min."""
    return int(min(_FIRST_RETRY_US << min(max(attempts, 1) - 1, 30), _LAST_RETRY_US))
