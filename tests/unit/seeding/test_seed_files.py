"""Seed files declare accounts; what is wrong in them is named with its line, and no secret is repeated."""

import dataclasses
from itertools import islice
from pathlib import Path

import pytest
from tests.unit.seeding.examples import HEAD, WHOLES, read_seed, seed_files

from backctl.domain.errors import InvalidSeed
from backctl.domain.seed import AccountValues, SecretSource, Seed, SeedUser
from backctl.domain.values import NEVER, Expiry, Instant

DAY = 86_400_000_000
WARN = "hunter2"
"""A secret in the wrong place."""


def users(seed: Seed) -> list[SeedUser]:
    return list(seed.users)


def one(folder: Path, members: str, form: str = "yaml") -> SeedUser:
    (user,) = users(read_seed(folder, f"{HEAD}  - {{email: a@example.org, {members}}}\n", form))
    return user


def refused(folder: Path, text: str, form: str = "yaml") -> tuple[str, str]:
    """The message without the name of the file, and the hint."""
    with pytest.raises(InvalidSeed) as error:
        read_seed(folder, text, form)
    return error.value.message.removeprefix(f"{folder / f'seed.{form}'}, "), str(error.value.hint)


# What is declared.


@pytest.mark.parametrize("form", WHOLES)
def test_all_formats_declare_the_same(form: str, tmp_path: Path) -> None:
    seed = read_seed(tmp_path, WHOLES[form], form)
    assert (seed.name, seed.reason, seed.file) == ("ci-seed", "CI seed", str(tmp_path / f"seed.{form}"))
    assert len(seed.users) == 204  # type: ignore[arg-type]
    shown = [
        (user.id, user.state, {name: str(value) for name, value in user.values.shown().items()})
        for user in islice(seed.users, 5)
    ]
    assert shown == [
        (
            "01a20000-0000-7000-8000-000000000001",
            None,
            {
                "email": "admin@example.org",
                "username": "admin",
                "role": "admin",
                "password": "{env: SEED_ADMIN_PASSWORD}",
                "mfa_secret": "{env: SEED_TOTP}",
            },
        ),
        (None, None, {"email": "ci@example.org", "username": "ci-runner", "role": "user", "expires_in": str(DAY)}),
        (None, "closed", {"email": "old@example.org", "username": "old", "role": "user"}),
        (None, "absent", {"email": "legacy@example.org", "role": "user"}),
        (
            None,
            None,
            {
                "email": "user1@example.org",
                "username": "user1",
                "role": "user",
                "password_hash": f"{{file: {tmp_path}/test.hash}}",
            },
        ),
    ]


def test_each_account_has_its_line(tmp_path: Path) -> None:
    assert [user.origin.line for user in islice(read_seed(tmp_path, WHOLES["yaml"]).users, 6)] == [5, 7, 8, 9, 10, 10]


def test_unquoted_texts_of_yaml_stay_texts(tmp_path: Path) -> None:
    for name in ("yes", "1e3", "0123", "off0", "2026-01-02", "true"):
        assert one(tmp_path, f"username: {name}").values.username is not None
    user = one(tmp_path, "username: null1, must_change_password: true, role: user")
    assert user.values.must_change_password is True


def test_an_expiry_is_a_time_never_or_a_duration_and_overrides_the_default(tmp_path: Path) -> None:
    assert one(tmp_path, "expires_at: never").values.expiry == NEVER
    assert one(tmp_path, "expires_at: 2026-01-02").values.expiry == Expiry(at=Instant.parse("2026-01-02"))
    assert one(tmp_path, "expires_in: 2w").values.expiry == Expiry(after=14 * DAY)
    accounts = "  - {email: a@example.org, expires_at: never}\n  - email: b@example.org\n"
    text = f"defaults: {{expires_in: 1d}}\n{HEAD}{accounts}"
    assert [user.values.expiry for user in read_seed(tmp_path, text).users] == [NEVER, Expiry(after=DAY)]


def test_a_toml_date_is_a_time(tmp_path: Path) -> None:
    text = "version = 1\nname = 'x'\n[[users]]\nemail = 'a@example.org'\nexpires_at = 2026-01-02T03:04:05Z\n"
    (user,) = users(read_seed(tmp_path, text, "toml"))
    assert user.values.expiry == Expiry(at=Instant.parse("2026-01-02T03:04:05Z"))


def test_ids_are_written_in_any_case_and_may_stand_alone(tmp_path: Path) -> None:
    (user,) = users(read_seed(tmp_path, f"{HEAD}  - id: 01A20000-0000-7000-8000-00000000000F\n"))
    assert (user.id, user.values.email) == ("01a20000-0000-7000-8000-00000000000f", None)


