"""Every refusal has a sentence in the languages of the pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from arena.errors import RequestError

ROOT = Path(__file__).parents[2]


def slugs(error: type[RequestError] = RequestError) -> Iterator[str]:
    yield error.slug
    for narrower in error.__subclasses__():
        yield from slugs(narrower)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_problem_type_has_words_and_no_words_are_left_over(language: str) -> None:
    texts = json.loads((ROOT / f"static/i18n/{language}.json").read_text(encoding="utf-8"))
    prefix = "error.type."
    worded = {key.removeprefix(prefix) for key in texts if key.startswith(prefix)}
    assert worded == {*slugs(), "internal-error"}
