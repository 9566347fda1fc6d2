"""The reader's language and the catalogue of texts, shared with the browser's code."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from flask import Response, g, request

from arena.views.context import services

STATIC = Path(__file__).parents[2] / "static"
LANGUAGES = ("en", "zh")
COOKIE = "arena_lang"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@cache
def catalogue(lang: str) -> dict[str, str]:
    texts: dict[str, str] = json.loads((STATIC / "i18n" / f"{lang}.json").read_text("utf-8"))
    return texts


def text(lang: str, key: str, **values: Any) -> str:
    """The text of a key, its `{name}` placeholders filled. A missing key is a defect: KeyError."""
    return catalogue(lang)[key].format_map(values) if values else catalogue(lang)[key]


def language() -> str:
    """By `?lang=`, else the cookie, else the browser's wish."""
    for wish in (request.args.get("lang"), request.cookies.get(COOKIE)):
        if wish in LANGUAGES:
            return wish
    return request.accept_languages.best_match(LANGUAGES, "en")


def day(lang: str, at: str) -> str:
    """The day of a time as this language writes it, in UTC."""
    time = datetime.fromisoformat(at).astimezone(UTC)
    if lang == "zh":
        return f"{time.year}年{time.month}月{time.day}日"
    return f"{time.day} {_MONTHS[time.month - 1]} {time.year}"


def moment(lang: str, at: str) -> str:
    """A time as this language writes it, in UTC."""
    time = datetime.fromisoformat(at).astimezone(UTC)
    return f"{day(lang, at)}{' ' if lang == 'zh' else ', '}{time:%H:%M} UTC"


def template_words() -> dict[str, Any]:
    """What every template needs to speak."""
    lang = language()
    return {
        "lang": lang,
        "other_lang": "en" if lang == "zh" else "zh",
        "t": partial(text, lang),
        "moment": partial(moment, lang),
    }


def remember(response: Response) -> Response:
    """Keep a language chosen by link."""
    if request.args.get("lang") in LANGUAGES and "lang_kept" not in g:
        g.lang_kept = True
        response.set_cookie(
            COOKIE,
            language(),
            max_age=365 * 24 * 3600,
            httponly=True,
            samesite="Lax",
            secure=services().settings.cookie_secure,
        )
    response.headers.add("Vary", "Accept-Language, Cookie")
    return response
