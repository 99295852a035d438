import errno
import io
import sys

import pytest

from backctl.presentation import terminal


class Failing(io.StringIO):
    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def write(self, text: str, /) -> int:
        raise OSError(self._number, "it failed")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_reader_that_left_is_told_from_a_full_disk() -> None:
    with pytest.raises(terminal.ClosedOutput):
        terminal.Sink(Failing(errno.EPIPE)).write("x")
    with pytest.raises(terminal.OutputFailed, match="it failed"):
        terminal.Sink(Failing(errno.ENOSPC)).write("x")


def test_a_patient_sink_drops_the_rest() -> None:
    sink = terminal.Sink(Failing(errno.EPIPE))
    sink.patient = True
    sink.write("x")
    sink.write("y")
    sink.flush()


def test_a_closed_stream_takes_everything() -> None:
    sink = terminal.Sink(None)
    sink.write("x")
    sink.flush()
    assert not sink.terminal


@pytest.mark.parametrize(
    ("environment", "stream", "answer"),
    [
        ({}, Terminal(), True),
        ({}, io.StringIO(), False),
        ({"NO_COLOR": "1"}, Terminal(), False),
        ({"NO_COLOR": ""}, Terminal(), True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, Terminal(), False),
        ({"FORCE_COLOR": "1"}, io.StringIO(), True),
        ({"FORCE_COLOR": "0"}, Terminal(), False),
        ({"TERM": "dumb"}, Terminal(), False),
    ],
)
def test_colour_follows_the_conventions(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], stream: io.StringIO, answer: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM", "BACKCTL_NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    terminal.refuse_color(False)
    assert terminal.color_wanted(stream) is answer


def test_messages_are_one_escaped_line_of_bounded_length(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    terminal.say("a\nb\x1b[2J\u202e" + "x" * 10_000 + "end")
    text = stream.getvalue()
    assert text.startswith("backctl: a\\nb\\x1b[2J\\u202exxx")
    assert text.endswith("xend\n")
    assert len(text) < 2_100


def test_a_broken_stderr_is_nobody_left_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (Failing(errno.EPIPE), None):
        monkeypatch.setattr(sys, "stderr", stream)
        terminal.say("lost", "error")


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("ａ", 2), ("", 0)])
def test_display_width(text: str, columns: int) -> None:
    assert terminal.display_width(text) == columns
