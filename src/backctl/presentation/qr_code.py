"""A QR code as text, two modules a character: for a terminal that a telephone looks at."""

from collections.abc import Iterator, Sequence

_QUIET_ZONE = 4  # ISO/IEC 18004 §9.1: modules of margin that a reader may count on
# Light modules are drawn and dark ones left out: most terminals are dark, and most readers take the other way, too.
_HALVES = {(True, True): " ", (True, False): "▄", (False, True): "▀", (False, False): "█"}
# The two colours by number, whatever the terminal's own look like: white on black.
_COLOURS, _RESET = "\x1b[38;5;231;48;5;16m", "\x1b[0m"


def qr_code(text: str, *, columns: int, color: bool) -> str | None:
    """Lines of the code that holds `text`; None when it is wider than `columns`. With `color` in black and white."""
    import segno  # only here, and on a terminal only

    code = segno.make(text, error="l", micro=False)
    rows = [tuple(map(bool, row)) for row in code.matrix_iter(border=_QUIET_ZONE)]
    if len(rows[0]) > columns:
        return None
    begin, end = (_COLOURS, _RESET) if color else ("", "")
    return "".join(f"{begin}{line}{end}\n" for line in _lines(rows))


def _lines(rows: Sequence[Sequence[bool]]) -> Iterator[str]:
    light = (False,) * len(rows[0])
    for at in range(0, len(rows), 2):
        below = rows[at + 1] if at + 1 < len(rows) else light
        yield "".join(_HALVES[pair] for pair in zip(rows[at], below, strict=True))
