"""Reasoning: riddles, logic puzzles, sequences, orderings, and whether a conclusion follows.

Found by the words such puzzles are posed with. Limits: a puzzle told in everyday words only is
missed, and so are puzzles in other languages than English and Chinese; never beside `coding`.
"""

from __future__ import annotations

from collections.abc import Collection

from arena.categories import coding
from arena.categories.text import Text, terms

KEY = "reasoning"
TITLE = ("Reasoning", "推理")

_TERMS = terms(
    r"riddle|logic puzzle|brain ?teaser|lateral thinking|syllogism|deduce|knights and knaves",
    r"(?:is|are) (?:this|the|these|the following) (?:argument|inference|conclusion)s? valid",
    r"which conclusions? (?:follow|is|are)s?|what can (?:you|we|be) (?:conclude|infer|deduce)d?",
    r"is lying|tells? the truth|always lies?|what comes next|next (?:number|letter|term|shape) in",
    r"must be true|true, false,? or (?:uncertain|unknown)|does(?: not|n't) belong|odd one out",
    r"who is (?:the )?(?:tall|short|old|young|heavi|light|fast|slow)est",
    r"than \w+, \w+ is \w+er than|cross(?:es)? (?:a|the) river|explain your reasoning",
    r"all \w+ are \w+.{0,60}(?:are|is) (?:all|some|every|any)",
    r"(?:litre|liter|gallon) (?:jug|bucket)s?|how many (?:brothers|sisters) does",
    r"the father of [a-z]|what day (?:is|was|will)",
    chinese=r"推理(?!小说|剧|片|漫画)|逻辑题|谜语|猜谜|脑筋急转弯|悖论|说谎|真话|假话|找规律"
    r"|下一个数|过河(?!拆桥)|推出什么|能否推出|三段论|谁最[高矮大小重轻老快慢]|[排站]第几|海盗分金"
    r"|谁是凶手|天平(?!座)",
)


def applies(text: Text, found: Collection[str]) -> bool:
    return coding.KEY not in found and _TERMS.found_in(text)
