"""Reactions receive the events of a transaction after it is committed, and are not called otherwise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.contracts.conftest import BY, START, Store, a_user

from backctl.application.account_steps import AccountChanges, AccountSteps, NewAccount
from backctl.application.keys import KeyService
from backctl.application.reactions import LoggedEvent
from backctl.application.transactions import Transactions
from backctl.application.views import Change, UserView
from backctl.domain.access import AccessPolicy
from backctl.domain.errors import TransactionAborted, UserNotFound
from backctl.domain.repositories import EVERY_EVENT
from backctl.domain.values import EmailAddress, Identity, Username
from backctl.infrastructure.keyring.exchange import KeyText
from backctl.infrastructure.keyring.file import KeyFile
from backctl.infrastructure.keyring.maker import make_key, make_keyring

if TYPE_CHECKING:
    from tests.contracts.token_services import Services

    from backctl.application.ports.security import KeyringChange
    from backctl.application.ports.storage import UnitOfWork

ADA = Identity.parse("ada")


@dataclass
class Counter:
    """A reaction that remembers its arguments."""

    calls: list[Sequence[LoggedEvent]] = field(default_factory=list)

    def __call__(self, events: Sequence[LoggedEvent]) -> None:
        self.calls.append(events)

    @property
    def types(self) -> list[list[str]]:
        return [[logged.event.type for logged in events] for events in self.calls]


@dataclass
class Failing:
    """A reaction that fails."""

    def __call__(self, events: Sequence[LoggedEvent]) -> None:
        raise OSError("ada@example.org is not to be repeated")


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def accounts(store: Store) -> Store:
    """Return a store with the administrator `root` and the account `ada`."""
    store.add(a_user("root", role="admin"), a_user("ada"))
    return store


@pytest.fixture
def steps() -> AccountSteps:
    return AccountSteps(AccessPolicy(), lambda: START, lambda: a_user().id)


def test_a_reaction_gets_the_events_as_they_stand_in_the_log(
    accounts: Store, counter: Counter, steps: AccountSteps
) -> None:
    runner = accounts.transactions(counter)
    runner.run(partial(steps.deactivating, ADA), by=BY)
    runner.run(partial(steps.activating, ADA), by=BY)
    assert counter.types == [["UserDeactivated"], ["UserActivated"]]
    given = [event for call in counter.calls for event in call]
    stored = list(accounts.open_reader().stream_events(EVERY_EVENT))[-2:]
    assert [(event.seq, event.id, event.occurred_at, event.event.type, event.event.subject) for event in given] == [
        (event.seq, event.id, event.occurred_at, event.type, event.subject) for event in stored
    ]


def test_what_a_reaction_sees_is_durable(accounts: Store, steps: AccountSteps) -> None:
    seen: list[bool] = []

    def look(events: Sequence[LoggedEvent]) -> None:
        found = accounts.open_reader().find_user(ADA)
        assert found is not None
        seen.append(found.is_active)

    accounts.transactions(look).run(partial(steps.deactivating, ADA), by=BY)
    assert seen == [False]


def test_several_steps_in_one_transaction_are_one_call(accounts: Store, counter: Counter, steps: AccountSteps) -> None:
    def both(work: "UnitOfWork") -> Change[UserView]:
        steps.deactivating(ADA, work)
        return steps.activating(ADA, work)

    accounts.transactions(counter).run(both, by=BY)
    assert counter.types == [["UserDeactivated", "UserActivated"]]


@pytest.mark.parametrize("kind", ["dry run", "no change", "failure", "not kept"])
def test_where_nothing_was_committed_no_reaction_is_called(
    accounts: Store, counter: Counter, steps: AccountSteps, kind: str
) -> None:
    runner = accounts.transactions(counter)
    if kind == "dry run":
        assert runner.run(partial(steps.deactivating, ADA), by=BY, dry_run=True).changed
    elif kind == "no change":
        assert not runner.run(partial(steps.activating, ADA), by=BY).changed
    elif kind == "failure":
        with pytest.raises(UserNotFound):
            runner.run(partial(steps.deactivating, Identity.parse("nobody")), by=BY)
    else:
        assert runner.run_any(partial(steps.deactivating, ADA), by=BY, commits=lambda change: False).changed
    assert counter.calls == []
    found = accounts.open_reader().find_user(ADA)
    assert found is not None
    assert found.is_active


def test_an_aborted_attempt_is_not_reacted_to(accounts: Store, counter: Counter, steps: AccountSteps) -> None:
    failures = [TransactionAborted("deadlock"), TransactionAborted("deadlock")]

    def step(work: "UnitOfWork") -> Change[UserView]:
        change = steps.deactivating(ADA, work)
        if failures:
            raise failures.pop()
        return change

    accounts.transactions(counter).run(step, by=BY)
    assert counter.types == [["UserDeactivated"]]


def test_a_failing_reaction_is_reported_and_changes_nothing_else(
    accounts: Store, counter: Counter, steps: AccountSteps
) -> None:
    reports: list[tuple[str, Exception]] = []
    runner = accounts.transactions(Failing(), counter, report=lambda name, error: reports.append((name, error)))
    assert runner.run(partial(steps.deactivating, ADA), by=BY).changed
    assert counter.types == [["UserDeactivated"]]
    assert [(name, type(error)) for name, error in reports] == [("Failing", OSError)]
    found = accounts.open_reader().find_user(ADA)
    assert found is not None
    assert not found.is_active


def test_a_batch_is_reacted_to_once_for_each_transaction(
    accounts: Store, counter: Counter, steps: AccountSteps
) -> None:
    names = ["ada", "nobody", "root", "ada"]  # the second is unknown, the third is the last administrator
    runner = accounts.transactions(counter)
    outcomes = list(runner.run_each(names, steps.deactivating, by=BY, dry_run=False, stop=lambda: False))
    assert [isinstance(outcome, Change) and outcome.changed for outcome in outcomes] == [True, False, False, False]
    assert counter.types == [["UserDeactivated"]]
    list(runner.run_each(names, steps.activating, by=BY, dry_run=True, stop=lambda: False))
    assert len(counter.calls) == 1


def test_a_report_that_fails_changes_nothing(accounts: Store, counter: Counter, steps: AccountSteps) -> None:
    def report(name: str, error: Exception) -> None:
        raise BrokenPipeError

    runner = accounts.transactions(Failing(), counter, report=report)
    assert runner.run(partial(steps.deactivating, ADA), by=BY).changed
    assert counter.types == [["UserDeactivated"]]


def test_a_reaction_may_make_a_change_itself(accounts: Store, counter: Counter, steps: AccountSteps) -> None:
    def open_again(events: Sequence[LoggedEvent]) -> None:
        if events[0].event.type == "UserDeactivated":
            accounts.transactions(counter).run(partial(steps.activating, ADA), by=BY)

    accounts.transactions(open_again, counter).run(partial(steps.deactivating, ADA), by=BY)
    assert counter.types == [["UserActivated"], ["UserDeactivated"]]


def test_what_is_erased_at_once_is_marked(accounts: Store, counter: Counter, steps: AccountSteps) -> None:
    def both(work: "UnitOfWork") -> Change[object]:
        steps.assigning("moderator", ADA, work)
        return Change(steps.deleting(ADA, work, erase=True, if_exists=False).value, changed=True)

    accounts.transactions(counter).run(both, by=BY)
    ((assigned, deleted),) = counter.calls
    assert (assigned.event.type, assigned.erased) == ("UserRoleChanged", True)
    assert (deleted.event.type, deleted.erased) == ("UserDeleted", False)


def test_steps_of_several_services_log_in_their_order(services: "Services", counter: Counter) -> None:
    """The order of events does not depend on the order in which the stores write."""
    tokens, sessions, steps = services.tokens, services.sessions, services.accounts.steps

    def everything(work: "UnitOfWork") -> Change[UserView]:
        issued = tokens.issuing(
            ADA, work, ttl=60_000_000, audience="api", scope="", pair=False, client_id="c", sign=False
        ).value
        steps.assigning("moderator", ADA, work)
        sessions.revoking(issued.session_id, work)
        return steps.deactivating(ADA, work)

    services.store.transactions(counter).run(everything, by=BY)
    expected = ["SessionOpened", "UserRoleChanged", "SessionRevoked", "UserDeactivated"]
    assert counter.types == [expected]


# Changes of the keyring.


def key_service(store: Store, runner: Transactions) -> KeyService:
    file = KeyFile(store.folder / "keyring.json")
    file.create(make_keyring(START))
    return KeyService(
        keyring=file.current,
        has_unfinished_change=file.has_unfinished_change,
        transactions=lambda: runner,
        new_key=make_key,
        exchange=KeyText(),
        clock=lambda: store.now,
    )


def test_a_change_of_the_keyring_is_reacted_to(accounts: Store, counter: Counter) -> None:
    keys = key_service(accounts, accounts.transactions(counter))
    keys.add("encrypt", by=BY)
    keys.add("encrypt", by=BY, dry_run=True)
    assert counter.types == [["KeyAdded"]]


@pytest.mark.parametrize("fate", ["committed", "rolled back", "dry run"])
def test_accounts_and_keys_change_in_one_transaction(
    accounts: Store, counter: Counter, steps: AccountSteps, fate: str
) -> None:
    """Create, update and deactivate an account and add a key: one commit with all events in order, or nothing."""
    runner = accounts.transactions(counter)
    keys = key_service(accounts, runner)
    file = KeyFile(accounts.folder / "keyring.json")
    before, events = file.read(), len(list(accounts.open_reader().stream_events(EVERY_EVENT)))
    bob, key = Identity.parse("bob"), make_key("encrypt", START, kid="next")

    def everything(change: "KeyringChange") -> Change[UserView]:
        steps.creating(NewAccount(EmailAddress.of("bob@example.org"), Username.parse("bob"), "user"), change.work)
        keys.adding(key, change)
        steps.updating(bob, AccountChanges(role="moderator"), change.work)
        change.replace(change.ring.promote("next", now=START, overlap=None))
        closed = steps.deactivating(bob, change.work)
        if fate == "rolled back":
            raise ZeroDivisionError
        return closed

    run: Callable[[], object] = lambda: runner.change_keyring(everything, by=BY, dry_run=fate == "dry run")  # noqa: E731
    if fate == "rolled back":
        with pytest.raises(ZeroDivisionError):
            run()
    else:
        run()
    recorded = [event.type for event in accounts.open_reader().stream_events(EVERY_EVENT)][events:]
    if fate == "committed":
        expected = ["UserCreated", "KeyAdded", "UserRoleChanged", "UserDeactivated"]
        assert recorded == expected
        assert counter.types == [expected]
        assert file.read().primary("encrypt").kid == "next"
    else:
        assert (recorded, counter.calls, file.read()) == ([], [], before)
        assert accounts.open_reader().find_user(bob) is None
    assert [path.name for path in accounts.folder.iterdir() if ".new" in path.name] == []
    assert accounts.open_reader().verify_chain(accounts.audit_keys).intact
