"""Waiting for servers, with a clock that only the pauses advance."""

from collections.abc import Callable

import pytest

from backctl.application.waiting import Server, wait_for
from backctl.domain.errors import DatabaseUnavailable, DatabaseUnusable, MemoryExhausted, RedisUnavailable


class Machine:
    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []
        self.notices: list[str] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def wait(self, *servers: Server, seconds: float) -> None:
        wait_for(
            servers,
            up_to=int(seconds * 1_000_000),
            monotonic=lambda: self.now,
            pause=self.pause,
            notice=self.notices.append,
        )

    def server(self, name: str, up_at: float, error: Exception) -> Server:
        def ask() -> None:
            if self.now < up_at:
                raise error

        return Server(name, ask)


@pytest.fixture
def machine() -> Machine:
    return Machine()


AWAY = DatabaseUnavailable("away")


def test_a_server_that_answers_is_not_waited_for(machine: Machine) -> None:
    machine.wait(machine.server("db", 100.0, AWAY), seconds=30)
    assert (machine.pauses, machine.notices) == ([], [])


def test_each_server_is_announced_once_and_waited_for(machine: Machine) -> None:
    redis = machine.server("redis", 104.0, RedisUnavailable("away"))
    machine.wait(machine.server("db", 102.0, AWAY), redis, seconds=30)
    assert machine.notices == ["waiting for db", "waiting for redis"]
    assert 104.0 <= machine.now < 105.0


def test_the_time_is_that_of_all_servers_together(machine: Machine) -> None:
    machine.wait(machine.server("db", 900.0, AWAY), machine.server("redis", 900.0, AWAY), seconds=1.2)
    assert machine.now == pytest.approx(101.2)
    machine.wait(machine.server("db", 900.0, AWAY), seconds=0)
    assert machine.now == pytest.approx(101.2)


def test_an_error_that_waiting_cannot_change_ends_the_wait(machine: Machine) -> None:
    machine.wait(machine.server("db", 900.0, DatabaseUnusable("wrong password")), seconds=30)
    assert (machine.pauses, machine.notices) == ([], [])


@pytest.mark.parametrize("error", [MemoryExhausted("no memory"), KeyboardInterrupt(), ValueError("a bug")])
def test_an_error_that_does_not_come_from_the_server_is_raised(machine: Machine, error: BaseException) -> None:
    def ask() -> None:
        raise error

    asked: Callable[[], None] = ask
    with pytest.raises(type(error)):
        machine.wait(Server("db", asked), seconds=30)
