"""The classifier results of LMArena's published votes, in our keys.

`lmarena-ai/arena-human-preference-140k` has an object of classifier results as `category_tag`:
`{"math_v0.1": {"math": true}, "criteria_v0.1": {"specificity": true, …}, …}`. LMArena calls a
prompt hard that meets six of the seven criteria or more
(https://lmsys.org/blog/2024-05-17-category-hard).
"""

from __future__ import annotations

from collections.abc import Mapping

from arena.categories import hard, math, writing

HARD_FROM = 6

_FLAGS = {
    math.KEY: ("math_v0.1", "math"),
    writing.KEY: ("creative_writing_v0.1", "creative_writing"),
}
_CRITERIA = "criteria_v0.1"


def tags(results: Mapping[str, object]) -> tuple[str, ...]:
    """Our tags for such an object, in alphabetical order; what it has besides is passed over."""
    found = {key for key, (name, flag) in _FLAGS.items() if _part(results, name).get(flag) is True}
    if sum(value is True for value in _part(results, _CRITERIA).values()) >= HARD_FROM:
        found.add(hard.KEY)
    return tuple(sorted(found))


def _part(results: Mapping[str, object], name: str) -> Mapping[str, object]:
    part = results.get(name)
    return part if isinstance(part, Mapping) else {}
