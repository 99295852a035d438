"""Nothing that could run is kept, whatever is allowed, and harmless input is not changed."""

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backctl.domain.errors import InputTooDeep
from backctl.domain.plain_text import without_controls
from backctl.infrastructure.html import HtmlSanitizer

SCHEMES = ("http", "https", "mailto")
# fmt: off
TAGS = (
    "a", "b", "blockquote", "br", "button", "code", "dd", "div", "dl", "dt", "em", "font", "h1", "i", "img", "input",
    "li", "marquee", "ol", "p", "pre", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul", "video",
)
ATTRIBUTES = (
    "a.href", "img.src", "img.alt", "input.src", "input.type", "video.poster", "video.src", "table.border", "font.size",
    "*.title", "*.class", "*.id",
)
# fmt: on

TEXT = HtmlSanitizer(tags=(), attributes=(), url_schemes=SCHEMES)
HTML = HtmlSanitizer(tags=TAGS, attributes=ATTRIBUTES, url_schemes=SCHEMES)
BOLD = HtmlSanitizer(tags=("b",), attributes=(), url_schemes=())

# From the OWASP cheat sheet; see the .origin.txt file in the same folder.
EVASIONS = [
    json.loads(line) for line in (Path(__file__).parent / "data" / "xss-evasions.jsonl").read_text().splitlines()
]
# Published bypasses that depend on how a browser parses a sanitizer's output: of DOMPurify 2.0.0 and 2.0.16
# (M. Bentkowski, 2019 and 2020), and of Google's Closure library (M. Kinugawa, 2019).
MUTATIONS = [
    '<svg></p><style><a id="</style><img src=1 onerror=alert(1)>">',
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
]
# Similar attacks in other encodings: encoded once or several times, or formed when a part is removed.
OURS = [
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&amp;lt;script&amp;gt;alert(1)&amp;lt;/script&amp;gt;",
    "&#60;img src=x onerror=alert(1)&#62;",
    "&amp;" + "amp;" * 40 + "lt;img src=x onerror=alert(1)>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<scr\u202eipt>alert(1)</scr\u202eipt>",
    "<\0script>alert(1)</script>",
    "<a href='java&#x202e;script:alert(1)'>x</a>",
    "<a href='java\u2066script:alert(1)'>x</a>",
    "<a href='&#1;javascript:alert(1)'>x</a>",
    "<a href='java&#0;script:alert(1)'>x</a>",
    "<a href='java&Tab;script&colon;alert(1)'>x</a>",
    "<a href=data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==>x</a>",
    "<b title='--><img src=x onerror=alert(1)>'>x</b>",
    "<xmp><p title='</xmp><img src=x onerror=alert(1)>'>",
    "<textarea></textarea><img src=x onerror=alert(1)></textarea>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[><img src=x onerror=alert(1)>]]>",
    "<img src=x onerror=alert(1)//",
]
ATTACKS = [*EVASIONS, *MUTATIONS, *OURS]


