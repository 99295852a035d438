"""`apply --secret-file`: generated passwords and the file that keeps them."""

import json

import pytest
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents
from tests.cli.seeds import PEOPLE, SECRET, apply, counts, knows, saved, seed, shown, users

from backctl.staged_files import try_lock

__all__ = ["PEOPLE"]

pytestmark = pytest.mark.every_database


def test_generated_passwords_are_in_the_secret_file(installed: Machine) -> None:
    users(installed, *(f"email: {name}@example.org, username: {name}, password: {{generate: true}}" for name in "xyz"))
    text = (installed.home / "seed.yaml").read_text()
    for name in "xyz":
        text = text.replace(f"{name}@", f"user-{name}@").replace(f": {name},", f": user-{name},")
    seed(installed, text)
    error = refused(apply(installed), 2, "usage")
    assert error["hint"] == "add --secret-file FILE"
    done = apply(installed, "--secret-file", "secrets")
    assert counts(done) == {"created": 3}
    assert done.json["secret_file"] == "secrets"
    file = installed.home / "secrets"
    assert file.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["username"] for line in lines] == ["user-x", "user-y", "user-z"]
    for line in lines:
        assert line["id"] == shown(installed, line["username"])["id"]
        assert knows(installed, line["username"], line["password"])
        assert line["password"] not in done.out + done.err
    again = apply(installed, "--secret-file", "secrets")
    assert counts(again) == {"unchanged": 3}
    assert "secret_file" not in again.json
    seed(installed, text + "  - {email: fay@example.org, username: fay, password: {generate: true}}\n")
    assert counts(apply(installed, "--secret-file", "secrets")) == {"created": 1, "unchanged": 3}
    assert len(file.read_text().splitlines()) == 4  # added to the others


@pytest.mark.embedded
def test_a_secret_file_is_made_only_for_passwords(installed: Machine) -> None:
    users(installed, "email: fay@example.org, username: fay, password: {generate: true}")
    apply(installed, "--secret-file", "secrets", "--dry-run").succeeded()
    assert not (installed.home / "secrets").exists()
    (installed.home / "secrets").write_text("not JSON")
    (installed.home / "secrets").chmod(0o600)
    refused(apply(installed, "--secret-file", "secrets"), 9, "storage.folder_unusable")
    assert installed.run("user", "exists", "fay").code == 3
    refused(apply(installed, "--secret-file", "-"), 2, "usage")
    refused(apply(installed, "--secret-file", "none/secrets"), 9, "storage.folder_unusable")
    assert installed.run("user", "exists", "fay").code == 3


@pytest.mark.embedded
@pytest.mark.parametrize("mode", [0o640, 0o644, 0o606])
def test_a_secret_file_that_others_can_read_is_refused(installed: Machine, mode: int) -> None:
    users(installed, "email: fay@example.org, username: fay, password: {generate: true}")
    file = installed.home / "secrets"
    file.touch()
    file.chmod(mode)
    error = refused(apply(installed, "--secret-file", "secrets"), 9, "storage.folder_unusable")
    assert error["message"] == "'secrets' is not a regular file that only its owner can read and write"
    assert file.read_bytes() == b""
    assert installed.run("user", "exists", "fay").code == 3


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("seed.yaml", "seed.yaml"),
        ("./link", "seed.yaml"),
        ("saved", "saved"),
        ("seed.yaml", "saved"),
        ("pass", "saved"),
    ],
)
def test_a_secret_file_is_no_file_that_is_read(installed: Machine, name: str, file: str) -> None:
    users(
        installed,
        "email: fay@example.org, username: fay, password: {generate: true}",
        "email: zoe@example.org, username: zoe, password: {file: pass}",
    )
    (installed.home / "pass").write_text(SECRET)
    (installed.home / "link").symlink_to("seed.yaml")
    saved(installed)
    for each in ("pass", "seed.yaml", "saved"):
        (installed.home / each).chmod(0o600)
    before = contents(installed.home)
    error = refused(apply(installed, "--secret-file", name, file=file), 2, "usage")
    assert error["message"] == f"--secret-file '{name}' is a file that this command reads"
    assert contents(installed.home) == before


@pytest.mark.embedded
@pytest.mark.parametrize(
    "text", ["version: 1\n", '{"username": "fay", "password": "x"}\nmore\n', '{"username": "fay"}\n', "[1]\n", "\n"]
)
def test_a_secret_file_contains_only_generated_passwords(installed: Machine, text: str) -> None:
    users(installed, "email: fay@example.org, username: fay, password: {generate: true}")
    file = installed.home / "secrets"
    file.write_text(text)
    file.chmod(0o600)
    error = refused(apply(installed, "--secret-file", "secrets"), 9, "storage.folder_unusable")
    assert error["message"].endswith(" of 'secrets' is not a generated password in JSON")
    assert file.read_text() == text
    assert installed.run("user", "exists", "fay").code == 3


@pytest.mark.embedded
def test_a_secret_file_belongs_to_one_process_at_a_time(installed: Machine) -> None:
    users(installed, "email: fay@example.org, username: fay, password: {generate: true}")
    file = installed.home / "secrets"
    file.touch(0o600)
    with file.open("rb+") as held:
        assert try_lock(held.fileno())
        error = refused(apply(installed, "--secret-file", "secrets"), 9, "storage.folder_unusable")
    assert error["message"] == "'secrets' is in use by another process"
    assert counts(apply(installed, "--secret-file", "secrets")) == {"created": 1}
