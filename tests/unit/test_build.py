"""The commit of a program is found in a checkout without git, and in the metadata of an installation."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from tests.programs import path_of

import backctl
from backctl.infrastructure import build
from backctl.infrastructure.build import commit_of_checkout, commit_of_installation, library_versions

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = COMMIT[::-1]


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "commit"),
    [
        ({".git/HEAD": f"{COMMIT}\n"}, COMMIT),
        ({".git/HEAD": "a" * 64 + "\n"}, "a" * 64),
        ({".git/HEAD": "ref: refs/heads/a/b\n", ".git/refs/heads/a/b": f"{COMMIT}\n"}, COMMIT),
        (
            {
                ".git/HEAD": "ref: refs/heads/main\n",
                ".git/packed-refs": f"# pack-refs\n{OTHER} refs/heads/a/main\n{COMMIT} refs/heads/main\n^{OTHER}\n",
            },
            COMMIT,
        ),
        (
            {
                ".git/HEAD": "ref: refs/heads/main\n",
                ".git/refs/heads/main": f"{COMMIT}\n",
                ".git/packed-refs": f"{OTHER} refs/heads/main\n",
            },
            COMMIT,
        ),
        (
            {
                ".git": "gitdir: real/worktrees/w\n",
                "real/worktrees/w/HEAD": "ref: refs/heads/w\n",
                "real/worktrees/w/commondir": "../..\n",
                "real/refs/heads/w": COMMIT,
            },
            COMMIT,
        ),
        ({".git/HEAD": "ref: refs/heads/new\n"}, None),  # before the first commit
        ({".git/HEAD": "ref: refs/../../secret\n", "secret": COMMIT}, None),
        ({".git/HEAD": "main"}, None),
        ({".git/HEAD": "\udcff".encode(errors="surrogateescape").decode("latin-1")}, None),
        ({".git": "nonsense"}, None),
        ({".git": "gitdir: \0"}, None),
        ({}, None),
    ],
)
def test_the_commit_of_a_checkout(tmp_path: Path, files: dict[str, str], commit: str | None) -> None:
    assert commit_of_checkout(write(tmp_path, files)) == commit


if path_of("git"):

    def test_git_agrees(tmp_path: Path) -> None:
        def git(*words: str, folder: Path = tmp_path) -> str:
            command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words]
            return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

        git("init", "-q")
        git("commit", "-q", "--allow-empty", "-m", "one")
        assert commit_of_checkout(tmp_path) == git("rev-parse", "HEAD")
        git("worktree", "add", "-q", "tree")
        git("commit", "-q", "--allow-empty", "-m", "two", folder=tmp_path / "tree")
        git("pack-refs", "--all")
        for folder in (tmp_path, tmp_path / "tree"):
            assert commit_of_checkout(folder) == git("rev-parse", "HEAD", folder=folder)


def test_the_commit_of_an_installation_from_a_repository() -> None:
    document = {"url": "https://example.org/backctl.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}}
    assert commit_of_installation(json.dumps(document)) == COMMIT
    others: tuple[object, ...] = (
        {"url": "file:///srv/backctl", "dir_info": {}},
        {"vcs_info": {"commit_id": "main"}},
        [],
        None,
    )
    for other in others:
        assert commit_of_installation(json.dumps(other)) is None
    assert commit_of_installation("") is None


def test_a_package_in_a_repository_of_somebody_else_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_ROOT", write(tmp_path, {".git/HEAD": COMMIT, "lib/backctl/__init__.py": ""}))
    monkeypatch.setattr(build, "_installed", lambda: None)
    assert build.commit() is None
    assert library_versions() == {}


def test_the_libraries_are_those_of_the_project() -> None:
    versions = library_versions()
    project = (Path(backctl.__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    required = project.partition("\ndependencies = [")[2].partition("\n]")[0]
    assert set(versions) == set(re.findall(r'^  "([A-Za-z0-9-]+)', required, re.MULTILINE))
    assert all(re.match(r"\d+\.", version) for version in versions.values())
