from collections.abc import Iterator

import pytest

from backctl.domain import errors as domain
from backctl.presentation.errors import ExitCode, exit_code_of, wants_json


def _leaves(kind: type[domain.BackctlError]) -> Iterator[type[domain.BackctlError]]:
    for leaf in kind.__subclasses__():
        yield leaf
        yield from _leaves(leaf)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (domain.InvalidInput, 2),
        (domain.NotFound, 3),
        (domain.Conflict, 4),
        (domain.Unavailable, 5),
        (domain.AnswerIsNo, 6),
        (domain.PartialFailure, 7),
        (domain.Refused, 8),
        (domain.Unusable, 9),
    ],
)
def test_every_kind_has_one_exit_code(kind: type[domain.BackctlError], code: int) -> None:
    for leaf in (kind, *_leaves(kind)):
        error = leaf.__new__(leaf)
        assert exit_code_of(error) == code, leaf


def test_every_error_is_of_some_kind() -> None:
    assert {exit_code_of(leaf.__new__(leaf)) for leaf in _leaves(domain.BackctlError)} <= set(ExitCode) - {ExitCode.BUG}


def test_an_error_outside_every_kind_is_a_bug() -> None:
    assert exit_code_of(domain.BackctlError("lost")) is ExitCode.BUG


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("user list -o json", True),
        ("user list -o jsonl", True),
        ("user list -o csv", False),
        ("user list -vqojson", True),
        ("user list --output=json --output tsv", False),
        ("user list -- -o json", False),
        ("user list -o", False),
        ("user list -pojson", False),
        ("", False),
    ],
)
def test_json_is_recognised_in_bare_words(monkeypatch: pytest.MonkeyPatch, words: str, answer: bool) -> None:
    monkeypatch.delenv("BACKCTL_OUTPUT", raising=False)
    assert wants_json(words.split()) is answer


def test_flags_outdo_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKCTL_OUTPUT", "json")
    assert wants_json(["user", "list"])
    assert not wants_json(["user", "list", "-o", "tsv"])
