"""Read the rows of an import, one by one and in bounded memory."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

from backctl.application.transfer.mapping import Mapping
from backctl.domain.errors import BackctlError

if TYPE_CHECKING:
    from backctl.application.ports.security import Read

ImportFormat = Literal["jsonl", "json", "csv", "django", "kratos"]


class RawRow(NamedTuple):
    """The members of an account as they are written: JSON values, or strings of CSV without empty cells."""

    line: int
    members: dict[str, object]


class BadRow(NamedTuple):
    """A row that cannot be read."""

    line: int
    error: BackctlError


class IgnoredRow(NamedTuple):
    """A row that is not an account, such as a row of another model of Django."""

    line: int
    what: str


Row = RawRow | BadRow | IgnoredRow


def read_rows(read: "Read", form: ImportFormat, mapping: Mapping) -> Iterator[Row]:
    """Yield the rows of an input. Raises InvalidInput if the input is not in this format at all."""
    raise NotImplementedError
