"""`./run` sets up a checkout once, even if interrupted or run concurrently, and then replaces itself with the program.

The installer is a fake on PATH that logs its calls and creates the files that a real one would create, so no index is
needed; the interpreter that it creates prints its arguments.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

INSTALLER = """#!/bin/sh
echo "uv $*" >>"$CALLS"
read -r answer && echo "read $answer" >>"$CALLS"
echo "noise of the installer"
case $1 in
    venv)
        mkdir -p .venv/bin
        cp "$INTERPRETER" .venv/bin/python
        ;;
    pip)
        [ -z "${KILLED:-}" ] || kill -9 $PPID
        [ -z "${BROKEN:-}" ] || exit 1
        ;;
esac
"""

INTERPRETER = """#!/bin/sh
case $1 in -I) exit 0 ;; esac
printf '<%s>' "$@"
printf ' in %s with %s\\n' "$PWD" "${TMPDIR-no TMPDIR}${PYTHONDONTWRITEBYTECODE-}"
cat
exit 7
"""


class Checkout:
    """A copy of the files that `./run` needs, in a folder with a space, with a log of installer calls."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "a checkout"
        self.tools = folder / "tools"
        self.calls_file = folder / "calls"
        self.tools.mkdir()
        shutil.copytree(ROOT / "requirements", self.path / "requirements")
        for name in ("run", "pyproject.toml"):
            shutil.copy(ROOT / name, self.path / name)
        (self.path / "src").mkdir()
        self.calls_file.touch()
        for name, text in (("uv", INSTALLER), ("interpreter", INTERPRETER)):
            (self.tools / name).write_text(text)
            (self.tools / name).chmod(0o755)
        (self.tools / "python3").symlink_to(sys.executable)

    def environment(self, **more: str) -> Mapping[str, str]:
        """Return an environment without HOME and with the fakes first on PATH."""
        return {
            "PATH": f"{self.tools}:/usr/bin:/bin",
            "CALLS": str(self.calls_file),
            "INTERPRETER": str(self.tools / "interpreter"),
            **more,
        }

    def run(
        self, *arguments: str, stdin: str = "", cwd: Path | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `./run` once, to its end."""
        return subprocess.run(
            [self.path / "run", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=cwd or self.path,
            env=self.environment(**more),
            timeout=60,
        )

    def calls(self) -> list[str]:
        """Return the installer calls since the last time, by their first word."""
        calls = [line.split()[1] for line in self.calls_file.read_text().splitlines() if line.startswith("uv ")]
        self.calls_file.write_text("")
        return calls


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


MADE = ["venv", "pip", "pip"]  # the environment, the pins, the package
UPDATED = ["pip", "pip"]


def test_the_program_gets_arguments_input_and_folder_unchanged_and_gives_its_status(
    checkout: Checkout, tmp_path: Path
) -> None:
    use = checkout.run("backctl", "a  b", "", "*", "$HOME", "--", "-q", stdin="of the user\n", cwd=tmp_path)
    program = checkout.path / ".venv/bin/backctl"
    assert use.stdout == f"<-P><{program}><a  b><><*><$HOME><--><-q> in {tmp_path} with no TMPDIR\nof the user\n"
    assert use.returncode == 7
    assert "read" not in checkout.calls_file.read_text()


def test_the_first_use_sets_up_and_the_next_ones_do_not(checkout: Checkout) -> None:
    first = checkout.run("backctl")
    assert "setting up .venv" in first.stderr
    assert "noise" not in first.stdout
    assert checkout.calls() == MADE
    assert checkout.run("backctl").stderr == ""
    assert checkout.calls() == []


def test_the_wish_to_write_no_bytecode_is_the_programs_not_the_set_ups(checkout: Checkout) -> None:
    assert checkout.run("backctl", PYTHONDONTWRITEBYTECODE="x").stdout.endswith("with no TMPDIRx\n")


def test_a_higher_level_is_added_and_a_lower_one_is_there_already(checkout: Checkout) -> None:
    checkout.run("backctl")
    checkout.calls()
    checkout.run("tests")
    assert checkout.calls() == UPDATED
    checkout.run("backctl")
    assert checkout.calls() == []


@pytest.mark.parametrize(
    ("name", "expected"), [("requirements/run.txt", MADE), ("requirements/dev.txt", MADE), ("pyproject.toml", UPDATED)]
)
def test_what_changed_decides_what_is_done_again(checkout: Checkout, name: str, expected: list[str]) -> None:
    checkout.run("backctl")
    checkout.calls()
    changed = checkout.path / name
    times = changed.stat()
    changed.write_text(changed.read_text() + "# changed\n")
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))  # rsync -a and tar preserve old times
    checkout.run("backctl")
    assert checkout.calls() == expected
    checkout.run("backctl")
    assert checkout.calls() == []


def test_a_moved_checkout_is_set_up_anew(checkout: Checkout) -> None:
    checkout.run("backctl")
    checkout.calls()
    checkout.path = checkout.path.rename(checkout.path.with_name("elsewhere"))
    checkout.run("backctl")
    assert checkout.calls() == MADE


def test_a_python_that_went_away_is_replaced(checkout: Checkout) -> None:
    checkout.run("backctl")
    checkout.calls()
    python = checkout.path / ".venv/bin/python"
    python.unlink()
    python.symlink_to("gone")
    assert checkout.run("backctl").returncode == 7
    assert checkout.calls() == MADE


def test_a_set_up_killed_half_way_is_made_anew(checkout: Checkout) -> None:
    assert checkout.run("backctl", KILLED="1").returncode != 7
    assert (checkout.path / ".venv").exists()
    checkout.calls()
    assert checkout.run("backctl").returncode == 7
    assert checkout.calls() == MADE


def test_first_uses_at_once_make_one_environment(checkout: Checkout) -> None:
    uses = [
        subprocess.Popen(
            [checkout.path / "run", "backctl"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=checkout.environment(),
        )
        for _ in range(6)
    ]
    assert [(use.communicate(timeout=60)[0][:4], use.returncode) for use in uses] == [(b"<-P>", 7)] * 6
    assert checkout.calls() == MADE


def test_when_uv_fails_pip_is_tried_from_scratch_and_the_failure_is_said(checkout: Checkout) -> None:
    use = checkout.run("backctl", BROKEN="1", PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull)
    assert (use.returncode, use.stdout) == (1, "")
    assert "setting up .venv with uv" in use.stderr
    assert "setting up .venv with pip" in use.stderr
    assert use.stderr.endswith("run: set-up failed; run the command again to retry\n")
    checkout.calls()
    assert checkout.run("backctl").returncode == 7
    assert checkout.calls() == MADE


def test_a_python_that_is_too_old_or_refuses_is_passed_over(checkout: Checkout, tmp_path: Path) -> None:
    shims = tmp_path / "shims"
    shims.mkdir()
    for name, text in (("python3", "exit 3"), ("python3.14", "echo not installed >&2; exit 127")):
        (shims / name).write_text(f"#!/bin/sh\n{text}\n")
        (shims / name).chmod(0o755)
    found = checkout.run("backctl", PATH=f"{shims}:{checkout.environment()['PATH']}")
    assert found.returncode == 7
    assert "not installed" not in found.stderr


def test_without_any_python_it_says_so(checkout: Checkout) -> None:
    for tool in ("sh", "cksum", "dirname"):
        (checkout.tools / tool).symlink_to(shutil.which(tool) or tool)
    (checkout.tools / "python3").unlink()
    use = checkout.run("backctl", PATH=str(checkout.tools))
    assert (use.returncode, use.stdout, use.stderr) == (1, "", "run: no Python 3.11 or newer on PATH\n")


def test_a_python_without_venv_comes_with_advice(checkout: Checkout) -> None:
    for tool in ("sh", "cksum", "dirname"):
        (checkout.tools / tool).symlink_to(shutil.which(tool) or tool)
    (checkout.tools / "uv").unlink()
    (checkout.tools / "python3").unlink()
    (checkout.tools / "python3").write_text("#!/bin/sh\nexit 4\n")
    (checkout.tools / "python3").chmod(0o755)
    use = checkout.run("backctl", PATH=str(checkout.tools))
    assert use.returncode == 1
    assert "python3-venv" in use.stderr


def test_it_works_through_a_link(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("a checkout/run")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/b").symlink_to("../link")
    use = subprocess.run([tmp_path / "bin/b", "backctl"], env=checkout.environment(), stdin=subprocess.DEVNULL)
    assert use.returncode == 7


def test_a_signal_reaches_the_program(checkout: Checkout) -> None:
    waiting = 'case $1 in -I) exit 0 ;; esac\necho "$$"\nread -r forever\n'
    (checkout.tools / "interpreter").write_text(f"#!/bin/sh\n{waiting}")
    with subprocess.Popen(
        [checkout.path / "run", "backctl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=checkout.environment()
    ) as use:
        assert use.stdout is not None
        assert int(use.stdout.readline()) == use.pid
        use.send_signal(signal.SIGTERM)
        assert use.wait(timeout=60) == -signal.SIGTERM


def test_nothing_is_left_open_for_the_program(checkout: Checkout) -> None:
    (checkout.tools / "interpreter").write_text(
        "#!/bin/sh\ncase $1 in -I) exit 0 ;; esac\n(: <&9) 2>/dev/null && echo lock || echo clean\n"
    )
    assert checkout.run("backctl").stdout == "clean\n"
