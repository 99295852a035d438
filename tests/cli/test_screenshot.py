"""The screenshot of the README shows what a terminal shows today."""

import re
from xml.etree import ElementTree

from tests.screenshot import COLUMNS, FILE, SHOWN, drawn, take


def texts(image: str) -> list[str]:
    """Return the texts of an image in order, with `#` for each digit, because times differ."""
    found = (element.text or "" for element in ElementTree.fromstring(image).iter("{http://www.w3.org/2000/svg}text"))
    return [re.sub(r"\d", "#", text.replace("\N{NO-BREAK SPACE}", " ").rstrip()) for text in found]


def test_the_screenshot_is_current() -> None:
    image = FILE.read_text(encoding="utf-8")
    assert texts(image) == texts(drawn(take()))
    assert {f"$ backctl {line}" for line in SHOWN} <= set(texts(image))
    assert max(map(len, texts(image))) <= COLUMNS


def test_the_screenshot_loads_nothing() -> None:
    image = FILE.read_text(encoding="utf-8")
    assert not re.search(r"url\((?!#)|href|<script", image)
