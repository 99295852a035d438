"""One run of a command: its shared flags, its settings and its backend.

Everything opens lazily. A command takes its service (`call.backend.accounts`) before it asks for a secret or reads
standard input, so that a configuration error is reported first.
"""

import os
import sys
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from backctl.domain.errors import UsageError
from backctl.domain.quoting import quoted
from backctl.presentation import program, terminal
from backctl.presentation.declaration import LeafSpec
from backctl.presentation.messages import Messages, describe_selection, describe_storage, warn_about_variables
from backctl.presentation.output import Format
from backctl.presentation.results import Results

if TYPE_CHECKING:
    from backctl.application.attribution import Attribution
    from backctl.backend import Backend
    from backctl.domain.values import Instant
    from backctl.presentation.guard import CommandGuard
    from backctl.presentation.input_files import StandardInput
    from backctl.presentation.secret_input import SecretInput
    from backctl.settings import LoadedSettings

_NAME_MAX = 200


class Invocation:
    """The first parameter of every command function."""

    def __init__(self, spec: LeafSpec, flags: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        """Check the flags before anything is opened.

        `flags` are the parsed shared options by their names without `shared_`, `parameters` those of the command.
        Raises UsageError and InvalidInput.
        """
        self._spec = spec
        self._described = False
        self.parameters = dict(parameters)
        """What the command works on, as its question to a person names it."""
        self.flags = flags
        self.profile: str | None = _printable("--profile", flags["profile"])
        """The value of `--profile`; None leaves the choice to the environment and the configuration."""
        self.config_file: str | None = flags["config"]
        program.select(self.profile, self.config_file)
        self.interactive: bool = not flags["no_input"] and terminal.is_terminal(sys.stdin)
        """Whether a person can be asked: standard input is a terminal and `--no-input` was not given."""
        self.reason: str | None = flags.get("reason")
        if self.reason is not None:
            from backctl.domain.values import checked_reason

            checked_reason(self.reason)
        self.dry_run: bool = flags.get("dry_run", False)
        self.timeout: str | None = flags["timeout"]
        """The value of `--timeout`, which overrides the configured one."""
        if self.timeout is not None:
            from backctl.settings.durations import parse_duration

            parse_duration(self.timeout)
        self.messages = Messages(quiet=flags["quiet"], verbose=flags["verbose"])
        self.results = Results(
            Format(flags["output"]) if flags["output"] else None,
            fields=_names(flags["fields"]),
            header=not flags["no_header"],
            empty=_text("--empty", flags["empty"]),
            quiet=flags["quiet"],
            dry_run=self.dry_run,
            messages=self.messages,
        )
        self._check_fields()
        if spec.secrets:
            self.secrets  # noqa: B018 - remove secrets from the environment before any process is started

    @cached_property
    def attribution(self) -> "Attribution":
        """The actor, the reason and the trace from `TRACEPARENT`, recorded with every event.

        Only commands that record events may use it; see `leaf`.
        """
        from backctl.domain.trace_context import trace_id_of

        trace_id = trace_id_of(os.environ.get("TRACEPARENT"))
        return self.backend.by(self.flags["actor"], reason=self.reason, trace_id=trace_id)

    @cached_property
    def stdin(self) -> "StandardInput":
        """Standard input, which only one part of the command may read."""
        from backctl.presentation.input_files import StandardInput

        return StandardInput()

    @cached_property
    def settings(self) -> "LoadedSettings":
        """The configuration with the origin of every value. Raises InvalidConfiguration."""
        from backctl.settings import load

        is_first, self._described = not self._described, True
        if is_first:  # a misspelt variable could select another database than intended
            warn_about_variables(self.messages)
        timeout = {} if self.timeout is None else {"database.timeout": self.timeout}
        loaded = load(config_file=self.config_file, profile=self.profile, environ=os.environ, overrides=timeout)
        program.use_profile(loaded.settings.profile)
        if is_first:
            describe_selection(loaded, self.messages)
        return loaded

    @cached_property
    def backend(self) -> "Backend":
        """The services. Closed when the command ends."""
        from backctl.backend import Backend

        describe_storage(self.settings, self.messages)
        return Backend(
            self.settings,
            notice=self.messages.notice,
            guard=self.guard if self._spec.mutation else None,
            short_lived=True,
        )

    def now(self) -> "Instant":
        """Return the current time of the services, the same each time: `--since 3d --until 3d` is no period."""
        return self._now

    @cached_property
    def _now(self) -> "Instant":
        return self.backend.now()

    @property
    def action(self) -> str:
        """What the command changes, as questions say it; see `leaf`."""
        return self._spec.described(self.parameters)

    @cached_property
    def guard(self) -> "CommandGuard":
        """Asks before the first change of the command, under a protected profile and where the command says so."""
        from backctl.presentation.guard import CommandGuard

        return CommandGuard(
            self.flags,
            interactive=self.interactive,
            action=lambda: self.action,
            settings=lambda: self.settings.settings,
            mutation=self._spec.mutation,
            before_asking=self.messages.clear_progress,
        )

    @cached_property
    def secrets(self) -> "SecretInput":
        """The secrets of the command, from flags, standard input or the terminal."""
        from backctl.presentation.secret_input import SecretInput

        return SecretInput(self._spec.secrets, self.flags, stdin=self.stdin, interactive=self.interactive)

    def reload(self) -> None:
        """Read the configuration again at its next use, after a command changed it."""
        self.close()
        self.__dict__.pop("settings", None)

    def close(self) -> None:
        """Close what was opened."""
        backend = self.__dict__.pop("backend", None)
        if backend is not None:
            backend.close()

    def _check_fields(self) -> None:
        renderer, view = self.results.renderer, self._spec.view
        if renderer.has_headers and not hasattr(view, "headers_of"):
            raise UsageError("this result has no headers", hint="only answers of rate limits have them")
        if renderer.fields is None or (view is None and not self._spec.mutation):
            return
        if view is None:
            raise UsageError("--fields has no effect here")
        renderer.require_known(self._spec.views(), self._spec.further())


def _printable(flag: str, text: str | None) -> str | None:
    if text is not None and not (0 < len(text) <= _NAME_MAX and text.isprintable()):
        raise UsageError(f"{flag} {quoted(text)} is not 1 to {_NAME_MAX} printable characters")
    return text


def _text(flag: str, text: str | None) -> str:
    if text is not None and not text.isprintable():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise UsageError(f"{flag} {quoted(text)} is not UTF-8 text") from None
    return text or ""


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) != len(names):
        raise UsageError(f"--fields {quoted(text)} has an empty or repeated name", hint="write --fields id,email")
    return names
