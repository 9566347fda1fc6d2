"""How recognisable the models of a campaign are by their answers' words: the audit of the log.

A blind vote is worth something only as far as voters cannot tell who answers. Words give models
away, to anybody who has learned from an export, and nothing that a server does to a stream hides
that. So it is measured on the log's own answers and published, dated, in the log itself.
"""

from __future__ import annotations

import hashlib
import heapq
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import zip_longest
from typing import Any

from arena import log, recognition
from arena.board_text import aligned
from arena.clock import now
from arena.errors import Conflict
from arena.interfaces import Campaign, VoteLog
from arena.records import IDENTITY_LEAK, Conversation, Record
from arena.vote_file import VoteRow

LEAST_ANSWERS = 50
LEAST_PROMPTS = 25
"""A model of fewer answers, or of answers to fewer prompts, is not judged."""

MOST_BATTLES = 20_000
MOST_OF_MODEL = 1_000
"""How many battles are looked at; of a log of more a sample that the seed draws."""

WORD_PROMPTS = 10
WORD_VOTERS = 5
"""A word is told only where answers to so many prompts without it, of so many voters, have it."""

_MOST_CHARS = 4_000  # of one answer, and of what the voter wrote
_WORDS = 8
_CANDIDATES = 60
_DIGITS = 4
_METHOD = {
    "name": "bag-of-words/1",
    "classifier": "conditional logistic regression, told the pair",
    "features": "words, pairs of words, marks; in Chinese and Japanese characters and their pairs",
    "folds": recognition.FOLDS,
    "grouped_by": "prompt",
    "ridge": recognition.RIDGE,
    "interval": recognition.LEVEL,
    "source": "https://arxiv.org/abs/2501.07493",
}


@dataclass(frozen=True, slots=True)
class Duel:
    """Two answers to one prompt: what the voter read before the vote.

    `asked` is all that the voter wrote; `prompt` tells the first of it from any other.
    """

    id: str
    models: tuple[str, str]
    prompt: bytes
    asked: str
    answers: tuple[str, str]
    voter: str | None


# --- from votes to duels ------------------------------------------------------------------------


def _duel(name: str, row: Mapping[str, Any]) -> Duel | None:
    """None where there is no text, or both models are the same."""
    sides: tuple[Conversation, Conversation] = (
        row["conversation_a"] or [],
        row["conversation_b"] or [],
    )
    asked = [_text(message) for message in sides[0] if message["role"] == "user"]
    if not asked or not all(sides) or row["model_a"] == row["model_b"]:
        return None
    # what both share is an earlier conversation, or tells nothing
    own: tuple[list[str], list[str]] = ([], [])
    for pair in zip_longest(*sides):
        if pair[0] != pair[1]:
            for message, said in zip(pair, own, strict=True):
                if message is not None and message["role"] == "assistant":
                    said.append(_text(message))
    return Duel(
        id=name,
        models=(row["model_a"], row["model_b"]),
        prompt=hashlib.sha256(" ".join(asked[0].casefold().split()).encode()).digest(),
        asked="\n".join(asked)[:_MOST_CHARS],
        answers=("\n\n".join(own[0])[:_MOST_CHARS], "\n\n".join(own[1])[:_MOST_CHARS]),
        voter=row["voter"],
    )


