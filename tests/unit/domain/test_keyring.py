"""The keyring document: it can be written and read again, and any change of its text is detected."""

import base64
import copy
import hashlib
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backctl.domain.errors import KeyringDamaged
from backctl.domain.keyring import PURPOSES, Key, Keyring, Purpose

# RFC 8037 appendix A.1; the raw halves are RFC 8032 §7.1 test 1.
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
PRIVATE = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC_8037 = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
CREATED = "2026-11-22T09:24:02.123456Z"
SYMMETRIC: tuple[Purpose, ...] = ("encrypt", "audit", "index")


def keyring(filler: int = 0x41) -> Keyring:
    secrets = [Key.symmetric(f"{purpose}-1", purpose, bytes([filler]) * 32, created=CREATED) for purpose in SYMMETRIC]
    return Keyring((Key.ed25519("sign-1", public=PUBLIC, private=PRIVATE, created=CREATED), *secrets))


def plain(ring: Keyring) -> Any:
    return json.loads(json.dumps(ring.document()))


def sealed(document: Any) -> Any:
    """Add the correct checksum to the document, computed in a second way (its names are ASCII)."""
    body = {name: value for name, value in document.items() if name != "checksum"}
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return {**body, "checksum": hashlib.sha256(text.encode()).hexdigest()}


def refused(document: object) -> str:
    with pytest.raises(KeyringDamaged) as refusal:
        Keyring.from_document(document)
    message = f"{refusal.value} {refusal.value.hint} {refusal.value!r}"
    assert not any(secret in message for secret in ("nWGxne", "11qYAY", "QUFBQUFB", "AAAAAAA"))
    return message


def test_an_ed25519_key_has_the_members_of_rfc_8037() -> None:
    document = Key.ed25519("k", public=PUBLIC, private=PRIVATE, created=CREATED).document()
    assert RFC_8037.items() <= document.items()
    assert (document["alg"], document["use"]) == ("EdDSA", "sig")


@settings(deadline=None)
@given(
    st.binary(min_size=32, max_size=32),
    st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), min_size=5, max_size=5, unique=True),
    st.sampled_from(["standby", "retired"]),
)
def test_a_keyring_survives_its_document(secret: bytes, kids: list[str], state: str) -> None:
    extra = {
        **Key.symmetric(kids[4], "audit", secret, created=CREATED).document(),
        "state": state,
        "not_after": CREATED,
    }
    keys = [Key.symmetric(kid, purpose, secret, created=CREATED) for kid, purpose in zip(kids, SYMMETRIC, strict=False)]
    signing = Key.ed25519(kids[3], public=PUBLIC, private=secret, created=CREATED)
    document = plain(Keyring((*keys, signing)))
    document["keys"].append(extra)
    ring = Keyring.from_document(sealed(document))
    assert plain(ring) == sealed(document)
    assert Keyring.from_document(plain(ring)) == ring
    assert ring.kids() == (*kids[:4], kids[4])
    assert ring.secrets("audit") == {kids[1]: secret, kids[4]: secret}
    assert [ring.primary(purpose).kid for purpose in PURPOSES] == [kids[3], *kids[:3]]
    assert ring.primary("encrypt").secret_bytes() == secret


Change = Callable[[Any], object]


def test_a_member_of_a_newer_program_is_said_to_be_one() -> None:
    changes: list[Change] = [
        lambda d: d.update(more=1),
        lambda d: d["keys"][0].update(more=1),
        lambda d: d.update(format=2),
    ]
    for change in changes:
        document = plain(keyring())
        change(document)
        assert "upgrade backctl: the keyring may come from a newer version" in refused(sealed(document))


def test_tombstones_survive_the_document() -> None:
    document = sealed({**plain(keyring()), "tombstones": [STONE]})
    assert Keyring.from_document(document).document() == document


def test_the_checksum_is_the_one_of_the_formats() -> None:
    assert keyring().document() == sealed(plain(keyring()))


@pytest.mark.parametrize("indent", [None, 1])
def test_any_flipped_bit_of_its_text_is_noticed(indent: int | None) -> None:
    ring = keyring()
    document = plain(ring)
    text = json.dumps(document, indent=indent).encode()
    for at in range(len(text)):
        for bit in range(8):
            changed = bytearray(text)
            changed[at] ^= 1 << bit
            try:
                read = json.loads(bytes(changed))
            except ValueError:
                continue
            if read == document:
                assert chr(text[at]).isspace()
            else:
                refused(read)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_changed_removed_or_doubled_piece_of_its_text_is_noticed(data: st.DataObject) -> None:
    document = plain(keyring())
    text = json.dumps(document).encode()
    first = data.draw(st.integers(0, len(text) - 1))
    last = data.draw(st.integers(first, min(len(text), first + 40)))
    piece = data.draw(st.sampled_from([b"", text[first:last] * 2]) | st.binary(max_size=3))
    try:
        read = json.loads(text[:first] + piece + text[last:])
    except ValueError:
        return
    if read != document:
        refused(read)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "document",
    [None, [], "", 5, {}, {"checksum": None}, {"checksum": "é"}, {"checksum": "\ud800"}, {"checksum": "x", "keys": 1.5},
     {"checksum": "x", "keys": nested(600)}, {"checksum": "x", "keys": float("nan")}, {"checksum": "x", 5: 5}],
)  # fmt: skip
def test_what_is_no_keyring_is_refused(document: object) -> None:
    refused(document)


