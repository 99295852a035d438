"""Notices, warnings and progress on standard error."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from backctl.domain.quoting import quoted
from backctl.presentation import terminal

if TYPE_CHECKING:
    from backctl.presentation.progress import Progress
    from backctl.settings import LoadedSettings


class Messages:
    """What a command says beside its result. `-q` suppresses notices, `-v` adds details."""

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._progress: Progress | None = None

    def details(self, lines: Callable[[], Iterable[str]]) -> None:
        """Print lines with `-v`. They are only computed then."""
        if self._verbose:
            for line in lines():
                terminal.say(line)

    def notice(self, text: str) -> None:
        """Print a line, unless `-q`."""
        if not self._quiet:
            terminal.say(text)

    def warn(self, text: str, *, with_quiet: bool = True) -> None:
        """Print a warning. `with_quiet`: with `-q` too."""
        if with_quiet or not self._quiet:
            terminal.say(text, "warning")

    @contextmanager
    def progress(self, doing: str, total: int | None = None) -> Iterator["Progress"]:
        """Show the progress of long work: `with call.messages.progress("reading", n) as progress: progress.advance()`.

        `total` is the number of steps, None if unknown.
        """
        from backctl.presentation.progress import Progress

        terminal.collect_garbage_again()
        with Progress.on_stderr(doing, total, verbose=self._verbose, quiet=self._quiet) as progress:
            self._progress = progress
            try:
                yield progress
            finally:
                self._progress = None

    def clear_progress(self) -> None:
        """Clear the line of the progress, before a result or a question is printed."""
        if self._progress is not None:
            self._progress.clear()


def warn_about_variables(messages: Messages) -> None:
    """Warn about environment variables that look like settings but are none, unless `-q`."""
    from backctl.settings import misspelt_variables

    for name, meant in misspelt_variables(os.environ):
        messages.warn(
            f"no setting has the environment variable {quoted(name)}; did you mean {meant}?", with_quiet=False
        )


def describe_selection(loaded: "LoadedSettings", messages: Messages) -> None:
    """Print with `-v` which configuration and profile are used, and where the profile is selected."""

    def line() -> str:
        name = loaded.settings.profile
        selected = f"{name} ({loaded.origin('profile')})" if name else "none"
        return f"configuration {loaded.file or 'none'}, profile {selected}"

    messages.details(lambda: (line(),))


def describe_storage(loaded: "LoadedSettings", messages: Messages) -> None:
    """Print with `-v` which database and keyring are used."""
    messages.details(lambda: (f"database {loaded.database_shown or 'none'}, keyring {loaded.keyring_shown}",))
