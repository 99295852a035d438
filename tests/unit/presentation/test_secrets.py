import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.domain.errors import InvalidInput, UsageError
from backctl.presentation.secrets import SecretSources, decoded

NOTHING: dict[str, object] = {"pin_stdin": False, "pin_file": None, "pin_fd": None, "pin_env": None}


@given(st.text(), st.sampled_from(["", "\n", "\r\n"]))
def test_exactly_one_line_end_is_dropped(text: str, end: str) -> None:
    if end or not text.endswith("\n"):
        clean = text if end != "\n" or not text.endswith("\r") else text[:-1]  # \r and \n are one line end
        assert decoded((text + end).encode(), "the test").reveal() == clean


@given(st.binary())
def test_only_utf8_is_text_and_errors_hold_nothing_of_it(raw: bytes) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError:
        with pytest.raises(InvalidInput) as caught:
            decoded(raw, "the test")
        assert caught.value.message == "what the test gives is not UTF-8 text"
    else:
        assert decoded(raw, "the test").reveal() == raw.decode().removesuffix("\n").removesuffix(
            "\r" * raw.endswith(b"\n")
        )


def test_a_variable_is_taken_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIN", "1234")
    sources = SecretSources(("pin",), {**NOTHING, "pin_env": "PIN"}, lambda flag: None)
    secret = sources.read("pin")
    assert secret is not None
    assert secret.reveal() == "1234"
    assert "PIN" not in os.environ
    assert "1234" not in repr(secret)


def test_no_flag_is_no_secret() -> None:
    sources = SecretSources(("pin",), NOTHING, lambda flag: None)
    assert sources.given("pin") is None
    assert sources.read("pin") is None


@pytest.mark.parametrize("number", ["-1", "x", "", "²", "99999999999999999999"])
def test_a_descriptor_is_a_small_number(number: str) -> None:
    with pytest.raises(UsageError, match="descriptor"):
        SecretSources(("pin",), {**NOTHING, "pin_fd": number}, lambda flag: None).read("pin")
