"""`apply PLAN`: saved plans."""

from pathlib import Path

import pytest
from tests.cli.accounts import fresh
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents
from tests.cli.seeds import PEOPLE, SECRET, apply, counts, events, knows, saved, seed, with_seeded

__all__ = ["PEOPLE"]

pytestmark = pytest.mark.every_database


def test_a_saved_plan_is_applied_once(installed: Machine) -> None:
    seed(installed)
    saved(installed)
    installed.run("user", "create", "other@example.org", "--username", "other", "--no-password").succeeded()
    done = apply(installed, file="saved")
    assert counts(done) == {"created": 1, "updated": 1, "opened": 1, "closed": 1}
    assert knows(installed, "new", SECRET)
    assert events(installed, "ada")[-1]["reason"] == "CI seed"
    before = installed.stored()
    refused(apply(installed, file="saved"), 4, "plan.stale")
    assert installed.stored() == before


@pytest.mark.parametrize(
    "words",
    [
        ("user", "update", "ada", "--username", "lovelace"),
        ("user", "delete", "bob", "--confirm", "bob"),
        ("user", "create", "new@example.org", "--username", "other", "--no-password"),
    ],
)
def test_a_stale_plan_changes_nothing(installed: Machine, words: tuple[str, ...]) -> None:
    seed(installed)
    saved(installed)
    installed.run(*words).succeeded()
    before = (contents(installed.home), installed.stored())
    error = refused(apply(installed, file="saved"), 4, "plan.stale")
    assert error["hint"] == "make a new plan with 'backctl plan FILE --out PLAN'"
    assert (contents(installed.home), installed.stored()) == before


def test_a_saved_plan_needs_the_same_confirmations(installed: Machine) -> None:
    with_seeded(installed, "new")
    saved(installed, "--prune")
    refused(apply(installed, file="saved"), 8, "confirmation.required")
    assert counts(apply(installed, "--yes", file="saved")) == {"closed": 1}
    saved(installed, "--prune=delete")
    refused(apply(installed, "--yes", file="saved"), 8, "confirmation.required")
    assert counts(apply(installed, "--confirm", "1", file="saved")) == {"deleted": 1}


@pytest.mark.embedded
def test_a_saved_plan_that_does_not_fit_is_refused(installed: Machine, tmp_path: Path) -> None:
    seed(installed)
    saved(installed)
    (tmp_path / "other").mkdir()
    machine = fresh(tmp_path / "other")
    for words in (("saved", "seed.yaml"), ("saved", "--prune"), ("-",)):
        refused(installed.run("apply", *words, "-o", "json"), 2, "usage")
    file = installed.home / "saved"
    text = file.read_text()
    machine.run("init").succeeded()
    (machine.home / "saved").write_text(text)
    refused(apply(machine, file="saved"), 4, "plan.other_installation")
    for broken in (text[: len(text) // 2], text.replace("moderator", "king"), text.replace('"close"', '"closed"')):
        file.write_text(broken)
        refused(apply(installed, file="saved"), 2, "plan.invalid")
