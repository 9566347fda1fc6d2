"""Hard prompts: at least five of the seven criteria of BenchBuilder, each decided by a rule.

The criteria are those by which language models chose the prompts of Arena-Hard (T. Li et al.,
"From Crowdsourced Data to High-Quality Benchmarks: Arena-Hard and BenchBuilder Pipeline",
arXiv:2406.11939). Limits: a rule sees that a prompt asks for much, not that it is difficult, so
short hard questions are missed; English and Chinese.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from arena.categories import coding, math, reasoning, writing
from arena.categories.text import Text, terms

KEY = "hard"
TITLE = ("Hard prompts", "难题")

ENOUGH = 5
"""How many of the seven criteria make a prompt hard."""

SHORTEST = 30
"""Fewest tokens of a hard prompt."""

_SEVERAL = 2
_MANY_STEPS = 3
_LONG_REQUEST = 120

_CONSTRAINT = terms(
    r"exactly|at (?:least|most)|(?:no more|less|fewer|more) than|must|without|only|cannot|can't",
    r"\d+[- ](?:word|minute|page|step|line|day|week|hour|month)s?|within \d+|avoid|unless",
    r"refuses?|complies|support|safe for|format|json|markdown|table|bullet points?",
    chinese=r"必须|要求|不[能得要]|不超过|至[少多]|以内|包含|分别|格式|表格|兼容"
    r"|\d{1,6} ?(?:字|分钟|页|步|行|周|天|小时)",
)
_DOMAIN = terms(
    r"theorem|density|variables?|proof|algorithm|quantum|thermodynamics?|protein|enzyme",
    r"molecul\w{1,5}|diagnosis|patients?|clinical|dosage|contract|liability|gdpr|compliance",
    r"regulation|jurisdiction|tax(?:es)?|accounting|investors?|revenue|portfolio|inflation",
    r"regression|hypothesis|statistic\w{0,4}|machine learning|neural|database|index(?:es)?",
    r"latency|servers?|encryption|network|protocol|concurrent|concurrency|memory|architecture",
    r"deploy(?:ment)?|clusters?|circuit|voltage|logistics|supply chain|backup|press release",
    chinese=r"定理|极限|证明|模型|规划|量子|蛋白|诊断|糖尿病|高血压|药物|临床|合同|法律|合规|税"
    r"|会计|投资|盈利|市场|回归|统计|算法|神经网络|机器学习|数据库|死锁|线程|内存|服务器|接口|架构"
    r"|部署|集群|加密|网络|协议|电路|供应链",
)
_STEP = terms(
    r"then|also|finally|first|second|for each|each step|every|step by step|compare|both|which",
    r"different|and (?:explain|show|tell|give|return|check|prove|end|let|come|state|say|list)",
    chinese=r"并且|并[^，。]|然后|最后|同时|其次|首先|分别|步骤|每一?[步个周部]|以及|给出"
    r"|[两三四五]种",
)
_LISTED = re.compile(r"(?:^|[\s:：])\d[.)、]\s|^[ \t]*[-*•] |[?？;；]", re.MULTILINE)
_SOLVE = terms(
    r"design|implement|solve|prove|debug|optimi[sz]e|derive|fix|plan|analy[sz]e|compare|evaluate",
    r"compute|deduce|diagnose|migrate|refactor|propose|rewrite|classify|extract|troubleshoot",
    chinese=r"设计|实现|证明|求|优化|分析|推导|修复|评估|比较|对比|排查|改造|建立|制定|计算",
)
_CREATE = terms(
    r"propose|invent|come up with|imagine|design|create|brainstorm|original|alternative|tailored",
    r"plan|strategy|(?:second|different) (?:method|audience|approach)(?:es|s)?",
    chinese=r"设计|构思|创作|提出|方案|策划|想出|另一种|两种不同|创意",
)
_MEASURED = re.compile(
    r"\d[\d,.]{0,20} ?(?:ms|mb|gb|kb|kg|km|cm|mm|hz|%|€|euros?|dollars?|million|rows|seconds"
    r"|hours|千卡|毫|元|个请求|次|秒|小时)|[$€¥]\d|[a-z]_\{?\d|=",
    re.ASCII,
)
_OWN = terms(
    r"our|i (?:run|have|am|maintain|work|manage|need)|i'm|production|customers?|clients?",
    r"employees?|users|my (?:team|company|project|app|code|data|server|shop|startup|thesis)",
    chinese=r"我[们是在有的]|我需要|公司|项目|客户|用户|团队|线上|工厂|高峰期",
)


def specificity(text: Text, found: Collection[str]) -> bool:
    """Two constraints or more are put on the answer."""
    return len(set(_CONSTRAINT.all_in(text))) >= _SEVERAL


def domain_knowledge(text: Text, found: Collection[str]) -> bool:
    """Code, mathematics, or a term of a trade."""
    return not {coding.KEY, math.KEY}.isdisjoint(found) or _DOMAIN.found_in(text)


def complexity(text: Text, found: Collection[str]) -> bool:
    """Three steps, questions or list items or more, or a long request."""
    asked = len(_STEP.all_in(text)) + len(_LISTED.findall(text.prose))
    return asked >= _MANY_STEPS or text.tokens >= _LONG_REQUEST


def problem_solving(text: Text, found: Collection[str]) -> bool:
    """A puzzle, or a verb of solving."""
    return reasoning.KEY in found or _SOLVE.found_in(text)


def creativity(text: Text, found: Collection[str]) -> bool:
    """Something is to be written, designed or proposed."""
    return writing.KEY in found or _CREATE.found_in(text)


def technical_accuracy(text: Text, found: Collection[str]) -> bool:
    """Code, mathematics, a puzzle or measured quantities: an answer can be checked."""
    exact = {coding.KEY, math.KEY, reasoning.KEY}
    return not exact.isdisjoint(found) or bool(_MEASURED.search(text.lower))


def real_world(text: Text, found: Collection[str]) -> bool:
    """The voter's own work, customers, production."""
    return _OWN.found_in(text)


CRITERIA: tuple[Callable[[Text, Collection[str]], bool], ...] = (
    specificity,
    domain_knowledge,
    complexity,
    problem_solving,
    creativity,
    technical_accuracy,
    real_world,
)


def applies(text: Text, found: Collection[str]) -> bool:
    if text.tokens < SHORTEST:
        return False
    return sum(criterion(text, found) for criterion in CRITERIA) >= ENOUGH
