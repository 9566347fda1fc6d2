"""`/api/log/events`, `/events` and `/events.atom`: what changed, and who may know."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from arena.clock import now
from arena.interfaces import ModelEntry
from arena.leaderboard import Method, method_record
from arena.records import EVENT_TYPES, Record, consent_digest
from arena.views.events import TYPES
from tests.arena.http_world import ADMIN_TOKEN, MODELS, CheckedClient, World, problem
from tests.services import wait_until

OPERATOR = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
ATOM = "{http://www.w3.org/2005/Atom}"
GUEST = ModelEntry(
    id="guest",
    name="<b>Guest</b> & co",
    organization="组织",
    base_url="http://nowhere.test",
    model="x",
)


@pytest.fixture(scope="module")
def history(world: World) -> None:
    """A campaign of its own with an event of every type; the last model has left again."""
    world.add_campaign("dated", title="Dated", title_zh="有日期的")
    guest = replace(GUEST, campaigns=("dated",))
    world.store.roster.replace((*MODELS, guest), now())
    wait_for(world, "entry", 4)
    changed = replace(guest, license="MIT", model="y")
    world.store.roster.replace((*MODELS, changed), now())
    world.store.roster.replace(MODELS, now(), reason="It was <only> here for a test.")
    wait_for(world, "retirement", 1)
    other: dict[str, dict[str, Any]] = {
        "disclosure": {"model": "m1", "private_since": now(), "private_battles": 3},
        "sealing": {"statement": "Final.", "statement_zh": "最终。"},
        "sealed": {"log_position": 7},
        "blindness": {},
    }
    rows = [
        Record(f"{kind}-of-a-test", kind, "dated", now(), data=data) for kind, data in other.items()
    ]
    rows.append(method_record("dated", "It was so agreed.", Method("bt")))
    world.store.votes.append([(row, None) for row in rows])
    wait_for(world, "method", 1)


def wait_for(world: World, kind: str, count: int) -> None:
    def enough() -> bool:
        return len(world.store.votes.events(["dated"], [kind])) >= count

    wait_until(enough, what=f"{count} records of {kind}")


def events(client: CheckedClient, query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"/api/log/events?campaign=dated{query}")
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json["events"]
    return found


def page(client: CheckedClient, query: str = "") -> str:
    answer = client.get(f"/events?campaign=dated{query}")
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_the_menu_has_every_type_of_event() -> None:
    assert set(TYPES) == EVENT_TYPES and len(TYPES) == len(EVENT_TYPES)


@pytest.mark.usefixtures("history")
def test_events_are_listed_newest_first_with_what_they_say(voter: CheckedClient) -> None:
    found = events(voter)
    assert [one["seq"] for one in found] == sorted((one["seq"] for one in found), reverse=True)
    assert {one["type"] for one in found} == EVENT_TYPES
    (left,) = [one for one in found if one["type"] == "retirement"]
    assert (left["reason"], left["data"]["model"]) == ("It was <only> here for a test.", "guest")
    (change,) = [one for one in found if one["type"] == "change"]
    assert change["data"]["changed"] == {"license": {"from": "", "to": "MIT"}}
    assert change["data"]["behind"] is True
    assert "nowhere.test" not in str(found), "an address is the operator's"


@pytest.mark.usefixtures("history")
def test_the_list_is_read_in_pages_and_by_type(voter: CheckedClient) -> None:
    everything, read, query = events(voter), [], "&limit=3"
    while True:
        answer = voter.get(f"/api/log/events?campaign=dated{query}").json
        read += answer["events"]
        if answer["next"] is None:
            break
        assert len(answer["events"]) == 3
        query = f"&limit=3&before={answer['next']}"
    assert read == everything
    assert {one["type"] for one in events(voter, "&type=entry")} == {"entry"}
    for wrong in ("type=vote", "before=x", "limit=-1"):
        problem(voter.get(f"/api/log/events?{wrong}"), 422, "invalid-field")
    problem(voter.get("/api/log/events?campaign=none"), 404, "not-found")


@pytest.mark.usefixtures("history")
def test_entries_and_retirements_have_the_dates_that_the_list_of_models_has(
    voter: CheckedClient,
) -> None:
    models = {one["id"]: one for one in voter.get("/api/models").json["models"]}
    for one in events(voter):
        if one["type"] == "retirement":
            assert one["at"] == models[one["data"]["model"]]["retired_at"]
        elif one["type"] == "entry":
            assert one["at"] == models[one["data"]["model"]]["entered_at"]
    assert models["m0"]["retired_at"] is None


@pytest.mark.usefixtures("history")
def test_the_consent_that_a_vote_names_stands_in_the_log(
    world: World, voter: CheckedClient
) -> None:
    battle_id = voter.ready(campaign="dated")
    assert voter.post(f"/api/battles/{battle_id}/vote", json={"grade": 1}).status_code == 200
    vote = world.store.votes.vote_of(battle_id)
    told = events(voter, "&type=campaign")[0]
    assert vote is not None and vote.record.consent == told["consent"] is not None
    text = (told["data"]["consent"], told["data"]["consent_zh"])
    assert consent_digest(*text) == told["consent"]


def test_a_follow_up_is_asked_under_the_consent_in_force_then(world: World) -> None:
    operator = world.app.test_client()
    world.add_campaign("agreed")
    voter = world.voter()
    battle_id = voter.ready(campaign="agreed")
    fields = {"title": "Agreed", "consent": "Now all of it is published.", "publish": "1"}
    answer = operator.post("/admin/campaigns/agreed", data=fields, headers=OPERATOR)
    assert answer.status_code == 303
    assert voter.post(f"/api/battles/{battle_id}/turns", json={"prompt": "And?"}).status_code == 201
    voter.settle(battle_id)
    assert voter.post(f"/api/battles/{battle_id}/vote", json={"grade": 0}).status_code == 200
    vote = world.store.votes.vote_of(battle_id)
    assert vote is not None
    assert vote.record.consent == consent_digest("Now all of it is published.", "")
    world.wait_sealed()
    told = world.store.votes.events(["agreed"], ["campaign"])
    assert [row.record.reason for row in told] == ["changed", "found"]
    assert told[0].record.consent == vote.record.consent


def test_what_happens_in_a_private_campaign_is_for_its_guests_only(
    world: World, voter: CheckedClient
) -> None:
    world.add_campaign("curtained", title="Behind the curtain", public=False)
    wait_until(lambda: world.store.votes.events(["curtained"], ["entry"]), what="its entries")
    for path in ("/api/log/events", "/events", "/events.atom"):
        assert "curtain" not in voter.get(path).get_data(as_text=True)
        assert voter.get(f"{path}?campaign=curtained").status_code == 404
        seen = world.app.test_client().get(path, headers=OPERATOR).get_data(as_text=True)
        assert "curtain" in seen


# --- for readers --------------------------------------------------------------------------------


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("lang", "sentences"),
    [
        ("en", ["enters “Dated”", "is drawn no more", "Reason: ", "Licence: “(nothing)” becomes"]),
        ("zh", ["加入“有日期的”", "不再被抽取", "原因：", "许可：由“（无）”改为“MIT”"]),
    ],
)
def test_the_page_tells_every_event_in_words_and_escapes_them(
    voter: CheckedClient, lang: str, sentences: list[str]
) -> None:
    text = page(voter, f"&lang={lang}")
    for sentence in [*sentences, "&lt;b&gt;Guest&lt;/b&gt; &amp; co", "组织", "&lt;only&gt;"]:
        assert sentence in text, sentence
    for kind in EVENT_TYPES:
        assert f'class="event event-{kind}"' in text, kind
    assert 'href="/sealed/dated/7"' in text
    assert ("Final." if lang == "en" else "最终。") in text


@pytest.mark.usefixtures("history")
def test_a_record_of_another_form_takes_no_page_away(world: World, voter: CheckedClient) -> None:
    world.add_campaign("odd", title="Odd", title_zh="奇怪的")
    forms: dict[str, dict[str, Any]] = {
        "change": {"model": "x", "changed": {"name": "y"}},
        "method": {"method": "x"},
        "sealed": {"boards": {}, "log_position": 1, "problem": "The anchor has no votes."},
    }
    rows = [Record(f"odd-{kind}", kind, "odd", now(), data=data) for kind, data in forms.items()]
    world.store.votes.append([(row, None) for row in rows])

    def are_there() -> bool:
        return len(world.store.votes.events(["odd"], forms)) == len(forms)

    wait_until(are_there, what="the odd records")
    told = voter.get("/api/log/events?campaign=odd").json["events"]
    assert {row["id"] for row in told} >= {row.id for row in rows}
    shown = voter.get("/events?campaign=odd").get_data(as_text=True)
    assert shown.count("cannot tell in words") == 2
    assert "The anchor has no votes." in shown and "/sealed/odd/" not in shown
    assert voter.get("/events.atom?campaign=odd").status_code == 200
    assert voter.get("/api/sealed?campaign=odd").status_code == 200


def test_the_page_is_filtered_by_its_address_and_says_when_there_is_nothing(
    world: World, voter: CheckedClient
) -> None:
    text = page(voter, "&type=entry")
    assert set(re.findall(r"event event-(\w+)", text)) == {"entry"}
    assert '<option value="entry" selected>' in text and '<option value="dated" selected>' in text
    older = page(voter, "&before=1")
    assert "event-entry" not in older and "Nothing of this kind" in older
    assert voter.get("/events?type=no").status_code == 422


@pytest.mark.usefixtures("history")
def test_the_feed_is_atom_and_has_one_entry_for_each_event(voter: CheckedClient) -> None:
    answer = voter.get("/events.atom?campaign=dated&lang=zh")
    assert answer.content_type == "application/atom+xml; charset=utf-8"
    feed = ElementTree.fromstring(answer.get_data())  # noqa: S314  our own
    assert feed.tag == f"{ATOM}feed" and feed.findtext(f"{ATOM}updated")
    found = feed.findall(f"{ATOM}entry")
    assert len(found) == len(events(voter))
    ids = [entry.findtext(f"{ATOM}id") or "" for entry in found]
    assert len(set(ids)) == len(ids) and all(one.startswith("urn:uuid:") for one in ids)
    titles = [entry.findtext(f"{ATOM}title") or "" for entry in found]
    assert "<b>Guest</b> & co 加入“有日期的”。" in titles
    again = ElementTree.fromstring(  # noqa: S314
        voter.get("/events.atom?campaign=dated&lang=zh").get_data()
    )
    assert [entry.findtext(f"{ATOM}id") for entry in again.findall(f"{ATOM}entry")] == ids


def test_a_feed_of_nothing_is_a_feed(voter: CheckedClient) -> None:
    feed = ElementTree.fromstring(  # noqa: S314  our own
        voter.get("/events.atom?type=blindness&campaign=online").get_data()
    )
    assert feed.findall(f"{ATOM}entry") == [] and feed.findtext(f"{ATOM}updated")


@pytest.mark.parametrize("path", ["/log", "/board", "/events"])
def test_pages_lead_to_the_events(voter: CheckedClient, path: str) -> None:
    assert 'href="/events' in voter.get(path).get_data(as_text=True)
