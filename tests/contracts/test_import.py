"""What an import does with one row: create an account, update it, leave it as it is, or refuse the row."""

import uuid
from collections.abc import Iterator

import pytest
from tests.contracts.conftest import START, Store, a_user, new_id
from tests.contracts.importing import FOREIGN_HASH, Importer, Members, a_row

from backctl.application.transfer.raw_rows import BadRow, IgnoredRow
from backctl.domain.errors import InvalidInput
from backctl.domain.repositories import EVERY_USER
from backctl.domain.values import Identity, Instant, UserId

IDS = [UserId(str(uuid.UUID(int=number))) for number in range(9)]
FULL: Members = {
    "id": IDS[7],
    "email": "Full@Example.org",
    "username": "Full",
    "role": "moderator",
    "is_active": False,
    "expires_at": "2031-01-01T00:00:00.5Z",
    "must_change_password": True,
    "last_login_at": "2019-05-06T07:08:09.123456Z",
    "created_at": "2015-05-06T07:08:09.123456Z",
    "updated_at": "2016-05-06T07:08:09.123456Z",
    "version": 41,
    "password_hash": FOREIGN_HASH,
}


@pytest.fixture
def importer(store: Store) -> Iterator[Importer]:
    """An installation with the administrator `root` and the account `ada`."""
    store.add(a_user("root", role="admin"), a_user("ada", id=IDS[1]))
    importer = Importer(store)
    yield importer
    assert importer.reader.verify_chain(store.audit_keys).intact


# New accounts.


def test_an_account_keeps_everything_that_its_row_says(importer: Importer) -> None:
    (outcome,) = importer.run(FULL)
    assert outcome == (1, "created", IDS[7], "Full@example.org", None)
    view = importer.reader.find_user(Identity("id", IDS[7]))
    assert view is not None
    assert (view.email, view.username, view.role, view.is_active) == ("Full@example.org", "Full", "moderator", False)
    assert (view.version, view.must_change_password) == (41, True)
    assert (view.has_password, view.password_imported, view.mfa) == (True, True, "off")
    assert [str(at) for at in (view.expires_at, view.last_login_at, view.created_at, view.updated_at)] == [
        "2031-01-01T00:00:00.500000Z",
        FULL["last_login_at"],
        FULL["created_at"],
        FULL["updated_at"],
    ]
    user = importer.user(IDS[7])
    assert user.password_hash is not None
    assert (user.password_hash.encoded, user.password_hash.imported) == (FOREIGN_HASH, True)


def test_its_event_says_the_same_and_nothing_secret(importer: Importer) -> None:
    importer.run(FULL)
    type_, data = importer.events()[-1]
    assert type_ == "UserImported"
    assert data == {
        "email": "Full@example.org",
        "username": "Full",
        "role": "moderator",
        "can_log_in": True,
        "must_change": True,
        "imported": True,
        "is_active": False,
        "mfa": "off",
        "expires_at": "2031-01-01T00:00:00.500000Z",
        "last_login_at": FULL["last_login_at"],
        "created_at": FULL["created_at"],
        "updated_at": FULL["updated_at"],
        "version": 41,
    }


def test_defaults_of_a_new_account(importer: Importer) -> None:
    (outcome,) = importer.run(a_row("bob"))
    user = importer.user("bob")
    assert outcome.id == user.id
    assert uuid.UUID(user.id).version == 7
    assert (user.role, user.is_active, user.expires_at, user.must_change_password) == ("user", True, None, False)
    assert (user.created_at, user.updated_at, user.version) == (START, START, 1)
    assert (user.password_hash, user.mfa_state, user.last_login_at) == (None, "off", None)


EPOCH, BEFORE, AFTER = "1970-01-01T00:00:00Z", "1969-07-20T20:17:40Z", "2090-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("given", "created", "updated"),
    [
        ({"created_at": EPOCH}, EPOCH, str(START)),
        ({"created_at": BEFORE}, BEFORE, str(START)),
        ({"created_at": AFTER}, AFTER, AFTER),
        ({"updated_at": EPOCH}, EPOCH, EPOCH),
        ({"updated_at": BEFORE}, BEFORE, BEFORE),
        ({"updated_at": AFTER}, str(START), AFTER),
        ({"created_at": EPOCH, "updated_at": EPOCH}, EPOCH, EPOCH),
        ({"created_at": BEFORE, "updated_at": EPOCH}, BEFORE, EPOCH),
        ({"created_at": BEFORE, "updated_at": EPOCH, "last_login_at": EPOCH}, BEFORE, EPOCH),
    ],
)
def test_times_before_1970_and_at_its_beginning_are_kept(
    importer: Importer, given: Members, created: str, updated: str
) -> None:
    """The first moment of 1970 is zero, which is not the same as missing."""
    importer.run(a_row("bob", **given))
    user = importer.user("bob")
    assert (user.created_at, user.updated_at) == (Instant.parse(created), Instant.parse(updated))
    assert user.last_login_at == (Instant.parse(EPOCH) if "last_login_at" in given else None)


