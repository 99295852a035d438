"""Every block of README.md and docs/ that can be run is run by a test: most of them here, document by document."""

import re
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import pbkdf2_hmac
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.cli.accounts import Person, lock, populate
from tests.cli.conftest import Machine
from tests.cli.documents import (
    ROOT,
    RUN,
    Block,
    blocks,
    conversation,
    differs,
    documents,
    run_blocks,
    run_document,
    runnable,
)
from tests.cli.scripts import programs
from tests.servers import Servers
from tests.shell_programs import write_program

ELSEWHERE = {
    "README.md": "test_readme.py",
    "docs/cache.md": "test_cache.py",
    "docs/ci.md": "test_ci_document.py",
    "docs/import-export.md": "test_import_export_document.py",
    "docs/operations.md": "test_operations.py",
    "docs/ratelimit.md": "test_ratelimit.py",
    "docs/scripting.md": "test_scripting.py",
    "docs/seeding.md": "test_seeding_document.py",
    "docs/tokens.md": "test_tokens_document.py",
}
"""The documents whose blocks another module runs, because it needs more than one machine or looks at the results."""
_OATHTOOL = """
import base64, sys, time
from backctl.domain.one_time_codes import totp
from backctl.domain.values import Instant

print(totp(base64.b32decode(sys.argv[3]), Instant(time.time_ns() // 1000)))
"""

Prepare = Callable[[Machine, Servers], Iterator[Mapping[str, str]]]
"""Prepares a machine for a document, and yields the texts to replace in its blocks."""


def nothing(machine: Machine, _: Servers) -> Iterator[Mapping[str, str]]:
    yield {}


def with_accounts(machine: Machine, _: Servers) -> Iterator[Mapping[str, str]]:
    populate(machine, [Person("ada", role="admin"), Person("bob")])
    yield {}


def json_document(machine: Machine, _: Servers) -> Iterator[Mapping[str, str]]:
    populate(machine, [Person("ada"), Person("bob", active=False), Person("eve", role="admin")])
    yield {}


def audit(machine: Machine, _: Servers) -> Iterator[Mapping[str, str]]:
    """The events that the document lists."""
    machine.create_user("ada", "--role", "admin")
    machine.create_user("bob", "--actor", "billing", "--reason", "joined Monday")
    for name in ("kim", "lin"):
        machine.create_user(name)
    machine.run("user", "deactivate", "bob", "--actor", "billing", "--reason", "left the team").succeeded()
    yield {}


def accounts(machine: Machine, _: Servers) -> Iterator[Mapping[str, str]]:
    """A locked account, a hash of Django, and a program like `oathtool --totp --base32 SECRET`."""
    populate(machine, [Person("lin")])
    lock(machine, "lin")
    digest = pbkdf2_hmac("sha256", b"a pint of cold tea", b"seasalt", 1000)
    (machine.home / "kim.hash").write_text(f"pbkdf2_sha256$1000$seasalt${b64encode(digest).decode()}\n")
    write_program(programs(machine) / "oathtool", [sys.executable, "-c", _OATHTOOL])
    yield {}


def configuration(machine: Machine, _: Servers) -> Iterator[Mapping[str, str]]:
    """The database and the keyring of the profile `production`, and the URL of Redis."""
    folder = machine.home / "etc"
    folder.mkdir()
    url = f"sqlite:///{folder}/production.db"
    variables = {"BACKCTL_DATABASE_URL": url, "BACKCTL_KEYRING_PATH": f"{folder}/production.keyring.json"}
    machine.environment |= variables
    machine.run("init").succeeded()
    populate(machine, [Person("ada"), Person("eve", role="admin")])
    for name in variables:
        del machine.environment[name]
    write_secret(folder / "production.url", url)
    write_secret(folder / "redis.url", "redis://backctl:secret@redis.example.org:6379/0")
    yield {"/srv/backctl": f"{machine.home}/srv", "/etc/backctl": str(folder)}


def python(machine: Machine, _: Servers) -> Iterator[Mapping[str, str]]:
    machine.run("init").succeeded()
    machine.configure("[ratelimit.policies.login]\nlimit = 5\n")
    (machine.home / "seed.yaml").write_text(
        "version: 1\nname: setup\nusers:\n  - {email: ada@example.org, username: ada, role: admin}\n"
    )
    yield {}


def encryption(machine: Machine, _: Servers) -> Iterator[Mapping[str, str]]:
    (machine.home / "users.csv").write_text("id,phone\n1,+49 30 901820\n")
    (machine.home / "notes.txt").write_text("Call Ada on Monday.\n")
    yield {}


