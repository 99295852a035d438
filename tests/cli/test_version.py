"""`backctl version` says what is installed, whatever the state of the installation."""

import re

from tests.cli.conftest import Machine

import backctl
from backctl.infrastructure.sql.revision import REVISION


def test_the_versions_of_everything_are_shown(machine: Machine) -> None:
    shown = machine.run("version", "-o", "json").succeeded().json
    assert (shown["version"], shown["schema_revision"]) == (backctl.__version__, REVISION)
    assert shown["commit"] is None or re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", shown["commit"])
    assert re.match(r"3\.\d+\.\d+$", shown["python"])
    assert re.match(r"3\.\d+\.\d+$", shown["sqlite"])
    assert {"typer", "sqlalchemy", "cryptography"} <= set(shown["libraries"])
    card = machine.run("version", "-o", "table").succeeded().out
    assert f"version:         {backctl.__version__}\n" in card
    assert f"typer: {shown['libraries']['typer']}\n" in card
    assert not any(machine.home.iterdir())


def test_a_broken_configuration_does_not_prevent_it(machine: Machine) -> None:
    machine.configure("nonsense")
    (machine.data / "backctl.db").mkdir(parents=True)
    assert machine.run("version", "--fields", "version", "--no-header").succeeded().out == f"{backctl.__version__}\n"