def test_numbers_and_times_that_an_event_cannot_contain(importer: Importer) -> None:
    """The first change of an account is never recorded before its creation."""
    found = importer.results(
        a_row("one", version=2**52),
        a_row("two", version=2**52 + 1),
        a_row("three", created_at="2255-06-05T23:47:34.740992Z"),
        a_row("four", created_at="2255-06-05T23:47:34.740993Z"),
        a_row("five", updated_at="9999-12-31T23:59:59Z", last_login_at="9999-12-31T23:59:59Z"),
        a_row("six", expires_at="9999-12-31T23:59:59Z"),
    )
    assert found == ["created", "input.invalid", "created", "input.invalid", "created", "created"]
    changes = [a_row(name, role="moderator") for name in ("one", "three", "five", "six")]
    assert importer.results(*changes, mode="upsert") == ["updated"] * 4
    assert importer.user("one").version == 2**52 + 1
    assert importer.user("three").updated_at == importer.user("three").created_at


@pytest.mark.parametrize("missing", ["email", "username"])
@pytest.mark.parametrize("mode", ["create", "upsert", "skip"])
def test_a_new_account_needs_both_names(importer: Importer, missing: str, mode: str) -> None:
    row = a_row("bob")
    del row[missing]
    (outcome,) = importer.run(row, mode=mode)
    assert outcome.result == "failed"
    assert outcome.error is not None
    assert f"needs {missing}" in outcome.error.message
    assert importer.event_types() == ["UserCreated"] * 2


def test_an_expiry_is_never_if_it_is_null_or_so_called(importer: Importer) -> None:
    importer.run(a_row("bob", expires_at=None), a_row("eve", expires_at="never"))
    assert importer.user("bob").expires_at is importer.user("eve").expires_at is None
    importer.run({"email": "ada@example.org", "expires_at": "2031-01-01T00:00:00Z"}, mode="upsert")
    assert importer.results({"email": "ada@example.org"}, mode="upsert") == ["unchanged"]
    assert importer.results({"email": "ada@example.org", "expires_at": None}, mode="upsert") == ["updated"]


# Matching.


@pytest.mark.parametrize(
    ("row", "create", "upsert", "skip"),
    [
        (a_row("ada"), "user.email_taken", "unchanged", "unchanged"),
        (a_row("ADA", email="ADA@EXAMPLE.ORG"), "user.email_taken", "updated", "unchanged"),
        ({"id": IDS[1]}, "user.id_taken", "unchanged", "unchanged"),
        (a_row("ada", id=IDS[1]), "user.email_taken", "unchanged", "unchanged"),
        (a_row("new", id=IDS[1]), "user.id_taken", "updated", "unchanged"),
        (a_row("root", id=IDS[1]), "user.id_taken", "user.ambiguous", "user.ambiguous"),
        ({"id": IDS[1], "username": "root"}, "user.id_taken", "user.username_taken", "user.username_taken"),
        (a_row("root", email="ada@example.org"), "user.email_taken", "user.username_taken", "user.username_taken"),
        (a_row("Ada", email="b@example.org"), "user.username_taken", "user.username_taken", "user.username_taken"),
        (a_row("ada", id=IDS[2]), "user.email_taken", "unchanged", "unchanged"),
        (a_row("bob", id=IDS[2]), "created", "created", "created"),
        ({"id": IDS[2]}, "input.invalid", "input.invalid", "input.invalid"),
    ],
)
def test_a_row_matches_by_id_else_by_address(
    importer: Importer, row: Members, create: str, upsert: str, skip: str
) -> None:
    before = importer.events()
    for mode, expected in (("create", create), ("skip", skip), ("upsert", upsert)):
        assert importer.results(row, mode=mode, dry_run=True) == [expected]
        if expected not in ("created", "updated"):
            assert importer.results(row, mode=mode) == [expected]
    assert importer.events() == before
    assert importer.results(row, mode="upsert") == [upsert]
    assert importer.results(row, mode="upsert") == ["unchanged" if upsert in ("created", "updated") else upsert]
    assert (importer.events() != before) == (upsert in ("created", "updated"))


