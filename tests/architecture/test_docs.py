"""The documents are correct about the code: paths exist, and names are defined in the files given."""

import re
from pathlib import Path

import pytest

from backctl.domain import errors
from backctl.domain.errors import InvalidConfiguration
from backctl.settings import SETTINGS, load
from backctl.wiring.storage import ADAPTERS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))
_PATH = re.compile(r"`((?:src|tests|docs|benchmarks|completions|requirements|\.ci)/[^`*…]*|[\w-]+\.(?:toml|md))`")
_NAME = re.compile(r"`([A-Za-z_]\w+)`\s+\(`(src/[^`]+\.py)`\)|`(src/[^`]+\.py)`\s+\(`([A-Za-z_]\w+)`\)")


def test_there_are_documents() -> None:
    assert "architecture.md" in {document.name for document in DOCUMENTS}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_path_exists(document: Path) -> None:
    named = _PATH.findall(document.read_text(encoding="utf-8"))
    assert len(named) > 20 or document.name != "architecture.md"
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_readme_is_short_and_links_to_every_document() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 220
    assert {document.name for document in DOCUMENTS} == set(re.findall(r"\(docs/([\w-]+\.md)\)", text))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_name_stands_in_the_file_that_is_said_to_hold_it(document: Path) -> None:
    found = _NAME.findall(document.read_text(encoding="utf-8"))
    pairs = [(name or other, file or other_file) for name, file, other_file, other in found]
    assert len(pairs) > 5 or document.name != "architecture.md"
    missing = [
        (name, file)
        for name, file in pairs
        if not re.search(rf"^\s*(?:class {name}\b|def {name}\b|{name}\b.*=)", (ROOT / file).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_every_setting_and_error_code_of_the_operators_guide_exists() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    known = {f"{key}{suffix}" for key in SETTINGS for suffix in ("", "_file", "_command")}
    codes = {error.code for error in vars(errors).values() if hasattr(error, "code")}
    checks = {"database.open", "keyring.valid", "clock.sane", "tokens.issuable"}
    named = re.findall(r"`((?:database|keyring|tokens|clock|redis)\.\w+)", text)
    assert len(named) > 8
    assert [name for name in named if name not in known | codes | checks] == []


def test_the_same_files_stand_in_the_folder_of_each_database() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    sentence = re.search(r"have the same name in `sqlite` and `postgres`:(.*?)Neither", text, re.DOTALL)
    assert sentence is not None
    named = set(re.findall(r"`(\w+\.py)`", sentence[1]))
    folders = [ROOT / "src" / "backctl" / "infrastructure" / name for name in ("sqlite", "postgres")]
    both = set.intersection(*({file.name for file in folder.glob("*.py")} for folder in folders))
    assert named == both - {"__init__.py"}


def test_each_scheme_of_the_setting_has_an_adapter_and_the_other_way_round() -> None:
    for scheme in ADAPTERS:
        url = f"{scheme}:////srv/x.db" if scheme == "sqlite" else f"{scheme}://host/x"
        assert load(environ={"BACKCTL_DATABASE_URL": url}).database_url == url
    with pytest.raises(InvalidConfiguration, match="not supported") as refusal:
        load(environ={"BACKCTL_DATABASE_URL": "mysql://host/x"})
    assert all(scheme in refusal.value.message for scheme in ADAPTERS)
