"""Converts the members of views to JSON types, to the text of cells, and to lines of TSV and CSV."""

from collections.abc import Mapping, Sequence
from dataclasses import fields as dataclass_fields

from backctl.application.durations import Seconds
from backctl.domain.errors import Hint
from backctl.presentation.program import filled

PLAIN = frozenset((str, int, float, bool, type(None)))
_TSV = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def portable(value: object) -> object:
    """Convert `value` to JSON types. Raises TypeError if that is impossible, in particular for a secret."""
    if type(value) in PLAIN:
        return value
    moment = getattr(value, "isoformat", None)
    if moment is not None:
        return moment()
    if isinstance(value, Hint):
        return filled(value)
    if isinstance(value, Mapping):
        return {str(name): portable(member) for name, member in value.items()}
    if isinstance(value, (tuple, list, frozenset, set)):
        return [portable(member) for member in value]
    if isinstance(value, (str, int)):  # subclasses, such as enumerations
        return str.__str__(value) if isinstance(value, str) else int(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else float(value)
    if hasattr(value, "__dataclass_fields__"):
        names = [field.name for field in dataclass_fields(value)]  # type: ignore[arg-type]
        return {name: portable(getattr(value, name)) for name in names}
    raise TypeError(f"a result cannot hold a {type(value).__name__}")


def json_text(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def cell(value: object) -> str:
    """Convert `value` to the text of a cell: empty for None, items joined by commas, JSON for nested values."""
    plain = value if type(value) in PLAIN else portable(value)
    if isinstance(plain, str):
        return plain
    if plain is None:
        return ""
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if isinstance(plain, list) and not any(isinstance(member, (list, dict)) for member in plain):
        return ",".join(map(cell, plain))
    if isinstance(plain, float):
        return f"{plain:f}".rstrip("0")
    return json_text(plain) if isinstance(plain, (list, dict)) else str(plain)


def to_the_second(value: object) -> str:
    """Like `cell`, but a time has seconds only: `2026-11-28T09:12:33Z`; a number has one decimal."""
    moment = getattr(value, "isoformat", None)
    return cell(_rounded(value)) if moment is None else f"{moment()[:19]}Z"


def to_the_minute(value: object) -> str:
    """Like `cell`, but a time has minutes only: `2026-11-28 09:12`."""
    moment = getattr(value, "isoformat", None)
    return cell(_rounded(value)) if moment is None else moment()[:16].replace("T", " ")


def _rounded(value: object) -> object:
    """Return a number with one decimal, and any other value unchanged."""
    return Seconds(round(value, 1)) if isinstance(value, float) else value


def tsv_line(cells: Sequence[str]) -> str:
    return "\t".join(map(_tsv, cells)) + "\n"


def csv_line(cells: Sequence[str]) -> str:
    """Format a record of RFC 4180, except that it ends with LF, as in psql. Quotes cells only where needed.

    A record that is one empty cell is quoted, because readers skip blank lines.
    """
    return (",".join(map(_csv, cells)) or '""') + "\n"


def _tsv(text: str) -> str:
    return text if text.isprintable() and "\\" not in text else text.translate(_TSV)


def _csv(text: str) -> str:
    if '"' in text:
        return '"' + text.replace('"', '""') + '"'
    return f'"{text}"' if "," in text or "\n" in text or "\r" in text else text
