"""Sanitizing within limits: sizes, encodings, lines that fail among lines that do not, and the report."""

import io

import pytest

from backctl.application.content_views import SanitizedPart
from backctl.application.ports.environment import CleanedText
from backctl.application.sanitizing import LineOutcome, SanitizingService
from backctl.domain.errors import InputTooDeep, InputTooLarge, InvalidInput, InvalidJson


def no_x(text: str) -> CleanedText:
    """Remove every `x` and count it as `html`."""
    return CleanedText(text.replace("x", ""), {"html": text.count("x")} if "x" in text else {})


SERVICE = SanitizingService(no_x, max_bytes=20, max_depth=3)


def lines(raw: bytes, service: SanitizingService = SERVICE) -> list[LineOutcome]:
    return list(service.lines(io.BytesIO(raw).readline))


def texts(raw: bytes) -> list[str | None]:
    return [None if outcome.cleaned is None else outcome.cleaned.text for outcome in lines(raw)]


def test_a_text_is_cleaned_as_a_whole() -> None:
    cleaned = SERVICE.text("axé\r\nbx\n".encode())
    assert (cleaned.text, cleaned.changed) == ("aé\r\nb\n", True)
    assert cleaned.changes.parts() == (SanitizedPart("", "value", "html", 1),)
    assert not SERVICE.text(b"").changed


def test_keys_and_values_of_a_document_are_cleaned_and_counted_by_place() -> None:
    service = SanitizingService(no_x, max_bytes=200, max_depth=9)
    cleaned = service.document(b'{"xa": ["x", "y", "xx"], "b": {"xa": 1.0, "c/d": "x"}}')
    assert cleaned.text == '{"a": ["", "y", ""], "b": {"a": 1.0, "c/d": ""}}'
    assert cleaned.changes.parts() == (
        SanitizedPart("", "key", "html", 1),
        SanitizedPart("/a/*", "value", "html", 2),
        SanitizedPart("/b", "key", "html", 1),
        SanitizedPart("/b/c~1d", "value", "html", 1),
    )


def test_two_members_that_become_the_same_are_refused() -> None:
    with pytest.raises(InvalidJson, match="the member 'a' appears twice"):
        SERVICE.document(b'{"a": 1, "ax": 2}')


def test_depth_is_bounded() -> None:
    assert SERVICE.document(b"[[[]]]").text == "[[[]]]"
    with pytest.raises(InputTooDeep, match="deeper than 3"):
        SERVICE.document(b"[[[[]]]]")


@pytest.mark.parametrize("raw", [b"a" * 20, b"a" * 20 + b"\n"])
def test_the_bound_does_not_count_the_last_line_end(raw: bytes) -> None:
    assert SERVICE.text(raw).text == raw.decode()


@pytest.mark.parametrize("raw", [b"a" * 21, b"a" * 21 + b"\n", b"a" * 20 + b"\n\n", b"a" * 99])
def test_more_bytes_than_the_bound_are_refused(raw: bytes) -> None:
    for clean in (SERVICE.text, SERVICE.document):
        with pytest.raises(InputTooLarge, match="longer than 20 bytes"):
            clean(raw)


@pytest.mark.parametrize("raw", [b"ab\xff", b"ab\xc3", b"ab\xed\xa0\x80", b"ab\xc0\x80"])
def test_what_is_not_utf_8_is_refused_with_its_place(raw: bytes) -> None:
    with pytest.raises(InvalidInput, match="byte 3 is invalid"):
        SERVICE.text(raw)


def test_lines_keep_their_ends_and_blank_ones_pass() -> None:
    assert texts(b'"xa"\n{}\r\n\n \t\r\n"b"') == ['"a"\n', "{}\r\n", "\n", " \t\r\n", '"b"']
    assert texts(b"") == []


def test_a_line_that_fails_does_not_stop_the_others() -> None:
    outcomes = lines(
        b'"a"\nNaN\n"\xff"\n[[[[]]]]\n"' + b"a" * 50 + b'"\n1\n' + b" " * 19 + b"1\n" + b"2" * 20 + b"3\n4"
    )
    assert [(outcome.number, outcome.error and outcome.error.code) for outcome in outcomes] == [
        (1, None),
        (2, "json.invalid"),
        (3, "input.invalid"),
        (4, "input.too_deep"),
        (5, "input.too_large"),
        (6, None),
        (7, None),
        (8, "input.too_large"),
        (9, None),
    ]
    assert outcomes[-1].cleaned is not None
    assert outcomes[-1].cleaned.text == "4"


@pytest.mark.parametrize("length", [19, 20, 21, 22, 23, 65_536, 65_557, 200_000])
@pytest.mark.parametrize("end", [b"\n", b""])
def test_an_endless_line_is_never_held_as_a_whole(length: int, end: bytes) -> None:
    source = io.BytesIO(b"1" * length + end + b"2\n" * bool(end))
    asked = []

    def read_line(size: int) -> bytes:
        asked.append(size)
        return source.readline(size)

    codes = [outcome.error and outcome.error.code for outcome in SERVICE.lines(read_line)]
    assert codes == [None if length <= 20 else "input.too_large", *([None] if end else [])]
    assert max(asked) <= 65_536


def test_what_is_told_stays_small_whatever_the_keys_are() -> None:
    service = SanitizingService(no_x, max_bytes=1_000_000, max_depth=9)
    text = "{" + ",".join(f'"{n}": "x"' for n in range(3_000)) + "}"
    parts = service.document(text.encode()).changes.parts()
    assert len(parts) == 1_001
    assert parts[-1] == SanitizedPart("…", "value", "html", 2_000)