def _text(message: Mapping[str, Any]) -> str:
    """What a message says; that of an import may have any content."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


# --- the sample ---------------------------------------------------------------------------------


@dataclass(slots=True)
class LeftOut:
    """Votes whose answers are not looked at, by why."""

    excluded: int = 0
    identity_leak: int = 0
    no_text: int = 0


@dataclass(slots=True)
class Sample:
    """Of each model the duels whose ids a seeded hash puts first: in any order the same ones.

    When all together become too many, each model keeps fewer. `answers` counts all that there are.
    """

    seed: int
    most: int = MOST_BATTLES
    each: int = MOST_OF_MODEL
    answers: Counter[str] = field(default_factory=Counter)
    left_out: LeftOut = field(default_factory=LeftOut)

    _kept: dict[int, Duel] = field(default_factory=dict)
    _held: Counter[int] = field(default_factory=Counter)
    _of_model: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def take_log(
        self,
        votes: VoteLog,
        campaign: Campaign,
        until: int,
        *,
        published: bool,
        progress: Callable[[int], object] = lambda _: None,
    ) -> None:
        """The sealed votes of a campaign up to `until`; erased texts are gone from the log.

        For a result to be `published` no text is read that the campaign does not publish.
        """
        read = campaign if published else replace(campaign, publish_text=True)
        last = 0
        for page in log.pages(votes, [read], until=until):
            for row in log.rows([page]):
                if row["type"] == "vote":
                    self._take(row["id"], row)
            progress(page["seq"][-1] - last)
            last = page["seq"][-1]

    def take_file(self, votes: Iterable[VoteRow]) -> None:
        """The votes of a file."""
        for vote in votes:
            fields = {name: getattr(vote, name) for name in VoteRow.__slots__}
            self._take(str(vote.row), fields | {"flags": ()})

    def _take(self, name: str, row: Mapping[str, Any]) -> None:
        if row["excluded_reason"] is not None:
            self.left_out.excluded += 1
        elif IDENTITY_LEAK in row["flags"]:
            self.left_out.identity_leak += 1
        elif duel := _duel(name, row):
            self.add(duel)
        else:
            self.left_out.no_text += 1

    def add(self, duel: Duel) -> None:
        self.answers.update(duel.models)
        named = hashlib.blake2b(f"{self.seed}:{duel.id}".encode(), digest_size=8)
        place = int.from_bytes(named.digest())
        for model in duel.models:
            heapq.heappush(self._of_model[model], -place)  # the last one on top
            self._held[place] += 1
        self._kept[place] = duel
        for model in duel.models:
            self._shrink(model)
        while len(self._kept) > self.most:
            self.each -= max(self.each // 20, 1)
            for model in self._of_model:
                self._shrink(model)

    def _shrink(self, model: str) -> None:
        held = self._of_model[model]
        while len(held) > self.each:
            place = -heapq.heappop(held)
            self._held[place] -= 1
            if not self._held[place]:
                del self._held[place], self._kept[place]

    def duels(self) -> list[Duel]:
        """All that are kept."""
        return [self._kept[place] for place in sorted(self._kept)]

    def judged(self) -> list[Duel]:
        """Those between models that have enough of them."""
        duels = self.duels()
        while True:
            prompts: dict[str, list[bytes]] = defaultdict(list)
            for duel in duels:
                for model in duel.models:
                    prompts[model].append(duel.prompt)
            enough = {
                model
                for model, found in prompts.items()
                if len(found) >= LEAST_ANSWERS and len(set(found)) >= LEAST_PROMPTS
            }
            left = [duel for duel in duels if enough.issuperset(duel.models)]
            if len(left) == len(duels):
                return duels
            duels = left


# --- the audit ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelBlindness:
    """How recognisable one model is. `words` are what gives it away, for the operator only."""

    model: str
    answers: int
    told_pair: recognition.Estimate
    auc: recognition.Estimate
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """The figures of one campaign, the most recognisable model first.

    `too_few` are the answers of models that were not judged.
    """

    seed: int
    battles: int
    prompts: int
    told_pair: recognition.Estimate
    models: tuple[ModelBlindness, ...]
    too_few: dict[str, int]
    left_out: LeftOut

    def to_json(self, *, words: bool = False) -> dict[str, Any]:
        """What is published: no `words` of any answer, because the log forgets nothing."""
        return {
            "method": _METHOD,
            "seed": self.seed,
            "battles": self.battles,
            "prompts": self.prompts,
            "told_pair": _rounded(self.told_pair),
            "models": [
                {
                    "model": one.model,
                    "answers": one.answers,
                    "told_pair": _rounded(one.told_pair),
                    "auc": _rounded(one.auc),
                    **({"words": list(one.words)} if words else {}),
                }
                for one in self.models
            ],
            "too_few": [{"model": name, "answers": n} for name, n in self.too_few.items()],
            "left_out": asdict(self.left_out),
        }

    def to_text(self) -> str:
        """The same for a terminal, with the words."""
        head = ("model", "told the pair", "one of all (AUC)", "answers", "known by")
        rows = [
            (m.model, _percent(m.told_pair), _percent(m.auc), f"{m.answers:,}", "  ".join(m.words))
            for m in self.models
        ]
        lines = aligned([head, *rows], left={0, len(head) - 1})
        lines += [
            "",
            f"All together, told the pair: {_percent(self.told_pair)} of {self.battles:,} battles "
            f"on {self.prompts:,} prompts; 50 % would be perfectly blind.",
        ]
        if self.too_few:
            few = ", ".join(f"{name} ({answers})" for name, answers in self.too_few.items())
            lines.append(
                f"Too few to judge (it takes {LEAST_ANSWERS} answers to {LEAST_PROMPTS} prompts): "
                f"{few}."
            )
        gone = ", ".join(
            f"{why.replace('_', ' ')} {n:,}" for why, n in asdict(self.left_out).items() if n
        )
        return "\n".join([*lines, *([f"Votes left out: {gone}."] if gone else [])]) + "\n"


FITS = recognition.FOLDS + 1


def audit(sample: Sample, progress: Callable[[int], object] = lambda _: None) -> Audit:
    """Train and test the classifier; `progress` is told of each of its `FITS`.

    Raises `Conflict` when there are no two models with enough answers.
    """
    judged = sample.judged()
    if not judged:
        raise Conflict(
            f"No two models have {LEAST_ANSWERS} answers each, to {LEAST_PROMPTS} prompts, whose "
            "text may be read. Wait for more votes, or choose another campaign."
        )
    names = sorted({model for duel in judged for model in duel.models})
    number = {name: place for place, name in enumerate(names)}
    prompts: dict[bytes, int] = {}
    most = max(recognition.MOST_WEIGHTS // len(names), 1)
    bags = recognition.bags(
        (answer for duel in judged for answer in duel.answers),
        most=min(most, recognition.MOST_WORDS),
    )
    found = recognition.recognise(
        bags,
        [[number[model] for model in duel.models] for duel in judged],
        [prompts.setdefault(duel.prompt, len(prompts)) for duel in judged],
        seed=sample.seed,
        progress=progress,
    )
    words = _words(judged, bags, recognition.strongest(found.evidence, _CANDIDATES), names)
    answers = Counter(model for duel in judged for model in duel.models)
    models = [
        ModelBlindness(name, answers[name], one.told_pair, one.auc, words[name])
        for name, one in zip(names, found.models, strict=True)
    ]
    return Audit(
        seed=sample.seed,
        battles=len(judged),
        prompts=len(prompts),
        told_pair=found.told_pair,
        models=tuple(sorted(models, key=lambda one: (-one.told_pair.value, one.model))),
        too_few={
            name: count for name, count in sorted(sample.answers.items()) if name not in number
        },
        left_out=sample.left_out,
    )


def _words(
    duels: Sequence[Duel],
    bags: recognition.Bags,
    strongest: Sequence[recognition.IntArray],
    names: Sequence[str],
) -> dict[str, tuple[str, ...]]:
    """What gives each model away, as far as it belongs to nobody.

    A term has to stand in answers to many prompts of many voters, none of which has it. Prompts
    that are too long to be kept whole do not count.
    """
    wanted = {
        name: [int(bags.columns[place]) for place in places]
        for name, places in zip(names, strongest, strict=True)
    }
    of_model = {name: set(buckets) for name, buckets in wanted.items()}
    used: dict[tuple[str, str], set[bytes]] = defaultdict(set)
    voters: dict[tuple[str, str], set[str | None]] = defaultdict(set)
    for duel in duels:
        if len(duel.asked) == _MOST_CHARS:
            continue
        echoed = set(recognition.terms(duel.asked))
        for model, answer in zip(duel.models, duel.answers, strict=True):
            for term in set(recognition.terms(answer)):
                # of a pair, neither word may come from the prompt
                is_wanted = recognition.bucket(term) in of_model[model]
                if is_wanted and echoed.isdisjoint(term.split(" ")):
                    used[model, term].add(duel.prompt)
                    voters[model, term].add(duel.voter)
    told: dict[str, dict[int, str]] = {name: {} for name in names}
    # of terms that share a column the most frequent one stands for it
    for (model, term), where in sorted(used.items(), key=lambda item: (-len(item[1]), item[0])):
        if len(where) >= WORD_PROMPTS and len(voters[model, term]) >= WORD_VOTERS:
            told[model].setdefault(recognition.bucket(term), term)
    return {
        name: tuple(_shown(told[name][one]) for one in buckets if one in told[name])[:_WORDS]
        for name, buckets in wanted.items()
    }


def _shown(term: str) -> str:
    return term.replace("\n", "⏎")


def record(campaign: Campaign, found: Audit, position: int) -> Record:
    """The dated public record of an audit of the log up to `position`."""
    return Record(
        id=secrets.token_hex(16),
        type="blindness",
        campaign=campaign.id,
        timestamp=now(),
        reason="audit",
        data={"log_position": position, **found.to_json()},
    )


def _rounded(figure: recognition.Estimate) -> dict[str, float]:
    return {name: round(value, _DIGITS) for name, value in asdict(figure).items()}


def _percent(figure: recognition.Estimate) -> str:
    return f"{figure.value:.1%} ({figure.lower:.1%}–{figure.upper:.1%})".replace("%", " %")
