"""The base64url and JSON readers accept only input with a single meaning."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backctl.infrastructure.crypto.strict_encoding import json_object, unpadded


# RFC 4648 §10 without padding, and RFC 7515 appendix C.
@pytest.mark.parametrize(
    ("octets", "text"),
    [(b"", b""), (b"f", b"Zg"), (b"fo", b"Zm8"), (b"foo", b"Zm9v"), (b"foob", b"Zm9vYg"), (b"fooba", b"Zm9vYmE"),
     (b"foobar", b"Zm9vYmFy"), (bytes([3, 236, 255, 224, 193]), b"A-z_4ME")],
)  # fmt: skip
def test_published_examples_are_read(octets: bytes, text: bytes) -> None:
    assert unpadded(text) == octets


@settings(deadline=None)
@given(st.binary(max_size=50))
def test_what_was_encoded_is_read_back(octets: bytes) -> None:
    assert unpadded(base64.urlsafe_b64encode(octets).rstrip(b"=")) == octets


@settings(deadline=None, max_examples=1000)
@given(
    st.text("AQgwBCZaz019-_", max_size=12).map(str.encode)
    | st.binary(max_size=8)
    | st.text("Aw-_+/= \n.~", max_size=8).map(str.encode)
)
def test_no_two_texts_are_read_alike(text: bytes) -> None:
    octets = unpadded(text)
    if octets is not None:
        assert base64.urlsafe_b64encode(octets).rstrip(b"=") == text


@pytest.mark.parametrize(
    "text", [b"A", b"AAAAA", b"AB", b"AAB", b"Zg==", b"Zg=", b"+/+/", b"A A", b"AA\n", b"=", b"\xff\xff"]
)
def test_what_is_not_base64url_is_refused(text: bytes) -> None:
    assert unpadded(text) is None


def test_every_last_character_with_unused_bits_is_refused() -> None:
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert [last for last in alphabet if unpadded(b"A" + bytes([last])) is not None] == list(alphabet[::16])
    assert [last for last in alphabet if unpadded(b"AA" + bytes([last])) is not None] == list(alphabet[::4])


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=4), values, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), PLAIN, max_size=4), st.booleans())
def test_every_interoperable_object_is_read(value: dict[str, object], ascii_only: bool) -> None:
    assert json_object(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@settings(deadline=None, max_examples=1000)
@given(st.text('{}[]":,\\u019dD8.eE+- \ntrufalsNIy', max_size=30) | st.text(max_size=10))
def test_whatever_is_read_the_standard_library_reads_alike(text: str) -> None:
    value = json_object(text.encode("utf-8", "surrogatepass"))
    if value is not None:
        assert value == json.loads(text)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ('{"a":9007199254740992}', True),
        ('{"a":9007199254740993}', False),
        ('{"a":-9007199254740992}', True),
        ('{"a":-9007199254740993}', False),
        ('{"a":1e308}', True),
        ('{"a":1e309}', False),
        ('{"a":"\\ud83d\\ude00"}', True),
        ('{"a":"\\ud83d"}', False),
        ('{"a":"\\\\ud83d"}', True),
        ('{"\\ude00":1}', False),
        ('{"a":' + "[" * 15 + "]" * 15 + "}", True),
        ('{"a":' + "[" * 16 + "]" * 16 + "}", False),
        ('{"a":[' + ",".join(["[]"] * 500) + "]}", True),
        ('{"a":"' + "[{" * 500 + '"}', True),
        ('{"a":"\\"' + "[" * 500 + '"}', True),
        ('{"a":"' + "[" * 500, False),
        ('{"a":{"b":1,"b":1}}', False),
        ('{"a":1,"\\u0061":1}', False),
        ("{}", True),
        (" {} \r\n\t", True),
        ("{}\v", False),
        ("\u00a0{}", False),
        ("[{}]", False),
    ],
)
def test_the_edges_are_where_they_are_said_to_be(text: str, accepted: bool) -> None:
    assert (json_object(text.encode()) is not None) is accepted
