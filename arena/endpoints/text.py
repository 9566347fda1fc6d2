"""Text from models, made safe at the boundary: what passes here can be stored and sent anywhere."""

from __future__ import annotations

import re

_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_HIGH_SURROGATE = ("\ud800", "\udbff")
_QUOTE_CHARS = 200


class TextCleaner:
    """Cleans a text that arrives in pieces.

    Carriage returns go; other control characters (newline and tab stay) and lone surrogates
    become U+FFFD, because PostgreSQL refuses NUL and UTF-8 has no surrogates. A surrogate pair
    split over two pieces, as servers that cut UTF-16 do, is joined.
    """

    def __init__(self) -> None:
        self._half = ""

    def clean(self, piece: str) -> str:
        text = self._half + piece
        self._half = ""
        if text and _HIGH_SURROGATE[0] <= text[-1] <= _HIGH_SURROGATE[1]:
            text, self._half = text[:-1], text[-1]
        if _SURROGATE.search(text):
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return _UNSAFE.sub("\ufffd", text.replace("\r", ""))

    def end(self) -> str:
        """What is still held back when no more pieces come."""
        half, self._half = self._half, ""
        return "\ufffd" if half else ""


def quote(text: str, secret: str | None) -> str:
    """A foreign text for an error message: one line, short, without the secret."""
    if secret:
        text = text.replace(secret, "[key]")
    return " ".join(TextCleaner().clean(text).split())[:_QUOTE_CHARS]