STONE = {"kid": "gone", "purpose": "sign", "destroyed": CREATED}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: d.update(format=2), "format"),
        (lambda d: d.pop("format"), "format"),
        (lambda d: d.update(format="1"), "format"),
        (lambda d: d.update(format=True), "format"),
        (lambda d: d.pop("keys"), "its list of keys"),
        (lambda d: d.update(keys={}), "its list of keys"),
        (lambda d: d.update(keys=[]), "0 primary"),
        (lambda d: d.pop("tombstones"), "or of tombstones is missing"),
        (lambda d: d.update(tombstones=None), "or of tombstones is missing"),
        (lambda d: d.update(tombstones=["k"]), "a tombstone does not have exactly"),
        (lambda d: d.update(tombstones=[{**STONE, "why": "x"}]), "a tombstone does not have exactly"),
        (lambda d: d.update(tombstones=[{**STONE, "kid": "a/b"}]), "a tombstone has an invalid"),
        (lambda d: d.update(tombstones=[{**STONE, "purpose": "verify"}]), "a tombstone has an invalid"),
        (lambda d: d.update(tombstones=[{**STONE, "destroyed": "once"}]), "a tombstone has an invalid"),
        (lambda d: d.update(tombstones=[STONE, STONE]), "share a kid"),
        (lambda d: d.update(tombstones=[{**STONE, "kid": "sign-1"}]), "share a kid"),
        (lambda d: d.update(wrapped={}), "unknown member 'wrapped'"),
        (lambda d: d["keys"][0].update(x5c=[]), "unknown member 'x5c'"),
        (lambda d: d["keys"].append("k"), "not a JSON object"),
        (lambda d: d["keys"].append(d["keys"][0]), "share a kid"),
        (lambda d: d["keys"].append({**d["keys"][1], "kid": "other"}), "2 primary keys of purpose 'encrypt'"),
        (lambda d: d["keys"].pop(0), "0 primary keys of purpose 'sign'"),
        (lambda d: d["keys"].pop(1), "0 primary keys of purpose 'encrypt'"),
        (lambda d: d["keys"].pop(2), "0 primary keys of purpose 'audit'"),
        (lambda d: d["keys"].pop(3), "0 primary keys of purpose 'index'"),
        (lambda d: d["keys"][1].update(state="retired"), "0 primary"),
        (lambda d: d["keys"][1].update(state="standby"), "0 primary"),
    ],
)
def test_a_keyring_that_breaks_a_rule_is_refused_whatever_its_checksum(change: Change, why: str) -> None:
    document = plain(keyring())
    change(document)
    assert why in refused(sealed(document))


SHORT = base64.urlsafe_b64encode(b"\0" * 31).rstrip(b"=").decode()
LONG = base64.urlsafe_b64encode(b"\0" * 33).decode()


@pytest.mark.parametrize(
    ("at", "name", "values"),
    [
        (0, "kid", [None, "", 5, "a b", "a/b", "é", "a\n", "x" * 65, ["a"]]),
        (0, "purpose", [None, "", "SIGN", "verify", "encrypt", ["sign"], {"sign": 1}]),
        (1, "purpose", ["audit", "sign"]),
        (2, "state", [None, "", "Primary", "destroyed", ["primary"]]),
        (0, "kty", [None, "oct", "EC", "RSA"]),
        (1, "kty", [None, "OKP", "OCT"]),
        (0, "alg", [None, "none", "HS256", "ES256"]),
        (1, "alg", [None, "A256GCM", "HS256", ["XAES-256-GCM"]]),
        (2, "alg", ["HS512", "XAES-256-GCM", None]),
        (3, "use", [None, "enc", "Sig"]),
        (0, "crv", [None, "ed25519", "Ed448", "X25519"]),
        (0, "x", [None, "", "!" * 43, SHORT, LONG, 5]),
        (0, "d", [None, "", "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2B", RFC_8037["d"] + "=", "é" * 43]),
        (1, "k", [None, "", "=" * 43, SHORT, LONG, "+" * 42 + "A", "/" * 42 + "A", " " + "A" * 43, "A" * 43 + "\n"]),
        (1, "created", [None, 5, "", "yesterday", "2026-11-22T09:24:02", "2026-W47-7"]),
        (1, "not_after", [5, "", "never", "2026-02-30"]),
    ],
)  # fmt: skip
def test_a_key_with_a_wrong_member_is_refused(at: int, name: str, values: list[object]) -> None:
    for value in values:
        document = plain(keyring())
        document["keys"][at][name] = value
        refused(sealed(document))
    document = plain(keyring())
    if document["keys"][at].pop(name, None):
        refused(sealed(document))


def test_secrets_show_themselves_nowhere() -> None:
    ring = keyring()
    for value in (ring, *ring.keys):
        texts = [repr(value), str(value), f"{value}", f"{[value]}", "%s" % (value,)]  # noqa: UP031
        for refusing in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError, match="not pickled") as error:
                refusing(value)
            texts.append(str(error.value))
        assert not any(secret in text for text in texts for secret in ("QUFB", "nWGx", "11qY", "AAAA", "\\x41", "k="))
    assert "sign-1" in repr(ring)


def test_a_signing_key_gives_no_symmetric_secret() -> None:
    with pytest.raises(KeyError):
        keyring().primary("sign").secret_bytes()
