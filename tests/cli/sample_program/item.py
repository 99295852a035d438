"""One command for each feature that all commands share."""

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Annotated

from typer import Argument, Option

from backctl.application.attribution import Attribution
from backctl.application.guard import guarded
from backctl.application.views import Change
from backctl.domain.errors import BackctlError, DatabaseLocked, NotFound
from backctl.domain.quoting import quoted
from backctl.domain.repositories import Page
from backctl.domain.values import Instant
from backctl.presentation.batch.run import change_each
from backctl.presentation.context import Invocation
from backctl.presentation.declaration import leaf, noun
from backctl.presentation.errors import ExitCode
from backctl.presentation.parameters import Idents

app = noun("item", "Things to test with.")


@dataclass(frozen=True, slots=True)
class ItemView:
    id: str
    name: str | None
    made_at: Instant
    tags: tuple[str, ...]


def _item(number: int, name: str | None = None) -> ItemView:
    return ItemView(f"i{number}", name or f"item {number}", Instant(number), ("a", "b"))


@leaf(app, name="list", view=ItemView)
def list_(
    call: Invocation,
    count: Annotated[int, Option("--count")] = 2,
    cursor: Annotated[str | None, Option("--cursor")] = None,
    all_: Annotated[bool, Option("--all")] = False,
    fail_at: Annotated[int | None, Option("--fail-at")] = None,
) -> None:
    """List items."""

    def items() -> Iterator[ItemView]:
        for number in range(count):
            if number == fail_at:
                raise DatabaseLocked("the database is locked", hint="try again")
            yield _item(number)

    if all_:
        call.results.stream(items(), ItemView)
        call.messages.notice(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}")
    else:
        call.results.show_page(Page(tuple(items()), cursor), ItemView)


@leaf(app, view=ItemView)
def search(
    call: Invocation,
    by: Annotated[str | None, Option("--by")] = None,
    words: Annotated[str | None, Option("--reason-contains")] = None,
) -> None:
    """Search items by actor and reason."""
    call.results.show(_item(1, by or words))


@leaf(app, records=True)
def measure(call: Invocation) -> None:
    """Measure an item and record an event."""
    done = {"actor": call.attribution.actor.label, "reason": call.attribution.reason}
    call.results.value(call.attribution.actor.label, done)


@leaf(app, view=ItemView)
def show(call: Invocation, name: Annotated[str, Argument(metavar="NAME")]) -> None:
    """Show an item."""
    if name == "none":
        raise NotFound(f"there is no {quoted(name)}", hint="see 'item list'")
    call.results.show(_item(1, name.encode("utf-8", "surrogateescape").decode("unicode_escape")))


@dataclass(frozen=True)
class ItemCheck:
    ok: bool
    name: str


@leaf(app, view=ItemCheck)
def exists(call: Invocation, name: Annotated[str, Argument(metavar="NAME")]) -> None:
    """Check an item."""
    call.results.check(ItemCheck(name != "none", name), no=ExitCode.NOT_FOUND)


@leaf(app, changes="create an item", secrets=("password", "pin"), view=ItemView, members=("password", "length"))
def create(
    call: Invocation,
    generate: Annotated[bool, Option("--generate")] = False,
    pin: Annotated[bool, Option("--with-pin")] = False,
) -> None:
    """Create an item."""
    change = Change(_item(1), True)
    if generate:
        call.results.changed(change, password="pass word")
        return
    secret = call.secrets.read("password", new=True, instead="--generate")
    if pin:
        call.secrets.read("pin")
    inherited = "password inherited" if any("hunter2" in value for value in os.environ.values()) else None
    call.results.changed(change, length=len(secret.reveal()), warning=inherited)


@leaf(app, changes="change {name}", view=ItemView)
def change(
    call: Invocation,
    name: Annotated[str, Argument(metavar="[NAME]")] = "an item",
    same: Annotated[bool, Option("--same")] = False,
) -> None:
    """Change an item of a real configuration."""
    assert call.backend is call.backend

    def made(dry_run: bool) -> Change[ItemView]:
        if not dry_run:
            sys.stderr.write("changing\n")
        return Change(_item(1), not same)

    done = guarded(made, guard=call.guard, changes=lambda made: made.changed, dry_run=call.dry_run)
    by = call.attribution
    call.results.changed(done, actor=by.actor.label, reason=by.reason, timeout=call.timeout, profile=call.profile)


@leaf(app, changes="delete {name}", guard="name", view=ItemView)
def delete(call: Invocation, name: Annotated[str, Argument(metavar="NAME")]) -> None:
    """Delete an item."""
    call.guard.confirm_name(name, f"permanently delete {name}")
    deleted = Change(_item(1, name), True)
    call.results.changed(
        guarded(lambda dry_run: deleted, guard=call.guard, changes=lambda change: True, dry_run=call.dry_run)
    )


@leaf(app, changes="close {idents}", bulk=True, view=ItemView)
def close(
    call: Invocation,
    idents: Idents = None,
    gate: Annotated[int | None, Option("--gate", help="Descriptor that lets one through for each byte.")] = None,
) -> None:
    """Close items."""

    def one(ident: str) -> Change[ItemView] | BackctlError:
        if gate is not None:
            sys.stderr.write(f"at {ident}\n")
            sys.stderr.flush()
            os.read(gate, 1)
        if ident.startswith("missing"):
            return NotFound(f"there is no {quoted(ident)}")
        if ident.startswith("locked"):
            raise DatabaseLocked("the database is locked")
        if ident.startswith("bug"):
            raise ZeroDivisionError
        return Change(_item(1, ident), not ident.startswith("same"))

    def action(
        names: Iterable[str], *, by: Attribution, dry_run: bool, stop: Callable[[], bool]
    ) -> Iterator[Change[ItemView] | BackctlError]:
        if call.guard.is_due and not dry_run:
            call.guard.ask()
        return (one(name) for name in takewhile(lambda name: not stop(), names))

    change_each(call, idents, action, view=ItemView, doing="closing")


@leaf(app)
def wait(call: Invocation) -> None:
    """Wait for a signal, and clean up."""
    try:
        sys.stderr.write("ready\n")
        sys.stderr.flush()
        while True:
            signal.pause()
    finally:
        sys.stderr.write("cleaned\n")


@leaf(app)
def crash(call: Invocation) -> None:
    """Have a bug."""
    raise ZeroDivisionError("secret detail")
