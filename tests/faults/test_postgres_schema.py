"""On a server, keyring and tables are created once and together, and only one process at a time migrates the schema."""

from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from tests.concurrency import at_once
from tests.faults.conftest import COMMIT, Ground, once

from backctl.application.database_views import InstallationView
from backctl.application.views import Change
from backctl.domain.errors import (
    BackctlError,
    DatabaseLocked,
    DatabaseUnusable,
    FolderUnusable,
    InstallationMissing,
    KeyringMismatch,
    KeyringMissing,
    SchemaTooNew,
)
from backctl.infrastructure.postgres.engine import bare_engine
from backctl.infrastructure.postgres.migrator import upgrade_schema
from backctl.infrastructure.sql.migrator import VERSIONS
from backctl.infrastructure.sql.schema import REVISION
from backctl.infrastructure.sql.tables import Row

ADD_A_COLUMN = f"""
import sqlalchemy as sa
from alembic import op

revision = "9000"
down_revision = "{REVISION}"

def upgrade():
    op.add_column("users", sa.Column("note", sa.Text))
"""


def initialise(ground: Ground, keyring: str = "keyring.json", *, dry_run: bool = False) -> Change[InstallationView]:
    with ground.backend(keyring=keyring) as backend:
        return backend.initialise(by=backend.by("test"), dry_run=dry_run)


def tables(ground: Ground) -> list[tuple[object, ...]]:
    return ground.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")


# Creation.


def test_keyring_and_tables_are_made_once(bare: Ground) -> None:
    first = initialise(bare)
    assert first.changed
    assert first.value.revision == REVISION
    assert bare.server.password not in first.value.database
    keys = (bare.folder / "keyring.json").read_bytes()
    assert initialise(bare) == Change(first.value, changed=False)
    assert (bare.folder / "keyring.json").read_bytes() == keys
    assert sorted(path.name for path in bare.folder.iterdir()) == ["backctl.lock", "keyring.json"]
    with bare.backend() as backend:
        assert [event.type for event in backend.audit.page().items] == ["InstallationCreated"]
        assert backend.audit.verify().ok


def test_the_tables_are_the_ones_the_program_knows(bare: Ground) -> None:
    initialise(bare)
    database = bare.database()
    engine = bare_engine(database)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Row.metadata) == []
    engine.dispose()


def test_a_rehearsal_makes_everything_and_leaves_nothing(bare: Ground) -> None:
    assert initialise(bare, dry_run=True).changed
    assert (tables(bare), list(bare.folder.iterdir())) == ([], [])
    initialise(bare)
    assert not initialise(bare, dry_run=True).changed


def test_nothing_but_init_creates_anything(bare: Ground) -> None:
    backend = bare.backend()
    uses: tuple[Callable[[], object], ...] = (
        backend.accounts.count,
        backend.audit.verify,
        lambda: backend.accounts.create(email="a@example.org", username="ada", by=backend.by()),
        lambda: backend.accounts.deactivate("ada", by=backend.by(), dry_run=True),
    )
    for use in uses:
        with pytest.raises(InstallationMissing) as refusal:
            use()
        assert "backctl init" in (refusal.value.hint or "")
    assert (tables(bare), list(bare.folder.iterdir())) == ([], [])


def test_of_many_who_make_it_on_one_machine_one_does(bare: Ground) -> None:
    outcomes = at_once(*[lambda: initialise(bare).changed] * 4, refusal=BackctlError)
    assert sorted(map(bool, outcomes)) == [False, False, False, True]
    assert {type(outcome) for outcome in outcomes} == {bool}
    assert bare.backend().audit.verify().events == 1


def test_of_two_machines_that_make_it_at_once_one_does_and_the_other_keeps_no_keys(bare: Ground) -> None:
    outcomes = at_once(
        lambda: initialise(bare, "a/keys.json").changed,
        lambda: initialise(bare, "b/keys.json").changed,
        refusal=BackctlError,
    )
    assert outcomes.count(True) == 1
    assert sum(isinstance(outcome, KeyringMissing) for outcome in outcomes) == 1
    assert len(list(bare.folder.glob("*/keys.json"))) == 1
    assert not list(bare.folder.glob("*/.*.new"))
    winner = "a/keys.json" if outcomes[0] is True else "b/keys.json"
    assert bare.backend(keyring=winner).audit.verify().ok


def test_a_keyring_without_tables_is_completed(bare: Ground) -> None:
    initialise(bare)
    keys = (bare.folder / "keyring.json").read_bytes()
    with bare.server.database() as name:
        other = bare.at(name)
        assert initialise(other).changed
        assert (bare.folder / "keyring.json").read_bytes() == keys
        assert other.backend().audit.verify().ok


