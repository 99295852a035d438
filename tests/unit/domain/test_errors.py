"""The hierarchy of errors, and the two functions that make untrusted text safe to show."""

import re
import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backctl.domain import errors
from backctl.domain.errors import BackctlError, WeakPassword
from backctl.domain.quoting import escaped, masked, quoted

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, BackctlError)]
KINDS = [cls for cls in CLASSES if cls.__bases__ == (BackctlError,)]
LEAVES = [cls for cls in CLASSES if cls is not BackctlError and cls not in KINDS]

# Bidi_Control of PropList.txt; the embeddings, overrides and isolates are those of CVE-2021-42574.
BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

relaxed = settings(deadline=None, max_examples=300)
everything = st.text(st.characters() | st.sampled_from(sorted(BIDI)) | st.sampled_from("\x1b\x9b\r\n\x07\u2028\ufeff"))


def is_safe(text: str) -> bool:
    text.encode()  # fails for an unpaired surrogate
    return not any(
        character in BIDI or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in text
    )


@relaxed
@given(everything)
@example("\x1b]0;title\x07\x1b[2J\r\u202eevil")
@example("\ud800\udc00\udfff")
@example("\U000e0041\U000e007f")
def test_escaped_text_moves_no_cursor_and_reorders_nothing(text: str) -> None:
    shown = escaped(text)
    assert is_safe(shown)
    assert escaped(shown) == shown
    assert is_safe(quoted(text))
    assert len(quoted(text).splitlines()) == 1


def test_no_character_of_unicode_escapes_the_escaping() -> None:
    for character in map(chr, range(sys.maxunicode + 1)):
        shown = escaped(character)
        assert is_safe(shown)
        assert shown == character or re.fullmatch(r"\\[tnr]|\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}", shown)


@pytest.mark.parametrize("text", ["", "ada", "Ünïcödé", "दे", "ada's", "日本", "😀", "a\u0301", "C:\\new"])
def test_what_is_harmless_stays_as_it_is(text: str) -> None:
    assert escaped(text) == text
    assert quoted(text) == f"'{text}'"


def test_quoted_text_is_cut_before_it_is_escaped() -> None:
    assert quoted("x" * 80) == f"'{'x' * 80}'"
    assert quoted("x" * 81) == f"'{'x' * 80}…'"
    assert quoted("\U000e0041" * 10_000, limit=2) == "'\\U000e0041\\U000e0041…'"
    assert len(quoted("\U000e0041" * 1_000_000)) == 803


def test_every_code_is_unique_and_well_formed() -> None:
    codes = [vars(cls).get("code") for cls in CLASSES]
    assert len(set(codes)) == len(codes)
    for code in codes:
        assert isinstance(code, str)
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*(\.[a-z]+(_[a-z]+)*)?", code)


@pytest.mark.parametrize("leaf", LEAVES)
def test_every_leaf_has_exactly_one_kind(leaf: type[BackctlError]) -> None:
    assert sum(issubclass(leaf, kind) for kind in KINDS) == 1
    assert len(leaf.__bases__) == 1
    assert leaf.retryable == issubclass(leaf, errors.Unavailable)


def test_the_kinds_are_those_that_have_an_exit_code() -> None:
    assert {kind.__name__ for kind in KINDS} == {
        "InvalidInput", "NotFound", "Conflict", "Unavailable", "AnswerIsNo", "PartialFailure", "Refused", "Unusable",
    }  # fmt: skip


def test_an_error_is_its_message_and_a_hint() -> None:
    error = errors.RoleNotFound("there is no role 'boss'", hint="look with `role list`")
    assert str(error) == error.message == "there is no role 'boss'"
    assert error.hint == "look with `role list`"
    assert errors.RoleNotFound("x").hint is None


def test_a_weak_password_names_all_violations_in_one_message() -> None:
    error = WeakPassword(("it is short", "it is common"))
    assert error.violations == ("it is short", "it is common")
    assert error.message == "the password is too weak: it is short; it is common"
    assert error.hint


MASKED = {
    "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl": "eyJ…",
    "x eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl y": "x eyJ… y",
    "bkr_oZrkCMGPPgXewRVYd2mnzhCFTpahCpmMInBhF1psY3O42Esuz": "bkr_…",
    "no route to postgresql://bob:hunter2@db:5432/app": "no route to postgresql://bob:***@db:5432/app",
    "redis://:p@ss/word@cache": "redis://:***@cache",
}
HARMLESS = ["bkr_short", "eyJ", "ada@example.org", "postgresql://bob@db:5432/app", "http://localhost:8080/ada"]


@pytest.mark.parametrize(("text", "shown"), [*MASKED.items(), *zip(HARMLESS, HARMLESS, strict=True)])
def test_a_secret_in_a_wrong_place_is_not_repeated(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert quoted(text) == f"'{shown}'"
