"""Random imports do what a plain model says, whatever their batches are, and their events describe every account."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contracts.conftest import START, Store, a_user
from tests.contracts.importing import (
    FOREIGN_HASH,
    OTHER_HASH,
    OTHER_TOTP_SECRET,
    TOTP_SECRET,
    Importer,
    Members,
    MemoryFile,
    codes,
    lines,
)
from tests.contracts.test_replay import fold, row_of

from backctl.application.transfer.journal import ImportJournal
from backctl.domain.one_time_codes import decoded_secret
from backctl.domain.repositories import BY_CREATION, EVERY_EVENT, EVERY_USER
from backctl.domain.values import Identity, Instant, UserId

IDS = [UserId(f"01935b1e-7c3a-7def-8abc-{number:012x}") for number in range(4)]
FACTORS: list[Members] = [
    {"mfa": "on", "totp_secret": TOTP_SECRET},
    {"mfa": "on", "totp_secret": OTHER_TOTP_SECRET},
    {"mfa": "pending", "totp_secret": TOTP_SECRET},
]
_SOME: dict[str, Sequence[object]] = {
    "id": IDS,
    "email": ["aa@example.org", "AA@example.org", "bb@example.org", "cc@example.org", "dd@example.org"],
    "username": ["aaa", "AAA", "bbb", "ccc", "ddd"],
    "role": ["user", "moderator", "admin", "admin", "king"],
    "is_active": [True, False],
    "expires_at": ["never", "2031-01-01T00:00:00Z", "2041-01-01T00:00:00Z"],
    "password_hash": [FOREIGN_HASH, OTHER_HASH],
}
_RARE = {"role", "is_active", "expires_at", "password_hash"}

rows = st.lists(
    st.builds(
        lambda members, factor: {name: value for name, value in members.items() if value is not None} | (factor or {}),
        st.fixed_dictionaries(
            {
                name: (
                    st.none() | st.sampled_from(values) if name in _RARE | {"id"} else st.sampled_from([*values, None])
                )
                for name, values in _SOME.items()
            }
        ),
        st.none() | st.none() | st.sampled_from(FACTORS),
    ),
    min_size=1,
    max_size=10,
)


@dataclass
class Account:
    id: str
    email: str
    username: str
    role: str = "user"
    is_active: bool = True
    expires_at: Instant | None = None
    password: str | None = None
    factor: tuple[str, str] | None = None

    @property
    def administers(self) -> bool:
        return self.role == "admin" and self.is_active and (self.expires_at is None or self.expires_at > START)


class Failed(Exception):
    """A row that fails, with the code of its error."""


@dataclass
class Model:
    """What an import does, row by row and without a database."""

    mode: str
    update_secrets: bool
    accounts: list[Account] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)
    new_ids: int = 0

    def run(self, row: Members) -> str:
        before = deepcopy(self.accounts)
        try:
            return self._run(dict(row))
        except Failed as failure:
            self.accounts = before
            return str(failure)

    def _run(self, row: dict[str, Any]) -> str:
        if row.get("role") == "king":
            raise Failed("role.unknown")
        keys = {(name, row[name].lower()) for name in ("id", "email", "username") if name in row}
        repeated = keys & self.seen
        self.seen |= keys
        if repeated:
            raise Failed("import.repeated")
        by = {name: self._find(name, row.get(name)) for name in ("id", "email", "username")}
        account = by["id"] or by["email"]
        if account is None:
            self._create(row, by["username"])
            return "created"
        if self.mode == "create":
            raise Failed("user.email_taken" if account is by["email"] else "user.id_taken")
        if by["email"] not in (None, account):
            raise Failed("user.ambiguous")
        if by["username"] not in (None, account):
            raise Failed("user.username_taken")
        before = deepcopy(account)
        if self.mode == "upsert":
            self._update(account, row)
        return "unchanged" if account == before else "updated"

    def _find(self, name: str, value: str | None) -> Account | None:
        found = (each for each in self.accounts if value is not None and getattr(each, name).lower() == value.lower())
        return next(found, None)

    def _create(self, row: dict[str, Any], namesake: Account | None) -> None:
        if namesake is not None:
            raise Failed("user.username_taken")
        if "email" not in row or "username" not in row:
            raise Failed("input.invalid")
        self.new_ids += 1
        account = Account(row.get("id", f"new {self.new_ids}"), row["email"], row["username"])
        account.role, account.is_active = row.get("role", "user"), row.get("is_active", True)
        account.expires_at, account.password = expiry_of(row), row.get("password_hash")
        account.factor = factor_of(row)
        self.accounts.append(account)

    def _update(self, account: Account, row: dict[str, Any]) -> None:
        administrators = [each for each in self.accounts if each.administers]
        others = [each for each in administrators if each is not account]
        was_one = account.administers
        account.email, account.username = row.get("email", account.email), row.get("username", account.username)
        if "role" in row:
            if row["role"] != "admin" and was_one and not others:
                raise Failed("user.last_administrator")
            account.role = row["role"]
        if "expires_at" in row:
            end = expiry_of(row)
            is_sooner = end is not None and (account.expires_at is None or account.expires_at > end)
            last = not any(each.expires_at is None or end is None or each.expires_at > end for each in others)
            if is_sooner and was_one and last:
                raise Failed("user.last_administrator")
            account.expires_at = end
        if "is_active" in row:
            if not row["is_active"] and account.administers and not others:
                raise Failed("user.last_administrator")
            account.is_active = row["is_active"]
        if self.update_secrets:
            account.password = row.get("password_hash", account.password)
            account.factor = factor_of(row) or account.factor


def expiry_of(row: Members) -> Instant | None:
    text = str(row.get("expires_at", "never"))
    return None if text == "never" else Instant.parse(text)


def factor_of(row: Members) -> tuple[str, str] | None:
    return (str(row["mfa"]), str(row["totp_secret"])) if "mfa" in row else None


SEED: list[Members] = [
    {"id": IDS[0], "email": "aa@example.org", "username": "aaa", "role": "admin"},
    {"id": IDS[1], "email": "bb@example.org", "username": "bbb", "password_hash": FOREIGN_HASH},
]


def emptied(importer: Importer) -> None:
    """Delete all accounts, and import those of the seed."""
    with importer.store.work() as work:
        for view in list(importer.reader.stream_users(EVERY_USER, BY_CREATION)):
            user = work.users.get(Identity("id", view.id))
            work.users.remove(user)
            user.delete(erased=False, now=START)
        work.commit()
    assert importer.results(*SEED) == ["created", "created"]


def accounts_of(importer: Importer) -> list[Account]:
    found = []
    for view in importer.reader.stream_users(EVERY_USER, BY_CREATION):
        with importer.store.work() as work:
            user = work.users.get(Identity("id", view.id))
            enrolment = work.second_factors.of(user.id)
        secret = None if enrolment is None else importer.keys.opened(enrolment, user.id)
        secrets = {decoded_secret(text): text for text in (TOTP_SECRET, OTHER_TOTP_SECRET)}
        found.append(
            Account(
                user.id,
                user.email.address,
                user.username.name,
                user.role,
                user.is_active,
                user.expires_at,
                None if user.password_hash is None else user.password_hash.encoded,
                None if secret is None else (user.mfa_state, secrets[secret]),
            )
        )
        assert (user.mfa_state == "off") == (secret is None)
    return found


def comparable(accounts: Sequence[Account]) -> list[tuple[object, ...]]:
    """Return the accounts by their addresses, and only the ids that rows can give."""
    return sorted(
        (a.email, a.id if a.id in IDS else "", a.username, a.role, a.is_active, a.expires_at, a.password, a.factor)
        for a in accounts
    )


many = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(
    rows,
    st.sampled_from(["create", "skip", "upsert", "upsert", "upsert"]),
    st.booleans(),
    st.sampled_from([1, 2, 3, 50]),
    st.booleans(),
)
def test_an_import_does_what_the_model_does(
    store: Store, rows: list[Members], mode: str, update_secrets: bool, size: int, all_or_nothing: bool
) -> None:
    importer, results = Importer(store), MemoryFile()
    update_secrets &= mode == "upsert"
    emptied(importer)
    before, events = accounts_of(importer), len(importer.events())
    model = Model(mode, update_secrets, deepcopy(before))
    expected = [model.run(row) for row in rows]
    options: dict[str, Any] = {
        "mode": mode,
        "update_secrets": update_secrets,
        "batch_size": size,
        "all_or_nothing": all_or_nothing,
    }
    trial = importer.results(*rows, **options, dry_run=True)
    outcomes = importer.run(*rows, **options, journal=ImportJournal(results))
    failed = any(not code.endswith(("ed",)) or "." in code for code in expected)
    if all_or_nothing and failed:
        expected = ["undone" if code in ("created", "updated") else code for code in expected]
        model.accounts = before
    assert codes(outcomes) == expected
    if all_or_nothing or size == 50:
        assert trial == expected
    assert comparable(accounts_of(importer)) == comparable(model.accounts)
    assert [(line["line"], line["result"], line["id"], line["email"]) for line in lines(results.durable)] == [
        each[:4] for each in outcomes
    ]
    changes = sum(each.is_change for each in outcomes)
    assert (len(importer.events()) > events) == (changes > 0)
    again = importer.results(*rows, **options | {"mode": "upsert"})
    if not failed and mode == "upsert":
        assert set(again) == {"unchanged"}
    replayed(importer)


@many
@given(rows, st.booleans())
def test_runs_of_one_row_each_do_the_same(store: Store, rows: list[Members], update_secrets: bool) -> None:
    importer = Importer(store)
    emptied(importer)
    model = Model("upsert", update_secrets, accounts_of(importer))
    for row in rows:
        model.seen.clear()
        assert importer.results(row, mode="upsert", update_secrets=update_secrets) == [model.run(row)]
    assert comparable(accounts_of(importer)) == comparable(model.accounts)
    replayed(importer)


def replayed(importer: Importer) -> None:
    """Replay the events, and compare every account with them."""
    reader = importer.reader
    found = {view.id: row_of(view) for view in reader.stream_users(EVERY_USER, BY_CREATION)}
    assert fold(reader.stream_events(EVERY_EVENT)) == found
    assert reader.verify_chain(importer.store.audit_keys).intact


def test_the_events_of_a_big_import_give_back_every_account(store: Store) -> None:
    importer = Importer(store)
    store.add(a_user("root", role="admin"))
    rows: list[Members] = [
        {
            "email": f"user{number}@example.org",
            "username": f"user{number}",
            "is_active": number % 3 > 0,
            "role": ("user", "moderator")[number % 2],
            "must_change_password": number % 5 == 0,
            "expires_at": "never" if number % 7 else "2031-01-01T00:00:00.000001Z",
            "last_login_at": None if number % 2 else "1970-01-01T00:00:00Z",
            "created_at": f"19{number:02}-01-01T00:00:00Z",
            "updated_at": None if number % 4 else "2020-02-02T02:02:02.000002Z",
            "version": number + 1,
            "password_hash": None if number % 3 else FOREIGN_HASH,
            **(FACTORS[number % 3] if number % 4 == 0 else {}),
        }
        for number in range(60)
    ]
    assert set(importer.results(*rows)) == {"created"}
    replayed(importer)
    later: list[Members] = [row | {"is_active": True, "password_hash": OTHER_HASH} for row in rows]
    assert set(importer.results(*later, mode="upsert", update_secrets=True, batch_size=17)) == {"updated"}
    replayed(importer)
