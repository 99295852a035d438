"""The depth of markup is limited before parsing, and never estimated lower than a parser finds it."""

import re
import time
from html.parser import HTMLParser

import nh3
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backctl.domain.errors import InputTooDeep
from backctl.infrastructure.html_nesting import has_more_attributes, measured, require_shallow

NAMES = ["a", "b", "font", "i", "p", "div", "ul", "li", "dl", "dt", "dd", "table", "tr", "td", "span", "h1", "button"]
ODD_NAMES = [
    "select",
    "option",
    "svg",
    "math",
    "template",
    "textarea",
    "title",
    "noscript",
    "form",
    "marquee",
    "plaintext",
]
EVERYTHING = set(NAMES + ODD_NAMES + ["tbody", "br", "mi", "desc", "foreignObject"])


def parsed(html: str) -> tuple[int, int]:
    """Return the depth of nh3's tree and the number of its elements, read from its well-nested output."""
    written = nh3.clean(html, tags=EVERYTHING, attributes={"*": set()}, link_rel=None)
    depth = deepest = elements = 0
    for end, name in re.findall(r"<(/?)([A-Za-z0-9]+)[^<>]*>", written):
        if name == "br":
            elements += 1
        elif end:
            depth -= 1
        else:
            elements += 1
            depth += 1
            deepest = max(deepest, depth)
    return deepest, elements


