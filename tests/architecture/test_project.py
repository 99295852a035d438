"""Files of the checkout: no local addresses, pins with hashes that agree, one version, and shell scripts that parse."""

import os
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import backctl

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PIN_FILES = ("run", "dev", "build", "bench", "pin")
INSTALLED_TOGETHER = ("run", "dev", "build", "bench")
VERBS = ("backctl", "tests", "check", "bench", "pin", "help")

# Split into parts, so that this file does not match itself.
FORBIDDEN = {
    "registry address": re.compile("py" + r"pi\.org|pythonhosted" + r"\.org"),
    "machine path": re.compile(r"(?<![\w.}/-])/(?:root|tmp|work|opt|home)/\w"),
}
IGNORED = re.compile(r"\.git|\.venv.*|__pycache__|\.\w+_cache|\.hypothesis|dist|.*\.egg-info")

# Every supported platform, as values of marker variables.
ENVIRONMENTS = [
    {
        "sys_platform": system,
        "platform_machine": machine,
        "python_version": python,
        "python_full_version": f"{python}.9",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }
    for system, machine in (
        ("linux", "x86_64"),
        ("linux", "aarch64"),
        ("darwin", "arm64"),
        ("darwin", "x86_64"),
    )
    for python in ("3.11", "3.12", "3.13", "3.14")
]


def tracked_files() -> list[Path]:
    """Return the files that git tracks or, without git (in an unpacked archive), all files that it would not ignore."""
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return list(unignored_files())
    files = [ROOT / os.fsdecode(name) for name in listing.split(b"\0") if name]
    return [file for file in files if file.is_file()]


def unignored_files() -> Iterator[Path]:
    """Yield the files in the checkout, except for caches and environments."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not IGNORED.fullmatch(name)]
        yield from (Path(folder, name) for name in names)


def pins(name: str) -> list[Requirement]:
    """Return the requirements in a pin file, without continuation lines and comments."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line.removesuffix(" \\")) for line in lines if line and line[0] not in " #"]


def installed(requirements: list[Requirement], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the name and version of each package that these pins install on a platform."""
    found: dict[str, str] = {}
    for pin in requirements:
        if pin.marker is None or pin.marker.evaluate(dict(environment)):
            name = canonicalize_name(pin.name)
            assert name not in found, f"{name} is pinned twice for {environment}"
            (specifier,) = pin.specifier
            assert specifier.operator == "=="
            found[name] = specifier.version
    return found


def ranges(name: str) -> list[Requirement]:
    """Return the version ranges in pyproject.toml that the pin file of that name resolves."""
    listed = PROJECT["project"]["dependencies"] if name == "run" else PROJECT["dependency-groups"][name]
    return [Requirement(text) for text in listed]


@pytest.mark.parametrize("kind", FORBIDDEN)
def test_no_tracked_file_names_an_address_of_somebody_elses_machine(kind: str) -> None:
    findings = [
        f"{file.relative_to(ROOT)}: {match.group()}"
        for file in tracked_files()
        for match in FORBIDDEN[kind].finditer(file.read_bytes().decode("utf-8", "replace"))
    ]
    assert findings == []


@pytest.mark.parametrize("name", PIN_FILES)
def test_a_pin_file_holds_pins_and_hashes_and_nothing_else(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    hashed = re.sub(r" \\\n    --hash=sha256:[0-9a-f]{64}", " #", text)
    kept = [line for line in hashed.splitlines() if not line.lstrip().startswith("#")]
    assert kept
    assert [line for line in kept if not re.fullmatch(r"[a-z0-9.-]+==[^ ]+( ; [^#\\]+)?( #)+", line)] == []


@pytest.mark.parametrize("name", PIN_FILES)
def test_pins_satisfy_the_ranges_of_the_project_on_every_platform(name: str) -> None:
    requirements = pins(name)
    for environment in ENVIRONMENTS:
        versions = installed(requirements, environment)
        for wanted in ranges(name):
            if wanted.marker is None or wanted.marker.evaluate(dict(environment)):
                version = versions.get(canonicalize_name(wanted.name))
                assert version is not None, f"{wanted} is not pinned for {environment}"
                assert wanted.specifier.contains(version), f"{version} is not {wanted}"


def test_pin_files_that_are_installed_together_agree() -> None:
    files = {name: pins(name) for name in INSTALLED_TOGETHER}
    for environment in ENVIRONMENTS:
        agreed: dict[str, str] = {}
        for name, requirements in files.items():
            for package, version in installed(requirements, environment).items():
                assert agreed.setdefault(package, version) == version, f"{package} in requirements/{name}.txt"


def test_the_inner_layers_are_forbidden_every_dependency() -> None:
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    (forbidden,) = (item["forbidden_modules"] for item in contracts if "standard library" in item["name"])
    imported_as = {"pyjwt": "jwt", "pyyaml": "yaml"}
    names = {imported_as.get(requirement.name, requirement.name.replace("-", "_")) for requirement in ranges("run")}
    assert names <= set(forbidden)


def test_there_is_one_version() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"]
    source = (ROOT / PROJECT["tool"]["hatch"]["version"]["path"]).read_text(encoding="utf-8")
    assert f'\n__version__ = "{backctl.__version__}"' in f"\n{source}"
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == backctl.__version__


@pytest.mark.parametrize("script", ["run", ".ci/run"])
def test_scripts_are_executable_and_parse(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    shell = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("#!").split()
    subprocess.run([*shell, "-n", path], check=True)


def test_run_lists_its_verbs_and_refuses_others() -> None:
    answer = subprocess.run([ROOT / "run", "help"], capture_output=True, text=True, check=True)
    assert re.findall(r"^  (\w+) ", answer.stdout, re.MULTILINE) == list(VERBS)
    refused = subprocess.run([ROOT / "run", "fly"], capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "unknown verb 'fly'" in refused.stderr


@pytest.mark.parametrize("command", ["./run backctl", "./run tests"])
def test_the_readme_tells_how_to_start(command: str) -> None:
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
