"""Resets what a forked child must not share with its parent: connections, and locks held by other threads."""

import os
from typing import Protocol
from weakref import WeakSet


class Forked(Protocol):
    """A resource that resets itself in a forked child."""

    def start_over(self) -> None:
        """Drop what belongs to the parent without closing it. Called in the child before any other code."""
        ...


_forked: WeakSet[Forked] = WeakSet()


def start_over_in_children(resource: Forked) -> None:
    """Call `resource.start_over` in every child that this process forks, as long as `resource` exists."""
    _forked.add(resource)


class ClosedBeforeForks(Protocol):
    """A resource that a forked child must not inherit."""

    def before_fork(self) -> None:
        """Close what can be closed. Called in the parent."""
        ...


_closed: WeakSet[ClosedBeforeForks] = WeakSet()


def close_before_forks(resource: ClosedBeforeForks) -> None:
    """Call `resource.before_fork` before every fork of this process, as long as `resource` exists."""
    _closed.add(resource)


class PausedDuringForks(Protocol):
    """Something that uses resources in threads of its own."""

    def before_fork(self) -> None:
        """Stop using them. Called in the parent, before any resource is closed."""
        ...

    def after_fork(self) -> None:
        """Go on. Called in the parent."""
        ...


_paused: WeakSet[PausedDuringForks] = WeakSet()


def pause_during_forks(resource: PausedDuringForks) -> None:
    """Pause `resource` during every fork of this process, as long as it exists."""
    _paused.add(resource)


def _before_fork() -> None:
    for resource in list(_paused):
        resource.before_fork()
    for closed in list(_closed):
        closed.before_fork()


def _after_in_parent() -> None:
    for resource in list(_paused):
        resource.after_fork()


def _after_in_child() -> None:
    for resource in list(_forked):
        resource.start_over()


os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
