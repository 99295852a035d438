"""A process that runs out of memory, files or threads exits with 5 and an error that names the cause."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.accounts import fresh, python
from tests.cli.conftest import Machine

from backctl.domain.errors import BackctlError, exhaustion_of
from backctl.infrastructure.keyring import text as keyring_text

_LIMITED = """
import resource, sys
from backctl.presentation.app import run

limit, amount, *arguments = sys.argv[1:]
number = getattr(resource, limit)
if limit == "RLIMIT_AS":  # beyond what is in use
    amount = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + int(amount)
resource.setrlimit(number, (int(amount), resource.getrlimit(number)[1]))
sys.exit(run(arguments))
"""
MIB = 1 << 20


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = fresh(tmp_path)
    machine.create_user("ada")
    return machine


def limited(machine: Machine, limit: str, amount: int, *words: str) -> tuple[int, dict[str, object]]:
    done = python(machine, _LIMITED, limit, str(amount), *words, "-o", "json")
    assert "Traceback" not in done.err
    return done.code, json.loads(done.err.splitlines()[-1])["error"] if done.err.strip() else {}


def test_a_wrapped_keyring_without_the_memory_to_open_it_is_not_under_another_passphrase(machine: Machine) -> None:
    (machine.home / "passphrase").write_text("correct horse")
    (machine.home / "passphrase").chmod(0o600)
    machine.run("key", "wrap", "--passphrase-file", "passphrase").succeeded()
    machine.environment["BACKCTL_KEYRING_PASSPHRASE_FILE"] = str(machine.home / "passphrase")
    machine.run("key", "list").succeeded()
    code, error = limited(machine, "RLIMIT_AS", 8 * MIB, "key", "list")
    assert (code, error["code"]) == (5, "resources.memory")
    machine.environment["BACKCTL_KEYRING_PASSPHRASE"] = "wrong"
    del machine.environment["BACKCTL_KEYRING_PASSPHRASE_FILE"]
    assert machine.run("key", "list", "-o", "json").error["code"] == "keyring.sealed"


@pytest.mark.parametrize("mebibytes", range(0, 40, 4))
@pytest.mark.parametrize("words", [("user", "list"), ("user", "deactivate", "ada"), ("audit", "verify")], ids=" ".join)
def test_little_memory_is_told_as_that_or_is_enough(machine: Machine, words: tuple[str, ...], mebibytes: int) -> None:
    code, error = limited(machine, "RLIMIT_AS", mebibytes * MIB, *words)
    assert (code, error.get("code")) in ((0, None), (5, "resources.memory"), (5, "resources.threads"))
    machine.run("user", "show", "ada").succeeded()


@pytest.mark.parametrize("files", range(3, 16))
@pytest.mark.parametrize("words", [("user", "list"), ("user", "deactivate", "ada"), ("key", "list")], ids=" ".join)
def test_few_files_are_told_as_that_or_are_enough(machine: Machine, words: tuple[str, ...], files: int) -> None:
    code, error = limited(machine, "RLIMIT_NOFILE", files, *words)
    assert (code, error.get("code")) in ((0, None), (5, "resources.files"))
    machine.run("user", "show", "ada").succeeded()


USES = [
    ("user", "show", "ada"),
    ("user", "check-password", "ada", "--password-file", "plain"),
    ("user", "set-password", "ada", "--generate-password"),
    ("user", "delete", "ada", "--yes", "--confirm", "ada", "--dry-run"),
    ("user", "mfa", "enroll", "ada"),
    ("token", "issue", "ada"),
    ("key", "add", "--purpose", "sign"),
    ("key", "rotate", "--if-older-than", "0d"),
    ("encrypt", "--context", "x", "--file", "plain", "--out", "sealed"),
    ("decrypt", "--context", "x", "--file", "encrypted"),
    ("audit", "verify"),
    ("db", "check"),
    ("db", "backup", "copy"),
    ("doctor",),
    ("config", "set", "tokens.issuer", "x"),
]


@pytest.mark.parametrize("words", USES, ids=" ".join)
def test_32_files_are_enough_for_every_command(machine: Machine, words: tuple[str, ...]) -> None:
    (machine.home / "plain").write_text("correct horse battery staple")
    machine.run("user", "set-password", "ada", "--password-file", "plain").succeeded()
    machine.run("encrypt", "--context", "x", "--file", "plain", "--out", "encrypted").succeeded()
    codes = set()
    for files in (4, 6, 8, 10, 12, 16):
        code, error = limited(machine, "RLIMIT_NOFILE", files, *words)
        codes.add(code)
        assert (code, error.get("code")) in ((0, None), (5, "resources.files"))
        for made in ("sealed", "copy"):
            (machine.home / made).unlink(missing_ok=True)
    assert 5 in codes
    assert limited(machine, "RLIMIT_NOFILE", 32, *words)[0] == 0


@pytest.mark.parametrize("files", range(3, 10))
def test_few_files_are_told_where_files_are_named(machine: Machine, files: int) -> None:
    (machine.home / "list").write_text("ada\n")
    machine.config_file.parent.mkdir(parents=True, exist_ok=True)
    machine.config_file.write_text("")
    for words in (("user", "deactivate", "--from-file", "list", "--yes"), ("config", "show")):
        code, error = limited(machine, "RLIMIT_NOFILE", files, *words)
        assert (code, error.get("code")) in ((0, None), (5, "resources.files"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "resources.memory"),
        (OSError(12, "Cannot allocate memory"), "resources.memory"),
        (ImportError("libx.so: failed to map segment from shared object"), "resources.memory"),
        (OSError(24, "Too many open files"), "resources.files"),
        (OSError(23, "Too many open files in system"), "resources.files"),
        (RuntimeError("can't start new thread"), "resources.threads"),
        (OSError(13, "Permission denied"), None),
        (ImportError("no module named x"), None),
        (RuntimeError("out of memory"), None),
        (SystemError("error return without exception set"), "resources.memory"),
        (SystemError("bad argument to internal function"), None),
    ],
)
def test_each_error_of_pythons_own_is_told_for_what_it_is(error: Exception, code: str | None) -> None:
    found = exhaustion_of(error)
    assert (None if found is None else found.code) == code


def test_no_thread_for_a_password_is_told(machine: Machine) -> None:
    script = """
