"""A saved plan is stale when an account that it changes has changed; other accounts may change."""

from collections.abc import Sequence

import pytest
from tests.unit.domain.seeds import MemorySnapshot, account, applied, entry, plan_of, user_id

from backctl.application.seeding.staleness import keys_of, require_all_fresh
from backctl.domain.errors import PlanStale
from backctl.domain.seed import AccountState, SecretSource, SeedUser
from backctl.domain.values import Username

ADA, BOB = account(1, "ada", version=3), account(2, "bob")


def check(users: Sequence[SeedUser], before: Sequence[AccountState], after: Sequence[AccountState]) -> None:
    require_all_fresh(plan_of(users, before).changes, MemorySnapshot(after))


@pytest.mark.parametrize(
    "declared",
    [
        entry("ada", role="moderator"),
        entry("ada", state="closed"),
        entry("ada", state="absent"),
        entry("ada", password=SecretSource("env", "X"), enforces_secrets=True),
    ],
)
def test_a_change_is_stale_when_its_account_has_another_version_or_is_gone(declared: SeedUser) -> None:
    check([declared], [ADA, BOB], [ADA])
    check([declared], [ADA], [ADA, BOB._replace(version=9)])
    for version in (2, 4):
        with pytest.raises(PlanStale, match=f"'ada' has version {version} now, and had version 3"):
            check([declared], [ADA], [ADA._replace(version=version)])
    with pytest.raises(PlanStale, match="'ada' no longer exists"):
        check([declared], [ADA], [])
    with pytest.raises(PlanStale, match="'ada' no longer exists"):
        check([declared], [ADA], [ADA._replace(id=user_id(5))])  # created again


def test_a_creation_is_stale_when_an_account_has_its_id_or_a_name() -> None:
    declared = entry("new", id=user_id(7))
    check([declared], [], [ADA, BOB])
    for state in (
        account(7, "other"),
        account(8, "other")._replace(email_key="new@example.org"),
        account(8, "other")._replace(username_key="new"),
    ):
        with pytest.raises(PlanStale, match="'new' was to be created"):
            check([declared], [], [state])


def test_a_name_that_somebody_else_took_makes_a_change_stale() -> None:
    renaming = entry(id=user_id(1), email="new@example.org", username=Username.parse("fresh"))
    check([renaming], [ADA], [ADA, BOB])
    with pytest.raises(PlanStale, match=r"'new@example\.org', which 'ada' was to get"):
        check([renaming], [ADA], [ADA, BOB._replace(email_key="new@example.org")])
    with pytest.raises(PlanStale, match="'fresh', which 'ada' was to get"):
        check([renaming], [ADA], [ADA, BOB._replace(username_key="fresh")])


def test_another_spelling_of_the_own_name_is_not_stale() -> None:
    check([entry(id=user_id(1), email="ADA@example.org")], [ADA], [ADA])


def test_a_plan_that_was_applied_is_stale() -> None:
    states = [ADA, BOB, account(3, "eve"), account(4, "old", is_active=False)]
    users = [
        entry("ada", role="moderator"),
        entry("bob", state="closed", line=2),
        entry("eve", state="absent", line=3),
        entry("old", state="active", line=4),
        entry("new", line=5),
    ]
    plan = plan_of(users, states)
    after = applied(plan, states)
    for change in plan.changes:
        require_all_fresh([change], MemorySnapshot(states))
        with pytest.raises(PlanStale):
            require_all_fresh([change], MemorySnapshot(after))


def test_many_changes_are_checked_in_batches() -> None:
    users = [entry(f"user{number}", line=number) for number in range(2500)]
    plan, snapshot = plan_of(users), MemorySnapshot([])
    require_all_fresh(plan.changes, snapshot)
    assert snapshot.asked == 3
    with pytest.raises(PlanStale, match="'user2499'"):
        require_all_fresh(plan.changes, MemorySnapshot([account(1, "user2499")]))


def test_the_keys_of_a_change_are_the_id_and_the_new_names() -> None:
    (change,) = plan_of([entry(id=user_id(1), email="New@example.org")], [ADA]).changes
    assert keys_of(change) == (user_id(1), "new@example.org", None)
