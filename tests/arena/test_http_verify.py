"""An outsider takes rows and manifest over HTTP and checks them, with nothing else of ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arena import verify
from arena.manifest import SUFFIX
from tests.arena.http_world import CheckedClient, World


def fetched(
    client: CheckedClient, folder: Path, query: str = ""
) -> tuple[verify.Report, list[str]]:
    """What the verifier says of the answers to two requests, stored as they come."""
    rows = client.get(f"/api/votes?{query}")
    position = rows.headers["Arena-Log-Position"]
    manifest = client.get(f"/api/log/manifest?position={position}&{query}")
    assert manifest.mimetype == "application/json"
    path = folder / f"arena-votes-{position}.jsonl"
    assert f'"{path.name}{SUFFIX}"' in manifest.headers["Content-Disposition"]
    path.write_bytes(rows.get_data())
    path.with_name(path.name + SUFFIX).write_bytes(manifest.get_data())
    found: list[str] = []
    key = client.get("/api/log/head").get_json()["key"]["verifier_key"]
    report = verify.verify(path, key=key, on_failure=lambda failure: found.append(str(failure)))
    return report, found


def test_rows_and_manifest_from_the_api_hold(
    world: World, voter: CheckedClient, tmp_path: Path
) -> None:
    for grade in (2, 0, -1):
        voter.voted(grade=grade, comment="你好 “quoted”")
    world.wait_sealed()
    world.wait_counted()
    report, found = fetched(voter, tmp_path)
    assert found == []
    assert report.votes >= 3
    assert report.boards >= 1


def test_without_a_position_both_are_of_the_newest_signed_head(
    world: World, voter: CheckedClient
) -> None:
    voter.voted()
    world.wait_sealed()
    world.wait_counted()
    size = voter.get("/api/log/head").get_json()["size"]
    assert voter.get("/api/votes").headers["Arena-Log-Position"] == str(size)
    assert voter.get("/api/log/manifest").get_json()["position"] == size


def test_a_private_campaign_leaves_gaps_that_are_proven(
    world: World, voter: CheckedClient, tmp_path: Path
) -> None:
    voter.voted(grade=1)
    world.wait_sealed()
    world.set_campaign("online", public=True)
    hidden = world.add_campaign("hidden", public=False)
    assert hidden.public is False
    world.wait_counted()
    for query in ("after=2", "campaign=online"):
        report, found = fetched(voter, tmp_path, query)
        assert found == []
        assert report.records == report.votes or report.records > 0
    name = next(tmp_path.glob(f"*{SUFFIX}"))
    assert {one["id"] for one in json.loads(name.read_bytes())["campaigns"]} == {"online"}
    assert voter.get("/api/log/manifest?position=1&campaign=hidden").status_code in (401, 403, 404)


@pytest.mark.parametrize(
    ("query", "status"),
    [("position=999999", 404), ("position=x", 422), ("position=1&campaign=none", 404)],
)
def test_a_manifest_of_nothing_is_refused(voter: CheckedClient, query: str, status: int) -> None:
    assert voter.get(f"/api/log/manifest?{query}").status_code == status