def keys(machine: Machine, _: Servers) -> Iterator[Mapping[str, str]]:
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_secret(machine.home / "key.pem", Ed25519PrivateKey.generate().private_bytes(*form).decode())
    yield {}


def write_secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


PREPARED: dict[str, Prepare] = {
    "docs/accounts.md": accounts,
    "docs/audit.md": audit,
    "docs/configuration.md": configuration,
    "docs/encryption.md": encryption,
    "docs/json.md": json_document,
    "docs/keys.md": keys,
    "docs/python.md": python,
    "docs/sanitizing.md": nothing,
}


def test_every_block_that_can_be_run_is_run_by_a_test() -> None:
    assert {name for name in documents() if runnable(name)} == {*PREPARED, *ELSEWHERE}
    for name, module in ELSEWHERE.items():
        text = (Path(__file__).parent / module).read_text(encoding="utf-8")
        assert f'"{name}"' in text, f"{module} does not run {name}"
        assert re.search(r"\b(?:run_document|runnable)\(", text), f"{module} may miss blocks of {name}"


def test_no_block_looks_like_a_command_without_being_one() -> None:
    """A block with a prompt is a `console` block, and one in another language does not begin with the program."""
    for name in documents():
        for block in blocks(name):
            if block.language not in RUN:
                assert not re.match(r"(\$ |(\./run )?backctl )", block.text), block


def test_every_link_to_a_document_leads_to_an_existing_section() -> None:
    for name in documents():
        text = re.sub(r"```.+?```", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(((?!https?:)[^)]+)\)", text):
            file, _, anchor = target.partition("#")
            path = (ROOT / name).parent / file if file else ROOT / name
            assert path.exists(), f"{name} links to {target}"
            assert not anchor or anchor in anchors(path), f"{name} links to {target}"


def anchors(path: Path) -> set[str]:
    """Return the names by which links can refer to the headings of a document, as GitHub makes them."""
    text = re.sub(r"```.+?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", PREPARED)
def test_the_blocks_of_a_document_work_in_their_order(machine: Machine, servers: Servers, document: str) -> None:
    with contextmanager(PREPARED[document])(machine, servers) as replace:
        run_document(machine, document, replace=replace)


def test_what_a_terminal_shows_may_differ_in_ids_and_times_only() -> None:
    shown = "1  ada  2026-11-28T09:37:51Z  sign-1dd9a0b3c4d5\n"
    assert not differs(shown, "1  ada  2027-01-01T00:00:00Z  sign-aaaaaaaaaaaa\n")
    assert differs(shown, shown.replace("ada", "bob"))
    assert differs(shown, shown + "2\n")
    assert differs(shown, "")
    assert not differs("{…}\n…\nend\n", '{"a": 1}\nx\ny\nend\n')
    assert not differs("…\n", "")
    assert differs("a\n…\n", "b\n")


def test_a_console_block_has_commands_and_what_they_show() -> None:
    text = "$ backctl a \\\n> b\n1\n> 2\n$ c\n"
    assert conversation(text) == [("backctl a \\\nb\n", "1\n> 2\n"), ("c\n", "")]


def test_blocks_run_in_one_shell_and_name_the_one_that_fails(machine: Machine) -> None:
    def block(language: str, text: str, shown: str | None = None) -> Block:
        return Block("docs/x.md", 7, ("x.md", "Title"), language, text, shown)

    ran = run_blocks(
        machine,
        [
            block("toml", 'tokens.issuer = "one"\n[profiles.a]\ndatabase.url = "default"\n'),
            block("toml", 'tokens.audience = "two"\n[profiles.b]\ndatabase.url = "default"\n'),
            block("python", "# library.py\nprint('imported')\n"),
            block("sh", "name=ada; backctl config get tokens.issuer\n"),
            block("sh", 'echo "$name"\n', "ada\n"),
            block("console", "$ false\n$ echo $? $name\n1 ada\n$ test -t 1 && echo terminal\nterminal\n"),
            block("python", "import library\n", "imported\n"),
            block("text", "ignored\n"),
            block("sh", "backctl config get profiles.a.database.url\nbackctl config get tokens.audience >&2\n"),
        ],
    )
    assert (ran[3].out, ran[-1].out, ran[-1].err) == ("one\n", "default\n", "two\n")
    for wrong in (block("sh", "echo here >&2; false\n"), block("console", "$ echo here\nthere\n")):
        with pytest.raises(AssertionError, match=r"docs/x\.md:7 \(Title\)(.|\n)*here"):
            run_blocks(machine, [block("sh", "true\n"), wrong, block("sh", "true\n")])
