"""The document about tokens: its commands work, and its examples accept only tokens of this installation."""

import base64
import json
import re
import shutil
import subprocess
from typing import Any

import jwt
import pytest
from tests.cli.accounts import Person, populate, python
from tests.cli.conftest import Machine
from tests.cli.documents import blocks, run_document

from backctl.settings.model import DEFAULTS

DOCUMENT = "docs/tokens.md"
RECIPES = {re.findall(r"\b(jwt|joserfc)\b", block.text)[0]: block.text for block in blocks(DOCUMENT, "python")}
(ELSEWHERE,) = (block.text for block in blocks(DOCUMENT, "js"))

_JUDGE = """
import sys
for line in sys.stdin:
    try:
        print(claims_of(line.strip())["sub"])
    except Exception as error:
        print(type(error).__name__)
"""


def test_the_commands_do_what_is_said_beside_them(machine: Machine) -> None:
    run_document(machine, DOCUMENT)
    assert json.loads((machine.home / "envoy.json").read_text())["resources"]
    for name in ("pair", "next-pair"):
        path = machine.home / name
        assert path.stat().st_mode & 0o077 == 0
        assert re.fullmatch(r"eyJ\S+\nbkr_\w{49}\n", path.read_text())


@pytest.fixture
def published(machine: Machine) -> dict[str, Any]:
    """Return the output of `key jwks`, which is also written to a file for the examples."""
    populate(machine, [Person("ada")])
    text = machine.run("key", "jwks").succeeded().out
    (machine.home / "jwks.json").write_text(text)
    document: dict[str, Any] = json.loads(text)
    return document


def signed_by_us(machine: Machine, claims: dict[str, Any], kind: str) -> str:
    """Return a token of any type, signed with the installation's own key."""
    keys = json.loads((machine.data / "keyring.json").read_text())["keys"]
    (key,) = [key for key in keys if key["purpose"] == "sign"]
    private = jwt.PyJWK({name: key[name] for name in ("kty", "crv", "x", "d")}, algorithm="EdDSA")
    return jwt.encode(claims, private.key, algorithm="EdDSA", headers={"typ": kind, "kid": key["kid"]})


def unsigned(token: str) -> str:
    header = {**jwt.get_unverified_header(token), "alg": "none"}
    return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode() + "." + token.split(".")[1] + "."


@pytest.mark.parametrize("library", RECIPES)
def test_a_recipe_takes_our_access_tokens_and_nothing_else(
    machine: Machine, published: dict[str, Any], library: str
) -> None:
    assert published["keys"]
    good = machine.run("token", "issue", "ada").succeeded().out.strip()
    elsewhere = machine.run("token", "issue", "ada", "--audience", "billing").succeeded().out.strip()
    claims = jwt.decode(good, options={"verify_signature": False})
    judged = [
        good,
        signed_by_us(machine, claims, "at+jwt"),
        elsewhere,
        good[:-8] + "AAAAAAAA",
        unsigned(good),
        signed_by_us(machine, claims, "JWT"),
        signed_by_us(machine, {**claims, "exp": claims["iat"] - 60}, "at+jwt"),
        signed_by_us(machine, {**claims, "iss": "somebody"}, "at+jwt"),
        "bkr_nothing",
    ]
    answers = python(machine, RECIPES[library] + _JUDGE, stdin="\n".join(judged)).succeeded().out.splitlines()
    assert answers[:2] == [claims["sub"]] * 2
    assert len(answers) == len(judged)
    assert claims["sub"] not in answers[2:], answers


def test_what_is_written_for_other_verifiers_agrees_with_our_tokens_and_keys(
    machine: Machine, published: dict[str, Any]
) -> None:
    token = machine.run("token", "issue", "ada").succeeded().out.strip()
    claims, header = jwt.decode(token, options={"verify_signature": False}), jwt.get_unverified_header(token)
    assert re.findall(r"issuer: '([\w-]+)", ELSEWHERE) == [claims["iss"]] == [DEFAULTS.tokens.issuer]
    assert re.findall(r"audience: '(.+?)'", ELSEWHERE) == [claims["aud"]] == [DEFAULTS.tokens.audience]
    assert re.findall(r"algorithms: \['(\w+)'\], clockTolerance: (\d+)", ELSEWHERE) == [(header["alg"], "10")]
    assert re.findall(r"typ: '(.+?)'", ELSEWHERE) == [header["typ"]]
    (required,) = re.findall(r"requiredClaims: \[(.+?)\]", ELSEWHERE)
    assert set(re.findall(r"\w+", required)) <= set(claims)
    # Envoy and jose find a key by kid, and reject a key with another alg or use.
    (key,) = published["keys"]
    assert (key["kid"], key["alg"], key["use"]) == (header["kid"], header["alg"], "sig")
    assert (key["kty"], key["crv"]) == ("OKP", "Ed25519")
    assert not {"d", "k", "p", "q"} & set(key)


def test_the_configuration_of_a_proxy_contains_what_a_verifier_needs(
    machine: Machine, published: dict[str, Any]
) -> None:
    machine.environment |= {"BACKCTL_TOKENS_ISSUER": "https://issuer", "BACKCTL_TOKENS_AUDIENCE": "billing"}
    envoy = machine.run("key", "jwks", "--format", "envoy").succeeded().json
    (resource,) = envoy["resources"]
    provider = resource["typed_config"]["providers"]["backctl"]
    assert json.loads(provider["local_jwks"]["inline_string"]) == published
    assert (provider["issuer"], provider["audiences"], provider["clock_skew_seconds"]) == (
        "https://issuer",
        ["billing"],
        10,
    )
    istio = machine.run("key", "jwks", "--format", "istio").succeeded().json
    (rule,) = istio["spec"]["jwtRules"]
    assert json.loads(rule["jwks"]) == published
    assert (rule["issuer"], rule["audiences"]) == ("https://issuer", ["billing"])
    assert machine.run("key", "jwks", "--format", "jwks").succeeded().json == published


JOSE = """
import { pathToFileURL } from 'node:url'
const token = process.argv[2]
%s
console.log(payload.sub)
"""


if shutil.which("npm"):

    @pytest.mark.long
    def test_the_recipe_for_node_accepts_our_tokens_and_nothing_else(
        machine: Machine, published: dict[str, Any]
    ) -> None:
        """Installs `jose` from the npm registry."""
        assert published["keys"]
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "jose@6"]
        subprocess.run(install, cwd=machine.home, check=True, capture_output=True)
        (machine.home / "recipe.mjs").write_text(JOSE % ELSEWHERE)
        good = machine.run("token", "issue", "ada").succeeded().out.strip()
        claims = jwt.decode(good, options={"verify_signature": False})

        def judged(token: str) -> tuple[int, str]:
            done = subprocess.run(["node", "recipe.mjs", token], cwd=machine.home, capture_output=True, text=True)
            return done.returncode, done.stdout.strip()

        assert judged(good) == (0, claims["sub"])
        for bad in (good[:-8] + "AAAAAAAA", unsigned(good), signed_by_us(machine, claims, "JWT")):
            assert judged(bad) == (1, "")
