"""What the classifiers look at: a bounded excerpt of the prompts, with and without its code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

HEAD, TAIL = 1500, 500
"""How many characters are looked at from the start and the end of what a voter wrote."""

HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
KANA = "\u3041-\u3096\u30a1-\u30fa\u30fc\u31f0-\u31ff\uff66-\uff9d"
HANGUL = "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3"

_CJK = re.compile(f"[{HAN}{KANA}{HANGUL}]")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]{1,200}`|https?://\S+|<[a-z/!][^<>]{0,200}>", re.S)
_CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Text:
    """A voter's prompts, as far as they are looked at.

    `written` is the excerpt as it was typed, `lower` the same in lower case, `prose` is `lower`
    without fenced and inline code, links and tags of HTML. `tokens` is their estimated number in
    the excerpt: one for each Chinese, Japanese or Korean character, one for four others.
    """

    written: str
    lower: str
    prose: str
    tokens: int
    has_cjk: bool

    @classmethod
    def of(cls, prompts: Sequence[str]) -> Text:
        written = _excerpt("\n\n".join(prompts))
        lower = written.lower()
        dense = len(_CJK.findall(written))
        tokens = dense + (len(written) - dense) // _CHARS_PER_TOKEN
        return cls(written, lower, without_code(lower), tokens, dense > 0)


def without_code(text: str) -> str:
    """The text with code, links and tags of HTML taken out; an open fence reaches to the end."""
    return _CODE.sub(" ", text)


@dataclass(frozen=True, slots=True)
class Terms:
    """Patterns in lower case: English ones that match whole words, and Chinese ones anywhere."""

    english: re.Pattern[str]
    chinese: re.Pattern[str] | None

    def found_in(self, text: Text) -> bool:
        if self.english.search(text.prose):
            return True
        # most prompts are in one of the two languages, and need not be searched for the other
        return bool(text.has_cjk and self.chinese and self.chinese.search(text.prose))

    def all_in(self, text: Text) -> list[str]:
        """Every match in the prose."""
        found = self.english.findall(text.prose)
        return found + self.chinese.findall(text.prose) if text.has_cjk and self.chinese else found


def terms(*english: str, chinese: str | None = None) -> Terms:
    """Terms to look for, given as alternatives of a regular expression without capturing groups.

    Chinese characters end an English word: `用python写` has a `python` in it.
    """
    words = re.compile(rf"\b(?:{'|'.join(english)})(?![a-z0-9_])", re.ASCII)
    return Terms(words, re.compile(chinese, re.ASCII) if chinese else None)


def _excerpt(text: str) -> str:
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"
