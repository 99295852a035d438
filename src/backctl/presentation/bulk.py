"""A change of many identities in one command: each has its own outcome, and all are reported together."""

import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from backctl.application.attribution import Attribution
from backctl.domain.errors import BackctlError, PartialFailure, quoted
from backctl.presentation import terminal
from backctl.presentation.errors import Terminated, document
from backctl.presentation.output import members

if TYPE_CHECKING:
    from backctl.application.transactions import Outcome
    from backctl.presentation.context import Invocation
    from backctl.presentation.identities import Identities


class Action(Protocol):
    """What is done to many identities, such as `AccountService.change_each` for one kind of change."""

    def __call__(
        self, idents: Iterable[str], /, *, by: Attribution, dry_run: bool, stop: Callable[[], bool]
    ) -> "Iterator[Outcome[Any]]":
        """The outcome for each, in order, lazily and each when it is durable.

        Fewer when `stop`, asked where a stop leaves nothing half done, answered yes. Raises what ends the whole run.
        """
        ...


_NAMED = 5
"""Failed identities that the error message names; the report holds all of them."""


class _Interruption:
    """The first signal lets the transaction that has begun finish; the second one stops at once."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def arrived(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            raise self.error()
        self.signal = number
        # Past sys.stderr, which the signal may have found in the middle of a write.
        with suppress(OSError):
            os.write(2, b"backctl: finishing the changes that have begun; interrupt again to stop at once\n")

    def error(self) -> BaseException:
        return KeyboardInterrupt() if self.signal in (None, signal.SIGINT) else Terminated(self.signal)

    @contextmanager
    def watched(self) -> Iterator[None]:
        before = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                    before[number] = signal.signal(number, self.arrived)
        except ValueError:  # not the main thread: nothing can be caught here
            before.clear()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Batch:
    """The run over all identities, and what has become of them so far."""

    def __init__(self, call: "Invocation", idents: "Identities", action: Action) -> None:
        self._call = call
        self._idents = idents
        self._action = action
        self._interruption = _Interruption()
        self._outcomes: Iterator[Outcome[Any]] = iter(())
        self._stopping = False
        self.done = 0
        self.changed = 0
        self.failed = 0
        self.failed_first: list[str] = []
        self.stopped_by: BaseException | None = None

    def records(self, view: type, doing: str) -> Generator[Mapping[str, object], None, None]:
        """Do it, yielding one record for each identity. Ends early, with `stopped_by` set, instead of raising."""
        names = members(view)
        extra: dict[str, object] = {"dry_run": True} if self._call.dry_run else {}
        with self._interruption.watched(), self._call.progress(doing, len(self._idents)) as progress:
            self._call.renderer.sink.before_write = progress.clear
            self._outcomes = self._begun()
            for ident in self._idents:
                try:
                    outcome = next(self._outcomes, None)
                except BaseException as error:
                    self.stopped_by = error
                    return
                if outcome is None:
                    self.stopped_by = self._interruption.error()
                    return
                record: dict[str, object] = {"ident": ident}
                self._count(outcome)
                if isinstance(outcome, BackctlError):
                    if len(self.failed_first) <= _NAMED:  # one more than is named says that there are others
                        self.failed_first.append(ident)
                    record["error"] = document(outcome) if self._call.renderer.is_json else outcome.message
                else:
                    record.update((name, getattr(outcome.value, name)) for name in names)
                    record["changed"] = outcome.changed
                    record.update(extra)
                progress.advance()
                yield record

    def stop(self) -> None:
        """Begin nothing further, and count what the last transaction did and nobody asked for yet."""
        self._stopping = True
        for outcome in self._outcomes:
            self._count(outcome)

    def _count(self, outcome: "Outcome[Any]") -> None:
        self.done += 1
        if isinstance(outcome, BackctlError):
            self.failed += 1
        else:
            self.changed += outcome.changed

    def _begun(self) -> "Iterator[Outcome[Any]]":
        call = self._call
        return self._action(
            self._idents,
            by=call.attribution,
            dry_run=call.dry_run,
            stop=lambda: self._stopping or self._interruption.signal is not None,
        )

    def summary(self) -> dict[str, object]:
        """The last members of a JSON report."""
        return {
            "total": len(self._idents),
            "done": self.done,
            "changed": self.changed,
            "failed": self.failed,
        }


def run_each(
    call: "Invocation",
    idents: "Identities",
    action: Action,
    *,
    view: type,
    doing: str,
) -> None:
    """Run `action` on all identities, print one record for each, and raise for what failed.

    Raises PartialFailure when single ones failed; whatever stopped the run early (a signal, a lost database) after
    saying how far it came. A reader that leaves does not stop it.
    """
    batch = _Batch(call, idents, action)
    records = batch.records(view, doing)
    call.renderer.sink.patient = True
    try:
        if call.quiet:
            for _ in records:
                continue
        else:
            columns = () if call.renderer.is_table else members(view)
            names = ("ident", *columns, "changed", *(("dry_run",) if call.dry_run else ()), "error")
            call.renderer.records(names, records, batch.summary)
    except BaseException as error:
        batch.stopped_by = error
        batch.stop()
    finally:
        records.close()
        call.renderer.sink.before_write = None
    if batch.stopped_by is not None:
        onward = "; run the same command again to finish the rest" if batch.done < len(idents) else ""
        terminal.say(f"stopped: {batch.done} of {len(idents)} done{onward}")
        if isinstance(batch.stopped_by, terminal.OutputFailed) and batch.changed and not call.dry_run:
            raise terminal.ResultLost(
                f"{batch.changed} changes were made, but their results could not be written",
                hint="send them where there is room, or pass -q",
            ) from batch.stopped_by
        raise batch.stopped_by
    if not call.renderer.is_json:
        call.notice(f"{batch.done} done, {batch.changed} changed, {batch.failed} failed")
    if batch.failed:
        raise PartialFailure(f"{batch.failed} of {len(idents)} failed: {first_of(batch.failed_first)}")


def first_of(names: Sequence[str]) -> str:
    """The first names that something failed for, as an error shows them."""
    return ", ".join(map(quoted, names[:_NAMED])) + (", …" if len(names) > _NAMED else "")
