"""Permissions and their wildcards, roles, and the last administrator."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backctl.domain.access import ADMINISTRATOR, BUILTIN_ROLES, DEFAULT_ROLE, AccessPolicy, Permission, Role
from backctl.domain.errors import (
    InvalidConfiguration,
    InvalidPermission,
    LastAdministrator,
    RoleNotFound,
    UnknownRole,
)
from backctl.domain.user import User
from backctl.domain.values import EmailAddress, Instant, UserId, Username

nouns = st.from_regex(r"[a-z][a-z0-9_]{0,3}", fullmatch=True)
verbs = st.from_regex(r"[a-z][a-z0-9_-]{0,3}", fullmatch=True)


def account(number: int, role: str = ADMINISTRATOR) -> User:
    return User.create(
        id=UserId(f"01935b1e-7c3a-7def-8abc-{number:012}"),
        email=EmailAddress.of(f"u{number}@example.org"),
        username=Username.parse(f"user{number}"),
        password_hash=None,
        role=role,
        now=Instant(0),
    )


@settings(deadline=None)
@given(nouns, verbs, nouns, verbs)
def test_a_permission_grants_itself_its_noun_or_everything(noun: str, verb: str, other: str, deed: str) -> None:
    wanted = Permission.parse(f"{noun}:{verb}")
    assert Permission.parse("*").grants(wanted)
    assert Permission.parse(f"{noun}:*").grants(wanted)
    assert wanted.grants(wanted)
    assert Permission.parse(f"{other}:{deed}").grants(wanted) == ((other, deed) == (noun, verb))
    assert Permission.parse(f"{other}:*").grants(wanted) == (other == noun)


@pytest.mark.parametrize(
    ("held", "wanted"),
    [("user:list", "user:*"), ("user:*", "*"), ("user:list", "*"), ("user:*", "users:list"), ("users:*", "user:list"),
     ("user:list", "user:list-all"), ("user:list-all", "user:list")],
)  # fmt: skip
def test_a_part_does_not_grant_the_whole_nor_a_name_that_begins_alike(held: str, wanted: str) -> None:
    assert not Permission.parse(held).grants(Permission.parse(wanted))


@pytest.mark.parametrize(
    "text",
    ["", ":", "user", "user:", ":list", "**", "*:list", "*:*", "user:list:all", "User:list", "user:List", "user:li*",
     "us*:list", " user:list", "user:list\n", "user: list", "1user:list", "user:1", "üser:list", "user:\u202elist"],
)  # fmt: skip
def test_a_malformed_permission_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfiguration):
        Permission.parse(text)
    with pytest.raises(InvalidPermission):
        Permission.asked(text)


def test_the_built_in_roles_carry_wellformed_permissions() -> None:
    assert [role.name for role in BUILTIN_ROLES] == ["user", "moderator", "admin"]
    for role in BUILTIN_ROLES:
        assert role.builtin
        assert role.description
        for permission in role.permissions:
            assert Permission.parse(permission.text) == permission


@pytest.mark.parametrize(
    ("role", "granted", "refused"),
    [
        ("admin", ["anything:at-all"], []),
        ("moderator", ["user:deactivate"], ["user:delete", "key:promote"]),
        ("user", ["self:show"], ["user:show"]),
    ],
)
def test_what_a_built_in_role_may_do(role: str, granted: list[str], refused: list[str]) -> None:
    wanted = [Permission.parse(text) for text in (*granted, *refused)]
    assert [permission.text for permission in wanted if AccessPolicy().role(role).grants(permission)] == granted


def test_a_role_names_the_permission_that_grants() -> None:
    moderator = AccessPolicy().role("moderator")
    assert moderator.granting(Permission.asked("self:show")) == Permission("self:*")
    assert moderator.granting(Permission.asked("user:list")) == Permission("user:list")
    assert moderator.granting(Permission.asked("user:*")) is None


def test_a_role_without_permissions_grants_nothing() -> None:
    assert not Role("empty", "", ()).grants(Permission.parse("self:show"))


def test_custom_roles_stand_after_the_built_in_ones() -> None:
    policy = AccessPolicy([Role("auditor", "reads", (Permission.parse("audit:*"),))])
    assert [role.name for role in policy] == ["user", "moderator", "admin", "auditor"]
    assert policy.require_known("auditor") == "auditor"
    assert policy.require_known(DEFAULT_ROLE) == "user"
    assert not policy.role("auditor").builtin


@pytest.mark.parametrize(
    "name", ["", "Admin", "1st", "-x", "_x", "a b", "a\n", "ä", "a" * 51, "a.b", "a:b", "user", "moderator", "admin"]
)
def test_a_malformed_or_built_in_role_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidConfiguration):
        AccessPolicy([Role(name, "", ())])


def test_a_role_is_defined_once() -> None:
    with pytest.raises(InvalidConfiguration):
        AccessPolicy([Role("auditor", "", ()), Role("auditor", "", (Permission("*"),))])
    assert AccessPolicy([Role("a" * 50, "", ())]).require_known("a" * 50)


@pytest.mark.parametrize("name", ["", "root", "Admin", "admin ", "admin\x1b[2J", "\ud800"])
def test_an_unknown_role_is_refused_with_the_known_ones(name: str) -> None:
    policy = AccessPolicy()
    for asking, error in ((policy.role, RoleNotFound), (policy.require_known, UnknownRole)):
        with pytest.raises(error) as refusal:
            asking(name)
        assert refusal.value.message.isprintable()
        assert refusal.value.hint == "known roles: user, moderator, admin"


def test_the_last_administrator_stays() -> None:
    policy = AccessPolicy()
    ada, grace, member = account(1), account(2), account(3, "user")
    for target in (ada, grace, member):
        policy.require_another_administrator(target, [ada, grace])
    policy.require_another_administrator(member, [])
    policy.require_another_administrator(member, [ada])
    policy.require_another_administrator(grace, [ada])  # already inactive, so nothing changes
    with pytest.raises(LastAdministrator) as refusal:
        policy.require_another_administrator(ada, [ada])
    assert "'user1'" in refusal.value.message
    assert refusal.value.hint


@settings(deadline=None)
@given(
    st.lists(st.none() | st.integers(1, 5).map(Instant), min_size=1, max_size=4),
    st.none() | st.integers(0, 6).map(Instant),
)
def test_no_expiry_leaves_a_time_without_administrators_that_was_not_one_before(
    ends: list[Instant | None], moment: Instant | None
) -> None:
    def last(moments: list[Instant | None]) -> float:
        return max(float("inf") if end is None else float(end) for end in moments)

    administrators = [account(number) for number in range(len(ends))]
    for administrator, end in zip(administrators, ends, strict=True):
        administrator.expires_at = end
    shortens = last([moment, *ends[1:]]) < last(ends)
    outlived = any(end is None or (moment is not None and end > moment) for end in ends[1:])
    try:
        AccessPolicy().require_administrator_beyond(administrators[0], administrators, moment)
    except LastAdministrator:
        assert not outlived
        assert moment is not None
    else:
        assert not shortens or outlived


def test_an_expiry_of_somebody_else_is_nobodys_concern() -> None:
    AccessPolicy().require_administrator_beyond(account(1, "user"), [account(2)], Instant(1))
    AccessPolicy().require_administrator_beyond(account(1), [], Instant(1))  # already inactive, so nothing changes


def test_the_same_administrator_read_twice_is_one() -> None:
    with pytest.raises(LastAdministrator):
        AccessPolicy().require_another_administrator(account(1), [account(1), account(1)])


def test_somebody_is_left_whatever_the_order_of_departure() -> None:
    policy = AccessPolicy()
    for order in itertools.permutations(account(number) for number in range(3)):
        left = list(order)
        for target in order[:-1]:
            policy.require_another_administrator(target, left)
            left.remove(target)
        with pytest.raises(LastAdministrator):
            policy.require_another_administrator(order[-1], left)
