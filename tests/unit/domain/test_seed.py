"""Plans: what changes, what is refused, and that a plan makes the accounts match the files."""

from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.domain.seeds import (
    NOW,
    SECOND,
    MemorySnapshot,
    account,
    applied,
    at_line,
    entry,
    plan_of,
    user_id,
)

from backctl.domain.access import DEFAULT_ROLE
from backctl.domain.errors import (
    AccountAmbiguous,
    BackctlError,
    InvalidInput,
    LastAdministrator,
    SeedRepeated,
    UsernameTaken,
)
from backctl.domain.seed import (
    NO_VALUES,
    AccountState,
    AccountValues,
    Desired,
    Origin,
    Plan,
    PlannedChange,
    Prune,
    SecretSource,
    Seed,
    SeedUser,
    Summary,
)
from backctl.domain.seed_plan import AT_ONCE, Planning, planned
from backctl.domain.values import NEVER, Expiry, Instant, Username

LATER = NOW.plus(3600 * SECOND)
ENV = SecretSource("env", "SEED_PASSWORD")
FILE = SecretSource("file", "test.hash")
GENERATED = SecretSource("generate")


def only(plan: Plan) -> PlannedChange:
    (change,) = plan.changes
    return change


def actions(plan: Plan) -> list[tuple[str, str]]:
    return [(change.action, change.username) for change in plan.changes]


# What changes.


def test_an_entry_without_an_account_creates_an_active_one() -> None:
    plan = plan_of([entry("ada", line=7, id=user_id(1), password=ENV, must_change_password=True)])
    change = only(plan)
    assert (change.action, change.seed, change.origin) == ("create", "ci", Origin("seed.yaml", 7))
    assert (change.id, change.version, change.before) == (user_id(1), None, {})
    assert change.after == {
        "email": "ada@example.org",
        "username": "ada",
        "role": DEFAULT_ROLE,
        "is_active": True,
        "must_change_password": True,
        "password": "{env: SEED_PASSWORD}",
    }
    assert plan.summary == Summary(create=1)
    assert (plan.names, plan.files) == (("ci",), ("seed.yaml",))


def test_a_new_account_can_be_closed_at_once_and_expire_after_a_while() -> None:
    change = only(plan_of([entry("old", state="closed", expiry=Expiry(after=SECOND))]))
    assert change.action == "create"
    assert change.after["is_active"] is False
    assert change.after["expires_in"] == SECOND


def test_an_account_as_declared_does_not_change() -> None:
    ada = account(1, "ada", role="moderator", expires_at=LATER)
    declared = entry("ada", id=user_id(1), state="active", role="moderator", expiry=Expiry(at=LATER), password=ENV)
    plan = plan_of([declared], [ada])
    assert plan.changes == ()
    assert plan.summary == Summary(unchanged=1)
    assert plan.summary.changes == 0


def test_members_that_are_not_declared_stay() -> None:
    ada = account(1, "ada", role="admin", expires_at=LATER)
    assert plan_of([entry(email="ada@example.org")], [ada]).changes == ()
    assert plan_of([entry(id=user_id(1))], [ada]).changes == ()


def test_an_update_has_exactly_the_members_that_differ() -> None:
    ada = account(1, "ada", expires_at=LATER, version=4)
    change = only(plan_of([entry("ada", id=user_id(1), email="new@example.org", role="admin", expiry=NEVER)], [ada]))
    assert (change.action, change.id, change.version) == ("update", user_id(1), 4)
    assert (change.email, change.username) == ("ada@example.org", "ada")
    assert change.before == {"email": "ada@example.org", "role": "user", "expires_at": LATER.isoformat()}
    assert change.after == {"email": "new@example.org", "role": "admin", "expires_at": None}


def test_another_spelling_of_a_name_is_a_change() -> None:
    ada = account(1, "ada")
    change = only(plan_of([entry(email="Ada@example.org", username=Username.parse("ADA"))], [ada]))
    assert change.before == {"email": "ada@example.org", "username": "ada"}
    assert change.after == {"email": "Ada@example.org", "username": "ADA"}