def test_secrets_have_sources_and_paths_are_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert one(tmp_path, "password: {env: A_1}").values.password == SecretSource("env", "A_1")
    assert one(tmp_path, "password: {generate: true}").values.password == SecretSource("generate")
    assert one(tmp_path, "password: {file: /a/b}").values.password == SecretSource("file", "/a/b")
    assert one(tmp_path, "password: {file: ../b}").values.password == SecretSource("file", f"{tmp_path}/../b")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.yaml").write_text(f"{HEAD}  - {{email: a@example.org, password: {{file: p}}}}\n")
    (user,) = users(seed_files().seed("here.yaml"))
    assert user.values.password == SecretSource("file", "p")


def test_secrets_are_enforced_only_if_the_policy_says_so(tmp_path: Path) -> None:
    assert not one(tmp_path, "password: {env: A}").values.enforces_secrets
    assert not one(tmp_path, "password: {env: A}, password_policy: create").values.enforces_secrets
    assert one(tmp_path, "password: {env: A}, password_policy: enforce").values.enforces_secrets
    assert one(tmp_path, "mfa: {secret: {file: A}}, password_policy: enforce").values.enforces_secrets


def test_a_file_may_declare_no_account(tmp_path: Path) -> None:
    assert users(read_seed(tmp_path, "version: 1\nname: x\n")) == []
    assert users(read_seed(tmp_path, "version: 1\nname: x\nusers: []\ngenerate: []\n")) == []


def test_several_files_are_read_in_order(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.yaml").write_text(f"version: 1\nname: {name}\n")
    desired = seed_files().desired([str(tmp_path / "b.yaml"), str(tmp_path / "a.yaml")])
    assert desired.names == ("b", "a")


# Generated accounts.


def generated(folder: Path, members: str) -> Seed:
    return read_seed(folder, f"version: 1\nname: x\ngenerate: {{{members}}}\n")


def test_generated_accounts_are_numbered_from_1_each_time_they_are_iterated(tmp_path: Path) -> None:
    seed = generated(
        tmp_path,
        "count: 11, email: 'u{n}.{n}@example.org', username: 'user-{n}', "
        "id_start: 01a20000-0000-7000-8000-0000000000ff, role: moderator, state: closed",
    )
    for _ in range(2):
        found = users(seed)
        assert [user.values.email.address for user in found if user.values.email][::10] == [
            "u1.1@example.org",
            "u11.11@example.org",
        ]
        assert [user.id for user in found][::10] == [
            "01a20000-0000-7000-8000-0000000000ff",
            "01a20000-0000-7000-8000-000000000109",
        ]
        assert {(user.values.role, user.state) for user in found} == {("moderator", "closed")}


def test_a_million_accounts_are_generated_lazily(tmp_path: Path) -> None:
    seed = generated(tmp_path, "count: 1000000, email: 'u{n}@example.org'")
    assert len(seed.users) == 1_000_000  # type: ignore[arg-type]
    assert next(iter(seed.users)).values.email is not None


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("email: 'u{n}@example.org'", "a group of generated accounts has no count"),
        ("count: 2", "a group of generated accounts has no email"),
        ("count: 0, email: 'u{n}@example.org'", "count must be 1 to 1000000, not 0"),
        ("count: 1000001, email: 'u{n}@example.org'", "count must be 1 to 1000000, not 1000001"),
        ("count: 1e3, email: 'u{n}@example.org'", "count must be a whole number"),
        ("count: '3', email: 'u{n}@example.org'", "count must be a whole number"),
        ("count: 03, email: 'u{n}@example.org'", "count must be a whole number"),
        ("count: 2, email: u@example.org", "email 'u@example.org' is the same for all accounts"),
        ("count: 2, email: 'u{n}@example.org', username: user", "username 'user' is the same for all accounts"),
        ("count: 2, email: 'u{i}@example.org'", "email 'u{i}@example.org' contains a brace"),
        ("count: 2, email: 'u{n}@localhost'", "'u1@localhost' is not an e-mail address"),
        ("count: 2, email: 'u{n}@example.org', username: 'u{n}'", "'u1' is not a username"),
        ("count: 2, email: 'u{n}@example.org', id: 01a20000-0000-7000-8000-000000000001", "has no member 'id'"),
        (
            "count: 2, email: 'u{n}@example.org', id_start: ffffffff-ffff-ffff-ffff-ffffffffffff",
            "id_start is too high for so many accounts",
        ),
        (
            "count: 1000000, email: 'u{n}@example.org', username: '" + "u" * 44 + "{n}'",
            "it has 51 characters, not 3 to 50",
        ),
    ],
)
def test_a_wrong_group_is_refused(members: str, message: str, tmp_path: Path) -> None:
    text, _ = refused(tmp_path, f"version: 1\nname: x\ngenerate: {{{members}}}\n")
    assert text.startswith("line 3: ")
    assert message in text


