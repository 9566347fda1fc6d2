"""Coding: the prompt has code in it, or names a thing that only programmers name.

Code is a fence with code signs, or a line that reads like a statement. Ambiguous names (Python,
Go, Rust, pandas) count only beside a word of the trade. Limits: in other languages than English
and Chinese only code is seen; talk about software without a technical term is missed.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from arena.categories.text import Text, terms

KEY = "coding"
TITLE = ("Coding", "编程")

_CODE = re.compile(
    r"```[^`]{0,400}?(?:[;{}=]|\w\()"
    r"|\bselect .{1,200} from \w|: *for \w+ in \w+\(|\bdef \w+\(|[^^\s(]\{\d,\d*\}"
    r"|^[ \t]*(?:"
    r"class \w+[ \t]*[:({]|import [\w.]+(?:;|$| as )|from [\w.]+ import |#include\b"
    r"|(?:const|let|var) \w+[ \t]*=|(?:public|private|static|func|fn) .*[({]"
    r"|(?:int|char|float|double|void|string)(?:\[\])? \*?\w+[ \t]*[=(;]"
    r"|(?:for|while|if|switch) ?\(.*[{;]|for \w+ in .*:|return .*;$"
    r"|(?:print|printf|console\.log)\()",
    re.MULTILINE,
)
_NAME = r"(?:python|java|c\+\+|c#|rust|go|ruby|swift|scala|bash)"
_TRADE = (
    r"(?:code|function|script|program|class|method|library|package|module|developer|project|app"
    r"|array|list|dict|dictionary|string|loop|error|decorator|generator|programming)s?"
)
_TERMS = terms(
    rf"{_NAME} {_TRADE}|[cr] (?:code|programs?|programming)",
    rf"(?:in|with|using) {_NAME}(?: \d+)?(?=[,.:?!;]|$| that| which| and| code| without)",
    r"c\+\+|c#|javascript|typescript|golang|kotlin|php|node\.js|next\.js|vue\.js|html|css",
    r"sql|mysql|sqlite|postgres(?:ql)?|mongodb|django|spring boot|numpy|pytorch|tensorflow",
    r"docker|kubernetes|kubectl|npm|webpack|github actions|useeffect|usestate|dataframe",
    r"git (?:commit|push|pull|rebase|merge|reset|branch|repo|repository)",
    r"react (?:component|hook|app|native|项目)s?|backend|front-?end|rest api|source code",
    r"regex(?:es)?|regular expressions?|unit tests?|refactor|pseudocode|stack ?trace|traceback",
    r"(?:type|value|key|index|name|attribute|syntax|runtime|import|reference)error",
    r"null ?pointer(?:exception)?|segmentation fault|segfault|compile error|time complexity",
    r"linked list|hash ?map|binary search|merge sort|quick ?sort|leetcode|shell script",
    r"web scraper|bash one-liner|my code|this code|code snippet",
    r"(?:integer|sorted|unsorted) (?:array|list)s?|implement (?:a|an|the) (?:program|class|script)",
    r"(?:write|implement|create|code|build|develop) (?:a|an|me a|the) (?:\w+ ){0,3}"
    r"(?:function|algorithm|web ?app|website|api endpoint"
    r"|(?:script|program|class|method) (?:that|which|in))",
    chinese=r"代码|编程|报错|爬虫|正则(?!天)|[前后]端(?:页面|开发|框架|工程|项目|代码)|数据结构"
    r"|递归|多线程|线程安全|死锁|单元测试|异步(?!电)|编译|数组|链表|二叉树|快速排序|二分查找"
    r"|排序算法|时间复杂度|内存泄漏|(?<![a-z])c ?语言|docker|linux|shell ?脚本"
    r"|(?:用|使用|基于) ?(?:python|java|js|go|rust|c|swift|ruby|react|vue)(?![a-z])"
    r"|(?:python|java|go|rust|react|vue|pandas|redis) ?[的里中语程脚项服如怎代函]"
    r"|(?:写|编写|实现)(?:一个|个|一段)?(?:程序|函数|接口|组件|算法)",
)


def applies(text: Text, found: Collection[str]) -> bool:
    return bool(_CODE.search(text.lower)) or _TERMS.found_in(text)
