"""Text inside pictures."""

from __future__ import annotations

import re
from typing import Final

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def escape(text: str) -> str:
    """*text* inside an element or attribute: markup, quotes, and characters XML forbids."""
    text = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;")):
        text = text.replace(char, entity)
    return text


def short(text: str, most: int) -> str:
    """*text* in at most *most* characters."""
    return text if len(text) <= most else text[: most - 1] + "…"
