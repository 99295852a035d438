"""A write-behind queue in a file on a full disk: errors are clean, and what was accepted is written exactly once."""

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.accounts import fresh
from tests.cli.machines import Machine, ServerStorage
from tests.cli.processes import has_disks_of_its_own, on_a_small_disk, run_command
from tests.faults import ledger
from tests.servers import Servers
from tests.starter import SOURCE

DRIVER = Path(__file__).with_name("full_queue_driver.py")
SIZE = 16 << 20
FULL = "database.full"


def machine_of(database: str, folder: Path, servers: Servers) -> Machine:
    """Return a machine whose data folder need not contain anything."""
    if database == "sqlite":
        machine = fresh(folder)
        machine.data.mkdir(mode=0o700, parents=True)
        return machine
    storage = ServerStorage(servers.postgres(18), folder)
    (folder / "server").mkdir()
    machine = storage.machine(folder / "server")
    machine.rows(ledger.TABLE.format("SERIAL"))
    keyring = (machine.data / "keyring.json").rename(folder / "keyring.json")
    machine.environment["BACKCTL_KEYRING_PATH"] = str(keyring)
    return machine


def story(machine: Machine, how: str) -> Any:
    machine.environment["PYTHONPATH"] = f"{SOURCE}:{SOURCE.parent}"
    has_disk = how == "disk" and has_disks_of_its_own()
    command = [sys.executable, str(DRIVER), str(machine.data), "disk" if has_disk else "limit"]
    done = run_command(machine, on_a_small_disk(machine.data, SIZE, command) if has_disk else command).succeeded()
    assert "Traceback" not in done.err
    return done.json


@pytest.mark.parametrize("how", ["disk", "limit"])
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_full_disk_refuses_updates_and_loses_none(tmp_path: Path, servers: Servers, database: str, how: str) -> None:
    machine = machine_of(database, tmp_path, servers)
    told = story(machine, how)
    rows = told["rows"] if database == "sqlite" else [value for (value,) in machine.rows("SELECT value FROM ledger")]
    assert sorted(rows) == told["accepted"]
    assert len(told["refused"]) > 10
    assert {*told["refused"], told["full"][0]} == {FULL}
    (_, _, dead, waiting), (written, superseded, *left) = told["free"]
    assert [dead, waiting, *left] == [0, 0, 0, 0]
    if has_disks_of_its_own() and how == "disk":  # it became full during the transaction
        assert told["full"][1] == FULL
        assert (written, superseded) == ((10, 0) if database == "sqlite" else (0, 10))