def test_an_ambiguous_row_names_both_accounts(importer: Importer) -> None:
    (outcome,) = importer.run({"id": IDS[1], "email": "root@example.org"}, mode="upsert")
    assert outcome.error is not None
    assert outcome.error.message == "its id belongs to 'ada', and its e-mail address to 'root'"
    assert (outcome.id, outcome.email) == (None, "root@example.org")


def test_repeated_rows(importer: Importer) -> None:
    """Every key counts, also those of rows that failed, and of rows on the same line of a file."""
    rows = [
        a_row("one", id=IDS[3]),
        a_row("two", id=IDS[3].upper()),
        a_row("ONE", email="three@example.org"),
        a_row("four", email="ONE@example.org"),
        a_row("two", email="five@example.org"),  # the second row has the name
        a_row("six", email="three@example.org"),  # the third row has the address
        a_row("ada", email="seven@example.org"),  # fails, because the account exists
        a_row("eight", email="seven@example.org"),
        a_row("nine", line=1),
        a_row("nine", line=9),
    ]
    outcomes = importer.run(*rows)
    errors = {n: outcome.error.message for n, outcome in enumerate(outcomes, 1) if outcome.error is not None}
    assert errors.pop(7).startswith("the username 'ada' belongs")
    assert errors == {
        2: "it has the same id as line 1",
        3: "it has the same username as line 1",
        4: "it has the same e-mail address as line 1",
        5: "it has the same username as line 2",
        6: "it has the same e-mail address as line 3",
        8: "it has the same e-mail address as line 7",
        10: "it has the same e-mail address as line 1",
    }
    assert set(importer.names().values()) == {"root", "ada", "one", "nine"}


def test_invalid_rows_fail_alone(importer: Importer) -> None:
    rows: list[Members | BadRow | IgnoredRow] = [
        BadRow(1, InvalidInput("not JSON")),
        IgnoredRow(2, "auth.group"),
        a_row("bob", role="king"),
        a_row("bob", email="no address"),
        a_row("bob", password_hash="plain text"),
        a_row("bob"),
    ]
    outcomes = importer.run(*rows)
    assert [(outcome.line, outcome.result, outcome.email) for outcome in outcomes] == [
        (1, "failed", None),
        (3, "failed", "bob@example.org"),
        (4, "failed", "no address"),
        (5, "failed", "bob@example.org"),
        (6, "created", "bob@example.org"),
    ]


def test_a_dry_run_changes_nothing(importer: Importer) -> None:
    before = importer.events()
    unknown: Members = {"id": new_id()}
    rows = [a_row("bob", password="correct horse"), a_row("ada", role="moderator"), unknown]
    assert importer.results(*rows, mode="upsert", dry_run=True) == ["created", "updated", "input.invalid"]
    assert importer.events() == before
    assert importer.reader.count_users(EVERY_USER) == 2


# Updates.


def test_an_update_changes_what_the_row_says_and_nothing_else(importer: Importer) -> None:
    importer.run(a_row("bob", role="moderator", expires_at="2031-01-01T00:00:00Z", password_hash=FOREIGN_HASH))
    before = importer.user("bob")
    importer.store.now = START.plus(1)
    assert importer.results({"email": "bob@example.org", "username": "rob"}, mode="upsert") == ["updated"]
    after = importer.user("rob")
    assert after.username.name == "rob"
    for name in ("id", "email", "role", "is_active", "expires_at", "password_hash", "created_at", "last_login_at"):
        assert getattr(after, name) == getattr(before, name)
    assert (after.version, after.updated_at) == (2, START.plus(1))
    assert importer.event_types()[-2:] == ["UserImported", "UserUsernameChanged"]