# What is wrong.


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("name: x\n", "line 1: a seed file has no version", "'version'"),
        ("version: 1\n", "line 1: a seed file has no name", "'name'"),
        ("version: 2\nname: x\n", "line 1: version 2 is not supported", "write version 1"),
        ("version: '1'\nname: x\n", "line 1: version must be a whole number", "without quotes"),
        ("version: 1\nname: X Y\n", "line 2: name must consist of lower-case letters", ""),
        ("version: 1\nname: " + "x" * 65, "line 2: name has 65 characters, more than 64", ""),
        ("version: 1\nname:\n", "line 2: name has no value", "write a value"),
        ("version: 1\nname: x\nuser: []\n", "line 3: a seed file has no member 'user'", "did you mean 'users'?"),
        ("version: 1\nname: x\nusers: {}\n", "line 3: users must be a list, not a mapping", ""),
        ("version: 1\nname: x\nusers: 7\n", "line 3: users must be a list, not a text", ""),
        ("version: 1\nname: x\nzzz: 1\n", "line 3: a seed file has no member 'zzz'", "known members: $schema, version"),
        ("version: 1\nname: x\nroles: {}\n", "line 3: a seed file has no member 'roles'", "in the configuration"),
        ("version: 1\nname: x\npermissions: {}\n", "line 3: a seed file has no member", "in the configuration"),
        ("version: 1\nname: x\nkeys: {}\n", "line 3: a seed file has no member 'keys'", "in the keyring"),
        ("version: 1\nname: x\ndefaults: {rol: user}\n", "line 3: the defaults has no member 'rol'", "'role'"),
        ("version: 1\nname: x\ndefaults: {role: king}\n", "line 3: role: there is no role 'king'", ""),
        ('version: 1\nname: x\ndefaults: {reason: "a\\tb"}\n', "line 3: reason must consist of printable", ""),
        ('version: 1\nname: x\ndefaults: {reason: "a\\u202eb"}\n', "line 3: reason: the reason", ""),
        ("[]", "line 1: a seed file must be a mapping, not a list", ""),
        ("x", "line 1: a seed file must be a mapping, not a text", ""),
    ],
)
def test_a_wrong_file_is_refused_with_line_and_hint(text: str, message: str, hint: str, tmp_path: Path) -> None:
    found, found_hint = refused(tmp_path, text)
    assert found.startswith(message)
    assert hint in found_hint


@pytest.mark.parametrize(
    ("members", "message", "hint"),
    [
        ("usernme: ada", "an account has no member 'usernme'", "did you mean 'username'?"),
        ("expires-at: never", "an account has no member 'expires-at'", "did you mean 'expires_at'?"),
        ("roles: [user]", "an account has no member 'roles'", "write 'role'"),
        ("permissions: [a]", "an account has no member 'permissions'", "in the configuration"),
        ("username: a b", "username: 'a b' is not a username", ""),
        ("username: no", "username: 'no' is not a username: it has 2 characters", ""),
        ("username: null", "username has no value", "in quotes"),
        ("username: ''", "username is empty", ""),
        ("username: [x]", "username must be a text, not a list", ""),
        ("id: 7", "id: '7' is not a UUID", ""),
        ("role: king", "role: there is no role 'king'", ""),
        ("state: closd", "state must be active, closed or absent", "did you mean 'closed'?"),
        ("state: true", "state must be active, closed or absent", ""),
        ("expires_at: ", "expires_at has no value", "never"),
        ("expires_at: tomorrow", "expires_at: 'tomorrow' is not a date or time", ""),
        ("expires_at: 2026-01-02T03:04:05", "expires_at: '2026-01-02T03:04:05' is not a date or time", ""),
        ("expires_in: 90", "expires_in: '90' is not a duration", ""),
        ("expires_in: 0s", "expires_in: '0s' is not a positive duration", ""),
        ("expires_in: 1d, expires_at: never", "an account has both expires_at and expires_in", "keep one"),
        ("password: {env: A}, password_hash: {env: B}", "an account has both password and password_hash", "keep one"),
        ("must_change_password: yes", "must_change_password must be true or false", "without quotes"),
        ("must_change_password: 'true'", "must_change_password must be true or false", "without quotes"),
        ("password_policy: always", "password_policy must be create or enforce", ""),
        ("password_policy: enforce", "password_policy is enforce, but there is no secret", ""),
        ("password: none, password_policy: enforce", "password_policy is enforce, but there is no secret", ""),
        ("password: {generate: true}, password_policy: enforce", "a generated password cannot be enforced", ""),
        ("mfa: {}", "a second factor has no secret", ""),
    ],
)
def test_a_wrong_member_is_refused_with_line_and_hint(members: str, message: str, hint: str, tmp_path: Path) -> None:
    found, found_hint = refused(tmp_path, f"{HEAD}  - email: a@example.org\n  - {{email: b@example.org, {members}}}\n")
    assert found.startswith(f"line 5: {message}")
    assert hint in found_hint


