"""Categories: slices of votes that have a board of their own.

What the prompts say is decided once, before the vote is written (`describe`), and kept in the log
as `language` and `category_tag`; to which boards a vote belongs follows from the log's fields alone
(`of_vote`), so that a board stays a pure function of the log.

A key is a language's code (two letters), `multi-turn` or `single-turn`, `people` (whose votes are
neither a judge's nor a file's), or the `KEY` of a classifier (four letters or more): no two kinds
can collide. A `category_tag` is the classifiers' keys in alphabetical order with commas between,
such as `coding,hard`. A new classifier is one file with `KEY`, `TITLE` and `applies`, and its name
in `CLASSIFIERS`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple, Protocol

from arena.categories import (
    coding,
    foreign,
    hard,
    knowledge,
    length,
    math,
    reasoning,
    understanding,
    writing,
)
from arena.categories import language as languages
from arena.categories.text import Text


class Title(NamedTuple):
    """What a category is called, in English and in Chinese."""

    en: str
    zh: str


class Classifier(Protocol):
    """A module that decides about one tag."""

    KEY: str
    TITLE: tuple[str, str]

    def applies(self, text: Text, found: Collection[str]) -> bool:
        """Whether the prompts have this tag; `found` are the tags of the classifiers before it."""
        ...


CLASSIFIERS: tuple[Classifier, ...] = (
    coding,
    math,
    reasoning,
    understanding,
    writing,
    knowledge,
    length,
    hard,
)
"""In the order in which they are asked: later ones may look at what was found."""

PEOPLE = "people"
UNFILTERED = "unfiltered"
"""The board of all votes, those too in whose battles an answer named its model. No vote has it as a
category: it exists where there are such votes, which are in no other board."""

MULTI_TURN, SINGLE_TURN = "multi-turn", "single-turn"

TITLES: Mapping[str, Title] = MappingProxyType(
    {
        PEOPLE: Title("People only", "仅人类投票"),
        **{rule.KEY: Title(*rule.TITLE) for rule in (hard, *CLASSIFIERS)},
        MULTI_TURN: Title("Multi-turn", "多轮对话"),
        SINGLE_TURN: Title("Single turn", "单轮对话"),
        **{code: Title(*names) for code, names in languages.TITLES.items()},
        UNFILTERED: Title("All votes", "全部投票（含自报身份）"),
    }
)
"""Every category that there can be, in the order of menus."""

_TAGS = frozenset(rule.KEY for rule in CLASSIFIERS)
_PLACES = {key: place for place, key in enumerate(TITLES)}


@dataclass(frozen=True, slots=True)
class Description:
    """What the prompts of a battle say: their language, if anything tells it, and their tags."""

    language: str | None
    tags: tuple[str, ...]

    @property
    def category_tag(self) -> str | None:
        """The tags as the log keeps them in one field; None where there is none."""
        return _joined(self.tags)


def describe(prompts: Sequence[str]) -> Description:
    """Describe a voter's prompts, in the order of the turns. The same prompts always give the same.

    Only an excerpt is looked at (`text.HEAD`, `text.TAIL`), so that no prompt takes long. The first
    call in a process loads the language model from the disk (20 ms), where it is not there yet.
    """
    text = Text.of(prompts)
    found: set[str] = set()
    for rule in CLASSIFIERS:
        if rule.applies(text, found):
            found.add(rule.KEY)
    return Description(languages.detect(text), tuple(sorted(found)))


@lru_cache(maxsize=4096)  # a log has millions of votes and few different fields
def of_vote(
    *,
    language: str | None,
    category_tag: str | None,
    turns: int | None,
    voter_kind: str | None = None,
) -> tuple[str, ...]:
    """The categories to whose boards a vote belongs, in menu order, from the log's fields only.

    The fields may come from anybody's file: languages are also understood by English name or with a
    region (`English`, `pt_BR`), and what is no language or tag of ours gives no board.
    """
    keys = {tag.strip().lower() for tag in (category_tag or "").split(",")} & _TAGS
    if turns is not None and turns > 0:
        keys.add(MULTI_TURN if turns > 1 else SINGLE_TURN)
    if (code := languages.board(language)) is not None:
        keys.add(code)
    if voter_kind == "person":
        keys.add(PEOPLE)
    return in_order(keys)


def imported_tag(value: object) -> str | None:
    """What the log keeps of a file's `category_tag`: text as it is, known classifiers' results as
    our tags, and of anything else nothing."""
    if isinstance(value, Mapping):
        return _joined(foreign.tags(value))
    return value if isinstance(value, str) else None


def in_order(keys: Iterable[str]) -> tuple[str, ...]:
    """Known keys in the order of menus."""
    return tuple(sorted(keys, key=_PLACES.__getitem__))


def title(key: str) -> Title:
    """What the category is called. Raises `KeyError` for a key that is none."""
    return TITLES[key]


def _joined(tags: Sequence[str]) -> str | None:
    return ",".join(tags) or None
