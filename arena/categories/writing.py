"""Writing: a verb of writing with a kind of text, or a text that is to be worded anew.

"Write … poem, letter, speech, post", 写……诗、邮件、作文; "rephrase this", 润色. Limits: English and
Chinese; kinds of text that are not listed here are missed; never beside `coding`.
"""

from __future__ import annotations

from collections.abc import Collection

from arena.categories import coding
from arena.categories.text import Text, terms

KEY = "writing"
TITLE = ("Writing", "写作")

_KIND = (
    r"(?:poem|haiku|limerick|sonnet|story|stories|novel|essay|e-?mail|letter|speech|toast|song"
    r"|lyrics|blog|article|press release|slogan|tagline|headline|caption|tweet"
    r"|post(?!-| office)|dialogue|monologue|screenplay|paragraph|resume|eulogy"
    r"|product description|invitation|announcement|fairy tale|fable|diary entry|newsletter"
    r"|biography|message)s?"
)
_TERMS = terms(
    r"(?:write|writing (?:a|an|my)|draft|compose|craft|create)\b[^.?!\n]{0,60}\b" + _KIND,
    r"give me (?:a|some|three|five)\b[^.?!\n]{0,30}\b(?:slogan|tagline|headline|caption|poem)s?",
    r"(?:headline|slogan|tagline|caption)s? for",
    r"(?:birthday|apology|farewell|wedding|thank-you) (?:message|letter|speech|toast|card)",
    r"(?:rewrite|rephrase|reword|polish|proofread|edit|shorten) (?:this|the following|my|it)",
    r"make (?:this|the|my) (?:\w+ )?(?:text|sentence|paragraph|email|letter|essay)"
    r" (?:more|sound|less)",
    chinese=r"写[^写。！？\n]{0,24}?(?:诗|作文|文章|邮件|信(?!息|号|用)|故事|演讲稿|发言稿|小说|歌词"
    r"|剧本|散文|简历|通知|启事|朋友圈|祝福|对联|开场白|年终总结|周报|日记|书评|影评|童话|新闻稿"
    r"|致辞|情书|广告语|标语|读后感|检讨)|润色|改写|续写|扩写|仿写|文采|文案|为题写|起草|撰写",
)


def applies(text: Text, found: Collection[str]) -> bool:
    return coding.KEY not in found and _TERMS.found_in(text)
