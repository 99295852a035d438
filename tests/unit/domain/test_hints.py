"""Hints name the program `backctl` for programs that import the package, and the typed command on the command line."""

import copy
import pickle

import pytest

from backctl.domain.errors import BackctlError, Conflict, Hint
from backctl.presentation import program
from backctl.presentation.errors import document


@pytest.fixture(autouse=True)
def no_selection() -> None:
    program.select(None, None)


def test_a_hint_is_text_that_names_the_program() -> None:
    hint = Hint("run '{backctl} user list' or '{backctl} doctor'")
    assert hint == "run 'backctl user list' or 'backctl doctor'"
    assert hint.for_program("b -p x") == "run 'b -p x user list' or 'b -p x doctor'"


def test_a_hint_of_a_hint_keeps_its_placeholder() -> None:
    again = Hint(Hint("run '{backctl} init'"))
    assert again.for_program("other") == "run 'other init'"


def test_the_hint_of_an_error_is_kept_by_an_error_made_from_it() -> None:
    first = BackctlError("no", hint="run '{backctl} init'")
    second = Conflict("no, too", hint=first.hint)
    assert second.hint is not None
    assert second.hint.for_program("other") == "run 'other init'"
    assert BackctlError("no").hint is None


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda hint: pickle.loads(pickle.dumps(hint))])
def test_a_copied_hint_keeps_its_placeholder(clone) -> None:  # type: ignore[no-untyped-def]  # one of three functions
    assert clone(Hint("run '{backctl} init'")).for_program("other") == "run 'other init'"


@pytest.mark.parametrize(
    ("profile", "config", "command"),
    [
        (None, None, "backctl init"),
        ("production", None, "backctl -p production init"),
        ("a b", "it's.toml", "backctl -p 'a b' --config 'it'\"'\"'s.toml' init"),
        ("{backctl}", None, "backctl -p '{backctl}' init"),
    ],
)
def test_the_command_line_fills_in_the_options_that_select_the_installation(
    profile: str | None, config: str | None, command: str
) -> None:
    program.select(profile, config)
    assert document(Conflict("no", hint="run '{backctl} init'"))["hint"] == f"run '{command}'"
