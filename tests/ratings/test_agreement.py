"""Agreement statistics, against published examples and the definitions written out slowly."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratings.agreement import (
    NO_VARIETY,
    NOT_COMPARED,
    Agreement,
    alpha,
    kappa,
    pair_agreement,
    raw_agreement,
)
from ratings.errors import BadComparisons, BadParameter

METRICS = ("nominal", "ordinal", "interval")
WEIGHTS = ("none", "linear", "quadratic")
MISSING = math.nan

# Krippendorff (2011), section E: four observers, twelve units, some missing
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, MISSING, MISSING, MISSING],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, MISSING, 3],
    [MISSING, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, MISSING],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, MISSING],
]
PATHOLOGISTS = [[22, 2, 2, 0], [5, 7, 14, 0], [0, 2, 36, 0], [0, 1, 17, 10]]  # Agresti, table 11.8


def long(table):
    """Units and values of a table with one row per rater."""
    values = np.array(table, dtype=np.float64)
    return np.tile(np.arange(values.shape[1]), len(values)), values.ravel()


def rows(table):
    """The two raters' categories from a table of counts."""
    first, second = np.indices(np.shape(table))
    times = np.ravel(table)
    return np.repeat(first.ravel(), times), np.repeat(second.ravel(), times)


def simulated(rng, n_units, noise, raters=5):
    """Five-step ratings of units by up to `raters` each: a common opinion and everyone's own."""
    size = rng.integers(1, raters + 1, n_units)
    unit = np.repeat(np.arange(n_units), size)
    opinion = rng.normal(size=n_units)[unit] + noise * rng.normal(size=len(unit))
    return unit, np.digitize(opinion, [-1.2, -0.4, 0.4, 1.2])


# --- slow references ----------------------------------------------------------------------------


def slow_alpha(unit, value, metric):
    """Krippendorff (2011) to the letter, by the coincidence matrix."""
    by_unit = defaultdict(list)
    for u, v in zip(unit.tolist(), value.tolist(), strict=True):
        if not math.isnan(v):
            by_unit[u].append(v)
    coincidences = Counter()
    for ratings in by_unit.values():
        for pair in permutations(ratings, 2):
            coincidences[pair] += 1 / (len(ratings) - 1)
    frequency = Counter()
    for (c, _), times in coincidences.items():
        frequency[c] += times
    n = sum(frequency.values())

    def difference(c, k):
        if metric == "nominal":
            return c != k
        if metric == "interval":
            return (c - k) ** 2
        between = sum(times for g, times in frequency.items() if min(c, k) <= g <= max(c, k))
        return (between - (frequency[c] + frequency[k]) / 2) ** 2

    observed = sum(times * difference(*pair) for pair, times in coincidences.items())
    expected = sum(
        frequency[c] * frequency[k] * difference(c, k) for c in frequency for k in frequency
    )
    return 1 - (n - 1) * observed / expected


def slow_kappa(first, second, weights):
    """Cohen (1968): weighted disagreement over that of every rating with every other's."""
    power = {"none": 0, "linear": 1, "quadratic": 2}[weights]

    def weight(i, j):
        return 0 if i == j else abs(i - j) ** power

    observed = sum(weight(i, j) for i, j in zip(first, second, strict=True)) / len(first)
    expected = sum(weight(i, j) for i in first for j in second) / len(first) ** 2
    return 1 - observed / expected


def slow_pair_agreement(unit, value):
    pairs = [
        v == w
        for (u, v), (t, w) in combinations(zip(unit, value, strict=True), 2)
        if u == t and not math.isnan(v) and not math.isnan(w)
    ]
    return sum(pairs) / len(pairs)


def jackknife(figure, unit, value):
    """Standard error from leaving out every unit in turn."""
    units = np.unique(unit)
    without = np.array([figure(unit[unit != u], value[unit != u]).value for u in units])
    n = len(units)
    return math.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2))


def coverage(found, truth):
    return np.mean([figure.lower <= truth <= figure.upper for figure in found])


# --- published examples -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_is_that_of_krippendorffs_example(metric, published):
    found = alpha(*long(OBSERVERS), metric)
    assert found.value == pytest.approx(published, abs=5e-4)
    assert found.units == 11  # the last one has a single rating


@pytest.mark.parametrize(
    ("one", "other", "published"),
    [("0100000010", "1110010000", 0.095), ("aabbdcccedda", "babbbccceddd", 0.692)],
)
def test_alpha_of_two_observers_is_that_of_krippendorffs_examples(one, other, published):
    found = alpha(*long([[ord(c) for c in one], [ord(c) for c in other]]), "nominal")
    assert found.value == pytest.approx(published, abs=5e-4)


def test_kappa_is_that_of_agrestis_pathologists():
    found = kappa(*rows(PATHOLOGISTS))
    assert found.value == pytest.approx(0.493, abs=5e-4)
    assert found.se == pytest.approx(0.057, abs=5e-4)
    assert found.units == 118


