"""Batches: few transactions, an outcome for each item, and failures that do not affect other items."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy.event import listen
from tests.contracts.conftest import BY, START, Store, a_user
from tests.contracts.test_session_repository import a_session

from backctl.application.account_steps import AccountChanges, AccountSteps
from backctl.application.ports.storage import UnitOfWork
from backctl.application.transactions import BATCH_SIZE, Outcome, StepOn, Transactions
from backctl.application.views import Change, UserView
from backctl.domain.access import AccessPolicy
from backctl.domain.errors import BackctlError, DatabaseLocked, TransactionAborted
from backctl.domain.repositories import EVERY_EVENT, EVERY_USER, UserCriteria
from backctl.domain.user import User
from backctl.domain.values import EmailAddress, Identity, Username

CROWD = 2 * BATCH_SIZE + 20


@dataclass
class Bench:
    """The transaction runner of a store, which counts its commits and pauses."""

    store: Store
    commits: int = 0
    pauses: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        listen(self.store.engine, "commit", self._committed)

    def _committed(self, _connection: object) -> None:
        self.commits += 1

    @property
    def steps(self) -> AccountSteps:
        return AccountSteps(AccessPolicy(), lambda: self.store.now, lambda: a_user().id)

    @property
    def transactions(self) -> Transactions:
        return self.store.transactions(pause=self.pauses.append)

    def run_each(
        self,
        idents: Sequence[str],
        step: StepOn[UserView],
        *,
        dry_run: bool = False,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Outcome[UserView]]:
        return self.transactions.run_each(idents, step, by=BY, dry_run=dry_run, stop=stop)

    def closed(self) -> int:
        return self.store.open_reader().count_users(UserCriteria(statuses=("closed",)))

    def events(self) -> list[tuple[str, str]]:
        """Return all events except the creation of the accounts."""
        found = self.store.open_reader().stream_events(EVERY_EVENT)
        return [(event.type, event.subject) for event in found if event.type.removesuffix("Created") == event.type]


@pytest.fixture
def bench(store: Store) -> Iterator[Bench]:
    """Yield a bench with the administrator `root`, and with `user000` and so on."""
    store.add(a_user("root", role="admin"), *(a_user(f"user{number:03}") for number in range(CROWD)))
    bench = Bench(store)
    yield bench
    assert store.open_reader().verify_chain(store.audit_keys).intact


def names(count: int = CROWD) -> list[str]:
    return [f"user{number:03}" for number in range(count)]


def seen(outcomes: Sequence[Outcome[UserView]]) -> list[object]:
    """Return for each whether it changed, or its error code."""
    return [outcome.code if isinstance(outcome, BackctlError) else outcome.changed for outcome in outcomes]


def test_many_share_a_transaction_and_keep_their_order(bench: Bench) -> None:
    outcomes = list(bench.run_each(list(reversed(names())), bench.steps.deactivating))
    views = [outcome.value for outcome in outcomes if isinstance(outcome, Change)]
    assert [view.username for view in views] == list(reversed(names()))
    assert {(view.is_active, view.version) for view in views} == {(False, 2)}
    assert bench.commits == 3
    assert bench.events() == [("UserDeactivated", view.id) for view in views]
    assert bench.closed() == CROWD


def test_what_changes_nothing_commits_nothing(bench: Bench) -> None:
    assert seen(list(bench.run_each([*names(3), "nobody"], bench.steps.activating))) == [False] * 3 + ["user.not_found"]
    assert bench.commits == 0


def test_one_that_fails_leaves_its_neighbours_and_nothing_of_itself(bench: Bench) -> None:
    """Failures can occur when the account is read, after it was changed, and when it is written."""
    step = bench.steps.updating
    given = {
        "user001": AccountChanges(email=EmailAddress.of("user001@example.net")),
        "nobody": AccountChanges(role="moderator"),
        "root": AccountChanges(email=EmailAddress.of("root@example.net"), role="user"),  # the last administrator
        "user002": AccountChanges(username=Username.parse("USER001"), email=EmailAddress.of("user002@example.net")),
        "user003": AccountChanges(if_version=7, role="moderator"),
        "user004": AccountChanges(username=Username.parse("other")),
    }
    outcomes = list(bench.run_each(list(given), lambda ident, work: step(ident, given[ident.text], work)))
    assert seen(outcomes) == [
        True,
        "user.not_found",
        "user.last_administrator",
        "user.username_taken",
        "user.changed_meanwhile",
        True,
    ]
    assert [type_ for type_, _ in bench.events()] == ["UserEmailChanged", "UserUsernameChanged"]
    assert bench.commits == 1
    with bench.store.work() as work:
        root, second = (work.users.get(Identity.parse(name)) for name in ("root", "user002"))
        assert (root.email.address, root.version) == ("root@example.org", 1)
        assert (second.email.address, second.username.name, second.version) == ("user002@example.org", "user002", 1)


def test_identities_of_one_account_are_as_if_one_came_after_the_other(bench: Bench) -> None:
    same = ["user000", "USER000@example.org", "user001", "user000"]
    outcomes = list(bench.run_each(same, bench.steps.deactivating))
    assert seen(outcomes) == [True, False, True, False]
    deleting = partial(bench.steps.deleting, erase=False, if_exists=False)
    gone = list(bench.transactions.run_each(same, deleting, by=BY, dry_run=False, stop=lambda: False))
    assert [isinstance(outcome, BackctlError) for outcome in gone] == [False, True, False, True]
    assert bench.store.open_reader().count_users(EVERY_USER) == CROWD - 1


@pytest.mark.parametrize("change", ["deactivating", "demoting", "deleting"])
def test_of_all_administrators_in_one_batch_the_last_stays(bench: Bench, change: str) -> None:
    bench.store.add(a_user("second", role="admin"), a_user("third", role="admin"))
    steps: dict[str, StepOn[Any]] = {
        "deactivating": bench.steps.deactivating,
        "demoting": partial(bench.steps.assigning, "user"),
        "deleting": partial(bench.steps.deleting, erase=True, if_exists=False),
    }
    everybody = ["third", "root", "user000", "second", "user001"]
    outcomes = list(bench.transactions.run_each(everybody, steps[change], by=BY, dry_run=False, stop=lambda: False))
    refused = [isinstance(outcome, BackctlError) and outcome.code for outcome in outcomes]
    assert refused == [False, False, False, "user.last_administrator", False]


def test_sessions_end_with_their_account(bench: Bench) -> None:
    with bench.store.work() as work:
        for name in names(2):
            work.sessions.add(a_session(work.users.get(Identity.parse(name))))
        work.commit()
    bench.commits = 0
    assert seen(list(bench.run_each(names(2), bench.steps.deactivating))) == [True, True]
    ended = [type_ for type_, _ in bench.events()][-4:]
    assert ended == ["UserDeactivated", "SessionsRevoked"] * 2
    assert bench.commits == 1


def test_a_dry_run_sees_the_same_and_leaves_nothing(bench: Bench) -> None:
    same = ["user000", "nobody", "user000", "root"]
    expected = [True, "user.not_found", False, "user.last_administrator"]
    assert seen(list(bench.run_each(same, bench.steps.deactivating, dry_run=True))) == expected
    assert (bench.commits, bench.closed(), bench.events()) == (0, 0, [])
    assert seen(list(bench.run_each(same, bench.steps.deactivating))) == expected


def test_an_outcome_comes_when_its_transaction_is_durable(bench: Bench) -> None:
    outcomes = bench.run_each(names(), bench.steps.deactivating)
    assert bench.closed() == 0
    for number, _ in enumerate(outcomes):
        assert bench.closed() == min(CROWD, (number // BATCH_SIZE + 1) * BATCH_SIZE)


def test_a_stop_lets_the_transaction_that_has_begun_finish(bench: Bench) -> None:
    outcomes: list[Outcome[UserView]] = []
    outcomes.extend(bench.run_each(names(), bench.steps.deactivating, stop=lambda: bench.closed() > 0))
    assert len(outcomes) == bench.closed() == BATCH_SIZE


@pytest.mark.parametrize("at", [0, 1, 2, BATCH_SIZE + 7])
@pytest.mark.parametrize("error", [ZeroDivisionError(), DatabaseLocked("locked")], ids=["bug", "locked"])
def test_what_ends_the_run_does_not_undo_what_came_before(bench: Bench, at: int, error: Exception) -> None:
    def step(ident: Identity, work: UnitOfWork) -> Change[UserView]:
        if ident.text == f"user{at:03}":
            raise error
        return bench.steps.deactivating(ident, work)

    done = []

    def run() -> None:
        for outcome in bench.run_each(names(), step):
            done.append(outcome)  # noqa: PERF402 - the outcomes before the error are tested

    with pytest.raises(type(error)):
        run()
    assert len(done) == bench.closed() == len(bench.events()) == at


def test_a_batch_that_the_database_gave_up_is_run_again(bench: Bench) -> None:
    fails = [TransactionAborted("deadlock"), TransactionAborted("deadlock")]

    def step(ident: Identity, work: UnitOfWork) -> Change[UserView]:
        if ident.text == "user030" and fails:
            raise fails.pop()
        return bench.steps.deactivating(ident, work)

    assert seen(list(bench.run_each(names(), step))) == [True] * CROWD
    assert (bench.pauses, bench.commits, len(bench.events())) == ([2, 3], 3, CROWD)


def test_two_batches_in_opposite_orders_both_finish(bench: Bench) -> None:
    """Rows are locked in the order of their ids, which prevents a deadlock."""
    start = Barrier(2)

    def run(order: list[str], step: StepOn[UserView]) -> list[object]:
        start.wait()
        return seen(list(bench.run_each(order, step)))

    with ThreadPoolExecutor(2) as pool:
        for _ in range(4):
            there = pool.submit(run, names(), partial(bench.steps.assigning, "moderator"))
            back = pool.submit(run, list(reversed(names())), bench.steps.deactivating)
            assert there.result() == back.result() == [True] * CROWD
            both = [
                pool.submit(run, order, step)
                for order, step in (
                    (names(), partial(bench.steps.assigning, "user")),
                    (list(reversed(names())), bench.steps.activating),
                )
            ]
            assert [each.result() for each in both] == [[True] * CROWD] * 2
    assert bench.pauses == []
    assert len(bench.events()) == 16 * CROWD


def test_a_step_of_ones_own_may_lock_in_any_order_and_is_run_again(bench: Bench) -> None:
    """If two steps deadlock, the database aborts one of them, and it is run again."""
    start = Barrier(2)
    met: list[str] = []

    def both(first: str, second: str, ident: Identity, work: UnitOfWork) -> Change[UserView]:
        work.users.get(Identity.parse(first))
        if len(met) < 2 and bench.store.engine.dialect.name != "sqlite":  # SQLite has one lock for all
            met.append(first)
            start.wait()
        user: User = work.users.get(Identity.parse(second))
        user.deactivate(now=START)
        work.write()
        return Change(UserView.of(user, locked_until=None, now=START), changed=True)

    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(lambda pair: seen(list(bench.run_each(["root"], partial(both, *pair)))), pair)
            for pair in (("user000", "user001"), ("user001", "user000"))
        ]
        assert [run.result() for run in runs] == [[True], [True]]
    assert bench.closed() == 2
