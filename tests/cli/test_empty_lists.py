"""Lists without items: a terminal shows a notice, a pipe gets only the header."""

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine

PEOPLE = [Person("root", role="admin")]

EMPTY = {
    ("user", "list", "--locked"): "no accounts found",
    ("user", "list", "--locked", "--all"): "no accounts found",
    ("user", "list", "--page", "2"): "no accounts found",
    ("token", "list", "root"): "no sessions found",
    ("token", "list", "root", "--all"): "no sessions found",
    ("key", "list", "--purpose", "index"): "",
    ("audit", "list", "--type", "UserDeleted"): "no events found",
    ("audit", "list", "--type", "UserDeleted", "--all"): "no events found",
    ("cache", "list", "nothing:*"): "no cache entries found",
    ("ratelimit", "list"): "no active rate limits found",
    ("ratelimit", "policy", "list"): "no policies found",
    ("profile", "list"): "no profiles found",
}

every_list = pytest.mark.parametrize(("command", "notice"), EMPTY.items(), ids=[" ".join(words) for words in EMPTY])


@every_list
def test_an_empty_list_prints_a_notice_on_a_terminal(untouched: Machine, command: tuple[str, ...], notice: str) -> None:
    shown = untouched.at_terminal(*command).succeeded().out
    assert ("found" in shown) == bool(notice)
    assert not notice or shown.rstrip().endswith(f"backctl: {notice}")
    for flags in (("-q",), ("-o", "json"), ("-o", "jsonl")):
        assert "found" not in untouched.at_terminal(*command, *flags).succeeded().out


@every_list
def test_an_empty_list_prints_only_its_header_in_a_pipe(
    untouched: Machine, command: tuple[str, ...], notice: str
) -> None:
    done = untouched.run(*command).succeeded()
    assert (len(done.out.splitlines()) == 1) == bool(notice)
    assert done.err == ""
    if notice:
        assert untouched.run(*command, "-o", "id").succeeded().out == ""
