"""QR codes as text, with two modules per character."""

from collections.abc import Iterator, Sequence

_QUIET_ZONES = (4, 3, 2)
"""Margins in modules. ISO/IEC 18004 section 5.3.8 requires 4; scanners also read 2, which fits more terminals."""
# Only light modules are drawn: most terminals are dark, and most scanners accept inverted codes.
_HALVES = {(True, True): " ", (True, False): "▄", (False, True): "▀", (False, False): "█"}
# Colour numbers, because themes change the named colours.
_COLOURS, _RESET = "\x1b[38;5;231;48;5;16m", "\x1b[0m"


def qr_code(text: str, *, columns: int, lines: int, color: bool) -> str | None:
    """Return the smallest code that contains `text`; None if it is wider than `columns`. `color`: white on black.

    Its margin is the widest with which it fits in `columns` and `lines`, or the narrowest if none fits.
    """
    import segno  # only here, and on a terminal only

    code = segno.make(text, error="l", micro=False)
    size, _ = code.symbol_size(border=0)
    fitting = (zone for zone in _QUIET_ZONES if size + 2 * zone <= min(columns, 2 * lines))
    zone = next(fitting, _QUIET_ZONES[-1])
    if size + 2 * zone > columns:
        return None
    rows = [tuple(map(bool, row)) for row in code.matrix_iter(border=zone)]
    begin, end = (_COLOURS, _RESET) if color else ("", "")
    return "".join(f"{begin}{line}{end}\n" for line in _lines(rows))


def _lines(rows: Sequence[Sequence[bool]]) -> Iterator[str]:
    light = (False,) * len(rows[0])
    for at in range(0, len(rows), 2):
        below = rows[at + 1] if at + 1 < len(rows) else light
        yield "".join(_HALVES[pair] for pair in zip(rows[at], below, strict=True))
