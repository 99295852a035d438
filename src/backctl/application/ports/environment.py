"""What use cases need of the clock, new ids, addresses, texts and files; adapters in `infrastructure` provide it.

Only the types are used here: nothing of what they name is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from backctl.domain.values import EmailAddress, Instant

if TYPE_CHECKING:
    pass

Clock = Callable[[], Instant]
"""The present moment, as the caller is to believe it."""


IdSource = Callable[[], str]
"""A new UUIDv7 (RFC 9562 §5.7) at each call, for an account, a session or an event."""


class AddressParser(Protocol):
    """Judges the syntax of e-mail addresses without asking the network."""

    def parse(self, text: str) -> EmailAddress:
        """Raises InvalidEmail."""
        ...

    def key_of(self, text: str) -> str:
        """The key a stored address would have: enough to look one up, cheaper than `parse`. Never raises."""
        ...


class CleanedText(NamedTuple):
    """A text made harmless, and how often each kind of thing was taken out: `control`, `bidi`, `html`."""

    text: str
    changes: Mapping[str, int]


TextCleaner = Callable[[str], CleanedText]
"""Raises InputTooDeep for what cannot be cleaned in bounded time."""


class NewFile(Protocol):
    """A file that was just written."""

    def remove(self) -> None:
        """Remove it, unless another file has its name by now. Raises FolderUnusable."""
        ...


class WholeFiles(Protocol):
    """Results that appear whole or not at all."""

    def write(self, path: str, pieces: Iterable[bytes], *, replace: bool) -> int:
        """A new file of the pieces, once the last of them is there; answers its size in bytes.

        Raises FileTaken unless `replace`; FolderUnusable, DiskFull, and what the pieces raise.
        """
        ...

    def held_back(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The same pieces, the first one only when the last one has come."""
        ...
