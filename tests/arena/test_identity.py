"""Which answers tell who wrote them: `arena.identity` and its labelled set."""

from __future__ import annotations

import json
import sys
import tomllib
from collections import Counter
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena import identity
from arena.demo.roster import demo_entries
from arena.identity import Lookout, leak_in, names_of
from arena.interfaces import ModelEntry
from scripts import make_identity_set

DATA = Path(__file__).parents[1] / "data"
RECALL, FALSE_FLAGS = 0.99, 0.01


def entry(id: str, name: str = "", organization: str = "", model: str = "") -> ModelEntry:
    return ModelEntry(id=id, name=name or id, organization=organization, model=model)


CLAUDE = entry("claude-sonnet-4", "Claude Sonnet 4", "Anthropic")
GEMINI = entry("gemini-2.5-flash", "Gemini 2.5 Flash", "Google")
DOUBAO = entry("doubao-1.5-pro", "Doubao 1.5 Pro", "ByteDance")
ERNIE = entry("ernie-4.5", "ERNIE 4.5", "Baidu")
LLAMA = entry("llama-3.1-8b", "Llama 3.1 8B", "Meta")
GPT = entry("gpt-4o", "GPT-4o", "OpenAI")
QWEN = entry("qwen2.5-72b", "Qwen2.5 72B", "Alibaba")


def told(text: str, *entries: ModelEntry) -> str | None:
    return leak_in(text, names_of(entries))


# --- the labelled set ---------------------------------------------------------------------------


