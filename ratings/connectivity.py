"""What the votes can compare: components, and the tiers inside them.

Two models that no chain of votes joins have no common scale: they are in different *components*.
Inside a component, strengths are finite only where every model can be reached from every other by
a chain of wins or ties (Ford 1957, https://doi.org/10.2307/2308513). The largest sets with that
property are its *tiers*; between tiers every vote went one way, and the likelihood grows for ever
as they move apart. A model that won everything, or lost everything, is a tier of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from ratings.comparisons import BoolArray, IndexArray

_QUICK_STEPS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Connectivity:
    """Components and tiers of M models.

    `component` [M]: 0 is the one with most models, ties in order of the first model.
    `tier` [M]: tier of each model, 0 … K−1. A model without votes is a component of its own.
    `above` [K, K]: tier k beats tier l, directly or through others; False on the diagonal.
    `core` [K]: the tier has as many models as the largest of its component. A component's
    strengths are centred on the models of its core tiers, usually one tier that holds nearly all.
    """

    component: IndexArray
    tier: IndexArray
    above: BoolArray
    core: BoolArray

    @property
    def n_components(self) -> int:
        return int(self.component.max(initial=-1)) + 1

    @property
    def n_tiers(self) -> int:
        return len(self.core)

    def members(self, component: int) -> IndexArray:
        """Indices of the models of one component, ascending."""
        return np.flatnonzero(self.component == component)


def connectivity(scored: npt.NDArray[Any]) -> Connectivity:
    """Find components and tiers.

    `scored` [M, M] is not 0 where i scored against j: points, or whether there were any.
    """
    scored = scored > 0
    if _is_one_tier(scored):
        together = np.zeros(len(scored), dtype=np.intp)
        return Connectivity(together, together, np.zeros((1, 1), np.bool_), np.ones(1, np.bool_))
    edges: Any = csr_array(scored)
    n_tiers, tier = connected_components(edges, directed=True, connection="strong")
    component = _by_size(connected_components(edges, directed=False)[1])
    size = np.bincount(tier, minlength=n_tiers)
    component_of_tier = np.zeros(n_tiers, dtype=np.intp)
    component_of_tier[tier] = component
    largest = np.zeros(n_tiers, dtype=np.intp)
    np.maximum.at(largest, component_of_tier, size)
    return Connectivity(
        component=component,
        tier=tier.astype(np.intp),
        above=_closure(scored, tier, n_tiers),
        core=size == largest[component_of_tier],
    )


def _is_one_tier(scored: BoolArray) -> bool:
    """Whether a look at neighbours of neighbours already shows it; most boards are so."""
    if not len(scored):
        return False
    for edges in (scored, scored.T):
        reached = edges[0].copy()
        for _ in range(_QUICK_STEPS):
            reached |= edges[reached].any(axis=0)
        if not reached[1:].all():
            return False
    return True


def _by_size(labels: npt.NDArray[np.integer]) -> IndexArray:
    distinct, first, inverse, size = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    place = np.empty(len(distinct), dtype=np.intp)
    place[np.lexsort((first, -size))] = np.arange(len(distinct))
    return place[inverse]


def _closure(scored: BoolArray, tier: npt.NDArray[np.integer], n_tiers: int) -> BoolArray:
    above = np.zeros((n_tiers, n_tiers), dtype=np.float32)
    winner, loser = np.nonzero(scored)
    above[tier[winner], tier[loser]] = 1.0
    np.fill_diagonal(above, 0.0)
    while True:  # each squaring doubles the length of the chains that are covered
        longer = np.minimum(above + above @ above, 1.0)
        if np.array_equal(longer, above):
            return above > 0
        above = longer
