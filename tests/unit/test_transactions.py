"""The transaction runner: what it retries, and that nothing else begins or ends a transaction."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from backctl.application.transactions import Transactions
from backctl.domain.errors import BackctlError, ConnectionLost, DatabaseUnavailable, TransactionAborted

APPLICATION = Path(__file__).parents[2] / "src" / "backctl" / "application"


def never(**options: object) -> NoReturn:
    raise AssertionError(f"a transaction was begun: {options}")


def failing(failures: list[BackctlError]) -> Callable[[], int]:
    """Raise the failures one after the other, then return 7."""

    def attempt() -> int:
        if failures:
            raise failures.pop(0)
        return 7

    return attempt


def runner(pauses: list[int]) -> Transactions:
    return Transactions(never, never, pauses.append)


def test_an_attempt_that_was_aborted_twice_succeeds_the_third_time_after_pauses() -> None:
    pauses: list[int] = []
    assert runner(pauses).repeated(failing([TransactionAborted("deadlock"), ConnectionLost("gone")])) == 7
    assert pauses == [2, 3]


def test_after_three_attempts_the_caller_gets_the_error() -> None:
    failures: list[BackctlError] = [TransactionAborted(str(number)) for number in range(1, 5)]
    with pytest.raises(TransactionAborted, match="3"):
        runner([]).repeated(failing(failures))
    assert len(failures) == 1


def test_no_other_error_is_repeated() -> None:
    pauses: list[int] = []
    with pytest.raises(DatabaseUnavailable):
        runner(pauses).repeated(failing([DatabaseUnavailable("down")]))
    assert pauses == []


def test_only_the_runner_commits() -> None:
    """A use case that ends its own transaction cannot be combined with another."""
    committing = {
        file.name
        for file in APPLICATION.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "commit"
    }
    assert committing == {"transactions.py"}
