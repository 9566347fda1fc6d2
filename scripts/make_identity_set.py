"""Write tests/data/identity_answers.jsonl: answers that name their model, and others that do not.

They are put together from the names and sentences of tests/data/identity_phrases.toml; the parts
`development` and `held-out` share no sentence. The same seed writes the same file. The part
`reviewed` stands in tests/data/identity_reviewed.jsonl as it is; some of its rows have a `prompt`.

    python scripts/make_identity_set.py [--seed 6]
"""

from __future__ import annotations

import argparse
import json
import random
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "tests" / "data"
PARTS = ("development", "held-out")
REVIEWED = "reviewed (development)"
"""Measured once before the rules were changed for it: it only says now what was not lost."""
TELLING = ("introduction", "long", "other side", "real", "spelling")
"""Kinds of answers that tell who wrote them; all other kinds do not."""

EACH = 13  # introductions of each model in each part, besides those that are written out
LONG = 12  # paragraphs on either side of a long answer, at most
STRANGERS = (("granite-3", "jamba-1.5"), ("eliza", "smollm2-135m"), ("nemotron-70b", "eliza"))

Phrases = dict[str, Any]


class Writer:
    """Writes the rows of one part."""

    def __init__(self, part: str, phrases: Phrases, rng: random.Random) -> None:
        self._part = part
        self._models: list[Phrases] = phrases["models"]
        self._introductions: dict[str, list[str]] = phrases[part]["introductions"]
        self._surroundings: dict[str, list[str]] = phrases[part]["surroundings"]
        self._written: dict[str, list[list[str]]] = phrases[part]["written"]
        self._rng = rng

    def rows(self) -> Iterator[dict[str, Any]]:
        yield from self._telling()
        yield from self._silent()

    def _telling(self) -> Iterator[dict[str, Any]]:
        weights = [5, 5, *([1] * (len(self._introductions) - 2))]  # English and Chinese first
        for model in self._models:
            for number in range(EACH):
                (language,) = self._rng.choices(list(self._introductions), weights)
                text = self._told(model, language)
                kind = ("introduction", "introduction", "long", "other side")[number % 4]
                pair = self._pair(model["id"])
                if kind == "other side":
                    pair.reverse()
                text = self._within(text, language, LONG if kind == "long" else 1)
                yield self._row(text, pair, language, kind)
        for model, language, text in self._written["real"]:
            yield self._row(text, self._pair(model), language, "real")
        for model, text in self._written["spelling"]:
            language = "zh" if any("\u4e00" <= char <= "\u9fff" for char in text) else "en"
            yield self._row(text, self._pair(model), language, "spelling")

    def _silent(self) -> Iterator[dict[str, Any]]:
        for model, language, text in self._written["ordinary"]:
            for most in (0, 1, 6):
                pair = self._pair(model)
                self._rng.shuffle(pair)
                yield self._row(self._within(text, language, most), pair, language, "ordinary")
        for language, text in self._written["stranger"]:
            for models in STRANGERS:
                yield self._row(self._within(text, language, 2), models, language, "stranger")
        for language, text in self._written["anonymous"]:
            for most in (0, 1, 6):
                pair = self._any_pair()
                yield self._row(self._within(text, language, most), pair, language, "anonymous")
        for language in self._surroundings:
            for _ in range(25):
                pair = self._any_pair()
                text = self._within("\n", language, 8)
                yield self._row(text, pair, language, "about something else")

    def _told(self, model: Phrases, language: str) -> str:
        template = self._rng.choice(self._introductions[language])
        ending = "_zh" if language == "zh" else ""
        name = self._rng.choice(model[f"names{ending}"])
        return template.format(name=name, maker=self._rng.choice(model[f"makers{ending}"]))

    def _within(self, text: str, language: str, most: int) -> str:
        """The text among paragraphs about something else, `most` at most on either side."""
        others = self._surroundings["zh" if language in ("zh", "ja") else "en"]
        before = self._rng.choices(others, k=self._rng.randint(0, most))
        after = self._rng.choices(others, k=self._rng.randint(0, most))
        return "\n\n".join([*before, text, *after])

    def _pair(self, model: str) -> list[str]:
        return [model, self._rng.choice([m["id"] for m in self._models if m["id"] != model])]

    def _any_pair(self) -> list[str]:
        return self._pair(self._rng.choice(self._models)["id"])

    def _row(self, text: str, pair: Sequence[str], language: str, kind: str) -> dict[str, Any]:
        row = {"text": text, "model": pair[0], "other": pair[1], "language": language}
        return {**row, "label": kind in TELLING, "kind": kind, "part": self._part}


def rows(seed: int) -> list[dict[str, Any]]:
    """The whole set."""
    phrases = tomllib.loads((DATA / "identity_phrases.toml").read_text(encoding="utf-8"))
    rng = random.Random(seed)
    made = [row for part in PARTS for row in Writer(part, phrases, rng).rows()]
    reviewed = (DATA / "identity_reviewed.jsonl").read_text(encoding="utf-8").splitlines()
    return [*made, *({**json.loads(line), "part": REVIEWED} for line in reviewed)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=6)
    made = rows(parser.parse_args().seed)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in made)
    (DATA / "identity_answers.jsonl").write_text("".join(lines), encoding="utf-8")
    print(f"{len(made)} answers, {sum(row['label'] for row in made)} of them tell who wrote them")


if __name__ == "__main__":
    main()
