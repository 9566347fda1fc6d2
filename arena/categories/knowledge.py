"""Knowledge: a short question about the world that no other task claims.

It begins with who, when, where, which, what, why, how, explain, define, describe, or has 什么是,
为什么, 谁, 哪, 介绍; and nothing personal is in it: no I, you, should, best, 我, 你, 推荐. Limits:
English and Chinese; at most 80 tokens; a question that comes after other talk is missed.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from arena.categories.text import Text, terms

KEY = "knowledge"
TITLE = ("Knowledge", "知识")

_ENGLISH = re.compile(
    r"\s{0,9}(?:please |can you |could you )?(?:who|when|where|which|what|why|explain|define"
    r"|describe (?:the|how|what|why)|tell me about|how (?:many|much|tall|old|far|long|big|deep"
    r"|high|fast|does|do|did|is|are|was|were|can))\b"
)
_CHINESE = re.compile(
    r"是什么|什么是|为什么|谁|何[时处年地]|哪[一个些年里条座位种]|多少[个种年人次]|有多[高长大深重远]"
    r"|怎么(?:形成|产生|来)的|如何(?:形成|产生)|原理|简述|介绍|解释|什么时候"
    r"|有什么(?:区别|不同|作用|影响|意义)|的(?:作者|首都|意义|定义)"
)
_PERSONAL = terms(
    r"i|i'm|i've|my|we|our|you(?! explain| tell| describe| define)|your?|should|best|better",
    r"favou?rite|recommend|today|tonight|tomorrow|weekend|joke|let's|pretend",
    chinese=r"我|你|您|咱|推荐|应该|最好|建议|今天|明天|周末|适合|好[吃用玩]|哪个好|值得",
)
_LONGEST = 80


def applies(text: Text, found: Collection[str]) -> bool:
    if found or text.tokens > _LONGEST:
        return False
    asked = _ENGLISH.match(text.prose) or _CHINESE.search(text.prose)
    return bool(asked) and not _PERSONAL.found_in(text)
