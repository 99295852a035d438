"""Shows the progress of long work on standard error: count, rate and time left.

On a terminal, one line is rewritten a few times per second. Elsewhere a line is printed every ten seconds with `-v`,
and nothing without it. `clock` returns seconds since any start.
"""

import sys
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self

from backctl.presentation import terminal

_REDRAW_SECONDS = 0.2
_LINE_SECONDS = 10.0


class Progress:
    """Counts and shows finished work. As a context manager it clears its line at the end."""

    def __init__(
        self,
        doing: str,
        total: int | None,
        *,
        write: Callable[[str], None],
        live: bool,
        lines: bool,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._doing = doing
        self._total = total
        self._about = ""
        self._write = write
        self._live = live
        self._every = _REDRAW_SECONDS if live else _LINE_SECONDS if lines else None
        self._clock = clock
        self._started = clock()
        self._shown_at = self._started
        self._drawn = False
        self.done = 0

    @classmethod
    def on_stderr(cls, doing: str, total: int | None, *, verbose: bool, quiet: bool) -> Self:
        live = terminal.is_terminal(sys.stderr) and not quiet
        return cls(doing, total, write=terminal.say_raw, live=live, lines=verbose and not live)

    def advance(self, by: int = 1) -> None:
        """Count `by` more."""
        self.done += by
        if self._every is None:
            return
        now = self._clock()
        if now - self._shown_at >= self._every:
            self._shown_at = now
            self._show(now)

    def expect(self, total: int) -> None:
        """Replace the total by an estimate, for example after a part of a file was read."""
        self._total, self._about = max(total, self.done), "about "

    def clear(self) -> None:
        """Clear the line, before something else is written to the terminal."""
        if self._drawn:
            self._write("\r\x1b[K")
            self._drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def _show(self, now: float) -> None:
        rate = self.done / (now - self._started)
        text = f"{self._doing}: {self.done}"
        if self._total is not None:
            text += f" of {self._about}{self._total}"
        text += f", {_rate(rate)}"
        if self._total is not None and rate > 0:
            text += f", {_duration((self._total - self.done) / rate)} left"
        if self._live:
            self._write(f"\r\x1b[K{text[: max(terminal.width() - 1, 1)]}")
            self._drawn = True
        else:
            self._write(f"backctl: {text}\n")


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.1f}/s"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"
