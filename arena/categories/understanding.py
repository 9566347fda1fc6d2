"""Understanding: work on a text or a phrase that is given.

Translate, summarise, extract, classify, find the mistakes, answer from a passage, say what an
expression means. Limits: English and Chinese; a question put after a text without such a word is
missed; never beside `coding`.
"""

from __future__ import annotations

from collections.abc import Collection

from arena.categories import coding
from arena.categories.text import Text, terms

KEY = "understanding"
TITLE = ("Language understanding", "语言理解")

_GIVEN = (
    r"(?:following|below|this|these|above|text|passage|paragraph|article|review|sentence|email"
    r"|document|transcript|message|each)s?"
)
_TERMS = terms(
    r"translate|translation of|tl;?dr|reading comprehension|sentiment|positive or negative",
    r"(?:summari[sz]e|paraphrase|extract|classify|categori[sz]e|label)\b[^.?!\n]{0,60}\b" + _GIVEN,
    r"(?:evaluate|rate|analy[sz]e|sort)\b[^.?!\n]{0,30}\bfollowing (?:\w+ )?"
    r"(?:review|comment|message|question)s",
    r"for each (?:one|of them),? extract|(?:grammar|spelling) mistakes?",
    r"read the (?:following|below|text|passage|article|story|paragraph)|(?:main|key) points? of",
    r"according to the (?:text|passage|article|paragraph|author)",
    r"what does the (?:idiom|phrase|saying|proverb|expression|metaphor)",
    chinese=r"翻译|译成|译为|概括|摘要|提取|抽取|错别字|病句|好评|差评|主旨|中心思想|分类[:：]"
    r"|总结(?:一下)?(?:这|下面|以下|上面|文)|情感(?:倾向|是)|积极还是消极"
    r"|(?:成语|俗语|谚语|词语|这句话)[^。？\n]{0,12}意思|阅读(?:下面|以下|短文|材料)",
)


def applies(text: Text, found: Collection[str]) -> bool:
    return coding.KEY not in found and _TERMS.found_in(text)
