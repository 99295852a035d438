"""Applying plans while others change the same accounts: stale plans, several processes, and generated passwords."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from tests.contracts.conftest import BY, START, Store, a_user
from tests.contracts.importing import Members, MemoryFile, lines, on_one_database
from tests.contracts.seeding import (
    PASSWORD,
    VARIABLES,
    Seeder,
    done,
    env,
    people,
    replayed,
    someone,
)

from backctl.application.seeding import applying
from backctl.application.seeding.applying import ApplyOptions, ApplyReport
from backctl.application.transfer.journal import ImportJournal
from backctl.application.views import Change
from backctl.domain.errors import DiskFull, OutcomeUnknown, PlanStale, UsernameTaken
from backctl.domain.seed import Prune
from backctl.domain.user import User
from backctl.domain.values import EmailAddress, Identity, Username
from backctl.infrastructure.sql.unit_of_work import SqlUnitOfWork

GENERATED: Members = {"generate": True}
Meddle = Callable[[Seeder], object]


@pytest.fixture
def seeder(store: Store) -> Iterator[Seeder]:
    """An installation with the administrator `root` and the account `ada`."""
    store.add(a_user("root", role="admin"), a_user("ada"))
    seeder = Seeder(store, dict(VARIABLES))
    yield seeder
    replayed(seeder)


def changed(ident: str, change: Callable[[User], object]) -> Meddle:
    return lambda seeder: seeder.store.change(ident, change)


def deleted(ident: str) -> Meddle:
    def delete(seeder: Seeder) -> None:
        with seeder.store.work() as work:
            user = work.users.get(Identity.parse(ident))
            work.users.remove(user)
            user.delete(erased=False, now=START)
            work.commit()

    return delete


def created(name: str, **values: object) -> Meddle:
    return lambda seeder: seeder.store.add(a_user(name, **values))


def renamed(user: User) -> None:
    user.rename(Username.parse("lovelace"), now=START)


def promoted(user: User) -> None:
    user.assign_role("moderator", now=START)


def closed(user: User) -> None:
    user.deactivate(now=START)


# Saved plans.


STALE = pytest.mark.parametrize(
    ("entry", "meddle", "said"),
    [
        (someone("ada", role="moderator"), changed("ada", closed), "has version 2 now, and had version 1"),
        (someone("ada", state="closed"), changed("ada", renamed), "has version 2 now"),
        (someone("ada", state="absent"), changed("ada", promoted), "has version 2 now"),
        (someone("ada", role="moderator"), deleted("ada"), "no longer exists"),
        (someone("bob"), created("bob"), "was to be created"),
        (someone("bob"), created("other", email=EmailAddress.of("BOB@example.org")), "was to be created"),
        (someone("bob"), created("bob", email=EmailAddress.of("b@example.org")), "was to be created"),
        ({"email": "ada@example.org", "username": "bob"}, created("bob"), "belongs to another account"),
    ],
)


@STALE
@on_one_database
def test_a_stale_plan_changes_nothing(seeder: Seeder, entry: Members, meddle: Meddle, said: str) -> None:
    saved = seeder.save(entry, *people(3))
    meddle(seeder)
    events = len(seeder.events())
    with pytest.raises(PlanStale, match=said):
        seeder.apply_saved(saved)
    assert len(seeder.events()) == events


@STALE
def test_a_plan_that_becomes_stale_changes_nothing(seeder: Seeder, entry: Members, meddle: Meddle, said: str) -> None:
    saved = seeder.save(entry, *people(3))
    seeder.meanwhile = lambda: meddle(seeder)
    events = len(seeder.events())
    with pytest.raises(PlanStale, match=said):
        seeder.apply_saved(saved)
    assert len(seeder.events()) == events + 1
    assert "user0" not in seeder.states()


def test_a_saved_plan_does_not_depend_on_other_accounts(seeder: Seeder) -> None:
    saved = seeder.save(someone("bob", role="moderator"), someone("ada"))
    changed("ada", promoted)(seeder)
    created("eve")(seeder)
    assert done(seeder.apply_saved(saved).value) == {"created": 1}
    with pytest.raises(PlanStale):
        seeder.apply_saved(saved)
    assert seeder.counts()["UserSeeded"] == 1


@on_one_database
def test_a_saved_plan_has_its_secrets_from_where_they_are_when_it_is_applied(seeder: Seeder) -> None:
    entry = someone("ada", password=env("PASSWORD"), password_policy="enforce")
    saved = seeder.save(someone("bob", password=env("PASSWORD")), entry)
    seeder.variables["PASSWORD"] = "another password"
    assert done(seeder.apply_saved(saved).value) == {"created": 1, "updated": 1}
    assert seeder.fits("bob", "another password")
    assert seeder.fits("ada", "another password")


# Accounts that change between the plan and the transaction.


@pytest.mark.parametrize(
    ("entry", "meddle", "expected"),
    [
        (someone("bob"), created("bob"), {"created": 3, "unchanged": 1}),
        (someone("bob"), created("bob", role="admin"), {"created": 3, "unchanged": 1}),
        (someone("bob", role="user"), created("bob", role="moderator"), {"created": 3, "updated": 1}),
        (someone("ada", role="moderator"), changed("ada", promoted), {"created": 3, "unchanged": 1}),
        (someone("ada", role="moderator"), changed("ada", closed), {"created": 3, "opened": 1}),
        (someone("ada", state="closed"), changed("ada", renamed), {"created": 3, "closed": 1}),
        (someone("ada", state="closed"), deleted("ada"), {"created": 4}),
        (someone("ada", state="absent"), deleted("ada"), {"created": 3, "unchanged": 1}),
        (someone("ada", state="absent"), changed("ada", promoted), {"created": 3, "deleted": 1}),
    ],
)
def test_files_are_planned_again_if_an_account_has_changed_meanwhile(
    seeder: Seeder, entry: Members, meddle: Meddle, expected: dict[str, int]
) -> None:
    seeder.meanwhile = lambda: meddle(seeder)
    assert done(seeder.apply(entry, *people(3)).value) == expected
    assert not seeder.apply(entry, *people(3)).changed


def test_the_batches_before_a_change_are_not_repeated(seeder: Seeder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "BATCH_SIZE", 2)
    seeder.apply(someone("gone1"), someone("gone2"))
    counts = list[int]()

    def progress(number: int) -> None:
        counts.append(number)
        if len(counts) == 2:
            created("user4")(seeder)

    desired = seeder.read(*people(5))
    plan = seeder.service().plan(desired, prune="delete")
    change = seeder.service().apply(desired, plan, prune="delete", by=BY, progress=progress)
    assert done(change.value) == {"created": 4, "deleted": 2, "unchanged": 1}
    assert seeder.counts()["UserSeeded"] == 2 + 4
    assert seeder.states()["user4"].seeded_by is None
    assert sum(counts) == 6


def test_a_conflict_that_a_new_plan_finds_is_told(seeder: Seeder) -> None:
    seeder.meanwhile = lambda: created("other", username=Username.parse("bob"))(seeder)
    with pytest.raises(UsernameTaken, match="belongs to"):
        seeder.apply(someone("bob"))


@pytest.mark.parametrize("prune", ["close", "delete"])
def test_a_new_plan_removes_no_account_that_nobody_has_seen(seeder: Seeder, prune: Prune) -> None:
    """Another process adds an account with the same label meanwhile, and changes one that the file lists."""
    seeder.apply(someone("left"))

    def meddle() -> None:
        changed("ada", promoted)(seeder)
        Seeder(seeder.store).apply(someone("unseen"))

    desired = seeder.read(someone("ada", state="closed"))
    plan = seeder.service().plan(desired, prune=prune)
    seeder.meanwhile = meddle
    with pytest.raises(PlanStale, match="other accounts would be deleted or pruned"):
        seeder.applied(desired, plan, prune=prune)
    assert all(seeder.user(name).is_active for name in ("ada", "left", "unseen"))
    assert seeder.apply(someone("ada", state="closed"), prune=prune).changed


def test_accounts_that_never_stop_changing_end_the_run(seeder: Seeder, monkeypatch: pytest.MonkeyPatch) -> None:
    original = applying.Applying._prepared

    def prepared(self: applying.Applying, *args: object, **options: object) -> object:
        changed("ada", closed if seeder.user("ada").is_active else lambda ada: ada.activate(now=START))(seeder)
        return original(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(applying.Applying, "_prepared", prepared)
    with pytest.raises(PlanStale, match="keep changing"):
        seeder.apply(someone("ada", role="moderator"))
    assert seeder.user("ada").role == "user"


# Several at once.


def together(seeder: Seeder, count: int, run: Callable[[Seeder], Change[ApplyReport]]) -> list[object]:
    """Run something on several seeders that share a database, and return the reports or errors."""
    barrier, outcomes = threading.Barrier(count), list[object]()

    def one() -> None:
        own = Seeder(seeder.store, dict(VARIABLES), meanwhile=lambda: barrier.wait(30))
        try:
            outcomes.append(run(own).value)
        except Exception as error:
            outcomes.append(error)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(outcomes) == count
    return outcomes


@pytest.mark.parametrize("size", [2, 1000])
def test_several_applies_of_one_file_change_each_account_once(
    seeder: Seeder, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "BATCH_SIZE", size)
    seeder.apply(someone("gone"), someone("left"))
    before = seeder.counts()
    users = [*people(60), someone("ada", role="moderator", state="closed"), someone("gone", state="absent")]
    desired = seeder.read(*users)
    plan = seeder.service().plan(desired, prune="close")
    outcomes = together(seeder, 3, lambda own: own.applied(desired, plan, prune="close"))
    assert all(isinstance(outcome, ApplyReport) for outcome in outcomes), outcomes
    total = Counter[str]()
    for outcome in outcomes:
        assert isinstance(outcome, ApplyReport)
        total.update(done(outcome))
        assert sum(done(outcome).values()) in (63, 64)
    del total["unchanged"]
    assert total == {"created": 60, "closed": 2, "deleted": 1}
    assert seeder.counts() - before == {
        "UserCreated": 60,
        "UserSeeded": 60,
        "UserRoleChanged": 1,
        "UserDeactivated": 2,
        "UserDeleted": 1,
    }


def test_two_applies_that_meet_at_every_account_both_end(seeder: Seeder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has to plan again much more often than without progress."""
    monkeypatch.setattr(applying, "BATCH_SIZE", 1)
    number = 40
    desired = seeder.read(*people(number))
    plan = seeder.service().plan(desired)
    barrier = threading.Barrier(2)
    original = applying.Applying._prepared

    def prepared(self: applying.Applying, *args: object, **options: object) -> object:
        if not barrier.broken:
            with suppress(threading.BrokenBarrierError):
                barrier.wait(5)
        return original(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(applying.Applying, "_prepared", prepared)

    def run(own: Seeder) -> Change[ApplyReport]:
        own.meanwhile = lambda: None
        try:
            return own.applied(desired, plan)
        finally:
            barrier.abort()

    outcomes = together(seeder, 2, run)
    assert sum(outcome.created for outcome in outcomes if isinstance(outcome, ApplyReport)) == number, outcomes
    assert all(isinstance(outcome, ApplyReport) for outcome in outcomes), outcomes


@pytest.mark.parametrize("all_or_nothing", [False, True])
def test_of_two_applies_of_one_saved_plan_one_is_stale(seeder: Seeder, all_or_nothing: bool) -> None:
    saved = seeder.save(*people(30), someone("ada", state="closed"))
    options = ApplyOptions(all_or_nothing=all_or_nothing)
    outcomes = together(seeder, 2, lambda own: own.apply_saved(saved, options))
    assert {type(outcome) for outcome in outcomes} == {ApplyReport, PlanStale}, outcomes
    assert seeder.counts()["UserSeeded"] == 30
    assert seeder.counts()["UserDeactivated"] == 1


# All or nothing.


@pytest.mark.parametrize("meddle", [created("user4"), changed("ada", promoted)])
def test_all_or_nothing_is_true_of_a_stale_plan(
    seeder: Seeder, meddle: Meddle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "BATCH_SIZE", 2)
    saved = seeder.save(*people(5), someone("ada", state="closed"))
    seeder.meanwhile = lambda: meddle(seeder)
    with pytest.raises(PlanStale):
        seeder.apply_saved(saved, ApplyOptions(all_or_nothing=True))
    assert "user0" not in seeder.states()
    assert seeder.user("ada").is_active


@on_one_database
def test_without_it_the_batches_before_stay(seeder: Seeder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "BATCH_SIZE", 2)
    saved = seeder.save(*people(5))
    seeder.meanwhile = lambda: created("user4")(seeder)
    with pytest.raises(PlanStale):
        seeder.apply_saved(saved)
    assert seeder.counts()["UserSeeded"] == 4


@on_one_database
def test_a_stop_ends_the_run_before_the_next_transaction(seeder: Seeder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "BATCH_SIZE", 2)
    answers = iter([False, False, True])
    change = seeder.apply(*people(5), options=ApplyOptions(stop=lambda: next(answers)))
    assert (change.changed, done(change.value)) == (True, {"created": 4})
    assert done(seeder.apply(*people(5)).value) == {"created": 1, "unchanged": 4}


# Generated passwords.


def written(file: MemoryFile) -> dict[str, str]:
    return {str(line["username"]): str(line["password"]) for line in lines(file.durable)}


def generating(file: MemoryFile) -> ApplyOptions:
    return ApplyOptions(journal=ImportJournal(None, file))


@on_one_database
def test_generated_passwords_are_written_and_work(seeder: Seeder) -> None:
    file = MemoryFile()
    seeder.apply(someone("bob", password=GENERATED), someone("eve", password=env("PASSWORD")), options=generating(file))
    (line,) = lines(file.durable)
    assert line.keys() == {"id", "email", "username", "password"}
    assert (line["id"], line["email"]) == (seeder.user("bob").id, "bob@example.org")
    assert seeder.fits("bob", str(line["password"]))
    assert seeder.fits("eve", PASSWORD)
    again = MemoryFile()
    assert not seeder.apply(someone("bob", password=GENERATED), options=generating(again)).changed
    assert again.content == b""


@on_one_database
def test_a_dry_run_writes_no_password(seeder: Seeder) -> None:
    file = MemoryFile()
    seeder.apply(someone("bob", password=GENERATED), options=generating(file), dry_run=True)
    assert file.calls.count("a") == 0


def test_passwords_of_transactions_that_were_rolled_back_are_undone(seeder: Seeder) -> None:
    """The account `bob` appears, so that the plan of all others is made again, with other passwords."""
    file = MemoryFile()
    seeder.meanwhile = lambda: created("bob")(seeder)
    users = [someone(name, password=GENERATED) for name in ("amy", "bob", "eve")]
    assert done(seeder.apply(*users, options=generating(file)).value) == {"created": 2, "unchanged": 1}
    assert written(file).keys() == {"amy", "eve"}
    assert file.content == file.durable
    for name, password in written(file).items():
        assert seeder.fits(name, password)


@on_one_database
@pytest.mark.parametrize("all_or_nothing", [False, True])
def test_a_full_disk_undoes_the_batch(seeder: Seeder, all_or_nothing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying, "BATCH_SIZE", 2)
    file, users = MemoryFile(), [someone(f"user{number}", password=GENERATED) for number in range(5)]

    def stop() -> bool:
        file.fails = DiskFull("full") if "k" in file.calls or all_or_nothing else None
        return False

    options = ApplyOptions(all_or_nothing=all_or_nothing, journal=ImportJournal(None, file), stop=stop)
    with pytest.raises(DiskFull):
        seeder.apply(*users, options=options)
    file.fails = None
    left = 0 if all_or_nothing else 2
    assert len(written(file)) == seeder.counts()["UserSeeded"] == left
    assert file.content == file.durable
    assert seeder.apply(*users, options=generating(file)).value.created == 5 - left
    assert len(written(file)) == 5
    for name, password in written(file).items():
        assert seeder.fits(name, password)


@on_one_database
@pytest.mark.parametrize("committed", [False, True])
def test_passwords_stay_if_nobody_knows_whether_they_were_stored(
    seeder: Seeder, committed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SqlUnitOfWork.commit

    def commit(work: SqlUnitOfWork) -> None:
        if committed:
            original(work)
        raise OutcomeUnknown("nobody knows")

    file, user = MemoryFile(), someone("bob", password=GENERATED)
    with monkeypatch.context() as patch:
        patch.setattr(SqlUnitOfWork, "commit", commit)
        with pytest.raises(OutcomeUnknown):
            seeder.apply(user, options=generating(file))
    first = written(file)
    assert first.keys() == {"bob"}
    change = seeder.apply(user, options=generating(file))
    assert change.changed != committed
    assert (written(file) == first) == committed
    assert seeder.fits("bob", written(file)["bob"])
