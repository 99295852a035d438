"""E-mail addresses: which are accepted, the messages for the others, and the common key of different spellings."""

import subprocess
import sys
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backctl.domain.errors import InvalidEmail
from backctl.domain.quoting import escaped
from backctl.domain.values import EmailAddress
from backctl.infrastructure.addresses import EmailValidatorParser

ORDINARY = EmailValidatorParser()
SEEDING = EmailValidatorParser(allow_special_domains=True)


FORMS = {  # the normal form of an address, and its key
    "Ada@Example.ORG": ("Ada@example.org", "ada@example.org"),
    "ada+news@example.org": ("ada+news@example.org", "ada+news@example.org"),
    "POSTMASTER@example.org": ("postmaster@example.org", "postmaster@example.org"),
    "ada@BÜCHER.example": ("ada@bücher.example", "ada@bücher.example"),
    "ada@XN--Bcher-kva.example": ("ada@bücher.example", "ada@bücher.example"),
    "Ada\u0308@example.org": ("Ad\u00e4@example.org", "ad\u00e4@example.org"),
    "ﾐﾔ@example.org": ("ﾐﾔ@example.org", "ﾐﾔ@example.org"),
}


@pytest.mark.parametrize("text", FORMS)
def test_an_address_has_a_normal_form_and_a_key(text: str) -> None:
    parsed = ORDINARY.parse(text)
    assert (parsed.address, parsed.key) == FORMS[text]
    assert ORDINARY.key_of(text) == parsed.key


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must have an @-sign"),
        ("ada", "must have an @-sign"),
        ("@example.org", "something before the @-sign"),
        ("ada@", "something after the @-sign"),
        ("ada@example", "should have a period"),
        ("ada@@example.org", "invalid characters"),
        ("a da@example.org", "SPACE"),
        ("ada@exa mple.org", "SPACE"),
        ("ada\n@example.org", "invalid characters"),
        ("ada@example.org\n", "invalid characters"),
        ("ada\0@example.org", "invalid characters"),
        ("ada\x7f@example.org", "invalid characters"),
        ("ada\u0085@example.org", "unsafe characters"),
        ("ada\u202e@example.org", "RIGHT-TO-LEFT OVERRIDE"),
        ("ada\u2066@example.org", "LEFT-TO-RIGHT ISOLATE"),
        ("ada\u200b@example.org", "ZERO WIDTH SPACE"),
        ("ada@exa\u202emple.org", "RIGHT-TO-LEFT OVERRIDE"),
        ("ada\ud800@example.org", "unsafe characters"),
        ("ada\u00a0x@example.org", "NO-BREAK SPACE"),
        ('"ada lovelace"@example.org', "quoting the part before the @-sign"),
        ('"ada"@example.org', "quoting the part before the @-sign"),
        ("ada@[127.0.0.1]", "bracketed IP address"),
        ("ada@[IPv6:::1]", "bracketed IP address"),
        ("Ada <ada@example.org>", "display name"),
        ("<ada@example.org>", "display name"),
        (".ada@example.org", "start with a period"),
        ("a..da@example.org", "two periods in a row"),
        ("ada@-example.org", "hyphen"),
        ("ada@example.123", "top-level domain"),
        ("a" * 65 + "@example.org", "too long before the @-sign"),
        ("ada@" + "a" * 64 + ".org", "so many characters"),
        ("ada@" + ".".join(["a" * 60] * 5) + ".org", "too long"),
        ("ä" * 64 + "@" + "a" * 60 + "." + "b" * 61 + ".org", "too long"),
        ("ada@example.invalid", "special-use"),
        ("ada@example.test", "special-use"),
        ("ada@example.local", "special-use"),
        ("ada@localhost", "should have a period"),
        ("ada@db.localhost", "special-use"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidEmail) as caught:
        ORDINARY.parse(text)
    message = caught.value.message
    assert "is not an e-mail address: " in message
    assert reason.lower() in message.lower()
    assert not message.endswith(".")
    assert message == escaped(message)


