"""Math: formulas to work out, terms of mathematics, or a word problem.

A word problem asks "how many", "how much" and the like, and has two numbers or more; half, twice or
a discount count as one, years and dates do not. Limits: never beside `coding`, whose text is full
of formulas; sums written out in words are missed.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from arena.categories import coding
from arena.categories.text import Text, terms

KEY = "math"
TITLE = ("Math", "数学")

_NOTATION = re.compile(
    r"\\(?:int|frac|sum|sqrt|lim|mathbb|infty|cdot|begin\{)|[∫∑√∞∂]"
    r"|(?<![\w.])\d+(?:\.\d+)? ?[+*×÷^] ?\d|(?<!\w)\d*[a-z] ?\^ ?[\dn]|(?<!\w)f\(x\)"
    r"|\d[a-z] ?[+-] ?\d+[a-z]? ?=|\d ?[-/] ?\d+ ?=",
    re.ASCII,
)
_TERMS = terms(
    r"solve for [a-z]|derivative of|differentiate|integral (?:of|from)|eigenvalues?",
    r"how many ways|determinant|polynomial|probability (?:that|of)|random variables?",
    r"expected value|permutations?|prime numbers?|factori[sz]e|quadratic|logarithm",
    r"square root|limit of|greatest common divisor|least common multiple|standard deviation",
    r"(?:arithmetic|geometric) (?:sequence|progression)|system of equations|\d+(?:\.\d+)? ?% of",
    r"(?:area|perimeter|circumference) of (?:a|the) (?:circle|triangle|square|rectangle|polygon)",
    r"volume of (?:a|the) (?:sphere|cube|cylinder|cone|pyramid)|hypotenuse|linear programming",
    r"prove [^.\n]{0,60}(?:irrational|prime|even|odd|converges|integers?|inequality)",
    chinese=r"(?<!反应)(?<!化学)方程|不定积分|定积分|微积分|导数|求导|的极限|概率[是为有]|矩阵(?!电影)"
    r"|特征值|行列式|数列|最大公约数|最小公倍数|质数|因式分解|不等式|求证|证明[:：]|面积是|周长"
    r"|体积是|等于[多几]|三角形|最小值|最大值|线性规划|鸡兔同笼|标准差|排列组合|计算 ?\d",
)
_ASKED = terms(
    r"how (?:many|much|fast|far|old|long)",
    r"what(?:'s| is| was| were) (?:the |its |their )?(?:\w+ ){0,2}"
    r"(?:total|amount|price|average|sum|difference|remainder|ratio|speed|profit|cost|area)",
    chinese=r"多少|几[个只元人米次条辆本页种天岁]|几(?:小时|千克|公里|分钟)",
)
_NUMBER = re.compile(
    r"(?<![\w.,])(?!(?:1[5-9]|20)\d\d(?!\d))\d+(?:\.\d+)?(?![\w.]?\d|[a-z])", re.ASCII
)
_DATE = re.compile(r"\d{1,4} ?[年月日号点]")
_PORTION = terms(
    r"half|twice|doubles?|triple|percent", chinese=r"[一二三四五六七八九]折|一半|倍|平均|%"
)
_LONGEST_PROBLEM = 250
_FEWEST_NUMBERS = 2


def applies(text: Text, found: Collection[str]) -> bool:
    if coding.KEY in found:
        return False
    formulas = bool(_NOTATION.search(text.prose))
    return formulas or _TERMS.found_in(text) or _is_word_problem(text)


def _is_word_problem(text: Text) -> bool:
    # longer texts hold numbers for other reasons
    if text.tokens > _LONGEST_PROBLEM or not _ASKED.found_in(text):
        return False
    numbers = len(_NUMBER.findall(_DATE.sub(" ", text.prose)))
    portions = int(_PORTION.found_in(text))
    return numbers > 0 and numbers + portions >= _FEWEST_NUMBERS
