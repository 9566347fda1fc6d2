"""How far a bag of words tells models apart: numerics only, texts in, figures out.

The reader who is to be kept blind sees a battle, and may know which two models play, but not on
which side. The classifier is fitted to that very question. Every model m has a weight for each
word, side a is held to be the first model with probability σ((w_first − w_second)·(x_a − x_b)),
and the weights maximise the likelihood of the true sides less a ridge. As both answers are to the
same prompt, its topic cancels out of x_a − x_b. (This is conditional logistic regression, McFadden
1974; bags of words as detectors of models: Huang et al., ICML 2025, arXiv:2501.07493.) Its cost
does not grow with the number of models.

Every figure is of answers to prompts that the weights were not fitted to, and its interval lets
battles on the same prompt depend on each other.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.sparse import csr_array, diags_array
from scipy.special import expit, stdtrit
from scipy.stats import rankdata

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FOLDS = 5
RIDGE = 0.3
"""Chosen on answers of the demo's models (`scripts/blindness.py`): from 0.03 to 1 it hardly
matters."""

LEVEL = 0.95
BUCKETS = 2**22
MOST_WORDS = 2**15
MOST_WEIGHTS = 2**21
"""Words times models: the fit holds some ten arrays of so many numbers."""

_LEAST_TEXTS = 5
_LONGEST = 40
_TOLERANCE = 1e-5  # a step of so much for a weight, on average, is the last
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# words, single characters of scripts without spaces, punctuation and markup, ends of lines
_WORD = re.compile(rf"\n+|[{_CJK}]|[^\W_{_CJK}]+(?:['’][^\W_{_CJK}]+)*|[^\w\s]|_")


# --- texts --------------------------------------------------------------------------------------


def terms(text: str) -> Iterator[str]:
    """The words of a text, then its pairs of neighbours, which a space joins.

    Words are in small letters. Single characters of Chinese and Japanese, marks and ends of lines
    are words too. What cannot be printed is not a word, and neither is what is very long.
    """
    words = [
        word
        for word in _WORD.findall(text.lower())
        if len(word) <= _LONGEST and (word.isprintable() or word[0] == "\n")
    ]
    yield from words
    for first, second in pairwise(words):
        yield f"{first} {second}"


def bucket(term: str) -> int:
    """The column of a term, alike on every machine. Rare terms may share one."""
    return zlib.crc32(term.encode()) % BUCKETS


@dataclass(frozen=True, slots=True)
class Bags:
    """Texts as rows of weighted words.

    `x` [n, d] has rows of length 1, before rare words were left out; `columns` [d] are
    the buckets of its columns.
    """

    x: csr_array
    columns: IntArray


def bags(texts: Iterable[str], most: int = MOST_WORDS) -> Bags:
    """Count the terms of texts; at most so many columns are kept, those of the most texts.

    A count enters as log(1 + count). What is frequent weighs no less than what is rare: style is in
    the small words (on the demo's models this told the pair in 99 %, tf-idf in 98 %).
    """
    found, counts = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    for text in texts:
        hashed = np.fromiter(map(bucket, terms(text)), dtype=np.int32)
        buckets, count = np.unique(hashed, return_counts=True)
        found.append(buckets)
        counts.append(np.log1p(count, dtype=np.float32))
    ends = np.cumsum([len(buckets) for buckets in found])
    buckets, values = np.concatenate(found), np.concatenate(counts)
    n = len(ends) - 1
    seen = np.bincount(buckets, minlength=BUCKETS)
    x = csr_array((values, buckets, ends), shape=(n, BUCKETS))
    frequent = np.flatnonzero(seen >= _LEAST_TEXTS)
    columns = np.sort(frequent[np.argsort(-seen[frequent], kind="stable")[:most]])
    length = np.sqrt(x.power(2).sum(axis=1, dtype=np.float64))
    scale = diags_array(1 / np.maximum(length, np.finfo(np.float64).tiny))
    return Bags(csr_array(scale @ x[:, columns]), columns)


# --- figures ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure from 0 to 1 with its 95 % interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Recognised:
    """How well one model was recognised; ½ is blind in both figures.

    `told_pair` is the share of its battles in which the side was named rightly. An opponent counts
    as often as it was met. `auc` is the probability that an answer of this model looks more like it
    than an answer of another does.
    """

    told_pair: Estimate
    auc: Estimate


@dataclass(frozen=True, slots=True)
class Recognition:
    """All models together, each by itself, and what gave them away.

    `evidence` [models, d]: how much a column's weight told of a model, on average over its answers
    against those of others; positive where the model is known by using the word.
    """

    told_pair: Estimate
    models: tuple[Recognised, ...]
    evidence: FloatArray


def recognise(
    given: Bags,
    model: npt.ArrayLike,
    prompt: npt.ArrayLike,
    *,
    seed: int,
    progress: Callable[[int], object] = lambda _: None,
) -> Recognition:
    """Fit and test the classifier on n battles.

    Rows 2i and 2i + 1 of `given.x` are sides a and b of battle i, `model` [n, 2] their models from
    0 on, every one of which has a battle, `prompt` [n] integers that tell prompts apart. Battles on
    one prompt are in the same fold. `progress` is told of each fit, `FOLDS` + 1 in all.
    Raises `ValueError` for fewer prompts than folds.
    """
    models, group = np.asarray(model, dtype=np.int64), np.asarray(prompt, dtype=np.int64)
    fold = _folds(group, seed)
    count = int(models.max()) + 1
    scores = np.zeros((2 * len(models), count))
    for number in range(FOLDS):
        is_tested = fold == number
        weights = _fit(_between(given.x, ~is_tested), models[~is_tested], count)
        rows = np.repeat(is_tested, 2)
        scores[rows] = given.x[rows] @ weights.T
        progress(1)
    right = _told(scores, models)
    scores -= scores.mean(axis=1, keepdims=True)
    author, both, folds = models.ravel(), np.repeat(group, 2), np.repeat(fold, 2)
    recognised = tuple(
        Recognised(
            told_pair=share(right[played], group[played]),
            auc=auc(scores[:, place], author == place, both, folds),
        )
        for place in range(count)
        for played in [(models == place).any(axis=1)]
    )
    weights = _fit(_between(given.x, np.ones(len(models), bool)), models, count)
    progress(1)
    return Recognition(share(right, group), recognised, _evidence(given.x, author, weights))


def _folds(group: IntArray, seed: int) -> IntArray:
    """A fold for each battle: whole prompts, dealt so that folds are about equally large."""
    _, code, size = np.unique(group, return_inverse=True, return_counts=True)
    if len(size) < FOLDS:
        raise ValueError(f"{len(size)} prompts are too few for {FOLDS} folds")
    shuffled = np.random.default_rng(seed).permutation(len(size))
    fold_of, filled = np.zeros(len(size), np.int64), np.zeros(FOLDS, np.int64)
    for one in shuffled[np.argsort(-size[shuffled], kind="stable")]:
        fold_of[one] = filled.argmin()
        filled[fold_of[one]] += size[one]
    return fold_of[code]


def _between(x: csr_array, battles: npt.NDArray[np.bool_]) -> csr_array:
    """What side a of these battles says more than side b."""
    return csr_array(x[::2][battles] - x[1::2][battles])


def _fit(difference: csr_array, models: IntArray, count: int) -> FloatArray:
    """The weights [count, d] that maximise the penalised likelihood."""
    columns = difference.shape[1]
    first, second = (_at(difference, models[:, side] * columns, count) for side in (0, 1))

    def lead(weights: FloatArray) -> FloatArray:
        ahead: FloatArray = first @ weights - second @ weights
        return ahead

    def loss(weights: FloatArray) -> float:
        return float(np.logaddexp(0, -lead(weights)).sum() + RIDGE / 2 * (weights @ weights))

    def gradient(weights: FloatArray) -> FloatArray:
        push = expit(-lead(weights))
        slope: FloatArray = RIDGE * weights - first.T @ push + second.T @ push
        return slope

    def curvature(weights: FloatArray, along: FloatArray) -> FloatArray:
        unsure = expit(lead(weights))
        bend = unsure * (1 - unsure) * lead(along)
        curved: FloatArray = RIDGE * along + first.T @ bend - second.T @ bend
        return curved

    found = minimize(
        loss,
        np.zeros(count * columns),
        jac=gradient,
        hessp=curvature,
        method="Newton-CG",
        options={"xtol": _TOLERANCE},
    )
    fitted: FloatArray = found.x.reshape(count, columns)
    return fitted


def _at(rows: csr_array, place: IntArray, blocks: int) -> csr_array:
    """The rows in a wider array: row i begins at column `place[i]`. The numbers are shared."""
    indices = rows.indices + np.repeat(place, np.diff(rows.indptr)).astype(np.int32)
    shape = (rows.shape[0], blocks * rows.shape[1])
    return csr_array((rows.data, indices, rows.indptr), shape=shape)


def _told(scores: FloatArray, models: IntArray) -> FloatArray:
    """For each battle 1 where its sides were named rightly, ½ where nothing told them apart."""
    first, second = models.T
    battle = np.arange(len(models))
    side_a, side_b = scores[::2], scores[1::2]
    lead = side_a[battle, first] - side_a[battle, second]
    lead -= side_b[battle, first] - side_b[battle, second]
    right: FloatArray = (lead > 0) + (lead == 0) / 2
    return right


def _evidence(x: csr_array, author: IntArray, weights: FloatArray) -> FloatArray:
    own = np.stack([x[author == place].mean(axis=0) for place in range(len(weights))])
    answers = np.bincount(author)[:, None]
    others = (answers * own).sum(axis=0) - answers * own
    others /= np.maximum(len(author) - answers, 1)
    told: FloatArray = (own - others) * np.maximum(weights - weights.mean(axis=0), 0)
    return told


# --- intervals ----------------------------------------------------------------------------------


def share(right: FloatArray, group: IntArray) -> Estimate:
    """The mean of `right` [n]; those of one group depend on each other."""
    value = float(right.mean())
    return _estimate(value, (right - value) / len(right), group)


def auc(score: FloatArray, own: npt.NDArray[np.bool_], group: IntArray, fold: IntArray) -> Estimate:
    """The area under the ROC curve, of pairs of answers within a fold.

    Scores of two folds are not compared: they come from different weights. Variance by placements
    (DeLong et al. 1988), summed by prompt (Obuchowski 1997).
    """
    placed, weight = np.zeros(len(score)), np.zeros(len(score))
    for number in range(FOLDS):
        mine, others = (
            np.flatnonzero(own & (fold == number)),
            np.flatnonzero(~own & (fold == number)),
        )
        if not len(mine) or not len(others):
            continue
        rank = rankdata(score[np.concatenate([mine, others])])
        placed[mine] = (rank[: len(mine)] - rankdata(score[mine])) / len(others)
        placed[others] = 1 - (rank[len(mine) :] - rankdata(score[others])) / len(mine)
        weight[mine], weight[others] = len(others), len(mine)
    pairs = weight[own].sum()
    value = float((placed * weight)[own].sum() / pairs)
    return _estimate(value, (placed - value) * weight / pairs, group)


def _estimate(value: float, influence: FloatArray, group: IntArray) -> Estimate:
    """Wilson's interval with the number of independent draws that the clustered variance stands
    for, and Student's t by the number of prompts (Dean & Pagano 2015). Where nothing varies, every
    prompt is one draw."""
    _, code = np.unique(group, return_inverse=True)
    sums = np.bincount(code, influence)
    prompts = len(sums)
    variance = float(sums @ sums) * prompts / max(prompts - 1, 1)
    spread = value * (1 - value)
    draws = min(spread / variance, len(group)) if variance > 0 and spread > 0 else prompts
    t = float(stdtrit(max(prompts - 1, 1), (1 + LEVEL) / 2))
    middle = (value + t * t / (2 * draws)) / (1 + t * t / draws)
    half = t * np.sqrt(spread / draws + (t / draws) ** 2 / 4) / (1 + t * t / draws)
    return Estimate(
        value, float(min(max(middle - half, 0), value)), float(max(min(middle + half, 1), value))
    )


def strongest(evidence: FloatArray, most: int) -> Sequence[IntArray]:
    """For each model its columns with the most evidence, the first one first."""
    ordered = np.argsort(-evidence, axis=1, kind="stable")[:, :most]
    return [row[evidence[place, row] > 0] for place, row in enumerate(ordered)]
