"""Choose which columns or members of an input become which members of an account (`--map`)."""

from dataclasses import dataclass
from typing import Self

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """What `--map` says: `column=member` renames, and `column=` ignores.

    In JSON the column is a path such as `traits.email`, which reaches into objects.
    """

    renamed: dict[Path, str]
    ignored: frozenset[Path]

    @classmethod
    def none(cls) -> Self:
        return cls({}, frozenset())
