"""The guard of a run: asked once, before the first change, only if there is one, and outside any transaction."""

from collections.abc import Callable
from functools import partial

import pytest
from tests.contracts.conftest import BY, Store, a_user

from backctl.application.account_steps import AccountSteps
from backctl.application.guard import Guard
from backctl.application.transactions import BATCH_SIZE, Transactions
from backctl.domain.access import AccessPolicy
from backctl.domain.errors import BackctlError, ConfirmationRequired, UserNotFound
from backctl.domain.repositories import EVERY_EVENT, UserCriteria
from backctl.domain.values import Identity


class CountingGuard(Guard):
    """Answers yes or no, and counts how often it is asked. Fails if somebody holds a lock meanwhile."""

    def __init__(self, store: Store, *, lets_pass: bool) -> None:
        self._store = store
        self._lets_pass = lets_pass
        self.asked = 0
        self._is_due = True

    @property
    def is_due(self) -> bool:
        return self._is_due

    def ask(self) -> None:
        self.asked += 1
        self._store.change("root", lambda root: None)  # locks the row
        if not self._lets_pass:
            raise ConfirmationRequired("not confirmed")
        self._is_due = False


@pytest.fixture
def yes(store: Store) -> CountingGuard:
    store.add(a_user("root", role="admin"), *(a_user(f"user{number}") for number in range(BATCH_SIZE + 5)))
    return CountingGuard(store, lets_pass=True)


@pytest.fixture
def no(store: Store, yes: CountingGuard) -> CountingGuard:
    return CountingGuard(store, lets_pass=False)


def steps(store: Store) -> AccountSteps:
    return AccountSteps(AccessPolicy(), lambda: store.now, lambda: a_user().id)


def deactivate(store: Store, transactions: Transactions, ident: str, *, dry_run: bool = False) -> bool:
    step = partial(steps(store).deactivating, Identity.parse(ident))
    return transactions.run(step, by=BY, dry_run=dry_run).changed


def inactive(store: Store) -> int:
    return store.open_reader().count_users(UserCriteria(statuses=("closed",)))


def events(store: Store) -> int:
    return len(list(store.open_reader().stream_events(EVERY_EVENT)))


def never() -> bool:
    return False


def test_it_is_asked_before_a_change_and_then_never_again(store: Store, yes: CountingGuard) -> None:
    transactions = store.transactions(guard=yes)
    assert deactivate(store, transactions, "user1")
    assert deactivate(store, transactions, "user2")
    assert (yes.asked, inactive(store)) == (1, 2)


def test_nothing_changes_when_it_refuses(store: Store, no: CountingGuard) -> None:
    before = events(store)
    with pytest.raises(ConfirmationRequired):
        deactivate(store, store.transactions(guard=no), "user1")
    assert (no.asked, inactive(store), events(store)) == (1, 0, before)


def test_it_is_not_asked_for_what_changes_nothing(store: Store, no: CountingGuard) -> None:
    store.change("user1", lambda user: user.deactivate(now=store.now))
    transactions = store.transactions(guard=no)
    assert not deactivate(store, transactions, "user1")
    assert deactivate(store, transactions, "user2", dry_run=True)
    with pytest.raises(UserNotFound):
        deactivate(store, transactions, "nobody")
    assert (no.asked, inactive(store)) == (0, 1)


def test_it_is_asked_once_for_many_before_the_first_of_them(store: Store, yes: CountingGuard) -> None:
    names = [f"user{number}" for number in range(BATCH_SIZE + 5)]
    outcomes = store.transactions(guard=yes).run_each(
        names, steps(store).deactivating, by=BY, dry_run=False, stop=never
    )
    assert yes.asked == 1
    assert inactive(store) == 0
    assert len(list(outcomes)) == len(names)
    assert (yes.asked, inactive(store)) == (1, len(names))


def test_a_refusal_spares_all_of_many(store: Store, no: CountingGuard) -> None:
    with pytest.raises(ConfirmationRequired):
        store.transactions(guard=no).run_each(
            ["nobody", "user1"], steps(store).deactivating, by=BY, dry_run=False, stop=never
        )
    assert (no.asked, inactive(store)) == (1, 0)


def test_it_is_not_asked_for_many_that_change_nothing(store: Store, no: CountingGuard) -> None:
    outcomes = store.transactions(guard=no).run_each(
        ["user1", "nobody"], steps(store).activating, by=BY, dry_run=False, stop=never
    )
    seen = [outcome.code if isinstance(outcome, BackctlError) else outcome.changed for outcome in outcomes]
    assert (no.asked, seen) == (0, [False, "user.not_found"])


def test_a_guard_that_is_not_due_costs_no_dry_run(store: Store, yes: CountingGuard) -> None:
    calls: list[bool] = []

    def begin(original: Callable[..., object], **options: object) -> object:
        calls.append(bool(options["dry_run"]))
        return original(**options)

    transactions = store.transactions(guard=yes)
    watched = Transactions(partial(begin, transactions.begin), transactions.begin_keyring, transactions.pause)  # type: ignore[arg-type]  # it passes through what the real one takes
    assert deactivate(store, watched, "user1")
    assert calls == [False]