@pytest.mark.parametrize(
    ("is_active", "state", "action"),
    [
        (True, "closed", "close"),
        (False, "active", "open"),
        (True, "active", None),
        (False, "closed", None),
        (True, None, None),
        (False, None, "open"),
        (True, "absent", "delete"),
        (False, "absent", "delete"),
    ],
)
def test_the_state_closes_opens_and_deletes(is_active: bool, state: str | None, action: str | None) -> None:
    plan = plan_of([entry("ada", state=state)], [account(1, "ada", is_active=is_active)])  # type: ignore[arg-type]
    assert [change.action for change in plan.changes] == ([] if action is None else [action])
    if action in ("open", "close"):
        assert (only(plan).before, only(plan).after) == ({"is_active": is_active}, {"is_active": not is_active})
    if action == "delete":
        assert (only(plan).before, only(plan).after, only(plan).values) == ({}, {}, NO_VALUES)


def test_an_account_that_is_closed_can_change_in_other_ways_too() -> None:
    change = only(plan_of([entry("ada", state="closed", role="moderator")], [account(1, "ada")]))
    assert change.action == "close"
    assert change.after == {"role": "moderator", "is_active": False}


def test_an_absent_account_that_does_not_exist_stays_away() -> None:
    plan = plan_of([entry(email="legacy@example.org", state="absent"), entry(id=user_id(5), state="absent", line=2)])
    assert plan.changes == ()
    assert plan.summary == Summary(unchanged=2)


def test_expires_in_applies_to_new_accounts_only() -> None:
    assert plan_of([entry("ada", expiry=Expiry(after=SECOND))], [account(1, "ada", expires_at=LATER)]).changes == ()


# Secrets.


def test_a_password_is_set_on_creation_only() -> None:
    for has_password in (True, False):
        ada = account(1, "ada", has_password=has_password)
        declared = entry("ada", password=ENV, mfa_secret=ENV, must_change_password=True)
        assert plan_of([declared], [ada]).changes == ()


def test_an_enforced_secret_is_compared_when_the_plan_is_applied() -> None:
    ada = account(1, "ada", has_mfa=True)
    declared = entry("ada", password_hash=FILE, mfa_secret=ENV, must_change_password=True, enforces_secrets=True)
    plan = plan_of([declared], [ada])
    change = only(plan)
    assert change.action == "none"
    assert (change.before, change.after) == ({}, {})
    assert set(change.compares) == {"password_hash", "must_change_password", "mfa_secret"}
    assert change.values == AccountValues(
        password_hash=FILE, mfa_secret=ENV, must_change_password=True, enforces_secrets=True
    )
    assert plan.summary == Summary(unchanged=1)


def test_an_enforced_secret_of_an_account_without_one_is_a_change() -> None:
    ada = account(1, "ada", has_password=False)
    change = only(plan_of([entry("ada", password=ENV, mfa_secret=FILE, enforces_secrets=True)], [ada]))
    assert (change.action, change.compares, change.before) == ("update", (), {})
    assert change.after == {"password": "{env: SEED_PASSWORD}", "mfa_secret": "{file: test.hash}"}


def test_a_change_beside_a_compared_secret_shows_only_itself() -> None:
    change = only(plan_of([entry("ada", role="admin", password=ENV, enforces_secrets=True)], [account(1, "ada")]))
    assert (change.action, change.compares, change.after) == ("update", ("password",), {"role": "admin"})
    assert change.values.password == ENV


def test_a_generated_password_is_for_new_accounts_only() -> None:
    declared = entry("ada", password=GENERATED, enforces_secrets=True)
    for has_password in (False, True):
        assert plan_of([declared], [account(1, "ada", has_password=has_password)]).changes == ()


