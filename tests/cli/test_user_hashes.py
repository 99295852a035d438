"""`user create --password-hash-…`: imported hashes work, and hashes that cannot be verified are rejected."""

import bcrypt
import pytest
from tests.cli.conftest import Machine, Outcome
from tests.cli.expected import USER_KEYS, refused
from tests.cli.files import contents

pytestmark = pytest.mark.every_database

PHP = bcrypt.hashpw(b"tr0ub4dor and 3", b"$2y$05$CCCCCCCCCCCCCCCCCCCCC.").decode()
# passlib 1.7.4, test_handlers_bcrypt.py, "v2 format": a hash of the password "password".
PASSLIB = "$bcrypt-sha256$v=2,t=2b,r=5$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS"


def create(machine: Machine, *flags: str, stdin: str = "") -> Outcome:
    return machine.run("user", "create", "eve@example.org", "--username", "eve", "-o", "json", *flags, stdin=stdin)


def check(machine: Machine, password: str) -> int:
    """Return the exit code of a password check."""
    return machine.run("user", "check-password", "eve", "--password-stdin", "-q", stdin=password).code


def stored_hash(machine: Machine) -> str:
    ((encoded,),) = machine.rows("SELECT password_hash FROM users WHERE username = 'eve'")
    return str(encoded)


@pytest.mark.parametrize(("encoded", "password"), [(PHP, "tr0ub4dor and 3"), (PASSLIB, "password")])
def test_a_hash_made_elsewhere_opens_the_account(machine: Machine, encoded: str, password: str) -> None:
    (machine.home / "hash").write_text(f"{encoded}\n")
    made = create(machine, "--password-hash-file", "hash").succeeded()
    assert (made.json["has_password"], list(made.json)) == (True, [*USER_KEYS, "changed"])
    assert encoded not in made.out + made.err
    assert stored_hash(machine) == encoded
    assert check(machine, password) == 0
    assert check(machine, "another horse battery") == 6


# From Django's tests, test_hashers.py, and from the documentation of Ory Kratos.
DJANGO = "pbkdf2_sha256$30000$seasalt$VrX+V8drCGo68wlvy6rfu8i1d1pfkdeXA4LJkRGJodY="
ARGON2 = "$argon2id$v=19$m=16,t=2,p=1$bVI1aE1SaTV6SGQ3bzdXdw$fnjCcZYmEPOUOjYXsT92Cg"


@pytest.mark.parametrize(("encoded", "password"), [(DJANGO, "lètmein"), (ARGON2, "123456")])
def test_an_account_imported_with_a_foreign_hash_logs_in_once_and_is_on_bcrypt_afterwards(
    machine: Machine, encoded: str, password: str
) -> None:
    made = create(machine, "--password-hash-stdin", stdin=f"{encoded}\n").succeeded()
    assert encoded not in made.out + made.err
    assert stored_hash(machine) == encoded
    assert check(machine, "another horse battery") == 6
    assert stored_hash(machine) == encoded
    assert check(machine, password) == 0
    assert stored_hash(machine).startswith("$2b$04$")
    history = machine.run("user", "history", "eve", "-o", "json").succeeded()
    types = ["UserCreated", "LoginFailed", "UserPasswordRehashed", "LoginSucceeded"]
    assert [event["type"] for event in history.json["items"]] == types
    assert check(machine, password) == 0


@pytest.mark.parametrize("source", ["stdin", "file -", "env"])
def test_a_hash_comes_from_the_same_sources_as_every_secret(machine: Machine, source: str) -> None:
    match source:
        case "stdin":
            done = create(machine, "--password-hash-stdin", stdin=PHP)
        case "file -":
            done = create(machine, "--password-hash-file", "-", stdin=PHP)
        case _:
            arguments = ("user", "create", "eve@example.org", "--username", "eve", "--password-hash-env", "HASH")
            done = machine.run(*arguments, env={"HASH": PHP})
    done.succeeded()
    assert stored_hash(machine) == PHP


