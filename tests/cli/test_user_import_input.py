"""Bad input of `user import`: bad rows are reported, the others are imported, and no secret is shown."""

import json
from collections.abc import Mapping

import pytest
from tests.cli.accounts import Person
from tests.cli.conftest import Machine, Outcome
from tests.cli.expected import refused
from tests.cli.files import contents
from tests.cli.test_user_import import counts, failures, lines, row

PEOPLE = [Person("root", role="admin"), Person("ada")]
MIB = 1 << 20
EVE, FAY = (lines(row(name)).encode() for name in ("eve", "fay"))


def import_bytes(machine: Machine, content: bytes, form: str = "jsonl", *flags: str) -> Outcome:
    return machine.run("user", "import", "-", "--format", form, *flags, "-o", "json", stdin=content)


def names(machine: Machine) -> list[str]:
    found = machine.run("user", "list", "--all", "--fields", "username", "--no-header").succeeded().out.split()
    return sorted(found)


def messages(done: Outcome) -> dict[int, str]:
    found = [json.loads(line) for line in done.err.splitlines() if line.startswith('{"line"')]
    return {each["line"]: each["error"]["message"] for each in found}


def require_messages(machine: Machine, wanted: Mapping[int, str | None]) -> None:
    """Check the lines that failed according to the results, and how their messages begin."""
    results = [json.loads(line) for line in (machine.home / "results").read_text().splitlines()]
    found = {each["line"]: each["error"]["message"] for each in results if each["result"] == "failed"}
    assert list(found) == list(wanted)
    for line, message in wanted.items():
        assert message is None or found[line].startswith(message), line


# JSON lines.


BAD_LINES: list[tuple[bytes, str | None]] = [
    (b'{"email": "x@example.org", "email": "y@example.org"}', "its member 'email' appears twice"),
    (b'{"version": NaN}', "it contains NaN, which is not JSON"),
    (b'{"version": -Infinity}', "it contains -Infinity, which is not JSON"),
    (b'{"version": ' + b"9" * 5000 + b"}", "it contains a number that is too long"),
    (b'{"version": 1e3}', "version must be an integer, not a number"),
    (b'{"a": ' * 30 + b"1" + b"}" * 30, "it is nested more than 20 levels deep"),
    (b'{"a": ' + b"[" * 100_000, "it is nested more than 20 levels deep"),
    (b'{"email": "\\ud800@example.org"}', "it contains an unpaired surrogate"),
    (b'{"email": "\xff@example.org"}', "it is not UTF-8"),
    (b'{"email": "hunter2-', "it is not valid JSON: there is an error at character 11"),
    (b"[]", "it is not a JSON object"),
    (b"null", "it is not a JSON object"),
    (b'{"email": "a@example.org"} {}', "there is text after its JSON object"),
    (b'{"email": 5}', "email must be text, not a number"),
    (b'{"email": "nobody"}', "'nobody' is not an e-mail address"),
    (b'{"email": "a\\u001b[2Jb@example.org"}', None),
    (b'{"email": "x@example.org", "username": "a b"}', None),
    (b'{"email": "x@example.org"}', "there is no such account, and a new one needs username"),
    (b'{"username": "lonely"}', "there is no such account, and a new one needs email"),
    (b"{}", None),
    (b'{"email": "x@example.org", "username": "xenia", "role": "king"}', "there is no role 'king'"),
    (
        b'{"email": "x@example.org", "username": "xenia", "is_active": 1}',
        "is_active must be true or false, not a number",
    ),
    (b'{"email": "x@example.org", "username": "xenia", "id": "17"}', "id: '17' is not a UUID"),
    (b'{"email": "x@example.org", "username": "xenia", "created_at": "yesterday"}', None),
    (b'{"email": "x@example.org", "username": "xenia", "phone": "1"}', "an account has no member 'phone'"),
    (b'{"email": "x@example.org", "username": "xenia", "mfa": "on"}', "mfa is on, but there is no totp_secret"),
]


def test_each_bad_line_is_one_failed_row(installed: Machine) -> None:
    good = [lines(row(f"user{number}")).encode() for number in range(len(BAD_LINES))]
    text = b"".join(bad + b"\n" + after for (bad, _), after in zip(BAD_LINES, good, strict=True))
    done = import_bytes(installed, EVE + text, "jsonl", "--results", "results")
    assert counts(done, 7) == {"created": 1 + len(BAD_LINES), "failed": len(BAD_LINES)}
    require_messages(installed, {2 + 2 * number: message for number, (_, message) in enumerate(BAD_LINES)})
    assert "\x1b" not in done.err
    assert len(done.err) < 10_000


def test_a_line_of_20_mib_is_one_failed_row(installed: Machine) -> None:
    done = import_bytes(installed, EVE + b'{"email": "' + b"x" * (20 * MIB) + b'"}\n' + FAY)
    assert counts(done, 7) == {"created": 2, "failed": 1}
    assert messages(done) == {2: "it is longer than 1048576 bytes"}