def test_kappa_is_that_of_fleiss_psychiatrists():
    found = kappa(*rows([[75, 1, 4], [5, 4, 1], [0, 0, 10]]))
    assert found.value == pytest.approx(0.68, abs=5e-3)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_standard_error_of_kappa_is_that_of_fleiss_cohen_and_everitt(weights):
    """Their equation 13 in agreement weights, for n − 1 instead of n."""
    p = np.array(PATHOLOGISTS) / 118
    i, j = np.indices(p.shape)
    away = (i != j) if weights == "none" else np.abs(i - j) ** (1 + (weights == "quadratic"))
    w = 1 - away / away.max()
    one, other = p.sum(axis=1), p.sum(axis=0)
    agreed, by_chance = np.sum(p * w), one @ w @ other
    marginal = (w @ other)[:, None] + one @ w
    square = (w * (1 - by_chance) - marginal * (1 - agreed)) ** 2
    spread = np.sum(p * square) - (agreed * by_chance - 2 * by_chance + agreed) ** 2
    expected = math.sqrt(spread / 117) / (1 - by_chance) ** 2
    assert kappa(*rows(PATHOLOGISTS), weights=weights).se == pytest.approx(expected)


# --- fast and slow ------------------------------------------------------------------------------

RATINGS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0, MISSING])),
    min_size=1,
    max_size=40,
)
PAIRS = st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=40)


def columns(ratings):
    unit, value = zip(*ratings, strict=True)
    return np.array(unit), np.array(value)


@pytest.mark.parametrize("metric", METRICS)
@given(RATINGS)
@settings(deadline=None)
def test_alpha_is_the_one_of_the_coincidence_matrix(metric, ratings):
    unit, value = columns(ratings)
    found = alpha(unit, value, metric)
    if found.undefined is None:
        assert found.value == pytest.approx(slow_alpha(unit, value, metric), abs=1e-12)
    else:
        with pytest.raises(ZeroDivisionError):
            slow_alpha(unit, value, metric)


@pytest.mark.parametrize("weights", WEIGHTS)
@given(PAIRS)
@settings(deadline=None)
def test_kappa_is_the_one_of_the_definition(weights, pairs):
    first, second = zip(*pairs, strict=True)
    found = kappa(first, second, weights=weights)
    if found.undefined is None:
        assert found.value == pytest.approx(slow_kappa(first, second, weights), abs=1e-12)
    else:
        with pytest.raises(ZeroDivisionError):
            slow_kappa(first, second, weights)


@given(RATINGS)
@settings(deadline=None)
def test_pair_agreement_is_the_share_of_equal_pairs(ratings):
    found = pair_agreement(*columns(ratings))
    if found.undefined is None:
        assert found.value == pytest.approx(slow_pair_agreement(*columns(ratings)))
    else:
        with pytest.raises(ZeroDivisionError):
            slow_pair_agreement(*columns(ratings))


@pytest.mark.parametrize("metric", [*METRICS, "pairs"])
@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_the_standard_error_is_that_of_leaving_out_every_unit_in_turn(metric, noise):
    unit, value = simulated(np.random.default_rng(7), 250, noise)

    def figure(u, v):
        return pair_agreement(u, v) if metric == "pairs" else alpha(u, v, metric)

    assert figure(unit, value).se == pytest.approx(jackknife(figure, unit, value), rel=0.015)


# --- intervals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n_units", "noise"), [(30, 0.7), (300, 0.3), (100, 2.5)])
def test_alpha_is_covered_as_often_as_the_level_says(metric, n_units, noise):
    rng = np.random.default_rng(20261122)
    truth = alpha(*simulated(rng, 200_000, noise), metric).value
    found = [alpha(*simulated(rng, n_units, noise), metric) for _ in range(800)]
    assert coverage(found, truth) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_kappa_is_covered_as_often_as_the_level_says(weights):
    rng = np.random.default_rng(20261122)
    p = np.array(PATHOLOGISTS).ravel() / 118
    truth = kappa(*rows(PATHOLOGISTS), weights=weights).value
    found = [
        kappa(*rows(rng.multinomial(60, p).reshape(4, 4)), weights=weights) for _ in range(800)
    ]
    assert coverage(found, truth) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("n", [2, 3, 10, 1000])
def test_perfect_agreement_is_bounded_below_as_by_clopper_and_pearson(n):
    found = raw_agreement([1] * n, [1] * n)
    assert (found.value, found.upper, found.se) == (1, 1, 0)
    assert found.lower == pytest.approx(0.025 ** (1 / n))


def test_complete_disagreement_is_bounded_above_as_by_clopper_and_pearson():
    found = raw_agreement([1] * 10, [2] * 10)
    assert (found.value, found.lower) == (0, 0)
    assert found.upper == pytest.approx(1 - 0.025 ** (1 / 10))


