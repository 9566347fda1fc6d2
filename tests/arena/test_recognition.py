"""How recognisable models are, on answers whose recognisability is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from arena.recognition import FOLDS, Bags, auc, bags, recognise, share, strongest, terms

WORDS = np.array([f"w{number}" for number in range(150)])


def corpus(battles, models=3, *, marked=0.0, seed=0, words=40):
    """Answers with the words of their prompt's topic; models differ by `marked` in log odds."""
    draw = np.random.default_rng(seed)
    usual = 1 / np.arange(1, len(WORDS) + 1)
    styles = usual * np.exp(marked * draw.normal(size=(models, len(WORDS))))
    pairs = np.array([draw.choice(models, 2, replace=False) for _ in range(battles)])
    texts = []
    for pair in pairs:
        topic = np.where(draw.random(len(WORDS)) < 0.05, 30, 1)
        for model in pair:
            chance = styles[model] * topic
            texts.append(" ".join(draw.choice(WORDS, words, p=chance / chance.sum())))
    return texts, pairs, np.arange(battles)


def recognised(texts, pairs, prompts, seed=0):
    return recognise(bags(texts), pairs, prompts, seed=seed)


# --- texts --------------------------------------------------------------------------------------


def test_words_marks_and_pairs_are_terms():
    assert list(terms("Don't, I'd say!")) == [
        *("don't", ",", "i'd", "say", "!"),
        *("don't ,", ", i'd", "i'd say", "say !"),
    ]


def test_chinese_is_read_by_characters_and_their_pairs():
    assert list(terms("好的，OK吗")) == [
        "好",
        "的",
        "，",
        "ok",
        "吗",
        "好 的",
        "的 ，",
        "， ok",
        "ok 吗",
    ]


def test_layout_is_a_term():
    assert "\n\n" in list(terms("# Title\n\n- one\n- two"))
    assert "\n -" in list(terms("one\n- two"))


@settings(deadline=None)
@given(st.text())
def test_nothing_that_cannot_be_printed_is_a_term(text):
    assert all(term.replace("\n", "").isprintable() for term in terms(text))


@pytest.mark.parametrize("unfit", ["\x1b", "\u202e", "\u200b", "\x00", "\u2028", "x" * 41])
def test_what_could_forge_a_terminal_is_left_out(unfit):
    assert list(terms(f"a {unfit} b")) == ["a", "b", "a b"]


def test_rare_terms_are_left_out_and_the_most_frequent_ones_kept():
    texts = ["all some rare"] + ["all some"] * 4 + ["all"] * 5
    assert bags(texts).x.shape == (10, 3)  # all, some, their pair
    (column,) = bags(texts, most=1).columns
    assert column in bags(["all"] * 5).columns


def test_no_answer_is_no_error():
    assert bags([""] * 4).x.shape == (4, 0)


# --- known recognisability ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def alike():
    """What is recognised of models of one style, in twelve worlds."""
    return [recognised(*corpus(120, seed=seed)) for seed in range(12)]


def test_models_of_one_style_are_blind(alike):
    told = [found.told_pair for found in alike]
    assert sum(one.lower <= 0.5 <= one.upper for one in told) >= 11
    assert np.mean([one.value for one in told]) == pytest.approx(0.5, abs=0.03)


def test_auc_of_models_of_one_style_is_a_half(alike):
    values = [model.auc for found in alike for model in found.models]
    assert np.mean([one.value for one in values]) == pytest.approx(0.5, abs=0.03)
    assert sum(one.lower <= 0.5 <= one.upper for one in values) >= 0.9 * len(values)


def test_models_of_marked_styles_are_recognised():
    found = recognised(*corpus(400, marked=1.0))
    assert found.told_pair.lower > 0.95
    assert all(model.told_pair.value > 0.95 and model.auc.value > 0.9 for model in found.models)


def test_sides_that_are_shuffled_are_blind():
    texts, pairs, prompts = corpus(400, marked=1.0)
    turned = np.random.default_rng(1).random(len(pairs)) < 0.5
    pairs[turned] = pairs[turned, ::-1]
    told = recognised(texts, pairs, prompts).told_pair
    assert told.lower <= 0.5 <= told.upper


