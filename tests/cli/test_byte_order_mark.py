"""A byte order mark, which Windows programs write before text, is not part of it; values to encrypt keep theirs."""

import bcrypt
import pytest
from tests.cli.conftest import Machine
from tests.cli.expected import refused

MARK = b"\xef\xbb\xbf"
PASSWORD = "correct horse battery staple"
CONTEXT = ("--context", "x")


def write(machine: Machine, name: str, text: str | bytes) -> str:
    content = text.encode() if isinstance(text, str) else text
    (machine.home / name).touch(mode=0o600)
    (machine.home / name).write_bytes(MARK + content)
    return name


def test_a_password_is_the_same_with_and_without_the_mark(machine: Machine) -> None:
    create = ("user", "create", "ada@example.org", "--username", "ada")
    machine.run(*create, "--password-file", write(machine, "password", f"{PASSWORD}\r\n")).succeeded()
    check = ("user", "check-password", "ada")
    machine.run(*check, "--password-stdin", stdin=PASSWORD).succeeded()
    machine.run(*check, "--password-stdin", stdin=MARK + PASSWORD.encode()).succeeded()
    machine.run(*check, "--password-env", "IT", env={"IT": f"\ufeff{PASSWORD}"}).succeeded()
    assert machine.run(*check, "--password-stdin", stdin=MARK * 2 + PASSWORD.encode()).code == 6


def test_a_hash_a_token_a_code_a_key_and_a_passphrase_too(machine: Machine) -> None:
    hashed = "$2b$04$abcdefghijklmnopqrstuuK4ZrWVPFFAZ9ZtbiCE9jVvkVfxHYnJu"
    create = ("user", "create", "ada@example.org", "--username", "ada")
    machine.run(*create, "--password-hash-file", write(machine, "hash", hashed)).succeeded()
    token = machine.run("token", "issue", "ada").succeeded().out
    machine.run("token", "verify", "--token-file", write(machine, "token", token)).succeeded()
    machine.run("token", "inspect", "--token-file", "token").succeeded()
    machine.run("token", "verify", "--batch", stdin=MARK + token.encode()).succeeded()
    key = machine.run("key", "add", "--purpose", "sign", "-o", "json").succeeded().json["id"]
    pem = machine.run("key", "export", key, "--private", "--form", "pem").succeeded().out
    done = machine.run("key", "import", "--purpose", "sign", "--kid", "other", "--key-file", write(machine, "pem", pem))
    assert done.code in (0, 4), done  # the key is known already
    machine.run("key", "wrap", "--passphrase-file", write(machine, "passphrase", "open sesame")).succeeded()
    (machine.home / "bare").write_text("open sesame")
    (machine.home / "bare").chmod(0o600)
    for name in ("passphrase", "bare"):
        machine.run("key", "list", env={"BACKCTL_KEYRING_PASSPHRASE_FILE": str(machine.home / name)}).succeeded()


def test_lists_of_accounts_and_configuration_files(machine: Machine) -> None:
    machine.create_user("ada")
    machine.run("user", "deactivate", "--from-file", write(machine, "list", "ada\r\n")).succeeded()
    machine.run("user", "activate", "-", stdin=MARK + b'{"username": "ada"}\n').succeeded()
    write(machine, "config.toml", '[tokens]\r\nissuer = "it"\r\n')
    get = ("config", "get", "tokens.issuer", "--config", "config.toml")
    assert machine.run(*get).succeeded().out == "it\n"
    machine.run("config", "set", "tokens.audience", "x", "--config", "config.toml").succeeded()
    machine.run("config", "validate", "config.toml").succeeded()
    assert machine.run(*get).succeeded().out == "it\n"


def test_encrypted_values_are_text_and_others_are_bytes(machine: Machine) -> None:
    machine.run("init").succeeded()
    sealed = machine.run("encrypt", *CONTEXT, stdin=MARK + b"value").succeeded().out
    assert machine.run("decrypt", *CONTEXT, stdin=sealed).succeeded().out == "\ufeffvalue"
    assert machine.run("decrypt", *CONTEXT, stdin=MARK + sealed.encode()).succeeded().out == "\ufeffvalue"
    machine.run("reencrypt", *CONTEXT, stdin=MARK + sealed.encode()).succeeded()
    lines = machine.run("encrypt", *CONTEXT, "--lines", stdin=MARK + b"a\nb\n").succeeded().out
    assert machine.run("decrypt", *CONTEXT, "--lines", stdin=MARK + lines.encode()).succeeded().out == "\ufeffa\nb\n"
    machine.run("encrypt", *CONTEXT, "--file", write(machine, "plain", "x"), "--out", "sealed").succeeded()
    assert machine.run("decrypt", *CONTEXT, "--file", "sealed").succeeded().out == "\ufeffx"


def test_text_to_sanitize(machine: Machine) -> None:
    assert machine.run("sanitize", stdin=MARK + b"<b>x</b>").succeeded().out == "x"
    assert (
        machine.run("sanitize", "--format", "json", stdin=MARK + b'{"a": "<b>x</b>"}').succeeded().out == '{"a": "x"}'
    )


INVISIBLE = ["\u200b", "\u00ad", "\ufeff", "\ufe0f", "\u200e", "\u2060", "\u3164", "\U000e0041"]


@pytest.mark.parametrize("character", INVISIBLE, ids=lambda character: f"U+{ord(character):04X}")
def test_an_invisible_character_is_refused_in_a_new_password(machine: Machine, character: str) -> None:
    machine.create_user("ada")
    password = f"correct{character}horse battery"
    create = ("user", "create", "bob@example.org", "--username", "bob", "--password-stdin", "-o", "json")
    assert "invisible" in refused(machine.run(*create, stdin=password), 2, "password.invalid")["message"]
    change = ("user", "set-password", "ada", "--password-stdin", "-o", "json")
    assert "invisible" in refused(machine.run(*change, stdin=password), 2, "password.invalid")["message"]
    assert machine.run("user", "count").succeeded().out == "1\n"


def test_an_existing_password_with_an_invisible_character_still_opens(machine: Machine) -> None:
    password = "correct\u200bhorse battery"
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    create = ("user", "create", "ada@example.org", "--username", "ada")
    machine.run(*create, "--password-hash-stdin", stdin=hashed).succeeded()
    for _ in range(2):
        machine.run("user", "check-password", "ada", "--password-stdin", stdin=password).succeeded()


def test_joiners_are_part_of_words_and_emoji(machine: Machine) -> None:
    password = "\U0001f469\u200d\U0001f4bb می\u200cخواهم correct"
    create = ("user", "create", "ada@example.org", "--username", "ada", "--password-stdin")
    machine.run(*create, stdin=password).succeeded()
    machine.run("user", "check-password", "ada", "--password-stdin", stdin=password).succeeded()
