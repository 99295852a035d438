"""Properties that are created once, at their first use in any thread, and dropped when their owner is closed."""

from collections.abc import Callable
from contextlib import ExitStack
from threading import RLock
from typing import Any, Generic, Protocol, Self, TypeVar, overload

from backctl.infrastructure.forks import start_over_in_children

_T = TypeVar("_T")


class Opened(ExitStack):
    """The lazy properties created so far. `close` drops them in reverse order. Works in any thread and after a fork."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = RLock()
        start_over_in_children(self)

    def start_over(self) -> None:
        """Replace the lock: another thread of the parent may have held it at the fork."""
        self.lock = RLock()

    def close(self) -> None:
        with self.lock:
            super().close()


class Owner(Protocol):
    """An object with lazy properties."""

    @property
    def _opened(self) -> Opened: ...


class lazy(Generic[_T]):  # noqa: N801 - a decorator, like `property`
    """Like `functools.cached_property`, but concurrent threads get the same object, and `close` drops it."""

    def __init__(self, make: Callable[[Any], _T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: Owner, owner: type) -> _T: ...

    def __get__(self, instance: Owner | None, owner: type) -> Self | _T:
        if instance is None:
            return self
        opened, made = instance._opened, vars(instance)
        with opened.lock:
            if self._name not in made:
                made[self._name] = self._make(instance)
                opened.callback(made.pop, self._name, None)
            value: _T = made[self._name]
            return value
