"""Agreement of voters: from a vote file to a report, against counts done by hand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.agreement import Judgement, asked, judgements, report
from arena.vote_file import VoteRow
from ratings.agreement import NO_VARIETY, NOT_COMPARED
from ratings.agreement import alpha as krippendorff


def person(unit, voter, score, *, graded=False):
    return Judgement(unit, voter, judge=False, score=score, graded=graded)


def judge(unit, score, *, voter="gpt", graded=False):
    return Judgement(unit, voter, judge=True, score=score, graded=graded)


def people(*units, graded=False):
    """One unit per list of scores, each score by a person of its own."""
    return [
        person(unit, f"p{number}", score, graded=graded)
        for unit, scores in enumerate(units)
        for number, score in enumerate(scores)
    ]


def vote(model_a="a", model_b="b", grade=None, winner="model_a", **fields):
    fields = {"voter": "p", "question": "q", "both_bad": False, "row": 1, **fields}
    return VoteRow(model_a=model_a, model_b=model_b, grade=grade, winner=winner, **fields)


def said(*texts):
    return [{"role": "user", "content": text} for text in texts]


# --- from votes to judgements -------------------------------------------------------------------


def test_scores_are_turned_to_one_order_of_the_models():
    shown = [
        vote("a", "b", 2),
        vote("b", "a", 2),
        vote("b", "a", winner="model_b"),
        vote("b", "a", winner="tie"),
    ]
    found = list(judgements(shown))
    assert [judgement.score for judgement in found] == [2, -2, 1, 0]
    assert [judgement.graded for judgement in found] == [True, True, False, False]
    assert {judgement.unit for judgement in found} == {("q", "a", "b")}


def test_a_unit_is_a_question_and_a_pair():
    shown = [vote("a", "b"), vote("a", "c"), vote("a", "b", question="r")]
    units = [judgement.unit for judgement in judgements(shown)]
    assert len(set(units)) == 3


def test_a_question_without_a_name_is_all_that_the_user_said():
    answer = {"role": "assistant", "content": "Hi"}

    def question(*conversation, name=None):
        return asked(vote(question=name, conversation_a=list(conversation)))

    same = question(*said("Hello"), answer)
    assert same == question(*said("Hello"), {**answer, "content": "Ho"})
    assert same != question(*said("Hello"), answer, *said("More"))
    assert same != question(*said("hello"), answer)
    assert question(*said("Hello"), name="7") == question(*said("Bye"), name="7") == "7"
    assert question(answer) is None and asked(vote(question=None)) is None


def test_votes_that_are_excluded_do_not_count():
    assert not list(judgements([vote(excluded_reason="spam")]))


@pytest.mark.parametrize("judges", [True, False])
def test_a_judge_is_told_by_the_votes_own_word_or_else_by_the_caller(judges):
    shown = [vote(voter_kind=kind) for kind in ("judge", "person", "import", None)]
    found = judgements(shown, judges=judges)
    assert [judgement.judge for judgement in found] == [True, False, False, judges]


@pytest.mark.parametrize(("score", "graded"), [(2, False), (3, True), (-3, True)])
def test_a_score_off_its_scale_is_refused(score, graded):
    with pytest.raises(ValueError, match=f"{score} is no"):
        person("q", "p", score, graded=graded)


# --- between people -----------------------------------------------------------------------------


def test_people_are_compared_pair_by_pair():
    found = report(people([1, 1, 0], [-1, 1], [1])).people
    assert (found.voters, found.votes, found.units) == (3, 6, 2)
    assert found.same_winner.value == pytest.approx(1 / 4)  # of 3 pairs and 1 pair
    assert found.same_decided.value == pytest.approx(1 / 2)
    assert found.same_decided.units == 2


def test_alpha_is_that_of_both_orders_of_the_models():
    found = report(people([1, 1, 0], [-1, 1], [0, -1, -1])).people.alpha
    unit = [0, 0, 0, 1, 1, 2, 2, 2]
    score = [1, 1, 0, -1, 1, 0, -1, -1]
    both = krippendorff([*unit, *(u + 3 for u in unit)], [*score, *(-s for s in score)], "ordinal")
    assert found.value == pytest.approx(both.value)
    assert found.units == 3


def test_people_who_all_prefer_the_same_model_agree_more_than_by_chance():
    """A category that all share would be called chance, were the order of the models one."""
    found = report(people(*[[1, 1]] * 9, [1, -1])).people.alpha
    assert found.value == pytest.approx(0.81, abs=0.02)


def test_grades_are_compared_where_they_were_given():
    graded = people([2, 1], [-2, -1], [0, 1], graded=True)
    found = report([*graded, person(0, "late", -1)]).people
    assert found.alpha_grade == report(graded).people.alpha_grade
    assert found.alpha_grade.units == 3
    assert found.alpha.value < report(graded).people.alpha.value
    assert report(people([1, 1])).people.alpha_grade is None


def test_a_winner_is_never_read_as_a_grade():
    mixed = report([*people([2, 2], graded=True), person(0, "late", 1)])
    assert mixed.people.alpha_grade.value == 1
    assert mixed.people.alpha.units == 1 and mixed.people.votes == 3


# --- judges and people --------------------------------------------------------------------------

# people's winner:  1, −1, tie (undecided), tie (undecided), tie
CROWD = people([1, 1, 0], [-1], [1, -1], [1, 0], [0, 0, 1])


def test_a_judge_is_compared_with_every_person_and_with_most_people():
    verdicts = [judge(0, 1), judge(1, 1), judge(2, 0), judge(3, 1), judge(4, 0), judge(9, 1)]
    (found,) = report([*CROWD, *verdicts]).judges
    assert (found.judge, found.votes, found.same_majority.units) == ("gpt", 6, 5)
    assert found.same_winner.value == pytest.approx(5 / 11)
    assert found.same_decided.value == pytest.approx(3 / 4)
    assert found.same_majority.value == pytest.approx(3 / 5)


def test_kappa_is_that_of_both_orders_of_the_models():
    (found,) = report(
        [*CROWD, judge(0, 1), judge(1, 1), judge(2, 0), judge(3, 1), judge(4, 0)]
    ).judges
    # both orders: the judge says 1, 0, −1 in shares .3 .4 .3, the people .2 .6 .2
    expected = 0.3 * 0.2 + 0.4 * 0.6 + 0.3 * 0.2
    assert found.kappa.value == pytest.approx((0.6 - expected) / (1 - expected))
    away = 0.3 * (0.6 + 2 * 0.2) * 2 + 0.4 * 0.4
    assert found.weighted_kappa.value == pytest.approx(1 - (0 + 2 + 0 + 1 + 0) / 5 / away)
    assert found.kappa.units == found.weighted_kappa.units == 5


def test_a_judges_grades_are_compared_with_the_median_of_peoples():
    graded = people([2, 1], [-2, -1, -1], [0, 2], graded=True)  # medians 1.5 → 1, −1, 1
    verdicts = [judge(unit, score, graded=True) for unit, score in enumerate([1, -1, 1])]
    (found,) = report([*graded, *verdicts]).judges
    assert found.weighted_kappa_grade.value == 1
    (turned,) = report([*graded, judge(0, 1), *verdicts[1:]]).judges
    assert turned.weighted_kappa_grade.units == 2
    (winners,) = report([*people([1]), *verdicts]).judges
    assert winners.weighted_kappa_grade is None


def test_every_judge_has_figures_of_its_own_and_is_no_person():
    found = report([*CROWD, judge(0, 1, voter="z"), judge(1, 1, voter="y"), judge(1, -1)])
    assert [each.judge for each in found.judges] == ["gpt", "y", "z"]
    assert [each.same_majority.value for each in found.judges] == [1, 0, 1]
    assert found.people == report(CROWD).people


# --- edges --------------------------------------------------------------------------------------


def test_of_two_judgements_of_one_voter_the_later_counts():
    twice = [person("q", "p", -1), person("q", "other", 1), person("q", "p", 1)]
    found = report(twice)
    assert (found.repeated, found.people.votes) == (1, 2)
    assert found.people.same_winner.value == 1


def test_votes_without_a_question_or_a_voter_are_left_out_and_counted():
    shown = [vote(), vote(voter=None), vote(question=None)]
    found = report(judgements(shown))
    assert (found.left_out, found.people.votes) == (2, 1)


def test_one_voter_agrees_with_nobody():
    found = report([person(unit, "p", 1) for unit in range(5)]).people
    assert (found.units, found.same_winner.undefined) == (0, NOT_COMPARED)
    assert found.alpha.undefined == NOT_COMPARED


def test_nothing_but_ties_leaves_chance_no_room():
    found = report([*people([0, 0], [0, 0]), judge(0, 0), judge(1, 0)])
    assert found.people.alpha.undefined == NO_VARIETY
    assert found.people.same_winner.value == 1
    assert found.people.same_decided.undefined == NOT_COMPARED
    assert found.judges[0].kappa.undefined == NO_VARIETY


def test_a_judge_who_shares_no_unit_with_people_is_still_named():
    (found,) = report([judge("q", 1)]).judges
    assert found.votes == 1
    assert found.same_winner.undefined == found.kappa.undefined == NOT_COMPARED


VOTES = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("pqrs"), st.booleans(), st.integers(-2, 2)),
    unique_by=lambda row: row[:3],
    max_size=30,
)


@given(VOTES, st.sets(st.integers(0, 3)))
@settings(deadline=None)
def test_which_model_of_a_pair_comes_first_changes_no_figure(votes, turned):
    given_ = [Judgement(*row, graded=True) for row in votes]
    mirrored = [
        Judgement(unit, voter, kind, -score if unit in turned else score, graded=True)
        for unit, voter, kind, score in votes
    ]
    assert flat(report(given_).to_json()) == pytest.approx(flat(report(mirrored).to_json()))


def flat(document):
    """Every number of a JSON document, by its path."""
    if isinstance(document, dict):
        pairs = document.items()
    elif isinstance(document, list):
        pairs = enumerate(document)
    else:
        return {(): document} if isinstance(document, int | float) else {}
    return {(key, *rest): n for key, item in pairs for rest, n in flat(item).items()}


# --- JSON and text ------------------------------------------------------------------------------


def test_the_json_has_every_figure_and_null_where_there_is_none():
    document = report([*people([1, 1], [0, -1]), judge("q", 1)]).to_json()
    json.dumps(document, allow_nan=False)
    assert document["people"]["same_winner"]["value"] == 0.5
    assert document["people"]["alpha_grade"] is None
    (against,) = document["judges"]
    assert against["kappa"] == {
        **dict.fromkeys(("value", "lower", "upper", "se")),
        "units": 0,
        "level": 0.95,
        "undefined": NOT_COMPARED,
    }


def test_the_text_names_every_figure_with_its_interval():
    found = report([*people(*[[1, 1]] * 9, [1, -1]), *(judge(unit, 1) for unit in range(10))])
    assert found.to_text() == (
        "Between people: 2 voters, 20 votes, 10 units judged by two or more\n"
        "  same winner                  90.0 %  62.2 % … 100.0 %   10 units\n"
        "  same winner, ties apart      90.0 %  62.2 % … 100.0 %   10 units\n"
        "  alpha of the winner           0.805  0.364 … 1.000      10 units\n"
        "\n"
        "Judge gpt and people: 10 votes, 10 units judged by both\n"
        "  same winner as one person    95.0 %  65.7 % … 100.0 %   10 units\n"
        "  the same, ties apart         95.0 %  65.7 % … 100.0 %   10 units\n"
        "  same winner as most people   90.0 %  62.2 % … 100.0 %   10 units\n"
        "  kappa with most people        0.818  0.444 … 1.000      10 units\n"
        "  weighted kappa                0.900  0.622 … 1.000      10 units\n"
    )


def test_the_text_has_the_figures_of_grades_where_there_are_any():
    opposed = people([2, -1], [1, -2], graded=True)
    text = report([*opposed, judge(0, 2, graded=True), judge(1, 0, graded=True)]).to_text()
    assert "\n  alpha of the grade           −0." in text
    assert "\n  weighted kappa of the grade   0.000" in text


def test_the_text_says_why_a_figure_is_missing_and_what_was_left_out():
    text = report([person(None, "p", 1), person("q", "p", 1), person("q", "p", 0)]).to_text()
    assert "same winner                       –  no unit was judged twice" in text
    assert text.endswith(
        "\nLeft out, their question or voter is not known: 1.\n"
        "\nReplaced by a later vote of the same voter: 1.\n"
    )
