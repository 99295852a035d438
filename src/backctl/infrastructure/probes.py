"""Health probes, which `doctor` and `db check` run. Each component contributes its own; none changes anything."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from backctl.application.database_views import CheckView, Failure, failure_of
from backctl.domain.errors import BackctlError, Hint, raise_exhaustion
from backctl.domain.quoting import quoted

RESTORE: Final = "restore the database from a backup"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check."""

    status: Literal["ok", "warn", "fail"]
    text: str
    hint: str | None
    failure: Failure | None = None


NO_INSTALLATION: Final = Finding("warn", "not checked: there is no installation", None)
NO_KEYRING: Final = Finding("warn", "not checked: the keyring cannot be read", None)
UNOPENED: Final = Finding("warn", "not checked: the database cannot be opened", None)


@dataclass(frozen=True, slots=True)
class Probe:
    """One check under its stable name."""

    check: str
    look: Callable[[], Finding]

    def examine(self) -> CheckView:
        """Run the check. An operating-system error is a failed check.

        Raises BackctlError when the part is unusable, ResourcesExhausted when this process cannot examine it.
        """
        try:
            found = self.look()
        except (OSError, OverflowError, ValueError) as error:  # backctl never writes a time out of range
            raise_exhaustion(error)
            return CheckView(self.check, "fail", _reason(error), None, "unusable")
        hint = None if found.hint is None else Hint(found.hint)
        return CheckView(self.check, found.status, found.text, hint, found.failure)


def _reason(error: OSError | OverflowError | ValueError) -> str:
    if not isinstance(error, OSError):
        return "a recorded time is impossible"
    reason = (error.strerror or str(error)).lower()
    return f"{quoted(error.filename, limit=400)}: {reason}" if isinstance(error.filename, str) else reason


def ok(finding: str) -> Finding:
    return Finding("ok", finding, None)


def warn(finding: str, hint: str) -> Finding:
    return Finding("warn", finding, hint)


def fail(finding: str, hint: str, failure: Failure = "unhealthy") -> Finding:
    return Finding("fail", finding, hint, failure)


def failed(error: BackctlError) -> Finding:
    return Finding("fail", error.message, error.hint, failure_of(error))
