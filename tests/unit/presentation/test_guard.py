"""When a command must ask, and which flags answer for a person."""

from typing import Any

import pytest

from backctl.domain.errors import ConfirmationRequired
from backctl.presentation.guard import CommandGuard
from backctl.settings import DEFAULTS, Settings

PROTECTED = DEFAULTS._replace(protected=True, profile="production")


def guard(settings: Settings = DEFAULTS, *, mutation: bool = True, **flags: Any) -> CommandGuard:
    return CommandGuard(
        {"reason": None, **flags},
        interactive=False,
        action=lambda: "deactivate ada",
        settings=lambda: settings,
        mutation=mutation,
    )


def refusal(asked: CommandGuard) -> str:
    assert asked.is_due
    with pytest.raises(ConfirmationRequired) as caught:
        asked.ask()
    assert asked.is_due
    return caught.value.message


def test_an_ordinary_command_asks_nothing() -> None:
    assert not guard().is_due


def test_a_command_asks_what_it_says() -> None:
    asked = guard()
    asked.confirm("deactivate 3 accounts")
    assert refusal(asked) == "not confirmed: deactivate 3 accounts?"


def test_a_protected_profile_requires_a_reason_first() -> None:
    expected = "the profile 'production' is protected: a change needs a reason"
    assert refusal(guard(PROTECTED)) == expected
    assert refusal(guard(PROTECTED, yes=True)) == expected
    assert refusal(guard(PROTECTED._replace(profile=""), yes=True)) == (
        "the configuration is protected: a change needs a reason"
    )


def test_a_protected_profile_asks_with_the_name_of_the_profile() -> None:
    assert refusal(guard(PROTECTED, reason="left")) == "not confirmed: deactivate ada in profile production?"


@pytest.mark.parametrize("flags", [{"yes": True}, {"confirm": "anything"}])
def test_flags_that_answer_everything_leave_nothing_to_ask(flags: dict[str, Any]) -> None:
    assert not guard(PROTECTED, reason="left", **flags).is_due


def test_only_the_name_confirms_what_must_be_named() -> None:
    for yes in (False, True):
        asked = guard(yes=yes)
        asked.confirm_name("ada", "permanently delete ada")
        assert refusal(asked) == "not confirmed: permanently delete ada"
    wrong = guard(confirm="bob")
    wrong.confirm_name("ada", "permanently delete ada")
    assert refusal(wrong) == "'bob' is not 'ada'; nothing was changed"
    right = guard(PROTECTED, reason="left", confirm="ada")
    right.confirm_name("ada", "permanently delete ada")
    assert not right.is_due


def test_a_dry_run_asks_nothing() -> None:
    asked = guard(PROTECTED, dry_run=True)
    asked.confirm_name("ada", "permanently delete ada")
    assert not asked.is_due


def test_a_query_asks_nothing_of_a_protected_profile() -> None:
    assert not guard(PROTECTED, mutation=False).is_due