def test_an_account_without_a_declared_password_keeps_its_own() -> None:
    assert plan_of([entry("ada", enforces_secrets=True)], [account(1, "ada")]).changes == ()


# Pruning.


def test_pruning_concerns_only_unlisted_accounts_that_the_seed_created() -> None:
    states = [
        account(1, "listed", seeded_by="ci"),
        account(2, "left", seeded_by="ci"),
        account(3, "other", seeded_by="nightly"),
        account(4, "manual"),
        account(5, "closed", seeded_by="ci", is_active=False),
    ]
    assert actions(plan_of([entry("listed")], states)) == []
    closing = plan_of([entry("listed")], states, prune="close")
    assert actions(closing) == [("close", "left")]
    assert only(closing).origin is None
    assert (only(closing).before, only(closing).after) == ({"is_active": True}, {"is_active": False})
    assert closing.summary == Summary(close=1, unchanged=2)
    deleting = plan_of([entry("listed")], states, prune="delete")
    assert actions(deleting) == [("delete", "left"), ("delete", "closed")]
    assert deleting.summary == Summary(delete=2, unchanged=1)


def test_a_renamed_account_is_still_listed_by_its_id() -> None:
    renamed = account(1, "renamed", seeded_by="ci")
    plan = plan_of([entry("before", id=user_id(1))], [renamed], prune="delete")
    assert actions(plan) == [("update", "renamed")]


def test_an_account_that_another_file_lists_is_not_pruned() -> None:
    both = Desired((Seed("ci", "a.yaml", [entry("ada")]), Seed("nightly", "b.yaml", [entry("bob")])))
    states = [account(1, "bob", seeded_by="ci"), account(2, "eve", seeded_by="nightly"), account(3, "ada")]
    plan = planned(both, MemorySnapshot(states), prune="close", now=NOW)
    assert [(change.action, change.username, change.seed) for change in plan.changes] == [("close", "eve", "nightly")]
    assert (plan.names, plan.files) == (("ci", "nightly"), ("a.yaml", "b.yaml"))


def test_an_absent_entry_is_deleted_once_although_pruning_finds_it() -> None:
    plan = plan_of([entry("ada", state="absent")], [account(1, "ada", seeded_by="ci")], prune="delete")
    assert actions(plan) == [("delete", "ada")]


# What is refused.


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        (entry("ada"), entry("ada"), "e-mail address"),
        (entry("ada"), entry("bob", email="ADA@example.org"), "e-mail address"),
        (entry("ada"), entry("Ada", email="other@example.org"), "username"),
        (entry("ada", id=user_id(1)), entry("bob", id=user_id(1)), "id"),
        (entry("ada", state="absent"), entry("ada"), "e-mail address"),
    ],
)
def test_two_entries_with_one_key_are_refused_with_both_lines(first: SeedUser, second: SeedUser, what: str) -> None:
    with pytest.raises(SeedRepeated, match=f"seed.yaml, line 9: .* the same {what} as the one at seed.yaml, line 4"):
        plan_of([at_line(first, 4), at_line(second, 9)])


def test_two_entries_on_one_line_are_two_entries() -> None:
    with pytest.raises(SeedRepeated):
        plan_of([entry("ada"), entry("ada")])


def test_two_entries_that_mean_one_account_in_different_ways_are_refused() -> None:
    with pytest.raises(SeedRepeated, match=r"seed.yaml, line 9: .*'ada'.* the one at seed.yaml, line 4"):
        plan_of([entry(id=user_id(1), line=4), entry(email="ada@example.org", line=9)], [account(1, "ada")])


def test_repetitions_are_found_across_batches_and_files() -> None:
    many = [entry(f"user{number}", line=number) for number in range(1, 2 * AT_ONCE + 2)]
    files = Desired((Seed("ci", "a.yaml", many), Seed("ci", "b.yaml", [entry("user3", line=1)])))
    with pytest.raises(SeedRepeated, match=r"the one at seed.yaml, line 3"):
        planned(files, MemorySnapshot([]), now=NOW)


