import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.domain.errors import InvalidInput, UsageError
from backctl.presentation.asking import decoded
from backctl.presentation.input_files import StandardInput
from backctl.presentation.secret_input import SecretInput

NOTHING: dict[str, object] = {"pin_stdin": False, "pin_file": None, "pin_fd": None, "pin_env": None}


def secrets(**flags: str) -> SecretInput:
    return SecretInput(("pin",), {**NOTHING, **flags}, stdin=StandardInput(), interactive=False)


@given(st.text(), st.sampled_from(["", "\n", "\r\n"]))
def test_exactly_one_line_end_is_dropped(text: str, end: str) -> None:
    if end or not text.endswith("\n"):
        clean = text if end != "\n" or not text.endswith("\r") else text[:-1]  # \r and \n are one line end
        assert decoded((text + end).encode(), "the test").reveal() == clean.removeprefix("\ufeff")


@given(st.binary())
def test_only_utf8_is_text_and_errors_hold_nothing_of_it(raw: bytes) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError:
        with pytest.raises(InvalidInput) as caught:
            decoded(raw, "the test")
        assert caught.value.message == "the input from the test is not UTF-8 text"
    else:
        expected = raw.decode().removesuffix("\n").removesuffix("\r" * raw.endswith(b"\n"))
        assert decoded(raw, "the test").reveal() == expected.removeprefix("\ufeff")


def test_a_variable_is_taken_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIN", "1234")
    secret = secrets(pin_env="PIN").read("pin")
    assert secret.reveal() == "1234"
    assert "PIN" not in os.environ
    assert "1234" not in repr(secret)


def test_without_a_flag_no_secret_is_given() -> None:
    assert not secrets().is_given("pin")
    with pytest.raises(UsageError, match="no pin was given"):
        secrets().read("pin")


@pytest.mark.parametrize("number", ["-1", "x", "", "²", "99999999999999999999"])
def test_a_descriptor_is_a_small_number(number: str) -> None:
    with pytest.raises(UsageError, match="descriptor"):
        secrets(pin_fd=number).read("pin")