@pytest.mark.embedded
@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "plain text",
        PHP[:-1],
        PHP.replace("$2y$", "$2x$"),
        PHP.replace("$05$", "$31$"),
        PASSLIB.replace("v=2", "v=1"),
        ARGON2.replace("m=16", "m=1048576"),
        DJANGO.replace("30000", "10000001"),
        "$6$saltsalt$hash",
    ],
)
def test_a_hash_that_cannot_be_checked_is_refused(machine: Machine, encoded: str) -> None:
    done = create(machine, "--password-hash-stdin", stdin=f"{encoded}\n")
    refused(done, 2, "password.hash_invalid")
    assert encoded == "" or encoded not in done.err
    assert contents(machine.home) == {}


@pytest.mark.embedded
@pytest.mark.parametrize(
    "other", [("--password-env", "PW"), ("--generate-password",), ("--no-password",), ("--password-hash-fd", "3")]
)
def test_a_hash_and_another_way_exclude_each_other(machine: Machine, other: tuple[str, ...]) -> None:
    refused(create(machine, "--password-hash-stdin", *other, stdin=PHP), 2, "usage")
    assert contents(machine.home) == {}


@pytest.mark.embedded
def test_a_hash_and_a_password_cannot_both_come_from_standard_input(machine: Machine) -> None:
    refused(create(machine, "--password-hash-stdin", "--password-stdin", stdin=PHP), 2, "usage")


LONG = "correct horse battery staple, and then some more words " * 2  # 110 bytes


@pytest.mark.parametrize("prefix", ["$2y$", "$2b$", "$2a$", "bcrypt$$2b$"])
def test_a_hash_of_the_first_72_bytes_opens_and_stays_until_the_password_is_set(machine: Machine, prefix: str) -> None:
    made = bcrypt.hashpw(LONG.encode()[:72], bcrypt.gensalt(4)).decode()  # as PHP and Node.js make it
    encoded = made.replace("$2b$", prefix)
    created = create(machine, "--password-hash-stdin", stdin=encoded).succeeded()
    assert created.json["password_imported"] is True
    assert check(machine, LONG) == 0
    assert check(machine, LONG + "x") == 0  # the other program opens, too
    assert check(machine, LONG[:71]) == 6
    assert check(machine, "x" + LONG[1:]) == 6
    assert stored_hash(machine) == encoded
    assert machine.run("user", "show", "eve", "-o", "json").succeeded().json["password_imported"] is True
    machine.run("user", "set-password", "eve", "--password-stdin", stdin=LONG).succeeded()
    assert machine.run("user", "show", "eve", "-o", "json").succeeded().json["password_imported"] is False
    assert check(machine, LONG) == 0
    assert check(machine, LONG + "x") == 6


def test_characters_are_cut_as_bytes(machine: Machine) -> None:
    password = "ä" * 50
    made = bcrypt.hashpw(("a" + password).encode()[:72], bcrypt.gensalt(4)).decode()  # in the middle of a character
    create(machine, "--password-hash-stdin", stdin=made).succeeded()
    assert check(machine, "a" + password) == 0
    assert check(machine, password) == 6


def test_an_imported_hash_of_a_short_password_is_replaced_at_the_first_login(machine: Machine) -> None:
    encoded = bcrypt.hashpw(b"tr0ub4dor and 3", bcrypt.gensalt(4)).decode()
    create(machine, "--password-hash-stdin", stdin=encoded).succeeded()
    assert check(machine, "tr0ub4dor and 3") == 0
    assert stored_hash(machine) != encoded
    shown = machine.run("user", "show", "eve", "-o", "json").succeeded().json
    assert shown["password_imported"] is False
    assert check(machine, "tr0ub4dor and 3") == 0


def test_a_hash_made_here_never_opens_with_a_cut_password(machine: Machine) -> None:
    arguments = ("user", "create", "eve@example.org", "--username", "eve", "--password-stdin")
    machine.run(*arguments, stdin=LONG[:72]).succeeded()
    assert check(machine, LONG[:72]) == 0
    assert check(machine, LONG) == 6
    machine.run("user", "set-password", "eve", "--password-stdin", stdin=LONG).succeeded()
    assert check(machine, LONG) == 0
    assert check(machine, LONG[:72]) == 6
    assert check(machine, LONG + "x") == 6