@given(st.text(max_size=300) | st.emails() | st.from_regex(r"[^\n]{1,40}@[^\n]{1,40}", fullmatch=True))
@example("ada@\u2488.org")
@example("a@b.\u1fef")
@example("ada@xn--.org")
@example("ada@xn--a.org")
@example("a@.xxxx")
def test_no_text_gets_past_the_error_tree(text: str) -> None:
    for parser in (ORDINARY, SEEDING):
        try:
            parsed = parser.parse(text)
        except InvalidEmail as refusal:
            message = refusal.message
            assert message == escaped(message)
            continue
        assert len(parsed.address.encode()) <= 254
        assert parser.key_of(text) == parsed.key


LABELS = st.sampled_from(
    [
        "example",
        "EXAMPLE",
        "bücher",
        "BÜCHER",
        "xn--bcher-kva",
        "XN--BCHER-KVA",
        "straße",
        "xn--strae-oqa",
        "日本",
        "a-b",
        "0",
    ]
)
LOCALS = st.sampled_from(
    [
        "Ada",
        "xn--ada",
        "ADA.B",
        "info",
        "INFO",
        "straße",
        "\uff2f",
        "\u017f",
        "\u0131",
        "\u0130",
        "\u0149",
        "\u0390",
        "a\u0301",
    ]
)
ENDINGS = st.sampled_from(["org", "ORG", "test", "TEST", "Local", "localhost", "рф", "xn--p1ai", "XN--P1AI"])


@given(LOCALS, st.lists(LABELS, max_size=3), ENDINGS)
def test_an_account_is_found_under_every_spelling_that_could_have_made_it(
    local: str, labels: list[str], ending: str
) -> None:
    text = f"{local}@{'.'.join([*labels, ending])}"
    try:
        parsed = SEEDING.parse(text)
    except InvalidEmail:
        assert isinstance(SEEDING.key_of(text), str)
    else:
        assert SEEDING.key_of(text) == parsed.key
        assert SEEDING.parse(parsed.address) == parsed


PLAIN_LOCALS = (
    st.text("aZ09.!#$%&'*+/=?^_`{|}~-", max_size=66)
    | st.text(st.characters(max_codepoint=127), max_size=6)
    | st.from_regex(r"[a-z]{1,66}(\.[A-Z]{1,9})?", fullmatch=True)
    | st.sampled_from(
        ["PostMaster", "info", "INFO", "Ada", "ADA.B", "www", '"ada"', "a" * 64, "a" * 65, "ada@ada", "é"]
    )
)
PLAIN_DOMAINS = st.from_regex(r"[A-Za-z0-9-]{1,64}(\.[A-Za-z0-9-]{1,64}){0,4}", fullmatch=True) | st.builds(
    ".".join, st.lists(LABELS, min_size=1, max_size=3).flatmap(lambda labels: ENDINGS.map(lambda end: [*labels, end]))
)
WARM = (EmailValidatorParser(), EmailValidatorParser(allow_special_domains=True))


@given(PLAIN_LOCALS | LOCALS, PLAIN_DOMAINS)
@example("PostMaster", "Example.ORG")
@example("ada", ".".join(["a" * 60] * 4))
@example("a" * 10, ".".join(["a" * 60] * 3 + ["a" * 57, "org"]))
@example("ada", "xn--bcher-kva.example")
@example("ada\n", "example.org")
@example("", "example.org")
def test_a_parser_that_has_seen_the_domain_never_disagrees_with_a_new_one(local: str, domain: str) -> None:
    text = f"{local}@{domain}"
    for warm, new in zip(WARM, (EmailValidatorParser(), EmailValidatorParser(allow_special_domains=True)), strict=True):
        outcome(warm, f"ada@{domain}")
        assert outcome(warm, text) == outcome(new, text)


def outcome(parser: EmailValidatorParser, text: str) -> object:
    try:
        return parser.parse(text)
    except InvalidEmail as refusal:
        return refusal.message, refusal.hint