import sys, threading
from backctl.presentation.app import run

def refuse(self):
    raise RuntimeError("can't start new thread")

threading.Thread.start = refuse
sys.exit(run(sys.argv[1:]))
"""
    create = ("user", "create", "bob@example.org", "--username", "bobby", "--generate-password", "-o", "json")
    done = python(machine, script, *create)
    assert (done.code, done.error["code"]) == (5, "resources.threads")
    assert machine.run("user", "exists", "bobby").code == 3


def test_memory_that_runs_out_while_that_is_told_is_no_fault_of_the_program(machine: Machine) -> None:
    script = """
import sys
from backctl.presentation import app, errors

real, calls = errors.report, []

def report(error, *, as_json):
    calls.append(error)
    if len(calls) == 1:
        raise MemoryError
    return real(error, as_json=as_json)

errors.report = report
sys.exit(app.run(sys.argv[1:]))
"""
    done = python(machine, script, "user", "show", "nobody", "-o", "json")
    assert (done.code, done.error["code"]) == (5, "resources.memory")


_COLD = """
import os, resource, sys
resource.setrlimit(getattr(resource, sys.argv[1]), (int(sys.argv[2]),) * 2)
os.execv(sys.argv[3], sys.argv[3:])
"""


@pytest.mark.parametrize(
    ("limit", "amount"), [*(("RLIMIT_AS", size * MIB) for size in range(16, 64, 4)), ("RLIMIT_NOFILE", 4)]
)
def test_a_start_that_finds_too_little_is_told_too(machine: Machine, limit: str, amount: int) -> None:
    command = [sys.executable, "-c", _COLD, limit, str(amount), *machine.command("user", "show", "ada")]
    done = subprocess.run(command, capture_output=True, env=machine.environment, cwd=machine.home)
    told = done.stderr.decode()
    if b"backctl" not in done.stderr and done.returncode:
        assert "Traceback" not in told or "backctl" not in told  # the interpreter itself did not start
        return
    assert done.returncode in (0, 5), told
    assert "Traceback" not in told


def test_parameters_that_scrypt_refuses_are_damage_and_not_a_lack_of_memory() -> None:
    """RFC 7914 section 2: N is less than 2^(128 * r / 8)."""
    head = {"cipher": "scrypt-A256GCM", "n": 1 << 16, "r": 1, "p": 1, "salt": "AAAA", "nonce": "AAAA"}
    text = json.dumps({"format": 1, "wrapped": {**head, "ciphertext": "AAAA"}})
    with pytest.raises(BackctlError) as caught:
        keyring_text.read(text, lambda: "x")
    assert caught.value.code == "keyring.damaged"


def test_the_limits_of_these_tests_are_real() -> None:
    script = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 26,) * 2); bytearray(1 << 27)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert b"MemoryError" in done.stderr
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != 1 << 26
