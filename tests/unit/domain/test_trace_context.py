"""The examples and rules of W3C Trace Context §3.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backctl.domain.trace_context import trace_id_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.mark.parametrize("end", ["01", "00", "ff"])
def test_the_examples_of_the_standard(end: str) -> None:
    assert trace_id_of(f"00-{TRACE}-{PARENT}-{end}") == TRACE


def test_a_later_version_may_say_more() -> None:
    assert trace_id_of(f"cc-{TRACE}-{PARENT}-01") == TRACE
    assert trace_id_of(f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like") == TRACE


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        "",
        TRACE,
        f"00-{TRACE}-{PARENT}",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-01-",
        f"cc-{TRACE}-{PARENT}-01.more",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
        f" 00-{TRACE}-{PARENT}-01",
        "00-４bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ],
)
def test_what_is_invalid_is_ignored(traceparent: str | None) -> None:
    assert trace_id_of(traceparent) is None


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    assert trace_id_of(text) is None
