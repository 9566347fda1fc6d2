"""Print how many answers that tell who wrote them are found, and how many others are flagged.

Over tests/data/identity_answers.jsonl, by part, language and kind: how many of how many distinct
texts, with the share's 95 % interval (Wilson); beside it FastChat's word list, and what looking
costs while an answer is shown. The intervals are those of texts drawn independently: the parts
`development` and `held-out` are put together from few sentences, so theirs are too narrow.

    python scripts/check_identity.py [--seed 6] [--misses]

FastChat's words are the names among `IDENTITY_WORDS` of its fastchat/serve/monitor/
clean_battle_data.py (github.com/lm-sys/FastChat at 01e89b4; Apache-2.0, the FastChat authors).
There they are looked for anywhere in a conversation, what the user types included.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from arena.identity import Lookout, leak_in, names_of
from arena.interfaces import ModelEntry
from scripts import make_identity_set

FASTCHAT = (
    *("vicuna", "lmsys", "koala", "uc berkeley", "open assistant", "laion", "chatglm", "chatgpt"),
    *("gpt-4", "openai", "anthropic", "claude", "bard", "palm", "lamda", "google", "llama"),
    *("qianwan", "alibaba", "mistral", "zhipu", "keg lab", "01.ai", "ai2", "tülu"),
)
PIECES = (8, 48)  # characters shown at a tick while an answer comes, and at its end
FIRST_RUN = {
    "all of it, rules before the review": (115, 197, 145, 211),
    "its rows that no rule had been changed for yet, rules after the reviewer's": (
        103,
        150,
        4,
        162,
    ),
}
"""Of the reviewed part when it was new: what was found, of how many; what was flagged falsely, of
how many. The second is the best guess of how the rules do on texts that they were not made for."""
PROMPT = "Which is faster for this, google or the library's catalogue?"

Row = dict[str, Any]
Judge = Callable[[Row], bool]


def fastchat(text: str) -> bool:
    return any(word in text.lower() for word in FASTCHAT)


def ours(models: dict[str, ModelEntry]) -> Judge:
    def judge(row: Row) -> bool:
        names = names_of((models[row["model"]], models[row["other"]]), [row.get("prompt", "")])
        return leak_in(row["text"], names) is not None

    return judge


def share(rows: Sequence[Row], judge: Judge) -> str:
    """How many distinct texts are flagged; one text that stands among several pairs counts once."""
    flagged: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        flagged[row["text"]].append(judge(row))
    surely = all if rows and rows[0]["label"] else any
    return interval(sum(map(surely, flagged.values())), len(flagged)) if flagged else "-"


def interval(hits: int, of: int) -> str:
    """A share and its 95 % interval (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    z = 1.959964
    mid, half = hits + z * z / 2, z * math.sqrt(hits * (of - hits) / of + z * z / 4)
    low, high = ((mid + side * half) / (of + z * z) for side in (-1, 1))
    return f"{hits}/{of} {hits / of:.1%} ({low:.1%}-{high:.1%})"


def table(rows: Iterable[Row], field: str, judges: dict[str, Judge]) -> None:
    by: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by[row[field]].append(row)
    heads = (f"{name}: {what}" for name in judges for what in ("found", "false flags"))
    print(f"\n{field:24}" + "".join(f"{head:>30}" for head in heads))
    for value, some in sorted(by.items()):
        told = [row for row in some if row["label"]]
        silent = [row for row in some if not row["label"]]
        cells = chain.from_iterable((share(told, j), share(silent, j)) for j in judges.values())
        print(f"{value:24}" + "".join(f"{cell:>30}" for cell in cells))


def cost(rows: Sequence[Row], models: dict[str, ModelEntry], size: int) -> tuple[float, float]:
    """Mean and longest time, in microseconds, in which a piece of this size is looked at."""
    total, longest, pieces = 0.0, 0.0, 0
    for row in rows:
        lookout = Lookout(names_of((models[row["model"]], models[row["other"]])))
        for at in range(0, len(row["text"]), size):
            started = time.thread_time()
            lookout.see(row["text"][at : at + size])
            took = time.thread_time() - started
            total, longest, pieces = total + took, max(longest, took), pieces + 1
    return total / pieces * 1e6, longest * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--misses", action="store_true", help="print every answer judged wrongly")
    options = parser.parse_args()
    rows = make_identity_set.rows(options.seed)
    phrases = tomllib.loads((make_identity_set.DATA / "identity_phrases.toml").read_text("utf-8"))
    models = {
        m["id"]: ModelEntry(id=m["id"], name=m["name"], organization=m["organization"])
        for m in phrases["models"]
    }
    judges = {"arena": ours(models), "FastChat": lambda row: fastchat(row["text"])}
    print(f"seed {options.seed}; {len(rows)} answers")
    for field in ("part", "language", "kind"):
        table(rows, field, judges)
    for rules, (found, telling, flags, silent) in FIRST_RUN.items():
        print(
            f"\nreviewed, first run ({rules}):"
            f"\n  found {interval(found, telling)}, false flags {interval(flags, silent)}"
        )
    dropped = fastchat(PROMPT)
    print(
        f"\nFastChat's list drops a vote whose prompt is {PROMPT!r}: {'yes' if dropped else 'no'}."
    )
    print("The arena flags nothing for its prompt.")
    for size in PIECES:
        mean, longest = cost(rows, models, size)
        print(f"pieces of {size:2} characters: {mean:.1f} µs each, the longest {longest:.0f} µs")
    if options.misses:
        for row in rows:
            if judges["arena"](row) != row["label"]:
                print(row)


if __name__ == "__main__":
    main()