@pytest.mark.parametrize("metric", METRICS)
def test_a_few_units_in_perfect_agreement_claim_no_certainty(metric):
    found = alpha([0, 0, 1, 1, 2, 2], [0.1, 0.1, 0.2, 0.2, 0.7, 0.7], metric)
    assert (found.value, found.upper) == (1, 1)
    assert found.lower == pytest.approx(0.025 ** (1 / 3))


def test_one_unit_says_nothing_about_others():
    found = pair_agreement([4, 4, 4], [1, 1, 2])
    assert found.value == pytest.approx(1 / 3)
    assert math.isnan(found.se)
    assert (found.lower, found.upper, found.units) == (0, 1, 1)


def test_a_higher_level_makes_a_wider_interval():
    narrow, wide = (kappa(*rows(PATHOLOGISTS), level=level) for level in (0.8, 0.99))
    assert wide.lower < narrow.lower < narrow.value < narrow.upper < wide.upper


@pytest.mark.parametrize("metric", METRICS)
def test_copies_of_a_unit_in_one_cluster_do_not_narrow_the_interval(metric):
    unit, value = simulated(np.random.default_rng(3), 400, 0.5)
    once = alpha(unit, value, metric)
    twice = alpha(
        np.concatenate([unit, unit + 400]),
        np.tile(value, 2),
        metric,
        cluster=np.tile(unit, 2),
    )
    assert twice.units == once.units
    assert twice.se == pytest.approx(once.se, rel=2e-3)


def test_copies_of_a_row_in_one_cluster_change_nothing():
    first, second = rows(PATHOLOGISTS)
    once = kappa(first, second, weights="linear")
    twice = kappa(
        np.tile(first, 2), np.tile(second, 2), weights="linear", cluster=np.tile(np.arange(118), 2)
    )
    assert same(once, twice)
    assert same(
        raw_agreement(first, second),
        raw_agreement(np.tile(first, 2), np.tile(second, 2), cluster=np.tile(np.arange(118), 2)),
    )


# --- invariances --------------------------------------------------------------------------------


def same(one: Agreement, other: Agreement) -> bool:
    figures = ("value", "lower", "upper", "se")
    return (one.units, one.undefined) == (other.units, other.undefined) and np.allclose(
        [getattr(one, name) for name in figures],
        [getattr(other, name) for name in figures],
        rtol=1e-6,
        atol=1e-7,
        equal_nan=True,
    )


@given(RATINGS, st.permutations([-2.0, -1.0, 0.0, 1.0, 2.0]))
@settings(deadline=None)
def test_names_of_categories_do_not_matter_to_the_nominal_figures(ratings, names):
    unit, value = columns(ratings)
    renamed = np.where(
        np.isnan(value), value, np.array(names)[np.nan_to_num(value).astype(int) + 2]
    )
    assert same(alpha(unit, value, "nominal"), alpha(unit, renamed, "nominal"))
    assert same(pair_agreement(unit, value), pair_agreement(unit, renamed))


@pytest.mark.parametrize("metric", METRICS)
@given(st.data())
@settings(deadline=None)
def test_the_order_of_ratings_and_the_names_of_units_do_not_matter(metric, data):
    ratings = data.draw(RATINGS)
    shuffled = data.draw(st.permutations(ratings))
    unit, value = columns(shuffled)
    assert same(alpha(*columns(ratings), metric), alpha(1000 - 7 * unit, value, metric))


@given(RATINGS, st.sampled_from([-3.0, 0.5, 100.0]), st.integers(-1000, 1000))
@settings(deadline=None)
def test_scale_and_origin_do_not_matter_to_the_interval_alpha(ratings, scale, origin):
    unit, value = columns(ratings)
    assert same(alpha(unit, value, "interval"), alpha(unit, scale * value + origin, "interval"))


@given(RATINGS)
@settings(deadline=None)
def test_only_the_order_of_categories_matters_to_the_ordinal_alpha(ratings):
    unit, value = columns(ratings)
    found = alpha(unit, value, "ordinal")
    assert same(found, alpha(unit, np.exp(3 * value), "ordinal"))
    assert same(found, alpha(unit, -value, "ordinal"))


@pytest.mark.parametrize("metric", METRICS)
@given(RATINGS)
@settings(deadline=None)
def test_units_with_one_rating_do_not_matter(metric, ratings):
    unit, value = columns(ratings)
    more = alpha(np.append(unit, [90, 91]), np.append(value, [7.0, MISSING]), metric)
    assert same(alpha(unit, value, metric), more)


