"""Doing a whole transaction again that the database gave up."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, TypeVar, cast

from backctl.domain.errors import TransactionAborted

_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S", bound="Repeating")

TRIES = 3


class Repeating(Protocol):
    """A service whose methods may be repeated."""

    @property
    def pause(self) -> Callable[[int], None]:
        """Wait a little before the try of that number, from 2 on; differently long in every process."""
        ...


def repeated(attempt: Callable[[], _R], pause: Callable[[int], None]) -> _R:
    """What `attempt` answers; it is tried three times at most while the database gives its transaction up.

    It does nothing outside of the transaction that may not happen twice. Raises the last try's TransactionAborted.
    """
    for number in range(2, TRIES + 1):
        try:
            return attempt()
        except TransactionAborted:
            pause(number)
    return attempt()


def repeatable(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """Run a use case again from its start, three times at most, when the database gave its transaction up.

    For methods that hold exactly one unit of work and do nothing outside of it that may not happen twice: after a
    deadlock or a serialization failure nothing of the transaction is left, so what it read must be read again.
    The last try's TransactionAborted is the caller's.
    """

    @wraps(method)
    def run(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return repeated(lambda: method(self, *args, **kwargs), self.pause)

    return cast("Callable[Concatenate[_S, _P], _R]", run)  # only the name of its first parameter is another
