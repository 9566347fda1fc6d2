#!/usr/bin/env python3
"""How recognisable are models by their words alone? `arena audit blindness` on any answers.

Without FILE the demo's own models are asked: every prompt of a list is answered by each of them,
and any two answers to it are a battle. `--keep` writes these battles as a vote file, which can be
given as FILE, as can any export with conversations. `--shuffle` gives the answers of each battle to
its two models by lot: what is then told of a pair is chance, 50 % over several seeds.

    .venv/bin/python scripts/blindness.py [FILE] [--prompts N] [--keep FILE] [--shuffle] [--seed N]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as wherever it is deployed

from arena import endpoints
from arena.battle import Message
from arena.blindness import Sample, audit
from arena.demo.roster import demo_entries, demo_processes
from arena.interfaces import Deadlines, Endpoint
from arena.vote_file import read_votes

_FORMS = (
    "Explain {} to a ten-year-old.",
    "What should a beginner know about {}?",
    "Write a short poem about {}.",
    "Give me three surprising facts about {}.",
    "Write the first lines of a story in which {} matters.",
    "What is the best thing about {}, and what is the worst?",
)
_SUBJECTS = (
    *("the moon", "bread", "chess", "rain", "bridges", "sleep", "honey bees", "volcanoes", "tea"),
    *("bicycles", "the sea", "libraries", "salt", "glaciers", "jazz", "maps", "owls", "gold"),
    *("money", "clocks", "gardens", "trains", "the wind", "letters", "mountains", "paper", "ink"),
)
_PATIENCE_SECONDS = 120
_UNHURRIED = Deadlines(first_byte=300, stall=300, total=900)


def demo_battles(prompts: int, seed: int) -> Iterator[dict[str, object]]:
    """Battles of the demo's models, as rows of a vote file; every one is a tie."""
    asked = [form.format(subject) for form, subject in product(_FORMS, _SUBJECTS)]
    random.Random(seed).shuffle(asked)
    entries, left_out = demo_entries()
    print(*left_out, sep="\n", file=sys.stderr)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name, arguments in demo_processes():
            process = subprocess.Popen([sys.executable, *arguments, str(folder)])
            stack.callback(process.wait)
            stack.callback(process.terminate)
            _wait_for(folder / f"{name}.url")
        models = {entry.id: endpoints.build(entry, demo_folder=folder) for entry in entries}
        asking = stack.enter_context(ThreadPoolExecutor(len(models)))
        for number, prompt in enumerate(asked[:prompts], 1):
            answers = asking.map(
                lambda model, prompt=prompt: _answer(model, prompt), models.values()
            )
            yield from _every_pair(prompt, dict(zip(models, answers, strict=True)))
            print(f"\r{number} of {prompts} prompts", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


def _wait_for(address: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not address.exists():
        if time.monotonic() > deadline:
            sys.exit(f"The demo's model did not start: {address} is missing.")
        time.sleep(0.2)


def _answer(model: Endpoint, prompt: str) -> str:
    pieces = model.ask([Message("user", prompt)], _UNHURRIED)
    return "".join(piece for piece in pieces if isinstance(piece, str))


def _every_pair(prompt: str, answers: Mapping[str, str]) -> Iterator[dict[str, object]]:
    for pair in combinations(answers, 2):
        row: dict[str, object] = {"winner": "tie", "prompt": prompt, "voter": prompt}
        for side, model in zip("ab", pair, strict=True):
            said = (("user", prompt), ("assistant", answers[model]))
            row[f"model_{side}"] = model
            row[f"conversation_{side}"] = [{"role": role, "content": text} for role, text in said]
        yield row


def shuffled(sample: Sample, seed: int) -> Sample:
    """The same battles, each with its models on sides by lot: nothing is left to recognise."""
    draw, without = random.Random(seed), Sample(seed)
    for duel in sample.duels():
        models = duel.models if draw.random() < 0.5 else duel.models[::-1]  # noqa: PLR2004  a coin
        without.add(replace(duel, models=models))
    return without


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, help="an export, or any such vote file")
    parser.add_argument("--prompts", type=int, default=100, help="put to the demo's models")
    parser.add_argument("--keep", type=Path, help="where the demo's battles are written")
    parser.add_argument("--shuffle", action="store_true", help="what chance alone would bring")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = chosen.file
        if file is None:
            file = chosen.keep or Path(folder, "battles.jsonl")
            with file.open("w", encoding="utf-8") as out:
                for row in demo_battles(chosen.prompts, chosen.seed):
                    print(json.dumps(row, ensure_ascii=False), file=out, flush=True)
        sample = Sample(chosen.seed)
        sample.take_file(read_votes(file, lambda _: None))
    if chosen.shuffle:
        sample = shuffled(sample, chosen.seed)
    started = time.monotonic()
    print(f"Seed {chosen.seed}.", audit(sample).to_text(), sep="\n\n", end="")
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{time.monotonic() - started:.1f} s, {megabytes:.0f} MB.")


if __name__ == "__main__":
    main()
