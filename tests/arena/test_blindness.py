"""The audit of a log: which answers are read, what is told of them, and what never is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from arena.blindness import LEAST_ANSWERS, Duel, Sample, audit, record
from arena.errors import Conflict
from arena.records import IDENTITY_LEAK, Content
from arena.vote_file import VoteRow
from tests.fakes import CAMPAIGN, FakeStore, a_remark, a_vote

SALT = "ab" * 32
HABIT = {
    "plain": "It is so.",
    "chatty": "Certainly! I would say it is so, my friend.",
    "sly": "Yes.",
}


def says(prompt, *answers):
    said = [("user", prompt), *(("assistant", answer) for answer in answers)]
    return [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in said]


def a_duel(number, models=("plain", "chatty"), **changes):
    answers = tuple(f"{HABIT[model]} w{number % 7}" for model in models)
    duel = Duel(
        id=f"d{number}",
        models=models,
        prompt=number.to_bytes(4),
        asked=f"What of {number}?",
        answers=answers,
        voter=f"v{number % 9}",
    )
    return replace(duel, **changes)


def sampled(duels, seed=0, **bounds):
    sample = Sample(seed, **bounds)
    for duel in duels:
        sample.add(duel)
    return sample


def a_log(*votes, remarks=()):
    """The store of a log with these (conversation_a, conversation_b) under fake models, sealed."""
    store = FakeStore()
    rows = [
        a_vote(f"r{place}", content=Content(SALT, a, b, "my comment"))
        for place, (a, b) in enumerate(votes)
    ]
    store.votes.append([*rows, *remarks])
    store.votes.seal(store.leases.take("worker", "test", None), 100)
    return store


def taken(store, campaign=CAMPAIGN, *, published=True, **options):
    sample = Sample(0)
    sample.take_log(store.votes, campaign, store.votes.position(), published=published, **options)
    return sample


# --- what is read -------------------------------------------------------------------------------


def test_the_answers_of_both_sides_are_read_with_their_prompt():
    (duel,) = taken(a_log((says("Why?", "So."), says("Why?", "Because.")))).duels()
    assert duel.answers == ("So.", "Because.")
    assert (duel.asked, duel.models, duel.voter) == ("Why?", ("m0", "m1"), "p1")


def test_an_earlier_conversation_is_nobodys_answer():
    begun = ("Why?", "As another model said.")
    sides = [[*says(*begun), *says("And then?", answer)] for answer in ("This.", "That.")]
    (duel,) = taken(a_log(tuple(sides))).duels()
    assert duel.answers == ("This.", "That.")
    assert duel.asked == "Why?\nAnd then?"


def test_prompts_that_differ_in_spaces_and_case_are_one():
    sides = [(says(asked, "a"), says(asked, "b")) for asked in ("Why  so?", "why so? ", "why not?")]
    first, second, third = sorted(taken(a_log(*sides)).duels(), key=lambda duel: duel.id)
    assert first.prompt == second.prompt != third.prompt


def test_votes_that_count_on_no_board_are_left_out_and_counted():
    sides = says("Why?", "a"), says("Why?", "b")
    remarks = [
        a_remark("x0", "exclusion", "r0", "spam"),
        a_remark("x1", "flag", "r1", IDENTITY_LEAK),
        a_remark("x2", "flag", "r2", "too_fast"),
    ]
    sample = taken(a_log(sides, sides, sides, (None, None), remarks=remarks))
    assert [duel.id for duel in sample.duels()] == ["r2"]
    out = sample.left_out
    assert (out.excluded, out.identity_leak, out.no_text) == (1, 1, 1)


def test_texts_that_a_campaign_does_not_publish_are_only_read_for_the_operator():
    store = a_log((says("Why?", "a"), says("Why?", "b")))
    silent = replace(CAMPAIGN, publish_text=False)
    assert not taken(store, silent).duels()
    assert len(taken(store, silent, published=False).duels()) == 1


def test_records_after_the_position_are_not_read():
    sides = says("Why?", "a"), says("Why?", "b")
    store, sample = a_log(sides, sides, sides), Sample(0)
    told = []
    sample.take_log(store.votes, CAMPAIGN, 2, published=True, progress=told.append)
    assert len(sample.duels()) == sum(told) == 2


@pytest.mark.parametrize("content", [None, 7, "text", [None], [{"text": None}], {"text": "x"}])
def test_an_import_may_have_any_content(content):
    odd = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": content}]
    sample = Sample(0)
    sample.take_file(
        [
            VoteRow(
                1,
                "x",
                "y",
                None,
                "tie",
                both_bad=False,
                conversation_a=odd,
                conversation_b=says("Why?", "b"),
            ),
            VoteRow(2, "x", "y", None, "tie", both_bad=False),
            VoteRow(3, "x", "y", None, "tie", both_bad=False, excluded_reason="spam"),
        ]
    )
    (duel,) = sample.duels()
    assert duel.answers == ("text" if content == "text" else "", "b")
    assert (sample.left_out.no_text, sample.left_out.excluded) == (1, 1)


# --- the sample ---------------------------------------------------------------------------------


def test_a_sample_is_the_same_in_any_order_of_the_log():
    duels = [a_duel(number) for number in range(300)]
    mixed = duels[150:] + duels[:150][::-1]
    bounds = {"most": 50, "each": 100}
    assert sampled(duels, **bounds).duels() == sampled(mixed, **bounds).duels()
    assert sampled(duels, **bounds).duels() != sampled(duels, seed=1, **bounds).duels()


def test_a_sample_is_bounded_and_rare_models_keep_their_part():
    rare = [a_duel(number, ("sly", "plain")) for number in range(1_000, 1_020)]
    sample = sampled([*(a_duel(number) for number in range(900)), *rare], most=200, each=100)
    assert len(sample.duels()) <= 200
    assert sum("sly" in duel.models for duel in sample.duels()) == 20
    assert sample.answers == {"plain": 920, "chatty": 900, "sly": 20}


# --- the audit ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def audited():
    """Two models of habits that anybody sees, and one of too few answers."""
    few = [a_duel(number, ("sly", "plain")) for number in range(500, 500 + LEAST_ANSWERS - 1)]
    return audit(sampled([*(a_duel(number) for number in range(80)), *few]))


def test_marked_models_are_seen_through(audited):
    assert [model.model for model in audited.models] == ["chatty", "plain"]
    assert all(model.told_pair.lower > 0.9 for model in audited.models)
    assert all(model.answers == audited.battles == 80 for model in audited.models)


def test_a_model_of_too_few_answers_is_named(audited):
    assert audited.too_few == {"sly": LEAST_ANSWERS - 1}
    assert "sly (49)" in audited.to_text()


def test_many_answers_to_few_prompts_are_too_few():
    duels = [a_duel(number, prompt=bytes([number % 24])) for number in range(200)]
    with pytest.raises(Conflict, match="25 prompts"):
        audit(sampled(duels))


def test_what_is_published_holds_no_word_of_an_answer(audited):
    published = json.dumps(audited.to_json())
    assert "chatty" in published
    assert "friend" not in published
    assert any("friend" in word for word in audited.to_json(words=True)["models"][0]["words"])


def test_the_record_is_dated_small_and_can_be_sealed(audited):
    made = record(CAMPAIGN, audited, 229)
    assert (made.type, made.campaign) == ("blindness", CAMPAIGN.id)
    assert made.data["log_position"] == 229
    assert len(made.leaf()) == 64
    assert len(json.dumps(made.data)) < 1_500


def test_the_same_log_and_seed_give_the_same_figures():
    duels = [a_duel(number) for number in range(80)]
    assert audit(sampled(duels)) == audit(sampled(duels[::-1]))


# --- words --------------------------------------------------------------------------------------


def known_by(duels):
    found = audit(sampled(duels))
    return next(model.words for model in found.models if model.model == "chatty")


def with_secret(number, **changes):
    return a_duel(number, answers=("It is so.", "Certainly so, Rumpelstiltskin."), **changes)


def test_a_word_of_many_voters_is_told():
    assert "rumpelstiltskin" in known_by(with_secret(number) for number in range(80))


def test_a_word_of_few_voters_is_not():
    duels = [with_secret(number, voter=f"v{number % 4}") for number in range(80)]
    assert not known_by(duels)
    assert not known_by(with_secret(number, voter=None) for number in range(80))


def test_a_word_that_few_answers_have_is_not():
    duels = [with_secret(n) if n < 9 else a_duel(n) for n in range(80)]
    assert "certainly" in known_by(duels)
    assert "rumpelstiltskin" not in known_by(duels)


def test_a_word_that_prompts_brought_is_not():
    duels = [with_secret(number, asked="Who is Rumpelstiltskin?") for number in range(80)]
    assert "certainly" in known_by(duels)
    assert not any("rumpelstiltskin" in word for word in known_by(duels))


def test_an_escape_sequence_does_not_reach_the_terminal():
    duels = [
        a_duel(number, answers=("It is so.", "\x1b[31mred\x1b[0m \u202ednuor"))
        for number in range(80)
    ]
    found = audit(sampled(duels))
    assert any("red" in word for model in found.models for word in model.words)
    assert found.to_text().replace("\n", "").isprintable()
