"""Cleans text from untrusted authors: HTML with nh3 (a browser-grade parser), and control characters.

The output depends on the allowed tags:

- No tags (the default): plain text. Removes elements and comments but keeps their text, except for `script` and
  `style`. Decodes character references until nothing changes, so the result reads the same as text and inside an HTML
  element, and decoding it again cannot produce markup. `a < b & c` is unchanged; of `a<b`, an HTML parser keeps `a`.
  Escape the result like any text in attributes, scripts and URLs.
- Some tags: HTML. `a < b & c` becomes `a &lt; b &amp; c`, as HTML requires.

Cleaning repeats until a pass changes nothing, because one pass can assemble what the next one must remove
(`java&#x202e;script:`).
"""

import re
from functools import cached_property
from html import unescape
from typing import TYPE_CHECKING

from backctl.application.ports.environment import CleanedText
from backctl.domain.plain_text import without_controls
from backctl.infrastructure.html_nesting import require_shallow

if TYPE_CHECKING:
    from nh3 import Cleaner

_PASSES_MAX = 8
"""The limit of nested references. Beyond it, the remaining `&` and `<` are removed."""

_URL_ATTRIBUTES = frozenset(
    ("action", "background", "cite", "data", "formaction", "href", "longdesc", "ping", "poster", "src", "xlink:href")
)
_IGNORED_IN_URLS = dict.fromkeys(range(0x21))
"""Control characters and spaces, which URL parsers remove: https://url.spec.whatwg.org/#concept-basic-url-parser"""


class HtmlSanitizer:
    """Cleans strings with one allow-list. `attributes` are `tag.attribute`, or `*.attribute` for every tag."""

    def __init__(self, *, tags: tuple[str, ...], attributes: tuple[str, ...], url_schemes: tuple[str, ...]) -> None:
        self._tags = frozenset(tags)
        self._attributes = attributes
        self._url_schemes = url_schemes

    def clean(self, text: str) -> CleanedText:
        """Clean `text`. Raises InputTooDeep for markup that would take too long to parse."""
        bare, found = without_controls(text)
        cleaned = self._as_html(bare) if self._tags else self._as_text(bare)
        return CleanedText(cleaned, found if cleaned == bare else {**found, "html": 1})

    def _as_text(self, text: str) -> str:
        for _ in range(_PASSES_MAX):
            if "<" not in text and "&" not in text:
                return text
            require_shallow(text)
            cleaned, _ = without_controls(unescape(self._cleaner.clean(text)))
            cleaned = _without_open_end_tag(cleaned)
            if cleaned == text:
                return text
            text = cleaned
        return re.sub("[<&]", "", text)

    def _as_html(self, text: str) -> str:
        if re.search("[<>&\r\xa0]", text) is None:
            return text
        for _ in range(_PASSES_MAX):
            require_shallow(text)
            cleaned, _ = without_controls(self._cleaner.clean(text))
            if cleaned == text:
                return text
            text = cleaned
        return re.sub("[<>&]", "", text)

    @cached_property
    def _cleaner(self) -> "Cleaner":
        import nh3

        attributes: dict[str, set[str]] = {"*": set()}  # without it, nh3 allows `lang` and `title` everywhere
        for pair in self._attributes:
            tag, _, attribute = pair.partition(".")
            attributes.setdefault(tag, set()).add(attribute)
        own_rel = any("rel" in names for names in attributes.values())
        return nh3.Cleaner(
            tags=set(self._tags),
            attributes=attributes,
            url_schemes=set(self._url_schemes),
            attribute_filter=self._without_hidden_scheme,
            link_rel=None if own_rel else "noopener noreferrer",
        )

    def _without_hidden_scheme(self, _tag: str, attribute: str, value: str) -> str | None:
        """Drop a URL with a colon in its first segment, unless a scheme that is allowed precedes the colon.

        nh3 drops other schemes, but takes `javascript:` after a no-break space for a relative URL, as browsers do. A
        relative URL has no colon in its first segment: RFC 3986 §4.2.
        """
        if attribute not in _URL_ATTRIBUTES:
            return value
        scheme, colon, _ = re.split("[/?#]", value, maxsplit=1)[0].partition(":")
        bare = scheme.translate(_IGNORED_IN_URLS).lower()
        return value if not colon or bare in self._url_schemes else None


def _without_open_end_tag(text: str) -> str:
    """Remove `</` at the end, which would turn the end tag of a surrounding element into a comment.

    https://html.spec.whatwg.org/multipage/parsing.html#end-tag-open-state
    """
    while text.endswith("</"):
        text = text[:-2]
    return text