@pytest.mark.parametrize("weights", WEIGHTS)
@given(PAIRS)
@settings(deadline=None)
def test_which_rater_comes_first_does_not_matter_to_kappa(weights, pairs):
    first, second = zip(*pairs, strict=True)
    found = kappa(first, second, weights=weights)
    assert same(found, kappa(second, first, weights=weights))
    assert same(found, kappa(3 * np.array(first) + 5, 3 * np.array(second) + 5, weights=weights))


def test_a_step_over_an_unused_category_counts_as_two():
    with_gap = kappa([0, 2, 4, 4], [0, 2, 4, 2], weights="linear")
    assert with_gap.value == pytest.approx(slow_kappa([0, 2, 4, 4], [0, 2, 4, 2], "linear"))
    uneven = kappa([0, 1, 4, 4], [0, 1, 4, 1], weights="linear")
    assert uneven.value != pytest.approx(with_gap.value)


# --- edges --------------------------------------------------------------------------------------

NOTHING = [
    raw_agreement([], []),
    kappa([], []),
    pair_agreement([], []),
    pair_agreement([0, 1, 2], [1, 1, 2]),
    alpha([], [], "ordinal"),
    alpha([0, 1, 2], [1, 1, 2], "interval"),
    alpha([0, 0, 1, 1], [1, MISSING, MISSING, 2], "nominal"),
]


@pytest.mark.parametrize("found", NOTHING)
def test_without_a_unit_judged_twice_everything_is_undefined(found):
    assert found.undefined == NOT_COMPARED
    assert found.units == 0
    assert all(math.isnan(x) for x in (found.value, found.lower, found.upper, found.se))


@pytest.mark.parametrize("metric", METRICS)
def test_alpha_of_one_category_is_undefined(metric):
    assert alpha([0, 0, 1, 1], [0.1] * 4, metric).undefined == NO_VARIETY
    assert pair_agreement([0, 0, 1, 1], [0.1] * 4).value == 1


@pytest.mark.parametrize("weights", WEIGHTS)
def test_kappa_of_one_category_is_undefined(weights):
    assert kappa([3, 3, 3], [3, 3, 3], weights=weights).undefined == NO_VARIETY


@pytest.mark.parametrize("weights", WEIGHTS)
def test_kappa_beside_a_rater_who_always_says_the_same_is_zero(weights):
    assert kappa([1, 1, 1, 1], [0, 1, 2, 1], weights=weights).value == pytest.approx(0)


def test_opposite_raters_agree_less_than_chance_would():
    assert kappa([0, 1, 0, 1], [1, 0, 1, 0]).value == -1


def test_continuous_ratings_need_no_matrix_of_their_values():
    rng = np.random.default_rng(1)
    unit = np.repeat(np.arange(50_000), 2)
    value = rng.normal(size=50_000)[unit] + rng.normal(size=100_000)
    assert alpha(unit, value, "interval").value == pytest.approx(0.5, abs=0.02)
    assert alpha(unit, value, "ordinal").value == pytest.approx(0.48, abs=0.02)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: alpha([0, 0], [1], "nominal"), "differ in length: 2, 1"),
        (lambda: alpha([0, 0], [1, 2], "nominal", cluster=[0]), "differ in length"),
        (lambda: alpha([0.0, 0.0], [1, 2], "nominal"), "unit must be an array of integers"),
        (lambda: alpha([0, 0], ["a", "b"], "nominal"), "value must be an array of numbers"),
        (lambda: alpha([[0, 0]], [1, 2], "nominal"), "unit must have one dimension, not 2"),
        (lambda: kappa([0, 0], [1]), "differ in length"),
        (lambda: raw_agreement([0, 0], [1, 1], cluster=[0]), "differ in length"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(call, words):
    with pytest.raises(BadComparisons, match=words):
        call()


def test_a_rating_that_is_not_finite_is_refused_with_its_row():
    with pytest.raises(BadComparisons, match="value is inf, it must be finite") as caught:
        alpha([0, 0, 0], [1, 2, math.inf], "interval")
    assert caught.value.row == 2
    with pytest.raises(BadComparisons, match="second is nan, it must be finite") as caught:
        kappa([1, 2], [1, MISSING])
    assert caught.value.row == 1


def test_unknown_options_are_refused():
    with pytest.raises(BadParameter, match="metric must be nominal, ordinal or interval"):
        alpha([0, 0], [1, 2], "ratio")
    with pytest.raises(BadParameter, match="weights must be none, linear or quadratic"):
        kappa([0, 1], [1, 1], weights="cubic")
    with pytest.raises(BadParameter, match="same cluster"):
        alpha([0, 0], [1, 2], "nominal", cluster=[0, 1])


@pytest.mark.parametrize("level", [0.0, 1.0, MISSING])
@pytest.mark.parametrize("first", [[], [0, 1]])
def test_a_level_that_is_no_probability_is_refused(level, first):
    with pytest.raises(BadParameter, match="between 0 and 1"):
        kappa(first, first, level=level)