class Found(HTMLParser):
    """What an independent parser finds."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.other: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.other.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.other.append(data)

    def handle_decl(self, decl: str) -> None:
        self.other.append(decl)

    def unknown_decl(self, data: str) -> None:
        self.other.append(data)

    def handle_pi(self, data: str) -> None:
        self.other.append(data)


def assert_inert(text: str) -> None:
    """Check that HTML shows this text unchanged and that decoding it again changes nothing."""
    found = Found(text)
    assert (found.tags, found.other) == ([], [])
    assert not text.endswith("</")
    assert unescape(text) == text
    assert without_controls(text) == (text, {})


def assert_allowed(html: str) -> None:
    found = Found(html)
    assert {tag for tag, _ in found.tags} <= set(TAGS)
    assert {name.removeprefix("/") for name in found.other} <= set(TAGS)
    for tag, attributes in found.tags:
        for name, value in attributes.items():
            assert f"{tag}.{name}" in ATTRIBUTES or f"*.{name}" in ATTRIBUTES or (tag, name) == ("a", "rel")
            if name in ("href", "src", "poster"):
                bare = "".join(character for character in value or "" if 32 < ord(character) < 128).lower()
                scheme = re.match("([a-z][a-z0-9+.-]*):", bare)  # RFC 3986 §3.1; anything else is a relative URL
                assert scheme is None or scheme[1] in SCHEMES, html
    assert without_controls(html) == (html, {})


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_survives_as_text(attack: str) -> None:
    assert_inert(TEXT.clean(attack).text)


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_attack_survives_where_much_is_allowed(attack: str) -> None:
    assert_allowed(HTML.clean(attack).text)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("sanitizer", [TEXT, HTML, BOLD])
def test_what_was_cleaned_is_clean(sanitizer: HtmlSanitizer, attack: str) -> None:
    once = sanitizer.clean(attack).text
    assert sanitizer.clean(once) == (once, {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a < b & c",
        "1<2 and 3>2",
        "AT&T & Co.",
        "R&D; x && y",
        "I <3 you",
        "tabs\tand\r\nlines\n",
        "«Grüße» 日本語 \U0001f469\u200d\U0001f4bb",
        "a > b",
        "\u200cمی\u200cخواهم",  # joiners are part of words
        "50 % \u00a0 off",
    ],
)
def test_text_without_markup_stays_as_it_is(text: str) -> None:
    assert TEXT.clean(text) == (text, {})


@pytest.mark.parametrize(
    ("text", "cleaned", "kinds"),
    [
        ("<b>hi</b> &amp; <i>you</i>", "hi & you", {"html": 1}),
        ("AT&amp;T", "AT&T", {"html": 1}),
        ("a<b", "a", {"html": 1}),
        ("x<script>alert(1)</script>y<style>p{}</style>z<!-- c -->", "xyz", {"html": 1}),
        ("&lt;b&gt;bold&lt;/b&gt;", "bold", {"html": 1}),
        ("&copy; 2026", "© 2026", {"html": 1}),
        ("a\u202eb\u2066c", "abc", {"bidi": 2}),
        ("a\x00b\x1bc\x7fd\x85e\u2028f", "abcdef", {"control": 5}),
        ("\ud800x", "x", {"control": 1}),
        ("<b>\u202e\x07</b>", "", {"bidi": 1, "control": 1, "html": 1}),
        ("&#x202e;x", "x", {"html": 1}),
        ("x</", "x", {"html": 1}),
        ("x&lt;/", "x", {"html": 1}),
        ("x&amp;lt;&#x2f;", "x", {"html": 1}),
        ("x<</</", "x<", {"html": 1}),
        ("x</\u202e", "x", {"bidi": 1, "html": 1}),
        ("<b>x</", "x", {"html": 1}),
        ("x < / y", "x < / y", {}),
    ],
)
def test_markup_goes_and_its_text_stays(text: str, cleaned: str, kinds: dict[str, int]) -> None:
    assert TEXT.clean(text) == (cleaned, kinds)


@pytest.mark.parametrize(
    ("html", "cleaned"),
    [
        ("plain", "plain"),
        ("a < b & c", "a &lt; b &amp; c"),
        ("a &lt; b &amp; c", "a &lt; b &amp; c"),
        ("<b>hi", "<b>hi</b>"),
        ("<b onclick=x title=t>hi</b><i>you</i>", "<b>hi</b>you"),
        ("<b>\u202ehi</b>", "<b>hi</b>"),
    ],
)
def test_with_a_tag_allowed_the_answer_is_html(html: str, cleaned: str) -> None:
    assert BOLD.clean(html).text == cleaned


def test_links_keep_what_is_allowed() -> None:
    link = HTML.clean("<a href=https://example.org/?a=1&b=2 target=_top title=t lang=en>x</a>").text
    assert link == '<a href="https://example.org/?a=1&amp;b=2" title="t" rel="noopener noreferrer">x</a>'
    assert HTML.clean("<a href=ftp://example.org/>x</a>").text == '<a rel="noopener noreferrer">x</a>'


@pytest.mark.parametrize(
    "url", ["/a:b", "a/b:c", "?a:b", "#a:b", "é", "mailto:ada@example.org", " HTTPS://example.org"]
)
def test_a_url_that_is_relative_or_has_an_allowed_scheme_stays(url: str) -> None:
    assert f'href="{url}"' in HTML.clean(f'<a href="{url}">x</a>').text


@pytest.mark.parametrize(
    "before", ["\xa0", "\u3000", "\u2003", "\u200b", "\u200c", "\ufeff", "\ufe0f", "\u3164", "\xad", "é"]
)
@pytest.mark.parametrize("scheme", ["javascript", "vbscript", "data", "JavaScript", "java\nscript"])
@pytest.mark.parametrize("markup", ["<a href='{}'>x</a>", "<img src='{}'>", "<a href='&nbsp;{}'>x</a>"])
def test_a_scheme_after_characters_that_nobody_sees_is_removed(before: str, scheme: str, markup: str) -> None:
    cleaned = HTML.clean(markup.format(f"{before}{scheme}:alert(1)")).text
    assert "script" not in cleaned.lower()
    assert "data:" not in cleaned
    assert HTML.clean("<a href=/there>x</a>").text == '<a href="/there" rel="noopener noreferrer">x</a>'
    own = HtmlSanitizer(tags=("a",), attributes=("a.rel",), url_schemes=SCHEMES)
    assert own.clean("<a rel=me href=https://example.org>x</a>").text == '<a rel="me">x</a>'


def test_references_inside_references_end_somewhere() -> None:
    bomb = "&amp;" + "amp;" * 200_000 + "lt;img src=x>"
    assert_inert(TEXT.clean(bomb).text)


@pytest.mark.parametrize("bomb", ["<div>" * 5_000, "&lt;div&gt;" * 5_000])
@pytest.mark.parametrize("sanitizer", [TEXT, HTML])
def test_what_nests_too_deep_is_refused_even_when_it_is_decoded_first(sanitizer: HtmlSanitizer, bomb: str) -> None:
    if sanitizer is HTML and bomb.startswith("&"):
        assert sanitizer.clean(bomb).text == bomb  # text stays text
        return
    with pytest.raises(InputTooDeep):
        sanitizer.clean(bomb)


PIECES = st.sampled_from(
    [
        "<b>",
        "</b>",
        "<a href=",
        "javascript:",
        "java",
        "script",
        ">",
        "<",
        "&",
        "&lt;",
        "&amp;",
        "&#60;",
        "&#x202e;",
        "lt;",
    ]
)
MORE = st.sampled_from(
    ["'", '"', "=", " ", "\n", "\r", "\0", "\u202e", "\u2028", "<!--", "-->", "<svg>", "<style>", "x", ";"]
)
SOUP = st.lists(PIECES | MORE, max_size=25).map("".join) | st.text(max_size=40)


@settings(max_examples=400, deadline=None)
@given(SOUP)
def test_whatever_comes_in_is_inert_as_text(soup: str) -> None:
    cleaned = TEXT.clean(soup).text
    assert unescape(cleaned) == cleaned
    assert not cleaned.endswith("</")
    assert without_controls(cleaned) == (cleaned, {})
    assert TEXT.clean(cleaned) == (cleaned, {})


@settings(max_examples=400, deadline=None)
@given(SOUP)
def test_whatever_comes_in_holds_only_what_is_allowed_as_html(soup: str) -> None:
    cleaned = HTML.clean(soup).text
    assert_allowed(cleaned)
    assert HTML.clean(cleaned) == (cleaned, {})
