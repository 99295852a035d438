"""The examples of docs/scripting.md, and text formats as shells read them."""

import re
import subprocess
from shlex import quote

import pytest
from tests.cli.conftest import Machine
from tests.cli.documents import ROOT, blocks, run_document
from tests.cli.expected import refused
from tests.cli.scripts import environment_of, run_script

DOCUMENT = "docs/scripting.md"
TEXT = (ROOT / DOCUMENT).read_text(encoding="utf-8")
LOOP = blocks(DOCUMENT, "sh", heading="Loops in a shell")[0]

shells = pytest.mark.parametrize("shell", ["sh", "bash"])


@pytest.fixture
def office(machine: Machine) -> Machine:
    machine.create_user("ada", "--role", "admin")
    machine.create_user("bob", "--expires-at", "2031-01-01")
    return machine


def test_every_example_works_and_shows_what_the_document_says(office: Machine) -> None:
    run_document(office, DOCUMENT)
    assert (office.home / "password.txt").stat().st_mode & 0o077 == 0
    assert len((office.home / "accounts.jsonl").read_text().splitlines()) == 2


@shells
def test_without_a_text_for_empty_cells_a_shell_shifts_the_columns(office: Machine, shell: str) -> None:
    assert run_script(office, shell, LOOP.text) == LOOP.shown
    assert "ada has the role  and expires: admin" in run_script(office, shell, LOOP.text.replace(" --empty -", ""))


def test_the_table_of_exit_codes_is_the_programs_own(machine: Machine) -> None:
    table = TEXT.partition("| code | meaning |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = [tuple(line.strip("| ").split(" | ", 1)) for line in table.splitlines()]
    listed = machine.run("help", "exit-codes", "-o", "json").succeeded().json["items"]
    assert rows == [(str(item["code"]), item["meaning"]) for item in listed]


def test_the_jobs_of_the_crontab_print_only_what_should_be_mailed(office: Machine) -> None:
    (crontab,) = (block.text for block in blocks(DOCUMENT, "crontab"))
    for name in ("audit", "backups", "hr"):
        (office.home / name).mkdir()
    (office.home / "hr" / "leavers.txt").write_text("bob\n")
    jobs = re.findall(r"^(?:[\d*]+ +){5}(.+)$", crontab, re.MULTILINE)
    assert len(jobs) == 6
    printed = []
    for job in jobs:
        command = job.replace("\\%", "%").replace("/usr/local/lib/backctl", quote(str(ROOT / "docs" / "scripts")))
        done = subprocess.run(
            ["sh", "-c", command.replace("/srv", str(office.home)).replace(" 5%", " 50%")],
            env=environment_of(office),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode, done.stderr) == (0, ""), job
        printed.append(done.stdout)
    assert printed[:5] == [""] * 5
    assert printed[5].startswith("saved ")
    assert office.run("user", "count", "--inactive").out == "1\n"
    (copy,) = (office.home / "backups").iterdir()
    assert re.fullmatch(r"backctl-\d{4}-\d\d-\d\d\.db", copy.name)


def test_the_text_for_empty_cells_fills_nulls_and_empty_strings_in_text_only(office: Machine) -> None:
    show = ("user", "show", "ada", "--fields", "username,expires_at")
    for form, expected in {
        "tsv": "username\texpires_at\nada\tN\\tA\n",
        "csv": "username,expires_at\nada,N\tA\n",
        "table": "username:   ada\nexpires_at: N\\tA\n",
        "json": '{"username": "ada", "expires_at": null}\n',
        "jsonl": '{"username": "ada", "expires_at": null}\n',
    }.items():
        assert office.run(*show, "-o", form, "--empty", "N\tA").succeeded().out == expected
    ids = office.run("user", "list", "-o", "id").succeeded().out
    assert office.run("user", "list", "-o", "id", "--empty", "-").succeeded().out == ids
    listed = ("user", "list", "--fields", "expires_at,username", "--empty", "-", "-o")
    assert office.run(*listed, "table").succeeded().out.splitlines()[1].split() == ["-", "ada"]


def test_the_text_for_empty_cells_must_be_text(machine: Machine) -> None:
    error = refused(machine.run("user", "list", "-o", "json", "--empty", "\udcff"), 2, "usage")
    assert "--empty" in error["message"]


def test_no_variable_sets_the_text_for_empty_cells(office: Machine) -> None:
    shown = office.run("user", "show", "ada", "--fields", "expires_at", "--no-header", env={"BACKCTL_EMPTY": "-"})
    assert shown.out == "\n"