def test_a_truncated_file_ends_with_a_failed_row(installed: Machine) -> None:
    done = import_bytes(installed, EVE + FAY[:-10])
    assert counts(done, 7) == {"created": 1, "failed": 1}
    assert list(messages(done)) == [2]
    done = import_bytes(installed, FAY.removesuffix(b"\n"))
    assert counts(done) == {"created": 1}


def test_a_byte_order_mark_is_not_part_of_the_first_row(installed: Machine) -> None:
    for form, text in (
        ("jsonl", EVE + FAY),
        ("json", b"[" + EVE + b"," + FAY + b"]"),
        ("csv", b'"email","username"\r\neve@example.org,eve\r\nfay@example.org,fay\r\n'),
    ):
        done = import_bytes(installed, b"\xef\xbb\xbf" + text, form, "--mode", "skip")
        assert done.json["total"] == 2
        assert done.code == 0
    assert names(installed) == ["ada", "eve", "fay", "root"]


# JSON documents.


def test_bad_elements_of_an_array_are_failed_rows(installed: Machine) -> None:
    text = b"[\n" + EVE + b',\n{"email": "x", "email": "y"},\n17,\n{"a": NaN},\n"\xff",\n' + FAY + b"]"
    done = import_bytes(installed, text, "json")
    assert counts(done, 7) == {"created": 2, "failed": 4}
    assert list(messages(done)) == [4, 5, 6, 7]


@pytest.mark.parametrize("cut", [b"", b",", b',{"email": "x'])
def test_a_truncated_array_is_a_failed_row_at_its_end(installed: Machine, cut: bytes) -> None:
    done = import_bytes(installed, b"[" + EVE + b"," + FAY + cut, "json")
    assert counts(done, 7) == {"created": 2, "failed": 1}
    assert names(installed) == ["ada", "eve", "fay", "root"]


def test_an_element_of_20_mib_is_a_failed_row(installed: Machine) -> None:
    text = b"[" + EVE + b',{"email": "' + b"x" * (20 * MIB) + b'"},' + FAY + b"]"
    done = import_bytes(installed, text, "json")
    assert counts(done, 7)["failed"] == 1
    assert counts(done, 7)["created"] == 2


# CSV.


def test_quotes_and_newlines_in_cells_are_read(installed: Machine) -> None:
    text = b'email,username,phone\r\n"eve@example.org","eve","1, ""2""\r\n3"\r\nfay@example.org,fay,\r\n'
    done = import_bytes(installed, text, "csv", "--map", "phone=")
    assert counts(done) == {"created": 2}
    assert names(installed) == ["ada", "eve", "fay", "root"]


BAD_RECORDS: list[tuple[bytes, str | None]] = [
    (b"x@example.org", "its number of fields is 1, but the header has 3"),
    (b"x@example.org,xenia,user,1", "its number of fields is 4, but the header has 3"),
    (b'x@example.org,xe"nia,user', "its field 2 is not valid CSV (RFC 4180)"),
    (b'"x@example.org"y,xenia,user', "its field 1 is not valid CSV (RFC 4180)"),
    (b"\xff@example.org,xenia,user", "it is not UTF-8"),
    (b"x@example.org,xenia,King", "there is no role 'King'"),
    (b",,", None),
    (b"x@example.org,xenia," + b"u" * (20 * MIB), "it is longer than 1048576 bytes"),
    (b'x@example.org,"xe\nnia",user', None),
]


def test_each_bad_record_is_one_failed_row(installed: Machine) -> None:
    good = [f"user{number}@example.org,user{number},\n".encode() for number in range(len(BAD_RECORDS))]
    text = b"".join(bad + b"\n" + after for (bad, _), after in zip(BAD_RECORDS, good, strict=True))
    done = import_bytes(installed, b"email,username,role\n" + text, "csv", "--results", "results")
    assert counts(done, 7) == {"created": len(BAD_RECORDS), "failed": len(BAD_RECORDS)}
    require_messages(installed, {2 + 2 * number: message for number, (_, message) in enumerate(BAD_RECORDS)})


def test_an_open_quote_ends_the_input(installed: Machine) -> None:
    done = import_bytes(
        installed, b'email,username\neve@example.org,eve\n"fay@example.org,fay\ngil@example.org,gil\n', "csv"
    )
    assert counts(done, 7) == {"created": 1, "failed": 1}
    assert list(messages(done)) == [3]


# Input of another kind.