def test_a_new_account_needs_an_address_and_a_username() -> None:
    with pytest.raises(InvalidInput, match=r"seed.yaml, line 3: .*'username'"):
        plan_of([entry(email="ada@example.org", line=3)])
    with pytest.raises(InvalidInput, match=r"seed.yaml, line 3: .*'email'"):
        plan_of([entry(id=user_id(1), line=3)])


@pytest.mark.parametrize("state", [None, "absent"])
def test_an_address_of_an_account_with_another_id_is_refused(state: str | None) -> None:
    declared = entry("ada", id=user_id(2), line=3, state=state)  # type: ignore[arg-type]
    with pytest.raises(AccountAmbiguous, match=r"seed.yaml, line 3: .*'ada@example.org'"):
        plan_of([declared], [account(1, "ada")])
    with pytest.raises(AccountAmbiguous, match=r"seed.yaml, line 3"):
        plan_of([declared], [account(1, "ada"), account(2, "bob")])


def test_a_username_of_another_account_is_refused_with_the_id_to_add() -> None:
    with pytest.raises(UsernameTaken, match=r"seed.yaml, line 3: .*'ada'.*'ada@example.org'") as raised:
        plan_of([entry("ada", email="new@example.org", line=3)], [account(1, "ada")])
    assert f"id: {user_id(1)}" in str(raised.value.hint)
    with pytest.raises(UsernameTaken):
        plan_of([entry("bob", email="ada@example.org")], [account(1, "ada"), account(2, "bob")])


# The last administrator.

ROOT = account(1, "root", role="admin")


@pytest.mark.parametrize(
    "declared",
    [
        entry("root", state="closed"),
        entry("root", state="absent"),
        entry("root", role="user"),
        entry("root", expiry=Expiry(at=LATER)),
        entry("root", expiry=Expiry(at=Instant(NOW - SECOND))),
    ],
)
def test_the_last_administrator_stays(declared: SeedUser) -> None:
    expired = account(2, "expired", role="admin", expires_at=NOW)
    closed = account(3, "closed", role="admin", is_active=False)
    with pytest.raises(LastAdministrator, match=r"seed.yaml, line 3: .*'root'"):
        plan_of([at_line(declared, 3)], [ROOT, expired, closed])
    assert len(plan_of([declared], [ROOT, account(2, "other", role="admin")]).changes) == 1


@pytest.mark.parametrize("prune", ["close", "delete"])
def test_the_last_administrator_is_not_pruned(prune: Prune) -> None:
    root = ROOT._replace(seeded_by="ci")
    with pytest.raises(LastAdministrator, match=r"^'root'"):
        plan_of([], [root], prune=prune)


@pytest.mark.parametrize(
    "successor",
    [
        entry("new", role="admin"),
        entry("user", role="admin"),
        entry("closed", state="active"),
        entry("expired", expiry=NEVER),
    ],
)
def test_a_successor_may_follow_later_in_the_file_and_is_applied_first(successor: SeedUser) -> None:
    states = [
        ROOT,
        account(2, "user"),
        account(3, "closed", role="admin", is_active=False),
        account(4, "expired", role="admin", expires_at=NOW),
    ]
    plan = plan_of([entry("root", state="closed"), at_line(successor, 2)], states)
    assert [change.username for change in plan.changes] == [str(plan.changes[0].username), "root"]
    assert plan.changes[-1].action == "close"


@pytest.mark.parametrize(
    "useless",
    [
        entry("new", role="admin", state="closed"),
        entry("new", role="admin", expiry=Expiry(at=NOW)),
        entry("new", role="user"),
    ],
)
def test_a_new_account_that_does_not_administer_is_no_successor(useless: SeedUser) -> None:
    with pytest.raises(LastAdministrator):
        plan_of([useless, entry("root", state="closed", line=2)], [ROOT])


