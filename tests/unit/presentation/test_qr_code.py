"""QR codes on a terminal: the encoder's modules, two per character, with a margin."""

import pytest
import segno

from backctl.domain.one_time_codes import otpauth_uri
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


def picture(uri: str = URI, *, columns: int = 100, lines: int = 60, color: bool = False) -> str:
    code = qr_code(uri, columns=columns, lines=lines, color=color)
    assert code is not None
    return code


@pytest.mark.parametrize(("lines", "margin"), [(60, 4), (23, 4), (22, 3), (21, 2), (10, 2)])
def test_every_module_is_where_the_encoder_put_it_within_the_margin(lines: int, margin: int) -> None:
    expected = [tuple(map(int, row)) for row in segno.make(URI, error="l", micro=False).matrix_iter(border=margin)]
    shown = modules(picture(lines=lines))
    assert shown[: len(expected)] == expected
    assert all(not any(row) for row in shown[len(expected) :])
    assert all(not any(row[:margin]) and not any(row[-margin:]) for row in shown)
    assert not any(any(row) for row in (*shown[:margin], *shown[-margin:]))


@pytest.mark.parametrize("account", ["ada@example.org", "christina.papadopoulos@example.com"])
def test_the_code_of_a_usual_account_fits_a_terminal_of_24_lines(account: str) -> None:
    uri = otpauth_uri(bytes(20), issuer="advanced-backend", account=account)
    assert len(picture(uri, columns=80, lines=23).splitlines()) <= 23


def test_with_colours_it_is_white_on_black_whatever_the_terminal_is() -> None:
    plain, coloured = picture(), picture(color=True)
    lines = coloured.splitlines()
    assert all(line.startswith("\x1b[38;5;231;48;5;16m") and line.endswith("\x1b[0m") for line in lines)
    assert coloured.replace("\x1b[38;5;231;48;5;16m", "").replace("\x1b[0m", "") == plain


def test_a_code_that_is_wider_than_the_terminal_is_not_shown() -> None:
    width = len(picture(lines=10).splitlines()[0])
    assert picture(columns=width) == picture(lines=10)
    assert qr_code(URI, columns=width - 1, lines=60, color=False) is None
