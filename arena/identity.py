"""Answers that tell who wrote them, found while they are shown.

What counts is the name of one of the battle's two models, or of its maker, in the text of an answer
(never in the prompt): an answer that names the other side's model tells as much as its own name.
Prompts are read for one purpose only: what the user names, an answer may repeat and tells nothing.
Names come from the roster entries (id, name, model, organization) and, for the makers that those
belong to, from `identity_names.toml`.

The policy, which the labels of `tests/data/identity_answers.jsonl` follow:

- A name that means nothing else (ChatGPT, Qwen, 文心一言, OpenAI) tells wherever it stands in
  prose, a plain fact that nobody asked for too ("OpenAI opened an office"): that errs to caution.
  Not so in code (a fenced block, a span, an import, an identifier), with what is a library's or
  an API's name, as one example of several ("such as X", "如X"), and for makers and models of which
  the user's prompts speak already: there it counts as the next kind does.
- One that is also an ordinary word, a person or a company that texts are about (Claude, Gemini,
  豆包, Google, 百度) tells only where the context is about who answers: "I am X", "my name is X",
  "as X, I …", "trained by X" of oneself or of a language model, "the X model", "我是X", "由X训练".
  "Google was founded in 1998", the Amazon river and a search by 百度 tell nothing. Nor does a
  sentence that says of a model named in the prompt what it is: "Claude is an AI assistant".
- A part that is played tells nothing where the text shows it: "I am Gemini, the twins".
- Whole words count: letters end at a border of Unicode words, and a version may follow ("gpt4o").
  Chinese has no borders between words, so the longest known word counts: 文心雕龙 is none of these
  names, nor is 红豆包.
- Names of models that are on neither side tell nothing about this battle.

Spellings are compared without case, width, zero-width characters and Markdown's emphasis; a space
in a name may be a hyphen or missing, and Cyrillic and Greek letters pass for the Latin ones that
they look like.

What is decided about a name depends on `_BEFORE` characters before it and `_AHEAD` after it, and
on whether a fenced block is open. So the same text gives the same answer however it was cut into
pieces, the time for each character is bounded, and no more than that is kept.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any

from arena.interfaces import ModelEntry

_BEFORE, _AHEAD = 160, 96
_LONGEST = 48  # characters of a name, folded; longer ones are not said
_MOST = 300  # ordinary words of an answer whose context is looked at: each takes a while
_BLOCK = 128  # characters that are looked at together: so looking costs little for each

# --- spelling -----------------------------------------------------------------------------------

_QUOTES = '"“”„«»「」『』【】《》〈〉‹›[]()（）'
_DROPPED = "*~\\"
_APOSTROPHES = "’‘ʼ＇"


class _Folds(dict[int, str]):
    """What stands for each character, found out when it is first seen."""

    def __missing__(self, code: int) -> str:
        folded = _fold(chr(code))
        if code <= 0xFFFF:  # noqa: PLR2004  of the others hostile text could fill the memory
            self[code] = folded
        return folded


def _fold(char: str) -> str:
    category = unicodedata.category(char)
    if char.isspace():
        return " "
    if category in ("Cf", "Mn", "Me", "Cc"):
        return ""
    return "-" if category == "Pd" else unicodedata.normalize("NFKC", char).casefold()


_FOLDS = _Folds(
    {ord("\n"): "\n", ord("_"): "-"}
    | {ord(char): "" for char in _DROPPED}
    | {ord(char): '"' for char in _QUOTES}
    | {ord(char): "'" for char in _APOSTROPHES}
    | {ord(char): "—" for char in "—―"}  # a signature's dash is not a list's
)
_LOOK_ALIKES = str.maketrans("аеорсухіѕјһԁԛԝткмнвαορνικτεχυ", "aeopcyxisjhdqwtkmhbaopviktexu")


def folded(text: str) -> str:
    """The text as it is compared; each character by itself, so that pieces may be joined."""
    return text.translate(_FOLDS)


# --- names --------------------------------------------------------------------------------------

_UNBROKEN = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
)
"""Scripts whose words stand without spaces, or with particles joined to a foreign name."""

# Digits and letters of scripts whose words end at spaces; one class of them all compiles slowly.
_START = r"(?<![0-9a-z])(?<![\u00c0-\u0dff])(?<![\u1e00-\u1fff])"
_END = r"(?![a-z\u00c0-\u0dff])(?![\u1e00-\u1fff])\+?"
_GAP = r"[ .\-·]?"
_IS_UNBROKEN = re.compile(f"[{_UNBROKEN}]")
_PART = re.compile(rf"[{_UNBROKEN}]+|[^\W_{_UNBROKEN}]+")
_SQUEEZED = re.compile(r"[\W_]+")
_MIXED = 5  # characters from which on a word of letters and digits is nothing but a name
_PARTS = 3  # the same, of parts with a number among them: "gemini-2.5-flash"
_SHORTEST = 2


@dataclass(frozen=True)
class _Group:
    """The names of one maker and its models, folded: see `identity_names.toml`."""

    names: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    makers: tuple[str, ...] = ()
    maker_words: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()

    @cached_property
    def a_model(self) -> re.Pattern[str]:
        return _any_of((*self.names, *self.words))

    @cached_property
    def a_maker(self) -> re.Pattern[str]:
        return _any_of((*self.makers, *self.maker_words))


@dataclass(slots=True)
class _Found:
    """Names by how they are spelt without gaps; `others` mean something else."""

    names: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    apart: dict[str, str] = field(default_factory=dict)

    def add(self, to: dict[str, str], names: Iterable[str]) -> None:
        for name in names:
            if len(_squeezed(name)) >= _SHORTEST and len(name) <= _LONGEST:
                to.setdefault(_squeezed(name), name)


@lru_cache
def _table() -> tuple[tuple[_Group, ...], frozenset[str]]:
    text = (files("arena") / "identity_names.toml").read_text(encoding="utf-8")
    table: dict[str, Any] = tomllib.loads(text)
    groups = (
        _Group(**{kind: tuple(map(folded, names)) for kind, names in group.items()})
        for group in table["groups"]
    )
    return tuple(groups), frozenset(table["generic"])


def _squeezed(name: str) -> str:
    return _SQUEEZED.sub("", name)


def _pattern(name: str) -> str:
    """The parts of one name as a regular expression, with or without gaps."""
    return _GAP.join(
        _GAP.join(part) if _IS_UNBROKEN.match(part) else re.escape(part)
        for part in _PART.findall(name)
    )


def _any_of(names: Iterable[str]) -> re.Pattern[str]:
    """Any of the names as a whole word, the longest that there is at a place."""
    by_border: dict[tuple[bool, bool], list[str]] = {
        (True, False): [],  # before the others: these begin with one of them
        (False, True): [],
        (True, True): [],
        (False, False): [],
    }
    for name in sorted(names, key=len, reverse=True):
        ends = (_IS_UNBROKEN.match(char) is None for char in (name[0], name[-1]))
        starts_word, ends_word = ends
        by_border[starts_word, ends_word].append(_pattern(name))
    return re.compile(
        "|".join(
            f"{_START if starts_word else ''}(?:{'|'.join(some)}){_END if ends_word else ''}"
            for (starts_word, ends_word), some in by_border.items()
            if some
        )
        or r"(?!)"
    )


def _collect(entry: ModelEntry, found: _Found) -> None:
    groups, generic = _table()
    called = [folded(text) for text in (entry.id, entry.name, entry.model) if text.strip()]
    maker = folded(entry.organization)
    for group in groups:
        is_model = any(map(group.a_model.search, called))
        if is_model:
            found.add(found.names, group.names)
            found.add(found.words, group.words)
        if is_model or group.a_maker.search(maker):
            found.add(found.names, group.makers)
            found.add(found.words, group.maker_words)
            found.add(found.others, group.others)
            found.add(found.apart, group.apart)
    certain = _any_of(found.names.values())
    for text in called:
        parts = [part for part in _PART.findall(text) if part not in generic]
        if not parts:
            continue
        is_certain = _is_distinctive(parts) or certain.search(text)
        found.add(found.names if is_certain else found.words, [text])
        if not parts[0].isdigit():
            found.add(found.names if _is_distinctive(parts[:1]) else found.words, parts[:1])
    found.add(found.words, (part.strip() for part in re.split(r"[;,/|\"]| by ", maker)))


def _is_distinctive(parts: Sequence[str]) -> bool:
    if len(parts) >= _PARTS and any(char.isdigit() for part in parts for char in part):
        return True
    return any(
        len(part) >= _MIXED and not part.isalpha() and not part.isdigit() and not part[0].isdigit()
        for part in parts
    )


class Names:
    """How one model and its maker may be called, ready to be looked for."""

    def __init__(self, entry: ModelEntry) -> None:
        found = _Found()
        _collect(entry, found)
        told = found.words | found.names
        self._told = told.keys() - found.others.keys()
        self.pattern = _any_of((told | found.others).values())
        self._certain = frozenset(found.names)
        self._apart = frozenset(found.apart)

    def tells(self, spelling: str) -> bool:
        """Whether a match of `pattern` is a name, and not a longer word that holds one."""
        return _squeezed(spelling) in self._told

    def is_certain(self, spelling: str) -> bool:
        """Whether a name means nothing else as it is spelt here."""
        spelt = _squeezed(spelling)
        return spelt in self._certain and not (spelt != spelling and spelt in self._apart)

    def are_in(self, text: str) -> bool:
        """Whether a folded text holds any of them."""
        return any(self.tells(match.group()) for match in self.pattern.finditer(text))


@dataclass(frozen=True, slots=True)
class Sought:
    """One model's names; `asked` where the user's prompts hold one of them."""

    names: Names
    asked: bool


@lru_cache(maxsize=4096)
def _names_of(id: str, name: str, model: str, organization: str) -> Names:
    return Names(ModelEntry(id=id, name=name, model=model, organization=organization))


def names_of(entries: Iterable[ModelEntry], prompts: Iterable[str] = ()) -> tuple[Sought, ...]:
    """The names to look for in answers of these entries to these prompts.

    Each entry's are made ready once. Prompts are read for `Sought.asked` only; nothing is flagged
    for what they say.
    """
    asked = folded("\n".join(prompts)).translate(_LOOK_ALIKES)
    described = {(entry.id, entry.name, entry.model, entry.organization) for entry in entries}
    every = (_names_of(*entry) for entry in sorted(described))
    return tuple(Sought(names, names.are_in(asked)) for names in every)


# --- context ------------------------------------------------------------------------------------

_Context = tuple[re.Pattern[str] | None, re.Pattern[str] | None]
"""What the text before a name ends with, and what the text after it begins with."""

_AI = (
    r"(?:(?:ai|artificial intelligence|language|foundation|conversational|generative|chat)[ -]?"
    r"(?:language )?(?:models?|assistants?|systems?|chatbots?|agents?)"
    r"|chat ?bots?|llms?|virtual assistants?|ai|artificial intelligence)"
)
_AI_ZH = "(?:模型|助手|助理|人工智能|机器人|智能体|大模型|ai(?![a-z实公技]))"
_MADE = (
    r"(?:developed|trained|created|made|built|designed|engineered|programmed|provided|powered"
    r"|released|maintained|fine-?tuned|offered|produced|owned|operated|invented)"
)
_MADE_ZH = "(?:自研|研发|研制|开发(?!者)|训练|推出|创建|创造|打造|提供|设计|构建|发布|生成|制作|教)"
_MADE_ELSEWHERE = (
    r"(?:(?:desarrollad|cread|entrenad|hech|desenvolvid|criad|treinad|feit)[oa] p(?:or|el[oa])"
    r"|(?:développ|cré|entraîn|conç|form)(?:ée?|ue?) par|(?:sviluppat|creat|addestrat)[oa] da"
    r"|(?:modell|modèle|modelo|modello|assistent|ki|ia|assistant|asistente) (?:von|de|da|di)"
    r"|(?:создан|разработан|обучен)[аоы]?|(?:создала|разработала|обучила)(?: меня)?"
    r"|von(?: der firma)?)"
)
_FIRST_PERSON = (
    r"\b(?:i|i'm|i've|me|myself|soy|fui|sido|je|j'ai|suis|ich|mich|eu|sou|sono|я|меня)\b"
    r"|\bmy (?:model|training|knowledge|weights|architecture|system|name|algorithms?|code|data"
    r"|answers?|responses?|existence|language)\b|[我저]|私"
)
_OTHER_AI = (
    r"sprachmodell|\bki\b|\bia\b|modelo|modèle|modello|модель|言語モデル|人工知能|인공지능|모델"
)

_I_AM = re.compile(
    r"(?:\b(?:i am|i'm|im|it's me|it is me|know me as|think of me as"
    r"|(?:i am|i'm) running as|you(?:'ve| have) reached|(?:respond|answer) to the name(?: of)?"
    r"|introduced myself[^.!?\n:]{0,12}|the model behind (?:this|the) \w+ is"
    r"|my name is|my name's|the name is|the name's|call me|i go by|this is"
    r"|(?:i am|i'm|i was|they|people) (?:called?|named|known as)"
    r"|you(?:'re| are) (?:now )?(?:talking|speaking|chatting) (?:to|with)|chat(?:ting)? with"
    r"|soy|me llamo|mi nombre es|je suis|je m'appelle|mon nom est|ich bin|ich heisse"
    r"|mein name ist|sou|meu nome é|me chamo|chamo-me|sono|mi chiamo|я|меня зовут|мо[её] имя)"
    r"|私は|わたしは|私の名前は|名前は|저는|나는|제 이름은|내 이름은)"
    r"(?:[ ,-]+(?:actually|really|just|indeed|in fact|simply|only|still|now|not a \w+[:;,]?"
    rf"|(?:an?|the|your) (?:\w+ ){{0,3}}?(?:{_AI}|assistant|model)"
    r"|named|called|known as|me|i'm|i am)){0,4}"
    r"[ ,:\"\-—]*\Z"
)
_I_AM_ZH = re.compile(
    "(?:我(?:其实|就|正|便|确实|当然)?(?:就)?(?:是|叫|名叫|名为)|[叫喊]我|称呼?我为|记住我的名字[哦呀啊]?:|(?:我的)?(?:中文|英文)?(?:名字?|名称|大名|昵称)"
    "(?:是|叫|为)|这里是|作为|身为|名为|名叫|叫[做作]|欢迎(?:使用|来到)|正在(?:使用|和|与|跟))"
    f'(?:{_AI_ZH}|[ ,:"一个款名位的叫做为大小语言智能型]){{0,12}}\\Z'
)
_AS = re.compile(r"(?:\b(?:speaking )?as|como|en tant que|als)[ \"]*\Z")
_AS_WHOM = re.compile(
    r"[\w.\- ]{0,12}?[ \",]+(?:i(?! (?:said|whispered|cried|sang|flew|fought|rule|was born))"
    r"|i'm|i've|my|we|an? (?:large )?(?:ai|language)|no|je|j'|ich|habe|não|не)\b"
)
_FOLLOWS = re.compile(
    r"(?![ \",']*(?:(?:said|says|asked|asks|replied|whispered|cried|sang)\b|and (?:it|we|they)\b"
    r"|(?:the|a) (?:twins?|sign|star|god|goddess|knight|king|queen|wind)\b"
    r"|and i(?: a|')m an? (?!ai|assist|model|language|large|chat|virtual|computer|machine)))"
    r"(?:(?![ -]*[^\W\d_])|[ -]*(?:by|from|an?|the|and|or|but|made|created|developed|trained|built"
    r"|here|v\d|version|your|not|with|at|model|ai|language|assistant|who|which|in|to|so|because|as|for|large"
    r"|running|is|was|und|y|et|e|и|un|una|une|ein|eine|um|uma|pro|flash|ultra|sonnet|opus|haiku"
    r"|instruct|chat|mini|max|plus|the|then|now|today)\b"
    rf"|[ -]*[{_UNBROKEN}])"
)
_FOLLOWS_ZH = re.compile(f"(?!的)|的[^。!?\n]{{0,10}}?{_AI_ZH}")
_MADE_BY = re.compile(
    rf"(?:\b{_MADE}(?: and \w+)?(?: for you)?,? (?:by|at|from)\b[^.!?\n]{{0,40}}"
    rf"|\b{_MADE_ELSEWHERE}[^.!?\n]{{0,24}})\Z"
)
_MY_MAKER = re.compile(
    r"(?:\bmy (?:creators?|developers?|makers?|company|programmers?|engineers?|trainers?"
    r"|owners?|parent company|provider|designers?|authors?)\b[^.!?\n]{0,24}"
    r"|\bmy (?:training )?(?:data|knowledge|training)\b[^.!?\n]{0,20} (?:from|by|at) "
    rf"|\b(?:behind|{_MADE}) me (?:is|was)\b[^.!?\n]{{0,12}}"
    r")\Z"
)
_AI_BY = re.compile(
    rf"(?<![a-z])(?:(?:{_AI}|model|assistant),? (?:made )?(?:by|from)(?: the)?(?: company)?[ \"]*"
    rf"|(?:{_AI}|model|assistant)[ ,]*(?:named|called|known as|:)?[ \"]*)\Z"
)
_TRAINED_ME = re.compile(rf"\b{_MADE} me\b[^.!?\n]{{0,20}}\Z")
_NOT_ITS = re.compile(r"(?!'s )")
_MADE_ME = re.compile(
    rf"[^.!?\n]{{0,40}}?\b{_MADE} me\b|[^.!?\n]{{0,24}}? (?:taught|gave|trains|calls) me\b"
)
_IS_AI = re.compile(
    r"(?:'s)?[ \"]*(?:[\d.]+\w*[ -]?)?"
    r"(?:(?:,? (?:is|which is|as|was),? (?:an?|the|your|our)?|,? ?(?:an?|the|your|our)) ?"
    r"(?:(?!in |of |on |for |at |to |with |and |by )[\w-]+ ){0,3}?| ?(?:large |latest |new |own )*)"
    rf"{_AI}(?![\w-]| (?:company|companies|firm|lab|services?|tools?))"
    r"|[ -]*(?:[\d.]+\w* )?(?:大(?!学)|模型)"
    r"|[ \"]*(?:と申し|といい|と言い|という)"
)
_A_MODEL = re.compile(r"[ -]*(?:[\d.]+\w* )?models?\b")
_HERE = re.compile(
    r" here[!,.]|[ \",]*(?:很|非常|十分)?(?:高兴|乐意|荣幸|愿意)?(?:能|可以)?(?:继续)?"
    r"(?:为[您你]|在此|在?这里为|竭诚|随时)"
)
_PART_OF = re.compile(
    r"(?:\b(?:i'm|i am|i was)(?: an? [\w -]{1,20})?,? (?:part of|a member of|one of|built on"
    r"|based (?:up)?on|built with|running on|powered by|derived from|a version of|an instance of"
    r"|a variant of|fine-?tuned from|an? fine-?tuned version of)|\bi run on)(?: the)?[ \"]*\Z"
)
_IS_ME = re.compile(
    r"[ \"]*(?:is what i(?:'m| am) called|is my name|,? at your service"
    r"|you(?:'re| are) (?:talking|chatting|speaking) (?:to|with)|anything: that(?:'s| is) me)\b"
    r"|, where i was (?:trained|built|made|developed)\b"
)
_PRODUCT = re.compile(r"(?:'s)? (?:product|service|creation|system)\b")
_PRODUCT_OF = re.compile(r"(?:\bas|\bi'm|\bi am)(?: an?)?[ \"]*\Z")
_WORKS_FOR = re.compile(rf"{_AI}[^.!?\n]{{0,20}}\bi (?:work|speak|answer) for[ \"]*\Z")
_ANSWER_BY = re.compile(
    r"\b(?:answers?|answered|repl(?:y|ies)|responses?|generated|powered|signed) by[ \"-]*\Z"
)
_ANSWER_OF_ZH = re.compile('[ "-]*(?:的|为您)(?:回答|回复|答复)')
_MY_PARENT_ZH = re.compile(
    '[ "]*(?:就|也)?是我的[ "]*(?:父母|创造者|开发者|开发商|主人|东家|爸爸|妈妈|母公司)'
)
_IS_AI_ZH = re.compile(
    '[ ",]*(?:的是?|公司|集团|科技|旗下|是|推出|研发|开发|自主|自研|一[款个种名]|由|基于'
    '|认知|智能|语言|大型?|对话|,| |"){0,8}'
    f"{_AI_ZH}"
)
_BY_ZH = re.compile("由[^。,!?\n]{0,10}\\Z")
_MINE_ZH = re.compile(
    "(?:我(?:其实|就|也)?(?:是|被|来自|属于|出自|诞生于|的训练是?由|的?背后是)[^。!?\n]{0,8}"
    "|我们?(?:的|背后的?)[^。,!?\n]{0,4}(?:者|公司|商|团队|作者|主人|方|企业|厂家|机构)(?:就?是|叫|为|来自|:)?[^。!?\n]{0,6})\\Z"
)
_MADE_THEN_ZH = re.compile(f"(?!组成|构成)[^。,!?\n]{{0,12}}?{_MADE_ZH}")
_MADE_ME_ZH = re.compile(
    f"[^。!?\n]{{0,12}}?{_MADE_ZH}[出成]?了?(?:我|本模型)|[把将]我[^。,!?\n]{{0,4}}{_MADE_ZH}"
)
_MINE_THEN_ZH = re.compile(
    f"(?!的(?:粉丝|员工|用户|客户|学生|球迷|朋友))(?:[^。!?\n]{{0,12}}?(?:{_MADE_ZH}|{_AI_ZH})|[^。!?\n]{{0,4}}?[。,!?\n]|\\Z)"
)
_MADE_THEN = re.compile(
    r"[ \"]*(?:inc|社|사)?\.?[ \"]*(?:が|によって|により|の|에서|가|이|사가)?[ \"]*"
    r"(?:開発|作成|作られ|作った|訓練|学習|(?<=[がりの])提供|개발|만든|만들|훈련|제작|entwickelt|trainiert|erstellt|gebaut)"
)
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z)|[。!?\n]")


_ONESELF = re.compile(_FIRST_PERSON)
_SELF = re.compile(f"{_FIRST_PERSON}|{_AI}\\b|{_AI_ZH}|回答|{_OTHER_AI}")

_TELLING: tuple[_Context, ...] = (
    (_I_AM, _FOLLOWS),
    (_I_AM_ZH, _FOLLOWS_ZH),
    (_AS, _AS_WHOM),
    (_MY_MAKER, None),
    (_TRAINED_ME, _NOT_ITS),
    (_MINE_ZH, _MINE_THEN_ZH),
    (_PART_OF, None),
    (_PRODUCT_OF, _PRODUCT),
    (_WORKS_FOR, None),
    (_ANSWER_BY, None),
    *((None, after) for after in (_HERE, _IS_ME, _MADE_ME)),
    *((None, after) for after in (_MADE_ME_ZH, _ANSWER_OF_ZH, _MY_PARENT_ZH)),
)
_SAYING_WHAT: tuple[_Context, ...] = ((_AI_BY, None), (None, _IS_AI), (None, _IS_AI_ZH))
"""What a model is: of one that the user asked about it says nothing of who answers."""

_MAKING: tuple[_Context, ...] = (
    (_MADE_BY, None),
    (None, _MADE_THEN),
    (None, _A_MODEL),
    (_AI_BY, None),
    (_BY_ZH, _MADE_THEN_ZH),
)
"""Many things are made by a company: these need a sentence about oneself or a language model."""


_SIGNED = re.compile(
    r"(?:\b(?:signed|regards|sincerely|yours|wishes|cheers),?\n+|(?:\A|\n)[ ]?(?:—|--+))[ \"—-]*\Z"
)
_ENDS = re.compile(r"[ \".!]*(?:\n|\Z)")
_ASKED_NAME = re.compile(
    r"(?:\bmy name ?[?:]|\bwho (?:i am|are you|am i) ?[?:]|\bwhich (?:model|ai|assistant) am i\?"
    r"|\bwhat(?:'s| is) my name\?(?: it's| i'm)?|我是谁[?:]|我的名字[?:])[ \"]*\Z"
)
_FIELD = re.compile(r"(?:\A|\n)[ \"-]*(?:name|model|assistant|名称|姓名|模型) ?:[ \"]*\Z")
_NEXT_FIELD = re.compile(
    r"[ \".]*(?:\Z|\n[ \"-]*(?:creator|maker|developer|company|developed|made|type|model|version"
    r"|开发|公司|类型|版本))"
)
_SPEAKER = re.compile(r"(?:\A|\n)[ \"]*\Z")
_SPEAKS = re.compile(
    r"[ \"]*:[ \"]*(?:(?:sure|certainly|of course|hello|hi|yes|no)[,!.] ?"
    r"(?:i\b|here|let me|there|how)"
    r"|好的|当然|您好|你好)"
)
_LAYOUT: tuple[_Context, ...] = (
    (_SIGNED, _ENDS),
    (_ASKED_NAME, _FOLLOWS),
    (_FIELD, _NEXT_FIELD),
    (_SPEAKER, _SPEAKS),
)
"""What is seen in the lines and sentences before: signatures, forms, the names of speakers."""


def _is_about_who_answers(text: str, start: int, end: int, *, asked: bool) -> bool:
    """Whether what stands around text[start:end] is about the one who answers."""
    whole = text[max(0, start - _BEFORE) : start].replace("`", "")
    after = text[end : end + _AHEAD].replace("`", "")
    if any(_fits(context, whole, after) for context in _LAYOUT):
        return True
    before = _SENTENCE_END.split(whole)[-1]
    telling = _TELLING if asked else _TELLING + _SAYING_WHAT
    if any(_fits(context, before, after) for context in telling):
        return True
    sentence = f"{before} {_SENTENCE_END.split(after, maxsplit=1)[0]}"
    is_made = any(_fits(context, before, after) for context in _MAKING)
    oneself = _ONESELF if asked else _SELF
    return is_made and oneself.search(sentence) is not None


_IN_CODE_BEFORE = re.compile(
    r"(?:\b(?:import|from|install|require|pull|clone|npx|uvx|ollama run)[ \"'(]+[\w./@-]*"
    r"|[=/@$<][\"' ]*|[a-z0-9-]\"'|://[^ \n]*|[a-z0-9]\.|\": *\"|': *')\Z"
)
_IN_CODE_AFTER = re.compile(
    r"\.(?:[a-z]+[\w.]*\"|(?:com|ai|cn|org|net|io|py|js|ts|json)\b)|/[a-z]|-[a-z]+-|'\"| import\b|="
    r"|[ -](?:api|sdk|package|client|doc|plugin|key)s?\b"
    r"|[ -](?:library|libraries|documentation|python|node)\b"
    r"|[ ]?(?:api|sdk|接口|库)"
)
_EXAMPLE = re.compile(
    r"(?:\b(?:such as|like|including|e\.g\.,?|for example,?|for instance,?)"
    r"|如|例如|比如|诸如|包括|像)"
    r"[ \"]?[^.!?。!?\n:]{0,48}\Z"
)
_FENCE = re.compile(r"\n[ >]{0,12}```")
_FENCE_LENGTH = 16


def _is_said_of_another(text: str, start: int, end: int) -> bool:
    """Whether a name stands in a span of code, an identifier, or as an example of several."""
    whole, after = text[max(0, start - _BEFORE) : start], text[end : end + _AHEAD]
    line = whole.rpartition("\n")[2]
    if line.count("`") % 2 and "`" in after.partition("\n")[0]:
        return True
    return (
        _IN_CODE_BEFORE.search(line) is not None
        or _IN_CODE_AFTER.match(after) is not None
        or _EXAMPLE.search(line) is not None
    )


def _fits(context: _Context, before: str, after: str) -> bool:
    ends_with, begins_with = context
    return (ends_with is None or ends_with.search(before) is not None) and (
        begins_with is None or begins_with.match(after) is not None
    )


# --- looking ------------------------------------------------------------------------------------


class Lookout:
    """Looks for names in one answer while it is shown, piece by piece."""

    def __init__(self, sought: Sequence[Sought]) -> None:
        self._sought = sought
        self._text = "\n"
        self._at = [1] * len(sought)
        self._looked = 1
        self._fences = 0
        self._left = _MOST
        self._found: str | None = None

    def see(self, piece: str) -> None:
        """Take in the next piece that is shown."""
        if self._found is None:
            self._text += folded(piece)
            until = len(self._text) - 2 * _LONGEST - _AHEAD  # with a gap after each character
            if until - self._looked >= _BLOCK:
                self._look(until)

    def found(self) -> str | None:
        """The first name that the answer gives away; to be asked once it is complete."""
        if self._found is None:
            self._look(len(self._text))
        return self._found

    def _tells(self, sought: Sought, start: int, end: int) -> bool:
        name, text = self._text[start:end], self._text
        is_certain = sought.names.is_certain(_latin(name)) and not (
            sought.asked or self._is_fenced(start) or _is_said_of_another(text, start, end)
        )
        if is_certain:
            return True
        self._left -= 1
        return self._left >= 0 and _is_about_who_answers(text, start, end, asked=sought.asked)

    def _is_fenced(self, at: int) -> bool:
        return (self._fences + len(_FENCE.findall(self._text, 0, at))) % 2 == 1

    def _look(self, until: int) -> None:
        """Decide about the names that begin before `until`; then forget what is not needed."""
        text, tellers = _latin(self._text), []
        for index, sought in enumerate(self._sought):
            while match := sought.names.pattern.search(text, self._at[index]):
                if match.start() >= until:
                    break
                if sought.names.tells(match.group()) and self._tells(sought, *match.span()):
                    tellers.append((match.start(), match.group()))
                    break
                self._at[index] = match.end()
        if tellers:
            self._found, self._text = min(tellers)[1], ""
        else:
            self._forget(max(0, until - _BEFORE), until)

    def _forget(self, before: int, until: int) -> None:
        for fence in _FENCE.finditer(self._text, max(0, before - _FENCE_LENGTH)):
            if fence.start() < before < fence.end():
                before = fence.start()
        self._fences += len(_FENCE.findall(self._text, 0, before))
        self._at = [max(at, until) - before for at in self._at]
        self._looked = until - before
        self._text = self._text[before:]


def _latin(text: str) -> str:
    return text if text.isascii() else text.translate(_LOOK_ALIKES)


def leak_in(text: str, sought: Sequence[Sought]) -> str | None:
    """The first name that a whole answer gives away, or None."""
    lookout = Lookout(sought)
    lookout.see(text)
    return lookout.found()