def test_two_administrators_cannot_both_be_removed() -> None:
    states = [ROOT, account(2, "other", role="admin")]
    with pytest.raises(LastAdministrator, match="'other'"):
        plan_of([entry("root", state="absent"), entry("other", role="user", line=2)], states)


def test_an_administrator_may_expire_when_another_one_lasts_longer() -> None:
    other = account(2, "other", role="admin", expires_at=LATER.plus(1))
    assert len(plan_of([entry("root", expiry=Expiry(at=LATER))], [ROOT, other]).changes) == 1
    with pytest.raises(LastAdministrator):
        plan_of([entry("root", expiry=Expiry(at=LATER))], [ROOT, other._replace(expires_at=LATER)])


def test_an_administrator_may_expire_later_than_before() -> None:
    root = ROOT._replace(expires_at=LATER)
    assert len(plan_of([entry("root", expiry=Expiry(at=LATER.plus(1)))], [root]).changes) == 1
    assert len(plan_of([entry("root", expiry=NEVER)], [root]).changes) == 1


def test_other_changes_of_the_last_administrator_are_fine() -> None:
    plan = plan_of([entry("chief", id=user_id(1), email="root@example.org", state="active", role="admin")], [ROOT])
    assert only(plan).after == {"username": "chief"}


# Laziness.


def test_entries_are_read_and_looked_up_in_batches() -> None:
    read: list[int] = []

    class Many:
        def __iter__(self):  # type: ignore[no-untyped-def]
            for number in range(3 * AT_ONCE):
                read.append(number)
                yield entry(f"user{number}", line=number)

    snapshot = MemorySnapshot([])
    planning = Planning(Desired((Seed("ci", "seed.yaml", Many()),)), snapshot, prune=None, now=NOW)
    next(planning.changes())
    assert (len(read), snapshot.asked) == (AT_ONCE, 1)


def test_no_value_of_a_plan_is_a_secret() -> None:
    assert str(ENV) == "{env: SEED_PASSWORD}"
    assert str(FILE) == "{file: test.hash}"
    assert str(GENERATED) == "{generate: true}"


# A plan makes the accounts match the files.

NAMES, FRESH = ["ada", "bob", "eve", "root"], ["new", "fresh", "young"]
TIMES = st.sampled_from([NOW.plus(-SECOND), LATER, LATER.plus(SECOND)])
NUMBERS = st.integers(1, 6)
EXPIRIES = st.none() | st.builds(lambda at: Expiry(at=at), TIMES) | st.just(NEVER) | st.just(Expiry(after=SECOND))
SECRETS = st.none() | st.sampled_from([ENV, GENERATED])


@st.composite
def populations(draw: st.DrawFn) -> list[AccountState]:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    numbers = draw(st.lists(NUMBERS, unique=True, min_size=len(names), max_size=len(names)))
    return [
        account(
            number,
            name,
            role=draw(st.sampled_from(["user", "moderator", "admin"])),
            is_active=draw(st.booleans()),
            expires_at=draw(st.none() | TIMES),
            has_password=draw(st.booleans()),
            has_mfa=draw(st.booleans()),
            version=draw(st.integers(1, 9)),
            seeded_by=draw(st.sampled_from([None, "ci", "nightly"])),
        )
        for name, number in zip(names, numbers, strict=True)
    ]


@st.composite
def entries(draw: st.DrawFn) -> SeedUser:
    number = draw(st.none() | NUMBERS)
    emails = st.sampled_from([*NAMES, "Ada", *FRESH])
    email = draw(emails if number is None else st.none() | emails)
    return entry(
        id=None if number is None else user_id(number),
        state=draw(st.sampled_from([None, None, "active", "closed", "absent"])),
        email=None if email is None else f"{email}@example.org",
        username=draw(st.none() | st.sampled_from([*NAMES, "EVE", *FRESH]).map(Username.parse)),
        role=draw(st.sampled_from([None, "user", "admin"])),
        expiry=draw(EXPIRIES),
        password=draw(SECRETS),
        mfa_secret=draw(st.none() | st.just(FILE)),
        enforces_secrets=draw(st.booleans()),
    )


