"""A keyring encrypted with a passphrase: only that passphrase opens it, and its scrypt cost is limited."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from backctl.domain.errors import KeyringDamaged, KeyringSealed
from backctl.domain.keyring import Keyring
from backctl.domain.values import Instant
from backctl.infrastructure.keyring import text as keyring_text
from backctl.infrastructure.keyring.maker import make_keyring

RING = make_keyring(Instant.parse("2026-11-22T09:24:02Z"))


def open_sesame() -> str:
    return "öpen sesame"


def wrapped(ring: Keyring = RING, *, log_n: int = 4) -> Any:
    return json.loads(keyring_text.written(ring, open_sesame, log_n=log_n))


def read(document: Any, passphrase: Callable[[], str] | None = open_sesame) -> Keyring:
    return keyring_text.read(json.dumps(document), passphrase)


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_plain_keyring_is_read_with_a_passphrase_or_without() -> None:
    text = keyring_text.written(RING)
    assert json.loads(text) == RING.document()
    assert keyring_text.read(text) == keyring_text.read(text, open_sesame) == RING
    assert not keyring_text.is_wrapped(text)


def test_a_wrapped_keyring_opens_and_shows_nothing() -> None:
    text = keyring_text.written(RING, open_sesame, log_n=4)
    assert keyring_text.is_wrapped(text)
    assert keyring_text.read(text, open_sesame) == RING
    assert not any(kid in text for kid in RING.kids())
    assert keyring_text.written(RING, open_sesame, log_n=4) != text


def test_it_is_what_another_implementation_makes_of_the_standards() -> None:
    inner = wrapped()["wrapped"]
    key = Scrypt(salt=raw(inner["salt"]), length=32, n=16, r=8, p=1).derive(open_sesame().encode())
    head = {name: inner[name] for name in ("cipher", "n", "nonce", "p", "r", "salt")}
    bound = json.dumps({"format": 1, "wrapped": head}, separators=(",", ":")).encode()
    plain = AESGCM(key).decrypt(raw(inner["nonce"]), raw(inner["ciphertext"]), bound)
    assert json.loads(plain) == RING.document()


def test_the_cost_is_the_one_that_owasp_asks_for() -> None:
    inner = json.loads(keyring_text.written(RING, open_sesame))["wrapped"]
    assert (inner["n"], inner["r"], inner["p"]) == (2**17, 8, 1)
    assert read({"format": 1, "wrapped": inner}) == RING


def test_a_wrong_passphrase_and_a_changed_byte_get_the_same_answer() -> None:
    answers = set()
    document = wrapped()
    for passphrase in ("", "open sesame", "öpen sesame ", "o\u0308pen sesame"):
        with pytest.raises(KeyringSealed) as refusal:
            read(document, lambda passphrase=passphrase: passphrase)  # type: ignore[misc]
        answers.add((refusal.value.message, refusal.value.hint))
    for member in ("salt", "nonce", "ciphertext"):
        content = document["wrapped"][member]
        for at in {0, len(content) // 2, len(content) - 2}:
            other = "A" if content[at] != "A" else "B"
            changed = {**document["wrapped"], member: content[:at] + other + content[at + 1 :]}
            with pytest.raises(KeyringSealed) as refusal:
                read({"format": 1, "wrapped": changed})
            answers.add((refusal.value.message, refusal.value.hint))
    for change in ({"n": 32}, {"r": 4}, {"p": 2}, {"ciphertext": ""}, {"nonce": ""}, {"salt": "!"}):
        with pytest.raises(KeyringSealed) as refusal:
            read({"format": 1, "wrapped": {**document["wrapped"], **change}})
        answers.add((refusal.value.message, refusal.value.hint))
    assert len(answers) == 1


def test_without_a_passphrase_it_says_where_one_belongs() -> None:
    with pytest.raises(KeyringSealed, match="none is configured") as refusal:
        read(wrapped(), None)
    assert "keyring.passphrase_file" in str(refusal.value.hint)


@pytest.mark.parametrize(
    "parameters",
    [{"n": 0}, {"n": 1}, {"n": 3}, {"n": -2}, {"n": 2**21}, {"n": 2**1000}, {"r": 0}, {"r": -1}, {"p": 0}, {"p": 2**30},
     {"n": 2**20, "r": 8}, {"n": 2**18, "r": 8, "p": 16}, {"r": 2**30}],
)  # fmt: skip
def test_what_would_take_too_much_is_not_begun(parameters: dict[str, int]) -> None:
    def never() -> str:
        raise AssertionError(parameters)

    with pytest.raises(KeyringDamaged, match="too much work"):
        read({"format": 1, "wrapped": {**wrapped()["wrapped"], **parameters}}, never)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(format=2),
        lambda d: d.pop("format"),
        lambda d: d.update(keys=[]),
        lambda d: d.update(wrapped=None),
        lambda d: d["wrapped"].update(cipher="none"),
        lambda d: d["wrapped"].update(more=1),
        lambda d: d["wrapped"].update(n="16"),
        lambda d: d["wrapped"].update(salt=None),
        lambda d: d["wrapped"].pop("ciphertext"),
    ],
)
def test_what_is_wrapped_in_another_way_is_refused(change: Callable[[Any], object]) -> None:
    document = wrapped()
    change(document)
    with pytest.raises(KeyringDamaged, match="wrapping format is unknown") as refusal:
        read(document)
    assert refusal.value.hint == "it may come from a newer backctl"


@pytest.mark.parametrize("text", ["", "x", "[]", "5", "null", '{"a":1,"a":2}', "[" * 3000, '{"wrapped":NaN}'])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(KeyringDamaged):
        keyring_text.read(text, open_sesame)
