"""A use case is done again when its transaction was given up, and only then."""

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from backctl.application.repeating import repeatable
from backctl.domain.errors import BackctlError, ConnectionLost, DatabaseUnavailable, TransactionAborted

APPLICATION = Path(__file__).parents[2] / "src" / "backctl" / "application"


@dataclass
class Service:
    """Fails with each of `failures` in turn, then answers."""

    failures: list[BackctlError]
    pauses: list[int] = field(default_factory=list)

    @property
    def pause(self) -> Callable[[int], None]:
        return self.pauses.append

    @repeatable
    def answer(self, number: int) -> int:
        if self.failures:
            raise self.failures.pop(0)
        return number


def test_what_was_given_up_twice_is_done_at_the_third_try_after_a_pause() -> None:
    service = Service([TransactionAborted("deadlock"), ConnectionLost("gone")])
    assert service.answer(7) == 7
    assert service.pauses == [2, 3]


def test_after_three_tries_the_callers_get_the_error() -> None:
    service = Service([TransactionAborted(str(number)) for number in range(1, 5)])
    with pytest.raises(TransactionAborted, match="3"):
        service.answer(7)
    assert len(service.failures) == 1


def test_no_other_error_is_tried_again() -> None:
    service = Service([DatabaseUnavailable("down")])
    with pytest.raises(DatabaseUnavailable):
        service.answer(7)
    assert service.pauses == []


def test_every_use_case_with_a_unit_of_work_has_one_of_it_and_is_repeatable() -> None:
    """More than one could be repeated after the first was made."""
    found = []
    for file in APPLICATION.glob("*.py"):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            begun = [
                call
                for call in ast.walk(function)
                if isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in ("unit_of_work", "_unit_of_work")
            ]
            if begun:
                found.append(function.name)
                decorators = [node.id for node in function.decorator_list if isinstance(node, ast.Name)]
                assert (len(begun), decorators) == (1, ["repeatable"]), f"{file.name}: {function.name}"
    assert {"revoke_user", "_sweep_once"} <= set(found)