MOSTLY_DISTINCT = tuple(lambda user, place=place: user.keys[place] or id(user) for place in range(3))
FILES = st.lists(entries(), max_size=3) | st.lists(entries(), max_size=5, unique_by=MOSTLY_DISTINCT)


def meant(user: SeedUser, states: Sequence[AccountState]) -> AccountState | None:
    """Return the account of an entry, found in another way than plans do."""
    for state in states:
        if user.id is not None and state.id == user.id:
            return state
    for state in states:
        if user.values.email is not None and state.email_key == user.values.email.key:
            return state
    return None


def require_declared(user: SeedUser, state: AccountState | None) -> None:
    """Fail unless the account is as the entry declares it."""
    if user.state == "absent":
        assert state is None
        return
    assert state is not None
    values = user.values
    assert values.email is None or state.email == values.email.address
    assert values.username is None or state.username == values.username.name
    assert values.role is None or state.role == values.role
    assert state.is_active == (user.state != "closed")
    if values.expiry is not None and values.expiry.after is None:
        assert state.expires_at == values.expiry.at
    if values.enforces_secrets:
        assert values.password in (None, GENERATED) or state.has_password
        assert values.mfa_secret is None or state.has_mfa


def administrators(states: Sequence[AccountState]) -> list[AccountState]:
    return [
        state
        for state in states
        if state.role == "admin" and state.is_active and (state.expires_at is None or state.expires_at > NOW)
    ]


@settings(max_examples=600)
@given(users=FILES, states=populations(), prune=st.sampled_from([None, "close", "delete"]))
@example(users=[entry("ada", id=user_id(1)), entry("bob", id=user_id(2))], states=[], prune="delete")
def test_a_plan_gives_what_was_declared_and_planning_again_gives_nothing(
    users: list[SeedUser], states: list[AccountState], prune: Prune | None
) -> None:
    try:
        plan = plan_of(users, states, prune=prune)
    except BackctlError:
        return
    after = applied(plan, states)
    for user in users:
        require_declared(user, meant(user, after))
    listed = {found.id for user in users if (found := meant(user, states)) is not None}
    touched = {change.id for change in plan.changes if change.origin is None}
    assert touched <= {state.id for state in states if state.seeded_by == "ci"} - listed
    for state in after:
        if state.id not in listed and state.seeded_by == "ci" and state in states and prune is not None:
            assert prune == "close"
            assert not state.is_active
    untouched = [state for state in states if state.id not in {change.id for change in plan.changes}]
    assert set(untouched) <= set(after)
    assert not administrators(states) or administrators(after)
    again = plan_of(users, after, prune=prune)
    assert all(change.action == "none" for change in again.changes)
    assert again.summary.changes == 0


@given(users=FILES, states=populations(), prune=st.sampled_from([None, "close", "delete"]))
def test_a_plan_is_a_pure_function(users: list[SeedUser], states: list[AccountState], prune: Prune | None) -> None:
    def result() -> Plan | tuple[type[BackctlError], str]:
        try:
            return plan_of(users, states, prune=prune)
        except BackctlError as error:
            return type(error), error.message

    assert result() == result()


@given(users=FILES, states=populations())
def test_before_and_after_name_the_same_members_with_different_values(
    users: list[SeedUser], states: list[AccountState]
) -> None:
    try:
        plan = plan_of(users, states)
    except BackctlError:
        return
    for change in plan.changes:
        plain = {name: value for name, value in change.after.items() if name in PLAIN}
        if change.action == "create":
            assert change.before == {}
        else:
            assert plain.keys() == change.before.keys()
            assert all(change.before[name] != value for name, value in plain.items())
            assert bool(change.after) == (change.action not in ("none", "delete"))


PLAIN = {"email", "username", "role", "is_active", "expires_at"}