TAGS = st.sampled_from(
    [f"<{name}>" for name in NAMES]
    + [f"</{name}>" for name in NAMES]
    + [f"<{name}>" for name in ODD_NAMES]
    + [f"</{name}>" for name in ODD_NAMES]
    + [
        "<br>",
        "<!-- x -->",
        "<!--",
        "-->",
        "<!-->",
        "<b x=1>",
        '<b x="</b>">',
        "<b x='",
        "<DIV\n>",
        "</div >",
        "</ div>",
    ]
    + [
        "<div/>",
        "<style>",
        "</style>",
        "<style><div></style>",
        "<",
        "</",
        "<?x",
        "<![CDATA[",
        "]]>",
        "x",
        "'",
        '"',
        ">",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(TAGS, max_size=40).map("".join))
@example("<div><table></div></table>" * 9)
@example("<b><li></b>" * 9)
@example("<svg><style><div></style>" * 9)
@example("<p><b x=1><b x=2><b x=3><b x=4><p>x<p>x<p>x")
@example("<div><!-- </div> -->" * 9)
@example('<div title="</div>">' * 9)
@example("<div '></div>" * 9)
@example("<textarea><!--</textarea><div>" * 9 + "-->")
@example("<marquee><div></marquee>" * 9)
@example("<td><div></td>" * 9)
def test_no_markup_is_judged_shallower_than_it_is(html: str) -> None:
    deepest, elements = parsed(html)
    found = measured(html)
    # A parser adds a tbody and a tr to a table, and an empty p for a </p>.
    assert deepest <= 3 * found.deepest + 1
    assert elements <= (found.tags + html.count("</p")) * (found.formatting + 3)


@pytest.mark.parametrize(
    "unit", ["<div>", "<b>", "<a x={}>", "<font x={}>", "<div><table></div></table>", "<div><!-- </div> -->", "<x y='>"]
)
def test_what_would_keep_a_parser_busy_is_refused_at_once(unit: str) -> None:
    html = "".join(unit.format(n) for n in range(100_000))
    begun = time.monotonic()
    with pytest.raises(InputTooDeep, match="nests elements deeper than 256"):
        require_shallow(html)
    assert time.monotonic() - begun < 20


NAMED = "".join(f" x{n}=1" for n in range(100_000))
OVERLOADED = [
    f"<a{NAMED}>",
    f"</a{NAMED}>",
    f"<a{NAMED}",
    "<a" + NAMED.replace(" ", "/").replace("=1", "") + ">",
    "<a" + NAMED.replace("=1", "='>'") + ">",
    "<a " + NAMED.replace("=1", '=\t"<b>"').replace(" ", "") + ">",
    f"<!-- <p x=' --><a{NAMED}>",
    f"""<a b'="'"><p c=d"="{NAMED}">""",
    f'<title><a x="</title><a{NAMED}>',
    "<a" * 100_000 + NAMED,
]


@pytest.mark.parametrize("html", OVERLOADED)
def test_a_tag_of_very_many_attributes_is_refused_at_once(html: str) -> None:
    begun = time.monotonic()
    with pytest.raises(InputTooDeep, match="a tag has more than 1000 attributes"):
        require_shallow(html)
    assert time.monotonic() - begun < 20


class AttributeCounter(HTMLParser):
    """Finds the largest number of attributes of a tag in well-formed HTML."""

    most = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.most = max(self.most, len(attrs))


MARKS = st.sampled_from(
    [*"x <>/='\"", "<b ", "</b", ' x="', "='", "<!--", "-->", '">', " x", "x=x ", "<title>", "</title>"]
)


@given(st.lists(MARKS, max_size=30), st.integers(0, 5))
@example(["<b ", "x", "='", '">', "='", " x", " x", " x"], 2)
def test_no_tag_has_more_attributes_than_are_counted(parts: list[str], limit: int) -> None:
    names = (f"x{n}" for n in range(1000))  # all different, because duplicate attributes are dropped
    html = re.sub("x", lambda match: next(names), "".join(parts))
    written = nh3.clean(html, tags={"b"}, attributes={"*": set()}, generic_attribute_prefixes={"x"})
    parser = AttributeCounter()
    parser.feed(written)
    assert parser.most <= limit or has_more_attributes(html, limit)


def test_what_would_make_a_million_elements_is_refused() -> None:
    html = "<p>" + "".join(f"<font x={n}>" for n in range(200)) + "<p>x" * 5_000
    with pytest.raises(InputTooDeep, match="it has 5201 tags and leaves 200 formatting elements open"):
        require_shallow(html)


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 256,
        "<div>" * 256 + "</div>" * 256 + "<div>" * 256,
        "<ul>" + "<li>one" * 20_000 + "</ul>",
        "<p>one" * 20_000,
        "<p>one <b>two</b> <a href='x'>three</a></p>" * 5_000,
        "<table><tr><th>a<th>b" + "<tr><td>1<td>2" * 5_000 + "</table>",
        "<dl>" + "<dt>a<dd>b" * 5_000 + "</dl>",
        "<style>p{}</style><title>t</title>" + '<!-- note -->\n<div class="x"><br></div>\n' * 5_000,
        "<!DOCTYPE html><html><head></head><body>" + "<p>x</p>" * 5_000 + "</body></html>",
        "a < b && c > d " * 10_000,
        '<p class="a b">one word after the other <br/></p>' * 50_000,
        "<img src='data:image/png;base64," + "a/b+" * 100_000 + "'>" + '<path d="' + "M 0 0 " * 50_000 + '">',
        "one word after the other " * 100_000 + "<p " + "".join(f" x{n}='{n}'" for n in range(1000)) + ">",
        "&lt;div&gt;" * 10_000,
    ],
)
def test_ordinary_documents_pass(html: str) -> None:
    require_shallow(html)


LONG = ["<a" + " " * 200_000, "<a x" * 100_000, "<a " + "x " * 100_000, "<a x=" * 50_000, '<a x="' * 30_000]
UNCLOSED = ["<!--" * 50_000, "<!-- -" * 30_000, "<script>" * 50_000, "<script><!--" * 30_000, "</" * 100_000]


@pytest.mark.parametrize("html", [*LONG, *UNCLOSED])
def test_the_judgement_takes_time_by_length_alone(html: str) -> None:
    begun = time.monotonic()
    measured(html)
    assert time.monotonic() - begun < 20