def test_a_plain_address_in_a_domain_seen_before_does_not_ask_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = EmailValidatorParser()
    parser.parse("first@Example.org")
    monkeypatch.setattr("email_validator.validate_email", None)
    assert parser.parse("Grace.Hopper+x@Example.org") == EmailAddress(
        "Grace.Hopper+x@example.org", "grace.hopper+x@example.org", "example.org"
    )
    for unknown in ("ada@example.com", "ADA@Example.org", "ä@Example.org", "a..b@Example.org"):
        with pytest.raises(TypeError):
            parser.parse(unknown)


def test_the_remembered_domains_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backctl.infrastructure.addresses._DOMAINS_MAX", 3)
    parser = EmailValidatorParser()
    for number in range(5):
        assert parser.parse(f"ada@example{number}.org").domain == f"example{number}.org"
    assert len(parser._plain_domains) == 2


NORMALIZED = {"Ada@a.b.TEST": "Ada@a.b.test", "ada@DB.LocalHost": "ada@db.localhost",
              "ada@xn--bcher-kva.test": "ada@bücher.test"}  # fmt: skip
UNCHANGED = ["ada@shop.test", "ada@box.local", "ada@localhost", "ada@bücher.test", "ada@example.org"]


@pytest.mark.parametrize(("text", "address"), [*NORMALIZED.items(), *zip(UNCHANGED, UNCHANGED, strict=True)])
def test_seeding_may_use_test_local_and_localhost(text: str, address: str) -> None:
    assert SEEDING.parse(text).address == address
    assert SEEDING.key_of(text) == address.lower()


@pytest.mark.parametrize(
    "text",
    [
        "ada@test",
        "ada@local",
        "ada@example",
        "ada@intranet",
        "ada@example.invalid",
        "ada@example.onion",
        "ada@1.0.0.127.in-addr.arpa",
        "ada@mylocalhost",
        "ada@shop.test.",
        "ada@.test",
        "ada@a..test",
        "ada@-.local",
        "@localhost",
        "a da@localhost",
        "ada@[127.0.0.1].test",
        "ada@127.0.0.1",
        "ada@" + "a" * 64 + ".test",
        '"ada"@localhost',
    ],
)
def test_seeding_admits_nothing_else(text: str) -> None:
    with pytest.raises(InvalidEmail) as caught:
        SEEDING.parse(text)
    assert "xxxx" not in caught.value.message


def test_seeding_leaves_the_library_of_the_service_around_it_as_it_was() -> None:
    import email_validator

    before = list(email_validator.SPECIAL_USE_DOMAIN_NAMES)
    SEEDING.parse("ada@shop.test")
    assert before == email_validator.SPECIAL_USE_DOMAIN_NAMES
    with pytest.raises(InvalidEmail):
        ORDINARY.parse("ada@shop.test")


@pytest.mark.parametrize("character", ["a", "@", '"', "<", "ä", "\u0301", "\u0327\u0301", ".", "\u202e", "9", "\u0660"])
def test_a_megabyte_is_refused_at_once(character: str) -> None:
    begun = time.process_time()
    for text in (character * 1_000_000, f"ada@{character * 1_000_000}.org", f"{character * 1_000_000}@example.org"):
        with pytest.raises(InvalidEmail):
            ORDINARY.parse(text)
        ORDINARY.key_of(text)
    assert time.process_time() - begun < 2  # a quadratic step would take minutes


def test_a_plain_ascii_key_needs_no_heavy_import() -> None:
    program = (
        "import sys\n"
        "from backctl.infrastructure.addresses import EmailValidatorParser\n"
        "assert EmailValidatorParser().key_of('Ada@Example.ORG') == 'ada@example.org'\n"
        "assert EmailValidatorParser().key_of('not an address') == 'not an address'\n"
        "assert not {'email_validator', 'idna', 'dns'} & set(sys.modules), 'imported too much'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
