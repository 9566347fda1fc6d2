"""The English and the Chinese catalogue, held against each other and against their uses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from arena.battle import FINISH_REASONS, Grade
from arena.boards import METHODS

ROOT = Path(__file__).parents[2]
LANGUAGES = ("en", "zh")
CATALOGUES: dict[str, dict[str, str]] = {
    language: json.loads((ROOT / f"static/i18n/{language}.json").read_text(encoding="utf-8"))
    for language in LANGUAGES
}
USERS = [
    *sorted((ROOT / "arena/templates").rglob("*.html")),
    ROOT / "arena/templates/feed.xml",
    *sorted((ROOT / "static/js").glob("*")),
    *(
        ROOT / "arena" / name
        for name in ("figures.py", "views/events.py", "views/figures.py", "views/gallery.py")
    ),
]

# t("key"), and t("prefix." + name) in scripts or t('prefix.' ~ name) in templates
CALL = re.compile(r"""\bt\(\s*(["'])(?P<key>[\w.-]+)\1\s*(?P<joined>[~+])?""")
# a key that is chosen first and looked up later stands alone in quotes
NAMESPACES = "|".join(sorted({key.split(".")[0] for key in CATALOGUES["en"]}))
CHOSEN = re.compile(
    rf"""(["'])(?P<key>(?:{NAMESPACES})\.[\w.-]*\w)(?<!\.html)(?<!\.js)\1(?!\s*[~+])"""
)


def uses() -> tuple[set[str], set[str]]:
    """The keys that templates and scripts name, and the prefixes that they complete later."""
    keys: set[str] = set()
    prefixes: set[str] = set()
    for path in USERS:
        text = path.read_text(encoding="utf-8")
        keys |= {chosen["key"] for chosen in CHOSEN.finditer(text)}
        for call in CALL.finditer(text):
            (prefixes if call["joined"] else keys).add(call["key"])
    return keys, prefixes


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_both_languages_have_the_same_keys_in_the_same_order() -> None:
    assert list(CATALOGUES["en"]) == list(CATALOGUES["zh"])


@pytest.mark.parametrize("key", CATALOGUES["en"])
def test_a_text_has_the_same_placeholders_in_both_languages(key: str) -> None:
    assert placeholders(CATALOGUES["en"][key]) == placeholders(CATALOGUES["zh"][key])


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_empty(language: str) -> None:
    assert [key for key, text in CATALOGUES[language].items() if not text.strip()] == []


def test_every_key_that_a_page_uses_exists() -> None:
    keys, prefixes = uses()
    assert len(keys) > 100, "the pattern no longer finds the uses"
    assert keys - CATALOGUES["en"].keys() == set()
    for prefix in prefixes:
        assert any(key.startswith(prefix) for key in CATALOGUES["en"]), prefix


def test_every_text_is_used() -> None:
    keys, prefixes = uses()
    unused = CATALOGUES["en"].keys() - keys
    assert {key for key in unused if not key.startswith(tuple(prefixes))} == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_grade_unusual_finish_and_method_has_words(language: str) -> None:
    texts = CATALOGUES[language]
    assert {key for key in texts if key.startswith("grade.")} == {f"grade.{g.name}" for g in Grade}
    assert {key for key in texts if key.startswith("finish.")} == {
        f"finish.{reason}" for reason in FINISH_REASONS - {"stop"}
    }
    assert {key for key in texts if key.startswith("board.method.")} == {
        f"board.method.{method}" for method in METHODS if method != "auto"
    }


def test_the_grades_are_worded_as_agreed() -> None:
    words = {
        language: [CATALOGUES[language][f"grade.{g.name}"] for g in Grade] for language in LANGUAGES
    }
    assert words == {
        "en": ["A much better", "A better", "Tie", "B better", "B much better"],
        "zh": ["A 好很多", "A 略好", "平局", "B 略好", "B 好很多"],
    }