@pytest.mark.parametrize(
    "members",
    [
        "password: hunter2",
        "password: 'hunter2'",
        "password: [hunter2]",
        "password: {hunter2}",
        "password: {hunter2: x}",
        "password: {env: hunter2!}",
        "password: {env: [hunter2]}",
        "password: {generate: hunter2}",
        "password: {env: A, file: hunter2}",
        "password_hash: hunter2",
        "password_hash: none",
        "password_hash: {generate: true}",
        "mfa: hunter2",
        "mfa: {hunter2}",
        "mfa: {secret: hunter2}",
        "mfa: {secret: {hunter2: 1}}",
        "mfa: {secret: {generate: true}}",
        "passwd: hunter2",
        "password:hunter2",
        "'password: hunter2'",
        "hunter2-hunter2-hunter2-hunter2-hunter2-hunter2: 1",
        "password:hunter2, password:hunter2",
        "state: hunter2",
        "password_policy: 'enforce:hunter2'",
        "must_change_password: hunter2",
        "password: none, note: {secret: hunter2}",
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_without_repeating_it(members: str, tmp_path: Path) -> None:
    found, hint = refused(tmp_path, f"{HEAD}  - {{email: a@example.org, {members}}}\n")
    assert found.startswith("line 4: ")
    assert WARN not in found + hint


@pytest.mark.parametrize("value", ['"hunter2"', "12345", "true", "null", '["hunter2"]'])
def test_a_secret_of_another_type_is_refused_without_repeating_it(value: str, tmp_path: Path) -> None:
    text = f'{{"version": 1, "name": "x", "users": [{{"email": "a@example.org", "password": {value}}}]}}'
    found, hint = refused(tmp_path, text, "json")
    assert "password" in found
    assert "hunter2" not in found + hint
    assert "12345" not in found + hint


def test_an_account_needs_an_address_or_an_id(tmp_path: Path) -> None:
    assert refused(tmp_path, f"{HEAD}  - username: ada\n") == (
        "line 4: an account has no email or id",
        "add 'email' or 'id'",
    )


def test_an_element_that_is_not_a_mapping_is_refused_without_repeating_it(tmp_path: Path) -> None:
    assert refused(tmp_path, f"{HEAD}  - hunter2\n")[0] == "line 4: an account must be a mapping, not a text"


def test_types_are_strict_in_json_and_toml(tmp_path: Path) -> None:
    text = '{"version": 1, "name": "x", "users": [{"email": "a@example.org", "username": 123}]}'
    assert refused(tmp_path, text, "json")[0] == "line 1: username must be a text, not a number"
    text = "version = 1\nname = 'x'\n[[users]]\nemail = 'a@example.org'\nrole = true\n"
    assert refused(tmp_path, text, "toml")[0] == "line 5: role must be a text, not true or false"


def test_the_first_problem_is_reported_with_the_lines_of_the_others(tmp_path: Path) -> None:
    text = f"{HEAD}  - email: x\n  - email: y\n    role: king\nzzz: 1\n"
    found, _ = refused(tmp_path, text)
    assert found.startswith("line 4: email: 'x' is not")
    assert found.endswith(" (3 more problems on lines 5, 6, 7)")
    found, _ = refused(tmp_path, HEAD + "  - email: x\n" * 30)
    assert found.endswith(" (29 more problems on lines 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 and others)")


def test_a_key_that_is_not_a_name_is_not_repeated(tmp_path: Path) -> None:
    found, _ = refused(tmp_path, 'version: 1\nname: x\n"\\u202e\\e[31m": 1\n')
    assert found == "line 3: a seed file has no member with this name"


def test_every_declared_value_reaches_the_account(tmp_path: Path) -> None:
    """A new member of `AccountValues` must be declared in the schema."""
    members = (
        "id: 01a20000-0000-7000-8000-000000000001, username: ada, role: admin, state: active, expires_in: 1d, "
        "must_change_password: false, password: {env: A}, mfa: {secret: {env: B}}, password_policy: enforce"
    )
    user = one(tmp_path, members)
    given = {field.name for field in dataclasses.fields(AccountValues) if getattr(user.values, field.name) is not None}
    missing = {field.name for field in dataclasses.fields(AccountValues)} - given
    assert missing == {"is_active", "password_hash"}