def test_tables_without_their_keyring_are_not_given_another(bare: Ground) -> None:
    initialise(bare)
    for dry_run in (False, True):
        with pytest.raises(KeyringMissing):
            initialise(bare, "lost.json", dry_run=dry_run)
    with bare.server.database() as name:
        initialise(bare.at(name), "other.json")
    backend = bare.backend(keyring="other.json")
    with pytest.raises(KeyringMismatch):
        backend.accounts.create(email="a@example.org", username="ada", by=backend.by())
    assert not (bare.folder / "lost.json").exists()


def test_tables_of_something_else_are_left_alone(bare: Ground) -> None:
    bare.execute("CREATE TABLE users (id int)")
    with pytest.raises(DatabaseUnusable, match="tables of another application"):
        initialise(bare)
    assert tables(bare) == [("users",)]
    assert [path.name for path in bare.folder.iterdir()] == ["backctl.lock"]


def test_a_database_that_cannot_hold_every_name_is_refused(bare: Ground) -> None:
    name = bare.server.create_database(encoding="LATIN1")
    with pytest.raises(DatabaseUnusable, match="LATIN1"):
        initialise(bare.at(name))
    bare.server.drop_database(name)


def test_a_folder_that_is_none_is_told_before_anything_is_made(bare: Ground) -> None:
    (bare.folder / "file").touch()
    with pytest.raises(FolderUnusable):
        initialise(bare, "file/keyring.json")
    assert tables(bare) == []


@pytest.mark.parametrize("fate", ["cut before", "cut after"])
def test_a_creation_whose_commit_was_lost_is_known_or_completed(bare: Ground, fate: str) -> None:
    backend = bare.backend(judge=once(COMMIT, fate))  # type: ignore[arg-type]  # both are fates
    if fate == "cut after":
        assert backend.initialise(by=backend.by()).changed
    else:
        with pytest.raises(BackctlError) as refusal:
            backend.initialise(by=backend.by())
        assert refusal.value.retryable
        assert tables(bare) == []
        assert initialise(bare).changed
    assert bare.backend().audit.verify().events == 1


# Changing the schema.


@pytest.fixture
def versions(tmp_path: Path) -> Callable[[str], tuple[Path, ...]]:
    def write(source: str) -> tuple[Path, ...]:
        folder = tmp_path / "more-versions"
        folder.mkdir()
        (folder / "r9000.py").write_text(source)
        return (VERSIONS, folder)

    return write


def test_a_schema_of_the_right_revision_is_left_alone(ground: Ground) -> None:
    assert upgrade_schema(ground.database()) is None
    with pytest.raises(SchemaTooNew):
        upgrade_schema(ground.database(), revision="0000")


def test_of_two_upgrades_at_once_one_does_it(ground: Ground, versions: Callable[[str], tuple[Path, ...]]) -> None:
    folders = versions(ADD_A_COLUMN)
    upgrade = lambda: upgrade_schema(ground.database(), revision="9000", versions=folders)  # noqa: E731 - run twice
    outcomes = at_once(upgrade, upgrade, refusal=BackctlError)
    assert sorted(outcomes, key=str) == [(REVISION, "9000"), None]
    assert ground.execute("SELECT version_num FROM alembic_version") == [("9000",)]
    assert ground.execute("SELECT count(*) FROM users WHERE note IS NULL") == [(2,)]


def test_from_a_revision_that_never_was_there_is_no_way(ground: Ground) -> None:
    ground.execute("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(DatabaseUnusable, match="the unknown revision"):
        upgrade_schema(ground.database())


def test_an_upgrade_that_fails_half_way_changes_nothing(
    ground: Ground, versions: Callable[[str], tuple[Path, ...]]
) -> None:
    with pytest.raises(ZeroDivisionError):
        upgrade_schema(ground.database(), revision="9000", versions=versions(ADD_A_COLUMN + "    1 / 0\n"))
    assert ground.execute("SELECT version_num FROM alembic_version") == [(REVISION,)]
    assert ground.backend().accounts.count() == 2


def test_an_upgrade_does_not_wait_for_ever_for_who_works(
    ground: Ground, versions: Callable[[str], tuple[Path, ...]]
) -> None:
    folders = versions(ADD_A_COLUMN)
    impatient = ground.database(lock_us=200_000)
    with ground.connect() as worker:
        worker.execute("SELECT * FROM users")
        with pytest.raises(DatabaseLocked):
            upgrade_schema(impatient, revision="9000", versions=folders)
    assert ground.execute("SELECT version_num FROM alembic_version") == [(REVISION,)]
