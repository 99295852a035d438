"""The accounts that a bulk command names: all of them are read and checked before the first change."""

import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from backctl.application.records.bounded_lines import bounded_lines
from backctl.domain.errors import BackctlError, InvalidInput, UsageError
from backctl.domain.plain_text import text_of
from backctl.domain.quoting import quoted
from backctl.domain.values import Identity
from backctl.presentation.input_files import NamedFile, StandardInput

if TYPE_CHECKING:
    from backctl.application.ports.security import Read

LINE_MAX = 65_536
"""Bytes of a line, without its end."""
LINES_MAX = 2_000_000
"""Lines of one file, including blank lines and comments: an endless input must end in an error."""
BYTES_MAX = 256 << 20
"""Bytes of all identities together, in memory."""

_SPLIT = "split the list and run the command for each part"


class Identities:
    """Any number of identities in order. A million take about as much memory as their file is long."""

    def __init__(self, idents: Iterable[str] = ()) -> None:
        """Raises what `add` raises."""
        self._kept = bytearray()
        self._count = 0
        for ident in idents:
            self.add(ident)

    def add(self, ident: str) -> None:
        """Check the form of an identity and append it. Raises InvalidIdentity; InvalidInput if there are too many."""
        Identity.parse(ident)  # rejects what is not printable, and so every line end
        self._kept += ident.encode()
        self._kept += b"\n"
        self._count += 1
        if len(self._kept) > BYTES_MAX:
            raise InvalidInput(f"the identities are longer than {BYTES_MAX} bytes in total", hint=_SPLIT)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        start = 0
        while start < len(self._kept):
            end = self._kept.index(b"\n", start)
            yield self._kept[start:end].decode()
            start = end + 1

    def first(self, number: int) -> list[str]:
        return list(islice(self, number))


class Gathered(NamedTuple):
    """The identities of one command; `single` if exactly one was given as an argument."""

    all: Identities
    single: str | None


def gather(idents: list[str] | None, from_file: str | None, stdin: StandardInput) -> Gathered:
    """Read identities from the arguments, from a file, or from standard input (`-`), and check the form of each.

    A file contains one per line: plain, or a JSON object with `id`, `email` or `username`, in this order of
    preference. Blank lines and lines that begin with `#` are ignored. Raises UsageError and InvalidInput.
    """
    if idents and from_file is not None:
        raise UsageError("identities come either as arguments or from --from-file, not both")
    if idents == ["-"]:
        from_file = "-"
    elif idents:
        if "-" in idents:
            raise UsageError("'-' reads identities from standard input and stands alone")
        return Gathered(Identities(idents), idents[0] if len(idents) == 1 else None)
    if from_file is None:
        raise UsageError("IDENT is missing", hint="name an account, or use --from-file FILE")
    if from_file == "-":
        stdin.claim("'-'")
        return Gathered(_identities(stdin.reader("readline"), "standard input"), None)
    with io.BufferedReader(NamedFile("--from-file", from_file)) as file:
        return Gathered(_identities(file.readline, quoted(from_file)), None)


def _identities(read_line: "Read", source: str) -> Identities:
    gathered = Identities()
    for number, line, is_cut in bounded_lines(read_line, LINE_MAX):
        try:
            if is_cut:
                raise InvalidInput(f"it is longer than {LINE_MAX} bytes")
            if number > LINES_MAX:
                raise InvalidInput(f"there are more than {LINES_MAX} lines", hint=_SPLIT)
            ident = _ident((text_of(line) if number == 1 else line.decode("utf-8")).strip(" \t\r\n"))
            if ident is not None:
                gathered.add(ident)
        except UnicodeDecodeError:
            raise InvalidInput(f"line {number} of {source} is not UTF-8 text") from None
        except BackctlError as error:
            raise InvalidInput(f"line {number} of {source}: {error.message}", hint=error.hint) from None
    return gathered


def _ident(text: str) -> str | None:
    """Return the identity in a line; None for a blank line or a comment."""
    if not text or text.startswith("#"):
        return None
    return _of_object(text) if text.startswith("{") else text


def _of_object(text: str) -> str:
    import json

    try:
        member = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput(f"{quoted(text)} is not JSON") from None
    for name in ("id", "email", "username"):
        if isinstance(member.get(name), str):
            return str(member[name])
    raise InvalidInput("the object has neither 'id' nor 'email' nor 'username'", hint="-o jsonl writes such lines")
