"""`encrypt`, `decrypt`, `reencrypt`: the real program with real pipes and files."""

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.cli.conftest import Machine
from tests.cli.expected import refused
from tests.cli.files import contents

PHONE = ("--context", "users.phone:1")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def ready(machine: Machine) -> Machine:
    """Return a machine with an installation."""
    machine.run("init", "-q").succeeded()
    return machine


def rotate(machine: Machine) -> str:
    """Rotate the encryption key. Return the kid of the new primary key."""
    done = machine.run("key", "rotate", "--if-older-than", "0d", "--purpose", "encrypt", "-o", "json").succeeded()
    (kid,) = done.json["promoted_key_ids"]
    return str(kid)


def file(machine: Machine, name: str, content: bytes) -> Path:
    path = machine.home / name
    path.write_bytes(content)
    return path


# One value.


def test_a_value_comes_back_in_its_context_and_in_no_other(ready: Machine) -> None:
    encrypted = ready.run("encrypt", *PHONE, stdin=b"secret").succeeded()
    assert encrypted.err == ""
    assert encrypted.out.startswith("bk1.encrypt-")
    assert encrypted.out.count("\n") == 1
    assert ready.run("decrypt", *PHONE, stdin=encrypted.out).succeeded().out == "secret"
    elsewhere = ready.run("decrypt", "--context", "users.phone:2", "-o", "json", stdin=encrypted.out)
    refused(elsewhere, 6, "decrypt.failed")


@pytest.mark.parametrize("value", [b"", b"\0\xff\r\n\n", "ä\n".encode()])
def test_a_value_is_taken_and_given_byte_for_byte(ready: Machine, value: bytes) -> None:
    pipe = subprocess.run(
        [*ready.command("encrypt", *PHONE)], input=value, capture_output=True, env=ready.environment, check=True
    )
    back = subprocess.run(
        [*ready.command("decrypt", *PHONE)], input=pipe.stdout, capture_output=True, env=ready.environment, check=True
    )
    assert back.stdout == value


def test_a_line_end_is_dropped_when_that_is_asked_for(ready: Machine) -> None:
    encrypted = ready.run("encrypt", *PHONE, "--trim-newline", stdin="secret\n").succeeded().out
    answer = ready.run("decrypt", *PHONE, "-o", "json", stdin=encrypted).succeeded().json
    assert answer == {"value": "secret", "base64": base64.b64encode(b"secret").decode()}


def test_a_value_comes_from_a_file_a_descriptor_or_a_variable(ready: Machine) -> None:
    file(ready, "plain", b"secret\n")
    from_file = ready.run("encrypt", *PHONE, "--value-file", "plain", "-o", "json").succeeded().json
    assert list(from_file) == ["value", "key_id", "changed"]
    assert from_file["value"].split(".")[1] == from_file["key_id"]
    from_env = ready.run("encrypt", *PHONE, "--value-env", "PLAIN", env={"PLAIN": "secret"}).succeeded().out
    assert ready.run("decrypt", *PHONE, "--value-env", "X", env={"X": from_env}).succeeded().out == "secret"
    reader, writer = os.pipe()
    os.write(writer, from_file["value"].encode())
    os.close(writer)
    back = ready.run("decrypt", *PHONE, "--value-fd", str(reader), pass_fds=(reader,)).succeeded()
    os.close(reader)
    assert back.out == "secret\n"


def test_bytes_that_are_no_text_are_null_and_base64_in_json(ready: Machine) -> None:
    encrypted = ready.run("encrypt", *PHONE, stdin=b"\xff").succeeded().out
    assert ready.run("decrypt", *PHONE, "-o", "json", stdin=encrypted).json == {"value": None, "base64": "/w=="}


def test_on_a_terminal_a_value_is_asked_for_and_what_is_shown_steers_nothing(ready: Machine) -> None:
    asked = ready.at_terminal("encrypt", *PHONE, keys=[("value: ", "se\x16\x1bcret\n")])
    assert asked.code == 0
    assert "cret" not in asked.out
    shown = ready.at_terminal("decrypt", *PHONE, "--value-env", "X", env={"X": asked.out.split()[-1]})
    assert shown.code == 0
    assert "\x1b" not in shown.out
    assert "cret" in shown.out