@pytest.mark.parametrize(
    ("form", "content", "message"),
    [
        ("csv", b"email,username,email\n", None),
        ("csv", b"email,phone\n", "the header has an unknown column 'phone'"),
        ("csv", b"email;username\n", "the columns in the header are separated by ';', not by commas"),
        ("csv", b"\n", "there is no header"),
        ("csv", b'"email\n', None),
        ("csv", b"\xff\n", None),
        ("json", b"email,username\n", "the input is not JSON: it is not an array or an object"),
        ("json", EVE + FAY, "there is text after the first object"),
        ("json", b"\x00" * 100, None),
        ("jsonl", b"[\n", "the input is not JSON lines: its first line is not a whole object"),
        ("jsonl", b"{\n", "the input is not JSON lines: its first line is not a whole object"),
        ("jsonl", b"email,username\n", "the input is not JSON lines: its first line is not an object"),
        ("jsonl", b"\x1f\x8b\x08\x00\n", "the input is not JSON lines: its first line is not an object"),
        ("django", b"<xml/>", None),
        ("kratos", b"<xml/>", None),
    ],
)
def test_another_format_is_an_error_of_the_whole_command(
    installed: Machine, form: str, content: bytes, message: str | None
) -> None:
    before = contents(installed.home)
    done = import_bytes(installed, content, form, "--results", "results")
    error = refused(done, 2, "input.invalid")
    assert message is None or error["message"] == message
    assert len(done.err.splitlines()) == 1
    assert contents(installed.home) == before


def test_a_mapped_member_that_no_record_has_is_a_warning(installed: Machine) -> None:
    flags = ("--map", "traits.mail=email", "--map", "metadata.role=role", "--map", "traits=")
    row = '{"traits": {"mail": "mia@example.org", "phone": 1}, "username": "mia"}\n'
    done = installed.run("user", "import", "-", *flags, stdin=row).succeeded()
    assert [line for line in done.err.splitlines() if "warning" in line] == [
        "backctl: warning: no record has 'metadata.role', which --map renames"
    ]


def test_a_column_that_is_mapped_must_exist(installed: Machine) -> None:
    error = refused(import_bytes(installed, b"email\n", "csv", "--map", "login=username"), 2, "input.invalid")
    assert error["message"] == "there is no column 'login', which is mapped to username"


# Secrets.


CANARY = "hunter2-hunter2"
SECRET_ROWS: list[Mapping[str, object]] = [
    row("eve", password=CANARY, password_hash="$2b$04$" + CANARY),
    row("eve", password="eve@example.org" + CANARY, role="king"),
    row("eve", password=[CANARY]),
    row("eve", password={"x": CANARY}),
    row("eve", password=CANARY + "\u0000"),
    row("eve", password=CANARY * 400),
    row("eve", password_hash="{SSHA}" + CANARY),
    row("eve", password_hash="$2b$99$" + CANARY),
    row("eve", password_hash="$argon2id$v=19$m=65536,t=3,p=4$" + CANARY),
    row("eve", password_hash=[CANARY]),
    row("eve", password_hash="$2b$04$" + "x" * 53, password_imported="no"),
    row("eve", mfa="on", totp_secret=CANARY),
    row("eve", mfa="on", totp_secret=[CANARY]),
    row("eve", mfa="off", totp_secret="MNQW4YLSPFRWC3TBOJ4Q" + "A" * 12),
]


def test_no_secret_of_the_input_is_shown(installed: Machine) -> None:
    broken = f'{{"password": "{CANARY}", "password": "{CANARY}"}}\n{{"password": "{CANARY}\n'
    rows = [{**each, **row(f"user{number}")} for number, each in enumerate(SECRET_ROWS)]
    text = (lines(*rows) + broken).encode()
    for flags in (("--dry-run",), ("--results", "results"), ("-v", "--mode", "upsert", "--update-secrets")):
        done = import_bytes(installed, text, "jsonl", *flags)
        assert counts(done, 7) == {"failed": len(SECRET_ROWS) + 2}
        assert len(failures(done)) == len(SECRET_ROWS) + 2
        assert CANARY not in done.out + done.err
        assert "MNQW4" not in done.out + done.err
    for path, content in contents(installed.home).items():
        assert CANARY.encode() not in (content or b""), path
    header = import_bytes(installed, f"email,{CANARY}\n".encode(), "csv")
    assert header.code == 2


def test_no_secret_of_csv_is_shown(installed: Machine) -> None:
    text = f'email,username,password\neve@example.org,eve,{CANARY},\neve@example.org,eve,"{CANARY}"x\n'
    done = import_bytes(installed, f'{text}eve@example.org,"eve,{CANARY}\n'.encode(), "csv")
    assert counts(done, 7) == {"failed": 3}
    assert CANARY not in done.out + done.err


def test_no_secret_of_another_program_is_shown(installed: Machine) -> None:
    django = {
        "model": "auth.user",
        "fields": {"username": "eve", "email": "eve@example.org", "password": f"md5${CANARY}"},
    }
    config = {"hashed_password": f"{{MD5}}{CANARY}"}
    credentials = {
        "password": {"config": config},
        "totp": {"config": {"totp_url": f"otpauth://totp/x?secret={CANARY}"}},
    }
    kratos = {"traits": {"email": "eve@example.org", "username": "eve"}, "credentials": credentials}
    for form, record in (("django", django), ("kratos", kratos)):
        done = import_bytes(installed, json.dumps([record]).encode(), form)
        assert counts(done, 7) == {"failed": 1}
        assert CANARY not in done.out + done.err