@lru_cache
def labelled() -> tuple[dict[str, Any], ...]:
    lines = (DATA / "identity_answers.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line) for line in lines)


@lru_cache
def labelled_models() -> dict[str, ModelEntry]:
    phrases = tomllib.loads((DATA / "identity_phrases.toml").read_text(encoding="utf-8"))
    return {m["id"]: entry(m["id"], m["name"], m["organization"]) for m in phrases["models"]}


@pytest.mark.parametrize("part", [*make_identity_set.PARTS, make_identity_set.REVIEWED])
def test_answers_that_tell_are_found_and_few_others_are_flagged(part: str) -> None:
    models = labelled_models()
    misses: dict[bool, list[str]] = {True: [], False: []}
    asked: Counter[bool] = Counter()
    for row in labelled():
        if row["part"] == part:
            pair = models[row["model"]], models[row["other"]]
            name = leak_in(row["text"], names_of(pair, [row.get("prompt", "")]))
            asked[row["label"]] += 1
            if (name is not None) != row["label"]:
                misses[row["label"]].append(f"{name}: {row}")
    shown = "\n".join([*misses[True], *misses[False]])
    assert len(misses[True]) / asked[True] <= 1 - RECALL, shown
    assert len(misses[False]) / asked[False] <= FALSE_FLAGS, shown


def test_the_labelled_set_is_what_its_script_writes() -> None:
    rows = make_identity_set.rows(seed=6)
    assert rows == list(labelled())
    assert len(rows) >= 1200


def test_the_two_parts_of_the_labelled_set_share_no_sentence() -> None:
    phrases = tomllib.loads((DATA / "identity_phrases.toml").read_text(encoding="utf-8"))

    def sentences(node: Any) -> set[str]:
        if isinstance(node, str):
            return {node} if len(node) > len("development") else set()
        children = node.values() if isinstance(node, dict) else node
        return {sentence for child in children for sentence in sentences(child)}

    ids = {model["id"] for model in phrases["models"]}
    shared = sentences(phrases["development"]) & sentences(phrases["held-out"])
    assert shared <= ids


def test_the_reviewed_part_holds_each_text_once() -> None:
    rows = [row for row in labelled() if row["part"] == make_identity_set.REVIEWED]
    assert len({row["text"] for row in rows}) == len(rows)
    new = Counter(row["label"] for row in rows if row["kind"] != "reviewer")
    assert min(new[True], new[False]) >= 150


# --- prompts and code ---------------------------------------------------------------------------


def asked(prompt: str, text: str, *entries: ModelEntry) -> str | None:
    return leak_in(text, names_of(entries, [prompt]))


def test_a_prompts_names_are_never_flagged_and_an_answer_may_repeat_them() -> None:
    prompt = "Is ChatGPT better than a book?"
    assert asked(prompt, "A book.", GPT, CLAUDE) is None
    assert asked(prompt, "ChatGPT answers faster than a book.", GPT, CLAUDE) is None
    assert asked(prompt, "ChatGPT is a language model by OpenAI.", GPT, CLAUDE) is None
    assert asked("Which is better?", "ChatGPT answers faster.", GPT, CLAUDE)


def test_an_introduction_tells_though_the_prompt_has_the_name() -> None:
    assert asked("Are you ChatGPT?", "Yes, I am ChatGPT.", GPT, CLAUDE)
    assert asked("你是豆包吗？", "我是豆包，由字节跳动训练。", DOUBAO, CLAUDE)
    assert asked("Who made ChatGPT?", "I was trained by OpenAI.", GPT, CLAUDE)


def test_a_prompt_about_one_side_leaves_the_others_names_as_they_are() -> None:
    assert asked("What is Qwen?", "It rivals ChatGPT.", GPT, QWEN) == "chatgpt"


@pytest.mark.parametrize(
    "code",
    [
        *("from openai import OpenAI", "pip install openai", "Call `openai.Client()` once."),
        *("AutoTokenizer('gpt-4')", "Set model='gpt-4o' there.", "See https://openai.com/docs."),
        *("```\nanswer = ask(openai, gpt-4)\n```", "1. Do:\n   ```\n   gpt-4 --help\n   ```"),
    ],
)
def test_code_tells_nothing(code: str) -> None:
    assert told(f"Do this.\n{code}\nDone.", GPT, CLAUDE) is None


@pytest.mark.parametrize("size", [1, 7, 48, 5000])
def test_what_comes_after_a_block_of_code_is_prose_again(size: int) -> None:
    for lines in (0, 3, 40, 41, 42, 300):
        block = "```\n" + "run gpt-4\n" * lines + "```\n" + "word " * 60
        for text, is_told in ((block, False), (block + "Better ask GPT-4.", True)):
            lookout = Lookout(names_of((GPT, CLAUDE)))
            for at in range(0, len(text), size):
                lookout.see(text[at : at + size])
            assert (lookout.found() is not None) == is_told


def test_an_introduction_inside_a_block_of_code_tells() -> None:
    assert told("```\nI am GPT-4.\n```", GPT, CLAUDE)


# --- names --------------------------------------------------------------------------------------


def test_the_other_sides_name_tells_as_much_as_ones_own() -> None:
    for pair in ((CLAUDE, GEMINI), (GEMINI, CLAUDE)):
        assert told("I'm Claude, made by Anthropic.", *pair) == "claude"


def test_a_model_that_is_on_neither_side_tells_nothing() -> None:
    assert told("I'm ChatGPT, made by OpenAI.", CLAUDE, GEMINI) is None


@pytest.mark.parametrize(
    "spelling",
    [
        *(
            "GPT-4o",
            "gpt4o",
            "GPT 4",
            "Chat GPT",
            "Chat-GPT",
            "**ChatGPT**",
            "Chat**GPT**",
            "_GPT_",
        ),
        *(
            "GPT\u20114",
            "ＣｈａｔＧＰＴ",
            "Chat\u200bGPT",
            "G\u00adPT",
            "`gpt-4`",
            "“ChatGPT”",
            "CHATGPT",
        ),
    ],
)
def test_spellings_of_a_name_are_one_name(spelling: str) -> None:
    assert told(f"Answers by {spelling} may be wrong.", GPT, CLAUDE)
    assert told(f"这是{spelling}的回答。", GPT, CLAUDE)


@pytest.mark.parametrize("word", ["egpt", "gptt", "ingpts", "Αgpt", "éqwen", "qwenа", "2gpt"])
def test_a_name_inside_another_word_is_none(word: str) -> None:
    assert told(f"The {word} of it.", GPT, QWEN) is None


@pytest.mark.parametrize(
    "compound", ["文心雕龙是一款模型", "红豆包是AI", "我是豆包子", "我是文心兰"]
)
def test_the_longest_chinese_word_counts(compound: str) -> None:
    assert told(compound, DOUBAO, ERNIE) is None
    assert told("我是豆包", DOUBAO, ERNIE) == "豆包"


def test_a_maker_tells_only_as_the_maker_of_who_answers() -> None:
    assert told("Google was founded in 1998 by two students.", GEMINI, CLAUDE) is None
    assert told("Chrome was developed by Google in 2008.", GEMINI, CLAUDE) is None
    assert told("I was developed by Google in 2023.", GEMINI, CLAUDE) == "google"
    assert told("百度成立于2000年。", ERNIE, CLAUDE) is None
    assert told("我由百度开发。", ERNIE, CLAUDE) == "百度"


def test_an_unknown_models_own_name_tells_where_it_introduces_itself() -> None:
    dragon = entry("dragon", "Dragon")
    assert told("A dragon guards the gold.", dragon, CLAUDE) is None
    assert told("I am Dragon, your assistant.", dragon, CLAUDE) == "dragon"


def test_an_unknown_models_id_that_can_be_nothing_else_tells_anywhere() -> None:
    assert told("Model: zorblax7-chat.", entry("zorblax7-chat"), CLAUDE) == "zorblax7-chat"


@pytest.mark.parametrize("id", ["m1", "model-a", "test", "chat", "large-2", "*", "..."])
def test_an_id_that_says_nothing_flags_no_ordinary_answer(id: str) -> None:
    text = (
        "As a model for the test, take m1. The chat is large: 2 models, model A and model B. *..."
    )
    assert told(text, entry(id), CLAUDE) is None


def test_a_name_with_signs_of_regular_expressions_is_only_a_name() -> None:
    odd = entry("a(b+[c", "Frob(ni+[x")
    assert told("I am Frob ni x.", odd, CLAUDE) is not None


@pytest.mark.parametrize(
    "pair", list(combinations(demo_entries()[0], 2)), ids=lambda pair: "/".join(e.id for e in pair)
)
def test_every_pair_of_the_demo_is_known_by_its_names(pair: tuple[ModelEntry, ...]) -> None:
    for model in pair:
        name = "ELIZA" if model.id == "eliza" else "SmolLM"
        assert told(f"Hello, I am {name}.", *pair)
        assert told("I am fine. Tell me about your family.", *pair) is None


def test_the_demos_eliza_is_no_gpt() -> None:
    eliza = entry("eliza", "ELIZA (1966)", "Joseph Weizenbaum; eliza-gpt by Miguel Grinberg")
    assert told("I'm ChatGPT.", eliza, CLAUDE) is None


def test_letters_that_look_latin_make_no_other_name() -> None:
    assert told("I'm СhаtGPT", GPT, CLAUDE)
    assert told("Это сравнение, а мета-анализ показал иное.", LLAMA, CLAUDE) is None


def test_a_models_names_are_made_ready_once_for_all_its_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entries = [entry(f"made-once-{number}") for number in range(4)]
    made: list[str] = []
    ready = identity.Names.__init__

    def counted(self: identity.Names, model: ModelEntry) -> None:
        made.append(model.id)
        ready(self, model)

    monkeypatch.setattr(identity.Names, "__init__", counted)
    for pair in combinations(entries, 2):
        names_of(pair)
    assert sorted(made) == [model.id for model in entries]


# --- streaming ----------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        *("I am ", "Clau", "de", "Gem", "ini", " the sign", "made by ", "Google", ". ", "\n", "**"),
        *(
            "我是",
            "豆",
            "包",
            "红",
            "文心",
            "雕龙",
            "由",
            "训练的模型",
            "Chat",
            "\u200b",
            "-",
            "GPT",
            "x" * 90,
            "\n```\n",
            "`",
        ),
    ]
)


