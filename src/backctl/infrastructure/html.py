"""Text that others wrote, made harmless: HTML through nh3 (the parser of a browser), steering characters removed.

What comes out depends on what is allowed:

- No tags (the default): plain text. Elements and comments go, their text stays (but that of `script` and `style`), and
  character references become what they stand for, again and again until nothing changes. So the answer reads the same
  as text and as the content of an HTML element, and cannot become markup by being decoded once more. `a < b & c` stays
  as it is; of `a<b` a parser of HTML keeps `a`. In attributes, scripts and URLs it has to be escaped as any text.
- Some tags: HTML. `a < b & c` becomes `a &lt; b &amp; c`, for that is how HTML writes it.

Cleaning goes on until a pass changes nothing: what one pass puts together (`java&#x202e;script:`) the next one takes.
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
"""Nobody nests references deeper; whoever does, has what is left of `&` and `<` taken away."""


class HtmlSanitizer:
    """Cleans one string after another by one allow-list. `attributes` are `tag.attribute`, or `*.attribute`."""

    def __init__(self, *, tags: tuple[str, ...], attributes: tuple[str, ...], url_schemes: tuple[str, ...]) -> None:
        self._tags = frozenset(tags)
        self._attributes = attributes
        self._url_schemes = url_schemes

    def clean(self, text: str) -> CleanedText:
        """Raises InputTooDeep for markup that a parser would need too long for."""
        bare, found = without_controls(text)
        cleaned = self._as_html(bare) if self._tags else self._as_text(bare)
        return CleanedText(cleaned, found if cleaned == bare else {**found, "html": 1})

    def _as_text(self, text: str) -> str:
        for _ in range(_PASSES_MAX):
            if "<" not in text and "&" not in text:
                return text
            require_shallow(text)
            cleaned, _ = without_controls(unescape(self._cleaner.clean(text)))
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

        attributes: dict[str, set[str]] = {"*": set()}  # without it the library allows `lang` and `title` everywhere
        for pair in self._attributes:
            tag, _, attribute = pair.partition(".")
            attributes.setdefault(tag, set()).add(attribute)
        own_rel = any("rel" in names for names in attributes.values())
        return nh3.Cleaner(
            tags=set(self._tags),
            attributes=attributes,
            url_schemes=set(self._url_schemes),
            link_rel=None if own_rel else "noopener noreferrer",
        )
