"""Who played when and by which rules: the log's dated records, as a page, a feed and an API."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, jsonify, render_template, request, url_for

from arena.errors import InvalidField
from arena.events import CHANGED, MADE, MODEL_TYPES
from arena.interfaces import Campaign
from arena.records import EVENT_TYPES, LogRow, Record
from arena.views import context, schemas
from arena.views.context import services
from arena.views.language import day, language, remember, template_words, text
from arena.views.openapi import operation

blueprint = Blueprint("changes", __name__)
blueprint.after_request(remember)
_log = logging.getLogger(__name__)

TYPES = (
    *("entry", "change", "retirement", "disclosure"),
    *("campaign", "method", "sealing", "sealed", "blindness"),
)
"""`EVENT_TYPES` in the order of menus."""

_LISTED, _MOST_LISTED = 100, 500
_ON_A_PAGE = 50
_CAMPAIGN_TEXTS = ("title", "description", "consent", "license", "credit", "source")
_CAMPAIGN_RULES = ("state", "public", "publish_text")
_HEADLINES = {
    "entry": "events.entry",
    "change": "events.change",
    "retirement": "events.retirement",
    "disclosure": "events.disclosure",
    "sealing": "events.sealing",
    "sealed": "events.sealed",
    "blindness": "events.blindness",
}
_ATOM = "application/atom+xml"

Words = Callable[..., str]
"""The text of a key in the reader's language."""


@dataclass(frozen=True, slots=True)
class Found:
    """Events newest first, what to give as `before` for older ones, and whose they are."""

    rows: Sequence[LogRow]
    older: int | None
    campaigns: Mapping[str, Campaign]


def _asked(limit: int) -> Found:
    """The events that the query asks for; raises `InvalidField` or `NotFound`."""
    kind, named = schemas.word("type"), schemas.word("campaign")
    if kind and kind not in EVENT_TYPES:
        raise InvalidField(f"'type' must be one of {', '.join(TYPES)}.", field="type")
    campaigns = [context.campaign(named)] if named else context.campaigns()
    known = {campaign.id: campaign for campaign in campaigns}
    types = [kind] if kind else EVENT_TYPES
    before = schemas.whole_number("before", 0) or None
    rows = services().store.votes.events(known, types, before=before, limit=limit + 1)
    older = rows[limit - 1].seq if limit and len(rows) > limit else None
    return Found(rows[:limit], older, known)


@blueprint.get("/api/log/events")
@operation(
    "Who entered, changed, retired or was disclosed, and by which rules: newest first",
    answers={200: schemas.EventsView},
    refusals=(404, 422, 503),
    query={
        "campaign": "Default: all that you may see.",
        "type": f"One of {', '.join(TYPES)}; default: all.",
        "before": "Only records before this seq.",
        "limit": f"At most so many, up to {_MOST_LISTED}; default {_LISTED}.",
    },
)
def listed() -> Response:
    found = _asked(min(schemas.whole_number("limit", _LISTED), _MOST_LISTED))
    return jsonify({"events": [_event(row) for row in found.rows], "next": found.older})


def _event(row: LogRow) -> dict[str, Any]:
    record = row.record
    return {
        "seq": row.seq,
        "id": record.id,
        "type": record.type,
        "at": record.timestamp,
        "campaign": record.campaign,
        "reason": record.reason,
        "data": record.data or {},
        "consent": record.consent,
    }


# --- for readers --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """An event in words: what happened, and what else there is to say."""

    row: LogRow
    headline: str
    more: Sequence[str]

    @property
    def urn(self) -> str:
        """A name of its own in all the world, as a feed needs it."""
        return UUID(self.row.hash[:32]).urn


def _told(found: Found) -> list[Told]:
    lang, told = language(), []
    for row in found.rows:
        campaign = found.campaigns[row.record.campaign]
        try:
            headline, *more = _sentences(row.record, campaign, lang, partial(text, lang))
        except Exception as error:  # noqa: BLE001  one odd record must not take the page away
            _log.error("the record at %s cannot be told: %r", row.seq, error)
            headline, more = text(lang, "events.odd"), []
        told.append(Told(row, headline, more))
    return told


