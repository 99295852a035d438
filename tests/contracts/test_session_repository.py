"""Rules for the session repository of every database: tokens work once, void ones stay void, and sweeps are limited."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from tests.contracts.conftest import START, Store, a_user, new_id

from backctl.domain.errors import DatabaseDamaged, InvalidCursor, SessionNotFound
from backctl.domain.refresh_token import RefreshToken
from backctl.domain.repositories import EVERY_EVENT, Swept
from backctl.domain.sessions import Session, Standing
from backctl.domain.user import User
from backctl.domain.values import Identity, Instant, SessionId, UserId

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR


def digest(number: int) -> bytes:
    return number.to_bytes(32)


def a_session(user: User, *, now: Instant = START, **changes: Any) -> Session:
    """Return a session with one access token, which is valid for an hour."""
    values: dict[str, Any] = {
        "id": SessionId(new_id()),
        "user_id": user.id,
        "issuer": "here",
        "client_id": "backctl",
        "audience": "api",
        "scope": "a b",
        "access_ttl": HOUR,
        "created_at": now,
        "issued_at": now,
        "expires_at": now.plus(HOUR),
        "ends_at": now.plus(30 * DAY),
    }
    return Session(**{**values, **changes})


def a_token(session: Session, number: int = 1, *, expires_at: Instant | None = None) -> RefreshToken:
    return RefreshToken(digest(number), session.id, START, expires_at or START.plus(7 * DAY))


def add(store: Store, *sessions: Session, tokens: tuple[RefreshToken, ...] = ()) -> None:
    with store.work() as work:
        for session in sessions:
            work.sessions.add(session)
        for token in tokens:
            work.sessions.issue(token)
        work.commit()


@pytest.fixture
def ada(store: Store) -> User:
    user = a_user("ada")
    store.add(user)
    return user


def members(session: Session) -> dict[str, Any]:
    return {name: getattr(session, name) for name in Session.__dataclass_fields__ if not name.startswith("_")}


def stored(store: Store, session: Session) -> Session:
    with store.work() as work:
        return work.sessions.get(session.id)


def rows(store: Store, table: str) -> int:
    with store.work() as work:
        return int(work.session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def standing(store: Store, session: Session, jti: str = "jti") -> Standing | None:
    return store.open_reader().standings([(session.id, jti)]).get((session.id, jti))


def events(store: Store) -> list[tuple[str, str, dict[str, object] | None]]:
    return [(event.type, event.subject, event.data) for event in store.open_reader().stream_events(EVERY_EVENT)][2:]


# One session.


def test_what_is_added_is_found_again(store: Store, ada: User) -> None:
    session = a_session(ada, not_before=START, revoked_at=START, revoked_because="requested")
    token = a_token(session)
    add(store, session, tokens=(token,))
    assert members(stored(store, session)) == members(session)
    with store.work() as work:
        assert work.sessions.token(token.digest) == token
        assert work.sessions.owner(token.digest) == (ada.id, session.id)
        assert work.sessions.owner(digest(2)) is None
        assert work.sessions.token(digest(2)) is None
        assert work.sessions.get(session.id.upper()).id == session.id


def test_what_changes_in_a_session_is_written_back_with_its_events(store: Store, ada: User) -> None:
    session = a_session(ada)
    add(store, session)
    with store.work() as work:
        work.sessions.get(session.id).revoke("requested", now=START.plus(5))
        work.commit()
    assert (stored(store, session).revoked_at, stored(store, session).revoked_because) == (START + 5, "requested")
    assert events(store) == [("SessionRevoked", ada.id, {"session": session.id, "cause": "requested"})]
    assert store.open_reader().verify_chain(store.audit_keys).intact


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_is_not_committed_or_a_dry_run_is_not_kept(store: Store, ada: User, dry_run: bool) -> None:
    session = a_session(ada)
    add(store, session, tokens=(a_token(session),))
    with store.work(dry_run=dry_run) as work:
        work.sessions.get(session.id).revoke("requested", now=START)
        assert work.sessions.use(digest(1), successor=digest(2), now=START)
        if dry_run:
            work.commit()
    assert stored(store, session).revoked_at is None
    with store.work() as work:
        assert work.sessions.use(digest(1), successor=digest(2), now=START)
    assert events(store) == []


@pytest.mark.parametrize("session_id", ["", "nobody", "0192f3a0-0000-7000-8000-000000000000", "'; DROP TABLE users"])
def test_an_unknown_session_is_not_found(store: Store, session_id: str) -> None:
    with store.work() as work, pytest.raises(SessionNotFound):
        work.sessions.get(session_id)


def test_a_session_belongs_to_an_account_that_exists(store: Store) -> None:
    with store.work() as work, pytest.raises(IntegrityError):
        work.sessions.add(a_session(a_user("nobody")))


def test_a_deleted_account_leaves_no_session_and_no_token(store: Store, ada: User) -> None:
    session = a_session(ada)
    add(store, session, tokens=(a_token(session),))
    with store.work() as work:
        user = work.users.get(Identity.parse("ada"))
        work.users.remove(user)
        user.delete(erased=False, now=START)
        work.commit()
    assert (rows(store, "sessions"), rows(store, "refresh_tokens")) == (0, 0)
    assert standing(store, session) is None


def test_a_session_that_was_never_written_is_refused(store: Store, ada: User) -> None:
    session = a_session(ada)
    add(store, session)
    with store.work() as work:
        work.session.execute(text(f"UPDATE sessions SET not_before = {2**62}"))
        work.commit()
    with pytest.raises(DatabaseDamaged, match="the column not_before contains"), store.work() as work:
        work.sessions.get(session.id)


# Refresh tokens.


def test_a_token_is_used_once(store: Store, ada: User) -> None:
    session = a_session(ada)
    add(store, session, tokens=(a_token(session),))
    with store.work() as work:
        assert work.sessions.use(digest(1), successor=digest(2), now=START.plus(1))
        assert not work.sessions.use(digest(1), successor=digest(3), now=START.plus(2))
        used = work.sessions.token(digest(1))
        assert used is not None
        assert (used.used_at, used.successor) == (START + 1, digest(2))
        assert not work.sessions.use(digest(9), successor=digest(3), now=START)


def test_of_many_that_use_one_token_at_the_same_moment_one_does(store: Store, ada: User) -> None:
    session = a_session(ada)
    add(store, session, tokens=(a_token(session),))
    start = threading.Barrier(8)

    def use(number: int) -> bool:
        start.wait()
        with store.work() as work:
            first = work.sessions.use(digest(1), successor=digest(10 + number), now=START)
            work.commit()
        return first

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(use, range(8))) == [False] * 7 + [True]


def test_a_retry_puts_another_in_the_place_of_the_successor(store: Store, ada: User) -> None:
    session = a_session(ada)
    add(store, session, tokens=(a_token(session, 1), a_token(session, 2)))
    with store.work() as work:
        work.sessions.use(digest(1), successor=digest(2), now=START.plus(1))
        used = work.sessions.token(digest(1))
        assert used is not None
        work.sessions.issue(a_token(session, 3))
        work.sessions.retry(used, successor=digest(3), now=START.plus(2))
        after, replaced = work.sessions.token(digest(1)), work.sessions.token(digest(2))
    assert after is not None
    assert replaced is not None
    assert (after.used_at, after.successor) == (START + 1, digest(3))
    assert (replaced.used_at, replaced.successor) == (START + 2, None)


# Several sessions at once.


def test_revoking_an_account_ends_its_open_sessions_and_nobody_elses(store: Store, ada: User) -> None:
    bob = a_user("bob")
    store.add(bob)
    before = len(events(store))
    one, other, ended = a_session(ada), a_session(ada), a_session(ada, revoked_at=START, revoked_because="reused")
    bobs = a_session(bob)
    add(store, one, other, ended, bobs)
    with store.work() as work:
        assert work.sessions.revoke_all(ada.id, "deactivated", now=START.plus(5)) == 2
        assert work.sessions.revoke_all(ada.id, "requested", now=START.plus(6)) == 0
        work.commit()
    assert [stored(store, it).revoked_because for it in (one, other, ended, bobs)] == [
        "deactivated",
        "deactivated",
        "reused",
        None,
    ]
    assert stored(store, one).revoked_at == START + 5
    assert events(store)[before:] == [("SessionsRevoked", ada.id, {"count": 2, "cause": "deactivated"})]


def test_access_tokens_are_void_from_their_latest_issue_on_though_the_clock_was_set_back(
    store: Store, ada: User
) -> None:
    early, late = a_session(ada), a_session(ada, issued_at=START.plus(10))
    add(store, early, late)
    with store.work() as work:
        work.sessions.void_access_tokens(ada.id, now=START.plus(5))
        work.commit()
    assert (stored(store, early).not_before, stored(store, late).not_before) == (START + 5, START + 10)


def test_a_denied_token_is_remembered_until_its_end_the_later_one_of_two(store: Store, ada: User) -> None:
    session = a_session(ada)
    add(store, session)
    with store.work() as work:
        assert work.sessions.deny("jti", subject=ada.id, expires_at=START.plus(10), now=START)
        assert not work.sessions.deny("jti", subject=ada.id, expires_at=START.plus(20), now=START)
        assert not work.sessions.deny("jti", subject=ada.id, expires_at=START.plus(5), now=START)
        work.commit()
    denied, other = standing(store, session), standing(store, session, "another")
    assert denied is not None
    assert other is not None
    assert (denied.denied, other.denied) == (True, False)
    assert events(store) == [("AccessTokenRevoked", ada.id, {"jti": "jti"})]
    with store.work() as work:
        assert work.sessions.sweep(START.plus(19), limit=10) == Swept()
        assert work.sessions.sweep(START.plus(20), limit=10) == Swept(revocations=1)


def test_an_issuers_bar_moves_forward_and_back_only_when_it_is_far_ahead(store: Store, ada: User) -> None:
    with store.work() as work:
        assert work.sessions.barred_until("here") is None
        for moment, expected in ((5, 5), (9, 9), (7, 9), (6, 6), (8, 8)):
            work.sessions.bar("here", leeway=2, now=START.plus(moment))
            assert work.sessions.barred_until("here") == START + expected
        assert work.sessions.barred_until("elsewhere") is None


def test_barring_an_issuer_voids_whatever_its_clock_said(store: Store, ada: User) -> None:
    ahead = a_session(ada, now=START.plus(7))
    elsewhere = a_session(ada, issuer="elsewhere", now=START.plus(7))
    gone = a_session(ada, revoked_at=START, revoked_because="reused")
    add(store, a_session(ada), ahead, elsewhere, gone)
    with store.work() as work:
        assert work.sessions.bar("here", leeway=10, now=START.plus(5)) == 2
        assert work.sessions.barred_until("here") == START + 5
        assert work.sessions.bar("here", leeway=10, now=START.plus(6)) == 0
        work.commit()
    assert events(store)[0] == ("IssuerTokensRevoked", "here", {"count": 2})
    page = store.open_reader().sessions(ada.id, now=START, limit=10).items
    assert sorted((item.issuer, item.state) for item in page) == [("elsewhere", "open")] + [("here", "revoked")] * 3
    assert (stored(store, ahead).revoked_because, stored(store, gone).revoked_because) == ("requested", "reused")


def test_a_bar_that_moves_back_revives_nothing(store: Store, ada: User) -> None:
    """Sessions that only the bar had voided were opened after its new time."""
    between, after = a_session(ada, now=START.plus(50)), a_session(ada, now=START.plus(200))
    with store.work() as work:
        work.sessions.add(between)
        work.sessions.bar("here", leeway=0, now=START.plus(100))
        work.sessions.add(after)
        work.commit()
    with store.work() as work:
        assert work.sessions.bar("here", leeway=0, now=START.plus(10)) == 1
        assert work.sessions.barred_until("here") == START + 10
        work.commit()
    for session in (between, after):
        found = standing(store, session)
        assert found is not None
        assert found.why_void(sub=ada.id, iss="here", jti="jti", iat=0, now=START) == "its session was revoked"


def test_all_sessions_of_all_issuers_end_at_once(store: Store, ada: User) -> None:
    open_ = a_session(ada), a_session(ada, issuer="there"), a_session(ada, issuer="ahead", now=START.plus(2 * DAY))
    past = a_session(ada, expires_at=START)
    add(store, *open_, past)
    with store.work() as work:
        assert work.sessions.end_all("configured", leeway=0, now=START.plus(1)) == len(open_)
        work.commit()
    for session in (*open_, past):
        assert stored(store, session).revoked_at == max(session.created_at, START.plus(1))
    assert stored(store, open_[0]).revoked_because == "restored"
    with store.work() as work:
        assert {work.sessions.barred_until(issuer) for issuer in ("configured", "here", "there", "ahead")} == {
            START.plus(1)
        }
        assert work.sessions.end_all("configured", leeway=0, now=START.plus(2)) == 0


def test_sweeping_takes_what_is_past_in_bounded_steps_and_nothing_else(store: Store, ada: User) -> None:
    past = [a_session(ada, expires_at=START.plus(number)) for number in range(5)]
    live = a_session(ada)
    old = tuple(a_token(live, number, expires_at=START.plus(1)) for number in range(1, 4))
    add(store, *past, live, tokens=(*old, a_token(live, 9), a_token(past[0], 10, expires_at=START.plus(DAY))))

    def sweep() -> Swept:
        with store.work() as work:
            swept = work.sessions.sweep(START.plus(4), limit=2)
            work.commit()
        return swept

    assert [sweep() for _ in range(4)] == [
        Swept(sessions=2, refresh_tokens=2),
        Swept(sessions=2, refresh_tokens=1),
        Swept(sessions=1),
        Swept(),
    ]
    assert (rows(store, "sessions"), rows(store, "refresh_tokens")) == (1, 1)  # no orphaned refresh token is left
    assert stored(store, live).id == live.id


def test_a_session_that_somebody_works_on_is_swept_another_time(store: Store, ada: User) -> None:
    if store.engine.dialect.name == "sqlite":  # SQLite allows only one writer at a time
        session = a_session(ada, expires_at=START)
        add(store, session)
        with store.work() as work:
            assert work.sessions.get(session.id).id == session.id
            assert work.sessions.sweep(START, limit=10).sessions == 1
        return
    session, other = a_session(ada, expires_at=START), a_session(ada, expires_at=START)
    add(store, session, other)
    with store.work() as working:
        working.sessions.get(session.id)
        with store.work() as sweeping:
            assert sweeping.sessions.sweep(START, limit=10).sessions == 1
            sweeping.commit()
    assert stored(store, session).id == session.id


# Queries.


def test_the_sessions_of_an_account_are_listed_with_their_state(store: Store, ada: User) -> None:
    bob = a_user("bob")
    store.add(bob)
    open_, expired = a_session(ada), a_session(ada, expires_at=START.plus(1))
    revoked = a_session(ada, revoked_at=START, revoked_because="reused")
    add(store, open_, expired, revoked, a_session(bob), tokens=(a_token(open_, 1), a_token(revoked, 2)))
    found = store.open_reader().sessions(ada.id, now=START.plus(1), limit=10)
    assert [(item.id, item.state, item.refreshable, item.revoked_because) for item in found.items] == [
        (open_.id, "open", True, None),
        (expired.id, "expired", False, None),
        (revoked.id, "revoked", False, "reused"),
    ]
    assert found.next_cursor is None
    first = found.items[0]
    ends = START + 30 * DAY
    assert (first.scope, first.audience, first.latest_expires_at, first.user_id) == ("a b", "api", ends, ada.id)
    assert list(store.open_reader().stream_sessions(ada.id, now=START.plus(1))) == list(found.items)


def test_pages_of_sessions_meet_without_gap_or_overlap(store: Store, ada: User) -> None:
    sessions = [a_session(ada) for _ in range(5)]
    add(store, *sessions)
    reader, found, cursor = store.open_reader(), [], None
    for _ in range(3):
        page = reader.sessions(ada.id, now=START, limit=2, cursor=cursor)
        found += [item.id for item in page.items]
        cursor = page.next_cursor
    assert (found, cursor) == ([session.id for session in sessions], None)


def test_a_cursor_of_another_question_is_refused(store: Store, ada: User) -> None:
    add(store, a_session(ada), a_session(ada))
    reader = store.open_reader()
    cursor = reader.sessions(ada.id, now=START, limit=1).next_cursor
    assert cursor is not None
    for user_id, text_ in ((UserId(new_id()), cursor), (ada.id, "nonsense")):
        with pytest.raises(InvalidCursor):
            reader.sessions(user_id, now=START, limit=1, cursor=text_)


def test_the_standing_of_many_tokens_is_found_at_once(store: Store, ada: User) -> None:
    barred = a_session(ada, issuer="elsewhere")
    changed = a_session(ada, not_before=START.plus(3), revoked_at=START.plus(2), revoked_because="requested")
    add(store, barred, changed)
    with store.work() as work:
        work.users.get(Identity.parse("ada")).set_expiry(START.plus(DAY), now=START)
        work.sessions.bar("elsewhere", leeway=0, now=START.plus(9))
        work.commit()
    unknown = (new_id(), "x")
    asked = [(barred.id, "a"), (changed.id, "a"), (changed.id, "b"), unknown, ("no id", "x"), ("", "x")]
    found = store.open_reader().standings(asked)
    assert found == {
        (barred.id, "a"): Standing(ada.id, "elsewhere", START, None, None, START.plus(9), True, START.plus(DAY), False),
        (changed.id, "a"): (
            other := Standing(ada.id, "here", START, START.plus(3), START.plus(2), None, True, START.plus(DAY), False)
        ),
        (changed.id, "b"): other,
    }
    assert store.open_reader().standings([]) == {}
    assert store.open_reader().standings([("no id", "x")]) == {}


def test_the_standing_of_a_token_is_one_statement(store: Store, ada: User) -> None:
    session = a_session(ada)
    add(store, session)
    reader = store.open_reader()
    statements: list[object] = []
    fetch: Callable[[Any], Any] = reader._fetch  # type: ignore[attr-defined]  # both readers have it

    def counted(statement: object) -> object:
        statements.append(statement)
        return fetch(statement)

    reader._fetch = counted  # type: ignore[attr-defined]
    reader.standings([(session.id, "a"), (session.id, "b")])
    assert len(statements) == 1