def test_an_update_changes_every_member_at_once(importer: Importer) -> None:
    row: Members = {
        "id": IDS[1],
        "email": "a@example.net",
        "username": "ada2",
        "role": "moderator",
        "expires_at": "2031-01-01T00:00:00Z",
        "is_active": False,
    }
    assert importer.results(row, mode="upsert") == ["updated"]
    user = importer.user(IDS[1])
    assert (user.email.address, user.username.name, user.role, user.is_active) == (
        "a@example.net",
        "ada2",
        "moderator",
        False,
    )
    assert user.expires_at == Instant.parse("2031-01-01T00:00:00Z")
    assert importer.event_types()[2:] == [
        "UserEmailChanged",
        "UserUsernameChanged",
        "UserRoleChanged",
        "UserExpiryChanged",
        "UserDeactivated",
    ]
    assert importer.results(row, mode="upsert") == ["unchanged"]
    assert importer.results({"id": IDS[1], "is_active": True}, mode="upsert") == ["updated"]
    assert importer.event_types()[-1] == "UserActivated"


def test_what_only_new_accounts_take_is_no_difference(importer: Importer) -> None:
    row = a_row("ada", created_at=EPOCH, updated_at=EPOCH, version=9, last_login_at=EPOCH)
    assert importer.results(row, mode="upsert") == ["unchanged"]


def test_an_upsert_requires_a_new_password_at_the_next_login(importer: Importer) -> None:
    for must_change in (True, False):
        row = a_row("ada", must_change_password=must_change)
        assert importer.results(row, mode="upsert", dry_run=True) == ["updated"]
        assert importer.results(row, mode="upsert") == ["updated"]
        assert importer.user("ada").must_change_password is must_change
        assert importer.events()[-1][0] == "UserPasswordChangeRequired"
        assert importer.events()[-1][1]["must_change"] is must_change
        assert importer.results(row, mode="upsert") == ["unchanged"]


# The last administrator.


def test_the_last_administrator_stays(importer: Importer) -> None:
    rows: list[Members] = [
        a_row("root", role="user"),
        {"email": "ada@example.org", "role": "moderator"},
    ]
    assert importer.results(*rows, mode="upsert") == ["user.last_administrator", "updated"]
    assert importer.results({"email": "root@example.org", "is_active": False}, mode="upsert") == [
        "user.last_administrator"
    ]
    assert importer.results({"email": "root@example.org", "expires_at": EPOCH}, mode="upsert") == [
        "user.last_administrator"
    ]
    assert importer.user("root").role == "admin"


@pytest.mark.parametrize("count", [1, 30])  # more than 20 rows are inserted together
def test_a_new_administrator_counts_for_the_rows_after_it(importer: Importer, count: int) -> None:
    others = [a_row(f"user{number}") for number in range(count)]
    demoted = a_row("root", role="user")
    assert importer.results(demoted, *others, a_row("new", role="admin"), mode="upsert")[0] == "user.last_administrator"
    inactive = a_row("gone", role="admin", is_active=False)
    expired = a_row("past", role="admin", expires_at=EPOCH)
    assert importer.results(inactive, expired, demoted | {"is_active": True}, mode="upsert")[2:] == ["updated"]
    assert importer.user("new").role == "admin"


def test_an_administrator_may_follow_another(importer: Importer) -> None:
    promoted: Members = {"email": "ada@example.org", "role": "admin"}
    rows = [a_row("new", role="admin"), a_row("root", role="user"), promoted]
    assert importer.results(*rows, mode="upsert") == ["created", "updated", "updated"]
    more: list[Members] = [{"email": f"{name}@example.org", "role": "user"} for name in ("ada", "new")]
    assert importer.results(*more, mode="upsert") == ["updated", "user.last_administrator"]


def test_inactive_and_expired_administrators_do_not_count(importer: Importer) -> None:
    inactive = a_row("gone", role="admin", is_active=False)
    expired = a_row("past", role="admin", expires_at=EPOCH)
    rows = [inactive, expired, a_row("root", role="user")]
    assert importer.results(*rows, mode="upsert") == ["created", "created", "user.last_administrator"]


@pytest.mark.parametrize("change", [{"role": "user"}, {"expires_at": "2031-01-01T00:00:00Z"}, {"is_active": False}])
@pytest.mark.parametrize("count", [1, 25])
def test_new_accounts_follow_a_row_that_was_undone(importer: Importer, change: Members, count: int) -> None:
    others = [a_row(f"user{number}") for number in range(count)]
    found = importer.results(a_row("ROOT", email="root@example.org") | change, *others, mode="upsert")
    assert found == ["user.last_administrator"] + ["created"] * count
    assert importer.names()["root@example.org"] == "root"
    assert importer.event_types()[2:] == ["UserImported"] * count
