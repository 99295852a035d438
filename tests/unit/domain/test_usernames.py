"""The username rules, for every code point that this interpreter knows."""

import itertools
import re
import sys
import unicodedata

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from backctl.domain.errors import InvalidUsername
from backctl.domain.values import Identity, Username, folded

# Default_Ignorable_Code_Point of DerivedCoreProperties.txt, unchanged from Unicode 14 to 15.1: 4174 code points.
IGNORABLE = {
    chr(code)
    for first, last in [
        (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
        (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
        (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
    ]
    for code in range(first, last + 1)
}  # fmt: skip
ID = "01935b1e-7c3a-7def-8abc-0123456789ab"

# Every assigned character, and a sample of the unassigned code points.
CHARACTERS = [
    chr(code)
    for code in range(sys.maxunicode + 1)
    if code % 97 == 0 or unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs")
]

relaxed = settings(deadline=None, max_examples=300)
letters = st.characters(categories=["L", "M", "Nd"]) | st.sampled_from("._-aZ09ﬁſßİıΣςﾞｶ\u0301\u0323\u0345\u212b\u1e9b")
names = st.text(letters, min_size=3, max_size=50)


def parsed(text: str) -> Username | None:
    try:
        return Username.parse(text)
    except InvalidUsername:
        return None


def message_of(text: str) -> str | None:
    try:
        Username.parse(text)
    except InvalidUsername as refusal:
        return refusal.message
    return None


NOTHING = re.compile("(?!)")
plain_names = (
    st.text(st.characters(max_codepoint=127), max_size=52)
    | st.from_regex(r"[A-Za-z0-9._-]{1,52}\n?", fullmatch=True)
    | st.uuids().map(str)
    | st.uuids().map(lambda uuid: str(uuid).upper())
)


@relaxed
@given(plain_names | names)
@example(ID)
@example(ID + "0")
@example("a" * 50)
@example("a" * 51)
@example("ab")
@example("abc\n")
def test_a_plain_name_is_parsed_as_any_other(text: str) -> None:
    at_once = parsed(text), message_of(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backctl.domain.values._PLAIN_USERNAME", NOTHING)
        assert at_once == (parsed(text), message_of(text))


def may_stand_in_a_name(character: str) -> bool:
    category = unicodedata.category(character)
    return character in "._-" or ((category[0] in "LM" or category == "Nd") and character not in IGNORABLE)


def test_the_table_of_ignorable_characters_is_complete() -> None:
    assert len(IGNORABLE) == 4174


def test_no_other_character_gets_into_a_name_or_key_whichever_it_is() -> None:
    accepted = 0
    for character in CHARACTERS:
        if (username := parsed(f"ab{character}z")) is None:
            # Either the character or its NFKC form must contain a character that is not allowed.
            key = folded(f"ab{character}z", "NFKC") if unicodedata.category(character) != "Cs" else "\0"
            assert not (may_stand_in_a_name(character) and all(map(may_stand_in_a_name, key)))
        else:
            accepted += 1
            assert all(map(may_stand_in_a_name, username.name))
            assert all(map(may_stand_in_a_name, username.key))
    assert accepted > 130_000


def test_a_name_starts_with_a_letter_or_digit_whatever_the_character() -> None:
    for character in CHARACTERS:
        username = parsed(f"{character}zz")
        if username is not None:
            assert unicodedata.category(username.name[0])[0] in "LN"
            assert unicodedata.category(username.key[0])[0] in "LN"


@relaxed
@given(names | st.text(max_size=60))
def test_a_key_is_a_valid_name_and_its_own_key(text: str) -> None:
    username = parsed(text)
    assume(username is not None)
    assert username is not None
    assert Username.parse(username.key) == Username(username.key, username.key)
    assert Username.parse(username.name) == username
    for form in (username.name, username.key):
        assert 3 <= len(form) <= 50
        assert form.isprintable()
        assert not set("@ \t\r\n") & set(form)
        assert Identity.parse(form).kind == "username"


@relaxed
@given(names)
@example("ᴮᴵᴳᴮᴵᴿᴰ")
@example("ǅungla")
@example("Straße")
@example("ΌΣΟΣ")
def test_a_key_is_the_same_for_every_case_and_form(text: str) -> None:
    username = parsed(text)
    assume(username is not None)
    assert username is not None
    # In Unicode case folding, dotless i has no counterpart, and the upper case of the iota subscript is a letter that
    # does not commute with the marks around it (The Unicode Standard, D145).
    assume(not set("ı\u0345") & set(unicodedata.normalize("NFD", username.name)))
    for case in (str, str.upper, str.lower, str.title, str.swapcase, str.casefold):
        for form, order in itertools.product(("NFC", "NFD", "NFKC", "NFKD"), (1, -1)):
            steps = [case, lambda text, form=form: unicodedata.normalize(form, text)][::order]
            variant = steps[1](steps[0](username.name))
            assert folded(variant, "NFKC") == username.key
            other = parsed(variant)
            assert other is None or other.key == username.key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Ada", "ada"),
        ("ada.lovelace_1-2", "ada.lovelace_1-2"),
        ("1ada", "1ada"),
        ("ᴮᴵᴳᴮᴵᴿᴰ", "bigbird"),  # the Spotify account takeover of 2013
        ("\u212bngstro\u0308m", "ångström"),  # UAX #15 figure 3
        ("\ufb01sh", "fish"),  # UAX #15 figure 6
        ("x\u1e9b\u0323y", "x\u1e69y"),  # UAX #15 figure 6
        ("Ａｄａ１", "ada1"),
        ("Fußball", "fussball"),
        ("ΌΣΟΣ", "όσοσ"),
        ("ad\u0131", "ad\u0131"),
        ("\u0130da", "i\u0307da"),
        ("ـada", "ـada"),
        ("नमस्ते", "नमस्ते"),
        ("٣ab", "٣ab"),
        ("ṩ" * 50, "ṩ" * 50),
        (unicodedata.normalize("NFD", "ΐ" * 50), "ΐ" * 50),
    ],
)
def test_known_keys(text: str, key: str) -> None:
    assert Username.parse(text).key == unicodedata.normalize("NFKC", key)


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "ab", "a\u0301b", "a" * 51, "a" * 1_000_000, "\u0301abc", ".abc", "_abc", "-abc", "a@example", "a＠ex",
        "ada lovelace", "ada\u00a0x", "ada\u3000x", "ada\tx", "ada\nx", "ada\n", "ada\x00", "ada\x7f", "ada\u0085",
        "ada\u202eadmin", "ada\u2066x", "ada\u200ex", "ada\u061cx", "ada\u200bx", "ada\u200dx", "ad\u00adx", "a\ufeffx",
        "ada\u3164x", "ada\uffa0x", "ada\u115fx", "ada\ufe0fx", "ada\u034fx", "ada\U000e0100x", "a\U000e0041x",
        "ada\ud800x", "ada\ue000x", "ada\uffffx", "ada\u0378x", "ada/x", "ada\\x", "ada:x", "ada'x", "ada<x", "ada½",
        "ada²", "ada⑴", "Ⅷada", "☃☃☃", "ada😀", "ada．x", "ada﹍x", "ada\u2024x",
        "ada\ufdfax", "ada\ufdfbx", "ada\u037ax", "ada\ufe70x", "ada\u013fx",  # the NFKC form has a space or a dot
        ID, ID.upper(), ID.replace("0", "０"), ID.replace("e", "ｅ"), ID.replace("-", "\u2010"),
        "\uff76\uff9e\uff76", "\u3131\u314f\u3131", "ß" * 26, "\ufdf2" * 13,  # too short or too long in NFKC form
    ],
)  # fmt: skip
def test_hostile_names_are_refused_without_being_shown_raw(text: str) -> None:
    with pytest.raises(InvalidUsername) as refusal:
        Username.parse(text)
    assert not any(
        unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in refusal.value.message
    )
    assert len(refusal.value.message) < 1200
    assert refusal.value.hint


def test_an_invisible_character_is_named_by_its_code_point() -> None:
    with pytest.raises(InvalidUsername, match=re.escape("(U+3164)")):
        Username.parse("ada\u3164x")


@relaxed
@given(st.uuids(), st.booleans(), st.dictionaries(st.integers(0, 35), st.just(0xFEE0), max_size=36))
def test_nothing_shaped_like_an_id_is_a_name(identifier: object, upper: bool, widened: dict[int, int]) -> None:
    text = str(identifier).upper() if upper else str(identifier)
    wide = "".join(chr(ord(c) + widened.get(at, 0)) for at, c in enumerate(text))
    assert parsed(text) is None
    assert parsed(wide) is None


def test_folding_comes_to_an_end_for_every_character() -> None:
    for character in CHARACTERS:
        key = folded(character, "NFKC")
        assert folded(key, "NFKC") == key