def test_only_the_marked_model_of_three_stands_out_of_all():
    texts, pairs, prompts = corpus(300)
    marked = [
        text + " indeed" * int(model == 0) for text, model in zip(texts, pairs.ravel(), strict=True)
    ]
    first, second, third = recognised(marked, pairs, prompts).models
    assert first.told_pair.value > 0.98
    assert first.auc.value > 0.99
    # one of the two others is known where it meets the marked one, and only there
    for other in (second, third):
        assert other.told_pair.value == pytest.approx(0.75, abs=0.06)


def test_what_is_known_of_one_prompt_tells_nothing_of_another():
    """Each model has a word of its own for each prompt: whoever has seen the prompt knows all."""
    texts, pairs, _ = corpus(200)
    prompts = np.arange(200) % 10
    own = [
        text + f" p{prompts[place // 2]}m{model}" * 4
        for place, (text, model) in enumerate(zip(texts, pairs.ravel(), strict=True))
    ]
    whole = recognised(own, pairs, prompts).told_pair
    assert whole.lower <= 0.5 <= whole.upper
    assert recognised(own, pairs, np.arange(200)).told_pair.value > 0.9


def test_the_word_that_gives_a_model_away_comes_first():
    texts, pairs, prompts = corpus(200)
    marked = [
        text + " indeed" * int(model == 1) for text, model in zip(texts, pairs.ravel(), strict=True)
    ]
    given_bags = bags(marked)
    found = recognise(given_bags, pairs, prompts, seed=0)
    (column,) = bags(["indeed"] * 5).columns
    first = strongest(found.evidence, 1)[1]
    assert given_bags.columns[first[0]] == column


# --- seeds and intervals ------------------------------------------------------------------------


def test_the_seed_decides_everything():
    given_corpus = corpus(200, marked=0.2)
    first, again = (recognised(*given_corpus, seed=7) for _ in range(2))
    other = recognised(*given_corpus, seed=8)
    assert first.models == again.models
    assert np.array_equal(first.evidence, again.evidence)
    assert first.models != other.models


def test_an_answer_that_is_repeated_is_no_new_evidence():
    texts, pairs, prompts = corpus(100, marked=0.2)
    once = recognised(texts, pairs, prompts).told_pair
    texts5, pairs5, prompts5 = texts * 5, np.tile(pairs, (5, 1)), np.tile(prompts, 5)
    five = recognised(texts5, pairs5, prompts5).told_pair
    assert five.upper - five.lower > 0.8 * (once.upper - once.lower)


def test_nearly_every_interval_holds_the_truth():
    """40 prompts whose battles depend on each other: a normal interval that forgets it fails."""
    draw = np.random.default_rng(3)
    group = np.repeat(np.arange(40), 5)
    held = naive = 0
    for _ in range(400):
        chance = draw.beta(4.5, 0.5, size=40)  # 90 % on average, and prompts differ
        right = (draw.random(200) < np.repeat(chance, 5)).astype(float)
        found = share(right, group)
        held += found.lower <= 0.9 <= found.upper
        naive += abs(right.mean() - 0.9) <= 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 200)
    assert held >= 0.93 * 400
    assert naive < 0.9 * 400


def test_an_interval_without_a_miss_still_allows_for_one():
    found = share(np.ones(30), np.arange(30))
    assert found.value == found.upper == 1
    assert 0.85 < found.lower < 0.95


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=30))
def test_auc_is_that_of_scikit_learn(drawn):
    score, own = (np.array(column) for column in zip(*drawn, strict=True))
    one = np.zeros(len(drawn), np.int64)
    if own.all() or not own.any():
        return
    found = auc(score.astype(float), own, np.arange(len(drawn)), one)
    assert found.value == pytest.approx(roc_auc_score(own, score))
    assert 0 <= found.lower <= found.value <= found.upper <= 1


def test_too_few_prompts_are_refused():
    with pytest.raises(ValueError, match="too few"):
        recognise(Bags(bags(["x"] * 8).x, np.arange(1)), [[0, 1]] * 4, [0] * 4, seed=0)


def test_progress_tells_of_every_fit():
    told = []
    recognise(bags(corpus(50)[0]), *corpus(50)[1:], seed=0, progress=told.append)
    assert sum(told) == FOLDS + 1
