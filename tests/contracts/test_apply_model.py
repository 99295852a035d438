"""Any seed files that are applied leave nothing to plan, and events that describe every account."""

from collections.abc import Mapping

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contracts.conftest import START, Store, a_user
from tests.contracts.importing import Members
from tests.contracts.seeding import (
    VARIABLES,
    Seeder,
    done,
    env,
    factor,
    replayed,
    someone,
)

from backctl.application.seeding.applying import ApplyOptions
from backctl.domain.one_time_codes import decoded_secret
from backctl.domain.repositories import BY_CREATION, EVERY_USER
from backctl.domain.seed import Prune
from backctl.domain.values import Identity, Instant

_ROLES = ["user", "moderator", "admin"]
_members = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(_ROLES),
        "state": st.sampled_from(["active", "closed", "absent"]),
        "expires_at": st.sampled_from(["never", "2031-01-01T00:00:00Z"]),
        "password_hash": st.sampled_from([env("HASH"), env("OTHER_HASH")]),
        "password_policy": st.sampled_from(["create", "enforce"]),
        "mfa": st.sampled_from([factor("TOTP"), factor("OTHER_TOTP")]),
    },
)
_entries = st.dictionaries(
    st.sampled_from(["amy", "ben", "cat", "dan", "ela"]),
    _members.map(lambda members: members if members.keys() & {"mfa", "password_hash"} else without_policy(members)),
    max_size=5,
)


def without_policy(members: Mapping[str, object]) -> Members:
    """Return members without a policy for secrets, which needs one."""
    return {name: value for name, value in members.items() if name != "password_policy"}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(_entries, min_size=1, max_size=3),
    st.sampled_from([None, "close", "delete"]),
    st.booleans(),
)
def test_a_file_that_was_applied_leaves_nothing_to_plan(
    store: Store, files: list[dict[str, Members]], prune: Prune | None, all_or_nothing: bool
) -> None:
    """The accounts are as declared, and the events describe every one of them."""
    seeder = Seeder(store, dict(VARIABLES))
    emptied(store, seeder)
    for entries in files:
        before = seeder.states()
        users = [someone(name, **members) for name, members in entries.items()]
        plan = seeder.plan(*users, prune=prune)
        change = seeder.apply(*users, prune=prune, options=ApplyOptions(all_or_nothing=all_or_nothing))
        assert sum(done(change.value).values()) == sum(plan.summary)
        assert change.value.created == plan.summary.create
        assert change.value.deleted == plan.summary.delete
        assert change.value.updated >= plan.summary.update
        assert seeder.plan(*users, prune=prune).summary.changes == 0
        require_declared(seeder, entries, before, prune)
        again = seeder.apply(*users, prune=prune)
        assert not again.changed
    replayed(seeder)


def emptied(store: Store, seeder: Seeder) -> None:
    """Delete all accounts, and add the administrator `root`."""
    with store.work() as work:
        for view in list(seeder.reader.stream_users(EVERY_USER, BY_CREATION)):
            user = work.users.get(Identity("id", view.id))
            work.users.remove(user)
            user.delete(erased=False, now=START)
        work.commit()
    store.add(a_user("root", role="admin"))


def require_declared(
    seeder: Seeder, entries: dict[str, Members], before: Mapping[str, object], prune: Prune | None
) -> None:
    states = seeder.states()
    for name, members in entries.items():
        if members.get("state") == "absent":
            assert name not in states
            continue
        state = states[name]
        assert state.role == members.get("role", "user") or ("role" not in members and name in before)
        assert state.is_active == (members.get("state") != "closed")
        if "expires_at" in members:
            ends = None if members["expires_at"] == "never" else Instant.parse(str(members["expires_at"]))
            assert state.expires_at == ends
        enforced = members.get("password_policy") == "enforce" or name not in before
        if enforced and "password_hash" in members:
            stored = seeder.user(name).password_hash
            assert stored is not None
            assert env_of(members["password_hash"]) == stored.encoded
        if enforced and "mfa" in members:
            assert seeder.secret_of(name) == decoded_secret(env_of(members["mfa"]["secret"]))  # type: ignore[index]
    unlisted = [state for name, state in states.items() if name not in entries and state.seeded_by is not None]
    if prune == "delete":
        assert not unlisted
    if prune == "close":
        assert not any(state.is_active for state in unlisted)


def env_of(source: object) -> str:
    assert isinstance(source, dict)
    return VARIABLES[source["env"]]
