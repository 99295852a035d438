"""QR codes on a terminal: the encoder's modules, two per character, with the margin that scanners need."""

import segno

from backctl.presentation.qr_code import qr_code

URI = "otpauth://totp/backend:ada@example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=backend"
DARK = {"█": (0, 0), "▀": (0, 1), "▄": (1, 0), " ": (1, 1)}
"""Whether the upper and the lower half of each character are dark. Only light modules are drawn."""


def modules(text: str) -> list[tuple[int, ...]]:
    """Return the rows of modules in a picture."""
    rows: list[tuple[int, ...]] = []
    for line in text.splitlines():
        halves = [DARK[character] for character in line]
        rows += (tuple(upper for upper, _ in halves), tuple(lower for _, lower in halves))
    return rows


def test_every_module_is_where_the_encoder_put_it_and_the_margin_is_four_wide() -> None:
    picture = qr_code(URI, columns=100, color=False)
    assert picture is not None
    expected = [tuple(map(int, row)) for row in segno.make(URI, error="l", micro=False).matrix_iter(border=4)]
    shown = modules(picture)
    assert shown[: len(expected)] == expected
    assert all(not any(row) for row in shown[len(expected) :])
    assert all(not any(row[:4]) and not any(row[-4:]) for row in shown)
    assert not any(any(row) for row in (*shown[:4], *shown[-4:]))


def test_with_colours_it_is_white_on_black_whatever_the_terminal_is() -> None:
    plain, coloured = (qr_code(URI, columns=100, color=color) for color in (False, True))
    assert plain is not None
    assert coloured is not None
    lines = coloured.splitlines()
    assert all(line.startswith("\x1b[38;5;231;48;5;16m") and line.endswith("\x1b[0m") for line in lines)
    assert coloured.replace("\x1b[38;5;231;48;5;16m", "").replace("\x1b[0m", "") == plain


def test_what_does_not_fit_is_not_shown() -> None:
    picture = qr_code(URI, columns=100, color=False)
    assert picture is not None
    width = len(picture.splitlines()[0])
    assert qr_code(URI, columns=width, color=False) == picture
    assert qr_code(URI, columns=width - 1, color=False) is None