@pytest.mark.parametrize(
    "flags",
    [
        (*PHONE, "--value-file", "nowhere"),
        (*PHONE, "--file", "nowhere"),
        (*PHONE, "--lines", "--file", "nowhere"),
        (*PHONE, "--file", "-", "--out", "nowhere/out"),
        (*PHONE, "--csv", "phone"),
        ("--jsonl", "phone", "--context-template", "{"),
    ],
)
def test_what_cannot_be_encrypted_makes_no_installation(machine: Machine, flags: tuple[str, ...]) -> None:
    before = contents(machine.home)
    done = machine.run("encrypt", *flags, stdin="")
    assert done.code in (2, 9)
    assert "created" not in done.err
    assert contents(machine.home) == before


def test_a_keyring_that_is_gone_is_told_before_anything_is_read(ready: Machine) -> None:
    (ready.data / "keyring.json").unlink()
    for command in (["encrypt"], ["encrypt", "--lines"], ["decrypt"], ["reencrypt", "--file", "-"]):
        with ready.start(
            *command, *PHONE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.wait(60) == 9  # while its input is still open
            assert process.stderr is not None
            assert b"keyring.json" in process.stderr.read()


# Records.


def test_lines_come_back_and_failures_are_named_by_their_line(ready: Machine) -> None:
    lines = b"one\n\n\xff two\r\nlast"
    encrypted = ready.run("encrypt", *PHONE, "--lines", stdin=lines).succeeded()
    assert encrypted.err == "backctl: 4 encrypted, 0 of 4 records failed\n"
    values = encrypted.out.split("\n")
    assert all(value.startswith("bk1.encrypt-") for value in values)
    damaged = "\n".join([values[0], "bk1.x", values[1][:-1], *values[2:]])
    back = ready.run("decrypt", *PHONE, "--lines", stdin=damaged)
    assert back.code == 7
    assert back.out.encode(errors="surrogateescape") == b"one\n\xff two\r\nlast"
    assert "backctl: error: line 2: decryption failed\n" in back.err
    assert "backctl: error: line 3: decryption failed\n" in back.err
    assert "2 of 5 records failed; they were left out" in back.err


def test_with_all_or_nothing_a_failure_lets_nothing_out(ready: Machine) -> None:
    good = ready.run("encrypt", *PHONE, "--lines", "-q", stdin="one\ntwo\n").succeeded().out
    done = ready.run("decrypt", *PHONE, "--lines", "--all-or-nothing", "-o", "json", stdin=good + "bad\n")
    assert (done.code, done.out) == (7, "")
    line, last = map(json.loads, done.err.splitlines())
    assert (line["line"], line["error"]["code"]) == (3, "decrypt.failed")
    assert last["error"]["code"] == "batch.partial"
    to_file = ready.run("decrypt", *PHONE, "--lines", "--all-or-nothing", "--out", "out", stdin=good + "bad\n")
    assert to_file.code == 7
    assert not (ready.home / "out").exists()
    whole = ready.run("decrypt", *PHONE, "--lines", "--all-or-nothing", "-q", stdin=good).succeeded()
    assert (whole.out, whole.err) == ("one\ntwo\n", "")


def test_fields_of_json_lines_are_bound_to_their_record(ready: Machine) -> None:
    template = ("--context-template", "users.{}:{id}")
    data = '{"id": 1, "phone": "+49 1", "a": {"b": "x"}, "rest": [1.0, "\\u00e4"]}\n{"id": 2, "phone": null, "a": {}}\n'
    encrypted = ready.run("encrypt", "--jsonl", "phone,a.b?", *template, stdin=data).succeeded()
    first, second = encrypted.out.splitlines(keepends=True)
    assert second == data.splitlines(keepends=True)[1]
    record = json.loads(first)
    assert first == data.splitlines(keepends=True)[0].replace("+49 1", record["phone"]).replace(
        '"x"', json.dumps(record["a"]["b"])
    )
    assert ready.run("decrypt", "--jsonl", "phone,a.b?", *template, stdin=encrypted.out).succeeded().out == data
    alone = ready.run("decrypt", "--context", "users.phone:1", stdin=record["phone"]).succeeded()
    assert alone.out == "+49 1"
    swapped = (
        first.replace(record["phone"], "?").replace(record["a"]["b"], record["phone"]).replace("?", record["a"]["b"])
    )
    moved = first.replace('"id": 1', '"id": 2')
    for stolen in (swapped, moved):
        assert ready.run("decrypt", "--jsonl", "phone,a.b?", *template, stdin=stolen).code == 7


def test_columns_of_csv_come_back_through_files(ready: Machine) -> None:
    data = b'\xef\xbb\xbfid,"phone",note\r\n1,"+49, 1","a ""b"""\r\n2,,\xff\r\n'
    file(ready, "in.csv", data)
    flags = ("--csv", "phone", "--context-template", "users.phone:{id}")
    report = ready.run("encrypt", *flags, "--file", "in.csv", "--out", "out.csv", "-o", "json").succeeded().json
    assert report == {
        "file": "out.csv",
        "size_bytes": (ready.home / "out.csv").stat().st_size,
        "records": 2,
        "values": 2,
        "changed_values": 2,
        "failed_records": 0,
    }
    encrypted = (ready.home / "out.csv").read_bytes()
    assert encrypted.startswith(b'\xef\xbb\xbfid,"phone",note\r\n1,bk1.')
    assert b'"a ""b"""' in encrypted
    ready.run("decrypt", *flags, "--file", "out.csv", "--out", "back.csv", "-q").succeeded()
    assert (ready.home / "back.csv").read_bytes() == data
    missing = ready.run("encrypt", "--csv", "fax", *PHONE, "--file", "in.csv", "-o", "json")
    assert refused(missing, 2, "input.invalid")["message"] == "there is no column 'fax'"


def test_a_reader_that_leaves_ends_the_run_quietly(ready: Machine) -> None:
    with ready.start(
        "encrypt", *PHONE, "--lines", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"bk1.")  # before the end of the input
        process.stdout.close()
        process.stdin.write(b"two\n" * 100)
        process.stdin.close()
        assert (process.wait(60), process.stderr.read()) == (0, b"")


def test_a_line_of_20_mb_is_a_value_like_any_other(ready: Machine) -> None:
    line = "x" * 20_000_000
    encrypted = ready.run("encrypt", *PHONE, "--lines", "-q", stdin=f"{line}\nshort\n").succeeded().out
    assert ready.run("decrypt", *PHONE, "--lines", "-q", stdin=encrypted).succeeded().out == f"{line}\nshort\n"


# Files.


def test_a_file_comes_back_and_the_result_appears_at_once(ready: Machine) -> None:
    content = os.urandom(300_000)
    file(ready, "plain", content)
    report = ready.run("encrypt", *PHONE, "--file", "plain", "--out", "sealed", "-o", "json").succeeded().json
    sealed = (ready.home / "sealed").read_bytes()
    assert (report["file"], report["size_bytes"], report["failed_records"]) == ("sealed", len(sealed), 0)
    assert sealed.startswith(b"bk1s.encrypt-")
    assert (ready.home / "sealed").stat().st_mode & 0o777 == 0o600
    ready.run("decrypt", *PHONE, "--file", "sealed", "--out", "back").succeeded()
    assert (ready.home / "back").read_bytes() == content
    for flags in ((), ("--stream",)):
        shown = ready.run("decrypt", *PHONE, "--file", "-", *flags, stdin=sealed).succeeded()
        assert shown.out.encode(errors="surrogateescape") == content
    taken = ready.run("decrypt", *PHONE, "--file", "sealed", "--out", "back", "-o", "json")
    assert "--overwrite" in refused(taken, 4, "file.exists")["hint"]
    ready.run("encrypt", *PHONE, "--file", "back", "--out", "back", "--overwrite").succeeded()
    assert (ready.home / "back").read_bytes().startswith(b"bk1s.")


def test_of_a_file_that_was_cut_nothing_is_seen_unless_as_a_stream(ready: Machine) -> None:
    file(ready, "plain", bytes(200_000))
    ready.run("encrypt", *PHONE, "--file", "plain", "--out", "sealed", "-q").succeeded()
    file(ready, "cut", (ready.home / "sealed").read_bytes()[:-1])
    names = sorted(os.listdir(ready.home))
    refused(ready.run("decrypt", *PHONE, "--file", "cut", "-o", "json"), 6, "decrypt.failed")
    refused(ready.run("decrypt", *PHONE, "--file", "cut", "--out", "out", "-o", "json"), 6, "decrypt.failed")
    assert sorted(os.listdir(ready.home)) == names
    streamed = ready.run("decrypt", *PHONE, "--file", "cut", "--stream")
    assert streamed.code == 6
    assert set(streamed.out) == {"\0"}
    assert len(streamed.out) % 16384 == 0


def test_a_file_is_not_written_to_a_terminal(ready: Machine) -> None:
    file(ready, "plain", b"x")
    shown = ready.at_terminal("encrypt", *PHONE, "--file", "plain")
    assert shown.code == 2
    assert "a file is not written to a terminal" in shown.out


# Reencryption.


def test_after_a_rotation_reencryption_moves_every_value_and_shows_none(ready: Machine) -> None:
    template = ("--context-template", "users.phone:{id}")
    value = ready.run("encrypt", *PHONE, stdin="secret").succeeded().out
    lines = ready.run("encrypt", *PHONE, "--lines", "-q", stdin="secret\nsecret\n").succeeded().out
    csv = ready.run("encrypt", "--csv", "phone", *template, "-q", stdin="id,phone\n1,secret\n2,\n").succeeded().out
    jsonl = (
        ready.run("encrypt", "--jsonl", "phone", *template, "-q", stdin='{"id":1,"phone":"secret"}\n').succeeded().out
    )
    file(ready, "plain", b"secret")
    ready.run("encrypt", *PHONE, "--file", "plain", "--out", "sealed", "-q").succeeded()
    same = ready.run("reencrypt", *PHONE, stdin=value).succeeded()
    assert same.out == value
    old, new = value.split(".")[1], rotate(ready)
    moved = ready.run("reencrypt", *PHONE, "-o", "json", stdin=value).succeeded().json
    assert (moved["key_id"], moved["changed"]) == (new, True)
    done = ready.run("reencrypt", *PHONE, "--lines", stdin=lines + moved["value"] + "\nsecret\n")
    assert done.code == 7
    assert "backctl: 2 re-encrypted, 1 unchanged, 1 of 4 records failed\n" in done.err
    assert done.out.endswith(moved["value"] + "\n")
    assert [line.split(".")[1] for line in done.out.splitlines()] == [new] * 3
    columns = ready.run("reencrypt", "--csv", "phone", *template, stdin=csv).succeeded()
    fields = ready.run("reencrypt", "--jsonl", "phone", *template, stdin=jsonl).succeeded()
    assert columns.err == "backctl: 2 re-encrypted, 0 of 2 records failed\n"
    assert fields.err == "backctl: 1 re-encrypted, 0 of 1 records failed\n"
    report = ready.run("reencrypt", *PHONE, "--file", "sealed", "--out", "sealed", "--overwrite", "-o", "json").json
    assert (report["values"], report["changed_values"]) == (1, 1)
    again = ready.run("reencrypt", *PHONE, "--file", "sealed", "--out", "copy", "-o", "json").succeeded().json
    assert again["changed_values"] == 0
    assert (ready.home / "copy").read_bytes() == (ready.home / "sealed").read_bytes()
    for outcome in (same, done, columns, fields):
        assert "secret" not in outcome.out + outcome.err.replace("backctl: hint", "")
    # Nothing needs the old key now.
    ready.run("key", "destroy", old, "--confirm", old, "-q").succeeded()
    refused(ready.run("decrypt", *PHONE, "-o", "json", stdin=value), 6, "decrypt.failed")
    refused(ready.run("reencrypt", *PHONE, "-o", "json", stdin=value), 6, "decrypt.failed")
    assert ready.run("decrypt", *PHONE, stdin=moved["value"]).succeeded().out == "secret"
    assert ready.run("decrypt", *PHONE, "--file", "copy").succeeded().out == "secret"
    back = ready.run("decrypt", "--csv", "phone", *template, "-q", stdin=columns.out).succeeded()
    assert back.out == "id,phone\n1,secret\n2,\n"
    back = ready.run("decrypt", "--jsonl", "phone", *template, "-q", stdin=fields.out).succeeded()
    assert back.out == '{"id":1,"phone":"secret"}\n'


def test_records_that_fail_are_not_lost_with_the_file_they_stand_in(ready: Machine) -> None:
    good = ready.run("encrypt", *PHONE, "--lines", "-q", stdin="one\n").succeeded().out.encode()
    records = file(ready, "records", good + b"damaged\n")
    (ready.home / "link").symlink_to(records)
    flags = ("reencrypt", *PHONE, "--lines", "--out", "link", "--overwrite", "-o", "json")
    named = refused(ready.run(*flags, "--file", "records"), 2, "usage")
    assert "records that fail would be lost" in named["message"]
    assert "--all-or-nothing" in named["hint"]
    with records.open("rb") as standard_input:
        piped = subprocess.run(
            ready.command(*flags), stdin=standard_input, capture_output=True, env=ready.environment, cwd=ready.home
        )
    assert piped.returncode == 2
    assert ready.run(*flags, "--file", "records", "--all-or-nothing").code == 7
    assert records.read_bytes() == good + b"damaged\n"
    records.write_bytes(good)
    ready.run(*flags, "--file", "records", "--all-or-nothing").succeeded()