def _sentences(record: Record, campaign: Campaign, lang: str, t: Words) -> Iterator[str]:
    """What happened, in plain words; first the headline."""
    title = (lang == "zh" and campaign.title_zh) or campaign.title
    if record.type in MODEL_TYPES:
        yield from _model_sentences(record, title, lang, t)
    elif record.type == "campaign":
        yield from _campaign_sentences(record, title, lang, t)
    elif record.type == "method":
        yield from _method_sentences(record, title, t)
    else:
        data = record.data or {}
        problem = data.get("problem")
        yield t("events.unsealable" if problem else _HEADLINES[record.type], campaign=title)
        if problem:
            yield str(problem)
        statement = (lang == "zh" and data.get("statement_zh")) or data.get("statement")
        if statement:
            yield str(statement)


def _model_sentences(record: Record, title: str, lang: str, t: Words) -> Iterator[str]:
    data = record.data or {}
    model = data.get("name") or data.get("model") or ""
    yield t(_HEADLINES[record.type], model=model, campaign=title)
    about = " · ".join(filter(None, map(data.get, ("organization", "license", "link"))))
    if about:
        yield about
    yield from _changes(data.get("changed") or {}, t)
    if data.get("behind"):
        yield t("events.behind")
    if record.type == "disclosure":
        since, votes = data.get("private_since") or record.timestamp, data.get("private_battles")
        yield t("events.disclosure_since", day=day(lang, since), votes=votes)
    if record.reason:
        yield t("events.reason", reason=record.reason)


def _changes(changed: Mapping[str, Mapping[str, Any]], t: Words) -> Iterator[str]:
    for name, values in changed.items():
        old, new = (_shown(values.get(end), t) for end in ("from", "to"))
        yield t("events.from_to", field=t("events.field." + name), old=old, new=new)


def _shown(value: Any, t: Words) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value) if value not in (None, "") else t("events.nothing")


def _campaign_sentences(record: Record, title: str, lang: str, t: Words) -> Iterator[str]:
    data = record.data or {}
    act = record.reason if record.reason in (MADE, CHANGED) else "found"
    yield t("events.campaign_" + str(act), campaign=title)
    changed = {name.removesuffix("_zh") for name in data.get("changed") or ()}
    if changed:
        names = [name for name in (*_CAMPAIGN_TEXTS, *_CAMPAIGN_RULES) if name in changed]
        yield t("events.changed", fields=", ".join(t("events.field." + name) for name in names))
    rules = [
        t("campaigns.is_open" if data.get("state") == "open" else "campaigns.is_closed"),
        t("campaigns.everybody" if data.get("public") else "campaigns.invited"),
        t("events.texts_published" if data.get("publish_text") else "events.texts_kept"),
    ]
    yield " · ".join(rules)
    consent = (lang == "zh" and data.get("consent_zh")) or data.get("consent")
    if consent:
        yield t("events.consent", text=consent)


def _method_sentences(record: Record, title: str, t: Words) -> Iterator[str]:
    data = record.data or {}
    method = data.get("method") or {}
    if method:
        name = t("board.method." + method["name"])
        key = "events.method_decided" if data.get("automatic") else "events.method_pinned"
        yield t(key, campaign=title, method=name)
    else:
        yield t("events.method_asked", campaign=title)
    if record.reason and not data.get("evidence"):  # the board tells that in either language
        yield t("events.reason", reason=record.reason)


@blueprint.get("/events")
def page() -> str:
    """The events by day; every choice stands in the address."""
    found = _asked(_ON_A_PAGE)
    lang = language()
    days = groupby(_told(found), lambda told: day(lang, told.row.record.timestamp))
    wish = {name: schemas.word(name) or "" for name in ("campaign", "type")}
    return render_template(
        "events.html",
        page="events",
        days=[(at, list(events)) for at, events in days],
        wish=wish,
        campaigns=context.campaigns(),
        titles=found.campaigns,
        types=TYPES,
        older=found.older,
        before=schemas.whole_number("before", 0),
        feed=url_for(
            "changes.feed", campaign=wish["campaign"] or None, type=wish["type"] or None, lang=lang
        ),
        **template_words(),
    )


@blueprint.get("/events.atom")
def feed() -> Response:
    """The newest events as an Atom feed (RFC 4287)."""
    told = _told(_asked(_ON_A_PAGE))
    body = render_template("feed.xml", events=told, here=request.url, **template_words())
    return Response(body, content_type=f"{_ATOM}; charset=utf-8")
