"""Choose which columns or members of an input become which members of an account (`--map`)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from backctl.application.records.fields import parse_path
from backctl.application.transfer.record import IMPORTABLE
from backctl.domain.errors import UsageError
from backctl.domain.quoting import quoted

Path = tuple[str, ...]

_FORM = "write COLUMN=MEMBER to rename a column, or COLUMN= to ignore it"


@dataclass(frozen=True, slots=True)
class Mapping:
    """What to do with columns that are not members of an account: rename them, or ignore them (None).

    In JSON the column is a path such as `traits.email`, which reaches into objects.
    """

    targets: dict[Path, str | None]
    found: set[Path] = field(default_factory=set, compare=False)
    """The paths that some JSON record had."""

    @classmethod
    def parse(cls, texts: Iterable[str], *, nested: bool) -> Self:
        """Parse arguments such as `mail=email` and `phone=`. Raises UsageError.

        With `nested`, dots separate nested names, and a backslash escapes the next character.
        """
        targets: dict[Path, str | None] = {}
        for text in texts:
            column, equals, member = text.rpartition("=")
            path = parse_path(column) if nested else (column,)
            if not equals or (nested and not all(path)):
                raise UsageError(f"invalid mapping {quoted(text)}", hint=_FORM)
            if member and member not in IMPORTABLE:
                raise UsageError(
                    f"{quoted(text)} maps to an unknown member", hint=f"the members are {', '.join(IMPORTABLE)}"
                )
            if path in targets:
                raise UsageError(f"the column {quoted(column)} is mapped twice")
            if member and member in targets.values():
                raise UsageError(f"two columns are mapped to {quoted(member)}")
            targets[path] = member or None
        # Longer paths first: an object can be ignored after one of its members was taken.
        return cls(dict(sorted(targets.items(), key=lambda entry: -len(entry[0]))))

    @classmethod
    def none(cls) -> Self:
        return cls({})

    def taken_from(self, record: dict[str, object]) -> dict[str, object]:
        """Remove the mapped members from a JSON record; return those that are renamed, with their new names."""
        taken: dict[str, object] = {}
        for path, target in self.targets.items():
            found, value = _remove(record, path)
            if found:
                self.found.add(path)
                if target is not None:
                    taken[target] = value
        return taken

    def missing(self) -> tuple[str, ...]:
        """Return the columns that no JSON record had, and that were to be renamed."""
        renamed = (path for path, target in self.targets.items() if target is not None)
        return tuple(".".join(path) for path in renamed if path not in self.found)


def _remove(record: dict[str, object], path: Path) -> tuple[bool, object]:
    """Remove a member, and the objects around it that are empty then. Return whether it was there, and its value."""
    name, *below = path
    if name not in record:
        return False, None
    value = record[name]
    if not below:
        del record[name]
        return True, value
    if not isinstance(value, dict):
        return False, None
    removed = _remove(value, tuple(below))
    if removed[0] and not value:
        del record[name]
    return removed
