"""Rules for the texts of the program that a test can check."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "backctl"
BELOW = sorted(file for file in SOURCE.rglob("*.py") if "presentation" not in file.parts)


def texts(file: Path) -> Iterator[ast.Constant]:
    """The string constants of a module that are not docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node


@pytest.mark.parametrize("file", BELOW, ids=lambda file: str(file.relative_to(SOURCE)))
def test_hints_name_the_program_by_its_placeholder(file: Path) -> None:
    """Except for a profile that is not the selected one, where the options would be wrong."""
    literal = re.compile(r"['`]backctl (?!-p PROFILE)[a-z-]")
    assert [node.lineno for node in texts(file) if literal.search(str(node.value))] == []


@pytest.mark.parametrize("file", ["sample-config.toml", "CHANGELOG.md", *sorted(SOURCE.rglob("*.py"))], ids=str)
def test_words_that_readers_stumble_over_do_not_come_back(file: str | Path) -> None:
    text = (SOURCE.parents[1] / file).read_text(encoding="utf-8")
    assert re.findall(r"\b(?:anew|for ever|goes before|and alike|be content)\b", text) == []
