"""How recognisable models are, as it is published: by the API, on model pages, as a picture."""

from __future__ import annotations

import re

import pytest

from arena.blindness import Audit, LeftOut, ModelBlindness, record
from arena.recognition import Estimate
from tests.arena.http_world import CheckedClient, World, problem
from tests.arena.test_http_figures import cells, section
from tests.fakes import a_vote, an_audit
from tests.services import wait_until

HOSTILE = "<img src=x onerror=alert(1)>"


def add_lab(world: World, name: str, **fields: object) -> str:
    """A campaign with a board of three models: m0, m1 and one of a hostile name."""
    world.add_campaign(name, **fields)
    pairs = (("m0", "m1"), ("m1", HOSTILE), (HOSTILE, "m0"))
    world.store.votes.append(
        a_vote(f"{name}-{place}", campaign=name, model_a=first, model_b=second)
        for place, (first, second) in enumerate(pairs)
    )
    latest = world.store.snapshots.latest
    wait_until(lambda: latest(name, "overall"), what="the board")
    return name


def publish(world: World, *audits: object) -> None:
    world.store.votes.append([(audit, None) for audit in audits])
    world.wait_sealed()


def text(client: CheckedClient, path: str) -> str:
    page = client.get(path)
    assert page.status_code == 200
    return re.sub(r"\s+", " ", page.get_data(as_text=True))


def test_what_was_never_published_is_said_to_be_so(world: World, voter: CheckedClient) -> None:
    lab = add_lab(world, "silent")
    problem(voter.get(f"/api/campaigns/{lab}/blindness"), 404, "not-found")
    problem(voter.get("/api/campaigns/nope/blindness"), 404, "not-found")
    problem(voter.get("/api/campaigns/%00/blindness"), 404, "not-found")
    for path in (f"/models/m0?campaign={lab}", f"/board/figures?campaign={lab}"):
        assert "has not published" in section(text(voter, path), "blindness")


def test_the_newest_audit_is_told_with_its_place_in_the_log(
    world: World, voter: CheckedClient
) -> None:
    lab = add_lab(world, "audited")
    publish(world, an_audit(lab, "m0", "m1", share=0.8), an_audit(lab, "m0", position=3))
    answer = voter.get(f"/api/campaigns/{lab}/blindness")
    (event, _) = world.store.votes.events([lab], ["blindness"])
    assert answer.json["seq"] == event.seq
    assert answer.json["log_position"] == 3
    assert answer.json["models"][0]["told_pair"]["value"] == 0.63
    etag = answer.headers["ETag"]
    again = voter.get(f"/api/campaigns/{lab}/blindness", headers={"If-None-Match": etag})
    assert again.status_code == 304
    assert "fewer" not in (few := section(text(voter, f"/models/m1?campaign={lab}"), "blindness"))
    assert "too few answers" in few


@pytest.mark.parametrize(
    ("lang", "said"),
    [
        ("en", "63 % (58–67), told the pair"),
        ("zh", "63 %（58–67），已知配对"),
    ],
)
def test_pages_show_the_figure_its_interval_and_a_picture(
    world: World, voter: CheckedClient, lang: str, said: str
) -> None:
    lab = add_lab(world, f"shown-{lang}")
    publish(world, an_audit(lab, "m0", HOSTILE))
    page = text(voter, f"/models/m0?campaign={lab}&lang={lang}")
    part = section(page, "blindness")
    assert said in part
    assert part.count("<svg ") == 1
    every = text(voter, f"/board/figures?campaign={lab}&lang={lang}")
    assert HOSTILE not in every
    rows = cells(section(every, "blindness"))
    assert rows[1][1:] == ["63.0 %", "58.0 %", "67.0 %", "63.0 %", "80"]


def test_a_private_campaigns_audit_is_told_to_nobody_else(world: World) -> None:
    lab = add_lab(world, "secret", public=False)
    publish(world, an_audit(lab, "m0"))
    path = f"/api/campaigns/{lab}/blindness"
    problem(world.voter().get(path), 404, "not-found")
    told = world.voter().get(
        path, headers={"Authorization": f"Bearer {world.settings.admin_token}"}
    )
    assert told.status_code == 200
    assert told.headers["Cache-Control"] == "private, no-cache"


def test_what_the_audit_writes_is_what_the_api_promises(world: World, voter: CheckedClient) -> None:
    campaign = world.add_campaign("exact")
    figure = Estimate(2 / 3, 0.6, 0.7)
    models = (ModelBlindness("m0", 90, figure, figure, ("word",)),)
    audit = Audit(5, 45, 40, figure, models, {"m9": 3}, LeftOut(1, 2, 3))
    publish(world, record(campaign, audit, 12))
    answer = voter.get("/api/campaigns/exact/blindness").json
    assert answer["told_pair"] == {"value": 0.6667, "lower": 0.6, "upper": 0.7}
    assert answer["too_few"] == [{"model": "m9", "answers": 3}]
    assert answer["left_out"] == {"excluded": 1, "identity_leak": 2, "no_text": 3}
    assert answer["models"][0].keys() == {"model", "answers", "told_pair", "auc"}
