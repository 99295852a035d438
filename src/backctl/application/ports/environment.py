"""Ports for the clock, new ids, e-mail addresses, texts and files. Adapters in `infrastructure` implement them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from backctl.domain.values import EmailAddress, Instant

Clock = Callable[[], Instant]
"""Returns the current time."""


IdSource = Callable[[], str]
"""Returns a new UUIDv7 (RFC 9562 §5.7) for an account, a session or an event."""


class AddressParser(Protocol):
    """Checks the syntax of e-mail addresses without network access."""

    def parse(self, text: str) -> EmailAddress:
        """Parse an e-mail address. Raises InvalidEmail."""
        ...

    def key_of(self, text: str) -> str:
        """Return the key under which an address is looked up. Cheaper than `parse`. Never raises."""
        ...


class CleanedText(NamedTuple):
    """A sanitized text, and the number of removals by kind: `control`, `bidi`, `html`."""

    text: str
    changes: Mapping[str, int]


TextCleaner = Callable[[str], CleanedText]
"""Sanitizes a text. Raises InputTooDeep for one that cannot be sanitized in bounded time."""


class NewFile(Protocol):
    """A file that was just written."""

    def remove(self) -> None:
        """Remove the file, unless another file has taken its name. Raises FolderUnusable."""
        ...


class WholeFiles(Protocol):
    """Writes results completely or not at all."""

    def write(self, path: str, pieces: Iterable[bytes], *, replace: bool) -> int:
        """Write the pieces to a file that appears only when it is complete, and return its size in bytes.

        Raises FileTaken unless `replace`; FolderUnusable, DiskFull, and the errors of `pieces`.
        """
        ...

    def held_back(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the same pieces, but none before the last one has arrived."""
        ...

    def grow(self, path: str, *, new: bool, secret: bool = False) -> GrowingFile:
        """Open a file to append to: one that exists, or a `new` one, which is created by the first lines.

        Only its owner can read a new file. A file that exists is refused if others can write to it, and with `secret`
        also if they can read it. Its incomplete last line, which a crash has left, is ignored. Raises FileTaken,
        FolderUnusable, DiskFull.
        """
        ...


class GrowingFile(Protocol):
    """A file that records what transactions do, and that follows them: what was not committed is removed again."""

    def append(self, lines: bytes) -> None:
        """Append complete lines and flush them to disk. Raises FileTaken, FolderUnusable, DiskFull."""
        ...

    def keep(self) -> None:
        """Keep everything that was appended so far."""
        ...

    def undo(self) -> None:
        """Remove what was appended since the last call of `keep`."""
        ...

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that the file contains, from its beginning."""
        ...

    def close(self) -> None: ...
