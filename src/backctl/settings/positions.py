"""Finds the line of each key in a TOML text. tomllib reports no lines, so this module parses the text in pieces."""

from backctl.settings.schema import KeyPath

_DEEPEST = 24  # the limit of remembered levels; the cost grows with the square of the levels


def line_numbers(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, on which each table and key of a valid TOML text first appears.

    Keys inside an array have no line.
    """
    import tomllib

    lines: dict[KeyPath, int] = {}
    rows = text.replace("\r\n", "\n").split("\n")
    table: KeyPath = ()
    start = 0
    for end in range(1, len(rows) + 1):
        if start < end - 1 and not any(closing in rows[end - 1] for closing in ("]", '"""', "'''")):
            continue  # no multi-line value ends here
        piece = "\n".join(rows[start:end])
        try:
            found = tomllib.loads(piece)
        except (ValueError, RecursionError):  # the value continues on the next line
            continue
        if piece.lstrip().startswith("["):
            table = ()
            _note(lines, table, found, start + 1)
            table = _header(found)
        else:
            _note(lines, table, found, start + 1)
        start = end
    return lines


def parse_key(text: str) -> tuple[str, ...] | None:
    """Split a dotted key such as `roles."night shift".permissions` as TOML does; None when it is not one."""
    if "\n" in text or text != text.strip():
        return None
    import tomllib

    try:
        # Parse with two values, so that `text` cannot contain a value or a comment of its own.
        found, again = (tomllib.loads(f"{text} = {value}") for value in (0, 1))
    except (ValueError, RecursionError):
        return None
    path = _header(found)
    return path if _value(found, path) == 0 and _header(again) == path and _value(again, path) == 1 else None


def _note(lines: dict[KeyPath, int], prefix: KeyPath, found: dict[str, object], line: int) -> None:
    for key, value in found.items():
        path = (*prefix, key)
        lines.setdefault(path, line)
        if isinstance(value, dict) and len(path) < _DEEPEST:
            _note(lines, path, value, line)


def _header(found: object) -> tuple[str, ...]:
    """Return the path to the innermost table or value of a parsed text that defines only one."""
    path: list[str] = []
    while True:
        if isinstance(found, list) and found:
            found = found[-1]
        if not isinstance(found, dict) or len(found) != 1:
            return tuple(path)
        ((key, found),) = found.items()
        path.append(key)


def _value(found: object, path: KeyPath) -> object:
    for part in path:
        found = found[part] if isinstance(found, dict) else None
    return found