@settings(max_examples=300, deadline=None)
@given(words=st.lists(WORDS, max_size=60), cuts=st.lists(st.integers(1, 60), min_size=1))
def test_however_an_answer_is_cut_it_tells_the_same(words: list[str], cuts: list[int]) -> None:
    text, names = "".join(words), names_of((CLAUDE, GEMINI, DOUBAO, ERNIE, GPT))
    lookout, at, turn = Lookout(names), 0, 0
    while at < len(text):
        size = cuts[turn % len(cuts)]
        lookout.see(text[at : at + size])
        at, turn = at + size, turn + 1
    assert lookout.found() == leak_in(text, names)


@pytest.mark.parametrize("size", [1, 7, 8, 48, 5000])
def test_a_name_is_found_wherever_it_stands_in_a_long_answer(size: int) -> None:
    names = names_of((GEMINI, CLAUDE))
    for before in (0, 100, 127, 128, 129, 300, 2000):
        text = "word " * (before // 5) + "\nI am Gemini, a model. " + "word " * 200
        lookout = Lookout(names)
        for at in range(0, len(text), size):
            lookout.see(text[at : at + size])
        assert lookout.found() == "gemini", before


def test_asking_again_gives_the_same() -> None:
    for text in ("I am Claude.", "Nobody."):
        lookout = Lookout(names_of((CLAUDE, GEMINI)))
        lookout.see(text)
        assert lookout.found() == lookout.found()


class Work:
    """How many lines of Python are run: a count of work that no other process can spoil."""

    def __init__(self) -> None:
        self.lines = 0

    def __enter__(self) -> Work:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, *_: object) -> Any:
        self.lines += 1
        return self._trace


HOSTILE = (
    *("gemini ", "made by ", "my model, ", "我是一个", "I am an ai ", "a ", "\ufdfa", "由", "*"),
    *("Claude's model's ", "- ", "google google ", '"', "\u0301"),
)


@pytest.mark.parametrize("piece", HOSTILE, ids=ascii)
def test_work_grows_with_the_length_and_no_faster(piece: str) -> None:
    names = names_of((GEMINI, CLAUDE))

    def work(length: int) -> int:
        text, lookout = (piece * length)[:length], Lookout(names)
        with Work() as done:
            for at in range(0, length, 8):
                lookout.see(text[at : at + 8])
            lookout.found()
        return done.lines

    work(100)  # learns the characters
    assert work(20_000) <= 2.5 * work(10_000)


@pytest.mark.parametrize("piece", HOSTILE, ids=ascii)
def test_what_is_kept_of_an_answer_is_bounded(piece: str) -> None:
    lookout = Lookout(names_of((GEMINI, CLAUDE)))
    for _ in range(400):
        lookout.see((piece * 48)[:48])
    assert len(lookout._text) < 600 + 18 * 48  # one sign may stand for 18 characters
