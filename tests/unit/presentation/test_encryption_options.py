"""Contradictory flags of `encrypt`, `decrypt` and `reencrypt` are rejected before anything is created or read."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from backctl.presentation.app import app

HERE = ["--context", "here"]


@pytest.fixture
def runner(tmp_path: Path) -> CliRunner:
    return CliRunner(env={"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data"), "BACKCTL_OUTPUT": None})


@pytest.fixture
def installed(runner: CliRunner) -> CliRunner:
    """A runner with an installation: a command that uses keys requires one before it reads its input."""
    assert runner.invoke(app, ["init"]).exit_code == 0
    return runner


@pytest.mark.parametrize("verb", ["encrypt", "decrypt", "reencrypt"])
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "no context was given"),
        (["--lines"], "no context was given"),
        ([*HERE, "--lines", "--csv", "a"], "--lines and --csv cannot be combined"),
        ([*HERE, "--jsonl", "a", "--csv", "a"], "--jsonl and --csv cannot be combined"),
        ([*HERE, "--jsonl", "a", "--context-template", "u"], "--context and --context-template cannot be combined"),
        (["--context-template", "u"], "--context-template needs fields to fill it"),
        (["--context-template", "u", "--lines"], "--context-template needs fields to fill it"),
        (["--context-template", "u", "--file", "f"], "--context-template needs fields to fill it"),
        ([*HERE, "--all-or-nothing"], "--all-or-nothing is for records"),
        ([*HERE, "--all-or-nothing", "--file", "f"], "--all-or-nothing is for records"),
        ([*HERE, "--out", "f"], "--out is for records and files"),
        ([*HERE, "--overwrite"], "--overwrite needs --out FILE"),
        ([*HERE, "--lines", "--overwrite", "--out", "-"], "--overwrite needs --out FILE"),
        ([*HERE, "value"], "unexpected argument, which is not shown because it may be a secret"),
    ],
)
def test_flags_that_contradict_each_other(runner: CliRunner, verb: str, flags: list[str], message: str) -> None:
    failed = runner.invoke(app, [verb, *flags])
    assert (failed.exit_code, failed.stdout) == (2, "")
    assert failed.stderr.startswith(f"backctl: error: {message}\n")
    assert not (Path(str(runner.env["HOME"])) / "data").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["encrypt", *HERE, "--lines", "--trim-newline"], "--trim-newline is for one value"),
        (["decrypt", *HERE, "--stream"], "--stream is for a whole file to standard output"),
        (["decrypt", *HERE, "--stream", "--lines"], "--stream is for a whole file to standard output"),
        (
            ["decrypt", *HERE, "--stream", "--file", "f", "--out", "o"],
            "--stream is for a whole file to standard output",
        ),
        (["encrypt", *HERE, "--stream"], "there is no option '--stream'"),
        (["decrypt", *HERE, "--trim-newline"], "there is no option '--trim-newline'"),
    ],
)
def test_flags_of_one_verb(runner: CliRunner, words: list[str], message: str) -> None:
    failed = runner.invoke(app, words)
    assert (failed.exit_code, failed.stdout) == (2, "")
    assert failed.stderr.startswith(f"backctl: error: {message}")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--lines", "--value-stdin"], "--value-… gives one value"),
        (["--file", "nowhere"], "--file 'nowhere' cannot be read: No such file or directory"),
        (["--file", "/"], "--file '/' cannot be read: Is a directory"),
        (["--value-file", "nowhere"], "--value-file 'nowhere' cannot be read: No such file or directory"),
        (["--value-stdin", "--value-env", "X"], "--value-stdin and --value-env cannot be combined"),
        (["--jsonl", "a,,b"], "'a,,b' has an empty name"),
        (["--csv", "a,a"], "'a,a' names 'a' twice, or a field inside it"),
    ],
)
def test_input_that_cannot_be_read_is_an_error(installed: CliRunner, flags: list[str], message: str) -> None:
    failed = installed.invoke(app, ["decrypt", *HERE, *flags])
    assert (failed.exit_code, failed.stdout) == (2, "")
    assert failed.stderr.startswith(f"backctl: error: {message}\n")


def test_one_value_has_its_bounds(installed: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("backctl.application.encryption.LONGEST_VALUE", 100)
    (tmp_path / "value").write_bytes(bytes(101))
    failed = installed.invoke(app, ["encrypt", *HERE, "--value-file", str(tmp_path / "value")])
    assert failed.exit_code == 2
    assert "longer than 100 bytes" in failed.stderr
