"""Sealed and past boards over HTTP: permanent, checkable, and seen by their readers only."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import update

from arena.cli import main
from arena.interfaces import ModelEntry
from arena.sealing import Sealings
from arena.store.tables import sealed_boards
from tests.arena.http_world import ADMIN_TOKEN, MODELS, CheckedClient, World, problem
from tests.fakes import a_remark, a_vote
from tests.services import wait_until

OPERATOR = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


def seal(world: World, campaign: str, statement: str = "The round is over.") -> int:
    """Seal a campaign; the position, once its boards are made."""
    sealed = world.store.campaigns.get(campaign)
    assert sealed is not None
    record = Sealings(world.store).seal(sealed, statement, "本轮结束。")

    def made() -> int | None:
        boards = world.store.sealed.until([campaign], 10**9)
        return next((one.log_position for one in boards if one.sealing == record.id), None)

    return wait_until(made, 10, what="the sealed board")


@pytest.fixture(scope="module")
def position(world: World) -> int:
    """Where the campaign `spring` was sealed, with 25 votes, 20 of them in Chinese."""
    world.add_campaign("spring", title="Spring", title_zh="春季")
    rows = [a_vote(f"s-{n}", campaign="spring", language="zh") for n in range(20)]
    rows += [a_vote(f"s-en-{n}", campaign="spring", language="en") for n in range(5)]
    world.store.votes.append(rows)
    return seal(world, "spring")


@pytest.fixture
def path(position: int) -> str:
    return f"/api/sealed/spring/{position}"


# --- sealed boards ------------------------------------------------------------------------------


def test_the_bytes_of_a_sealed_board_have_the_digest_that_the_log_names(
    world: World, voter: CheckedClient, path: str, position: int
) -> None:
    answer = voter.get(path)
    digest = hashlib.sha256(answer.get_data()).hexdigest()
    (listed,) = voter.get("/api/sealed?campaign=spring").json["sealed"]
    assert listed["boards"]["overall"] == digest
    assert answer.headers["Arena-Seal"] == "intact"
    assert (listed["position"], listed["statement"]) == (position, "The round is over.")
    board = answer.json
    assert sum(row["votes"] for row in board["rows"]) == 2 * 25
    assert board["log_position"] == position == board["tree_head"]["size"]
    head = voter.get(f"/api/log/head?size={position}").json
    assert board["tree_head"]["note"] == head["note"]


def test_a_sealed_board_may_be_kept_for_ever(voter: CheckedClient, path: str) -> None:
    answer = voter.get(path)
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    digest = hashlib.sha256(answer.get_data()).hexdigest()
    assert answer.headers["ETag"] == f'"{digest}"'
    same = voter.get(path, headers={"If-None-Match": answer.headers["ETag"]})
    assert (same.status_code, same.get_data()) == (304, b"")
    head = voter.head(path)
    assert head.headers["ETag"] == f'"{digest}"'


def test_each_category_has_its_own_board_at_the_same_address(
    voter: CheckedClient, path: str
) -> None:
    board = voter.get(f"{path}?category=zh")
    assert board.json["category"] == "zh"
    assert sum(row["votes"] for row in board.json["rows"]) == 2 * 20
    assert board.headers["ETag"] != voter.get(path).headers["ETag"]
    problem(voter.get(f"{path}?category=math"), 404, "not-found")


def test_what_was_not_sealed_is_not_found(voter: CheckedClient, position: int) -> None:
    for wrong in (f"/api/sealed/spring/{position + 1}", f"/api/sealed/online/{position}"):
        problem(voter.get(wrong), 404, "not-found")
    problem(voter.get("/api/sealed/spring/9999999999999999999"), 422, "invalid-field")
    problem(voter.get("/api/sealed/nowhere/1"), 404, "not-found")
    problem(voter.get("/api/sealed?campaign=nowhere"), 404, "not-found")
    assert voter.get(f"/sealed/spring/{position + 1}").status_code == 404


def test_a_page_tells_statement_time_head_digest_and_how_to_check(
    voter: CheckedClient, path: str, position: int
) -> None:
    page = voter.get(f"/sealed/spring/{position}").get_data(as_text=True)
    board = voter.get(path)
    assert "The round is over." in page
    assert board.headers["ETag"].strip('"') in page
    assert board.json["tree_head"]["root"] in page
    assert "The same as in the log." in page
    assert f"arena export sealed.jsonl --until {position}" in page
    assert f'api/sealed/spring/{position}" | sha256sum' in page.replace("&#34;", '"')
    assert 'role="alert"' not in page
    zh = voter.get(f"/sealed/spring/{position}?category=zh&lang=zh").get_data(as_text=True)
    assert "本轮结束。" in zh
    assert "封榜：春季" in zh
    assert f"api/sealed/spring/{position}?category=zh" in zh


def test_the_page_sorts_and_links_to_itself_only(voter: CheckedClient, position: int) -> None:
    page = voter.get(f"/sealed/spring/{position}?sort=-model").get_data(as_text=True)
    assert re.findall(r'data-model="(\w+)"', page) == ["m1", "m0"]
    links = set(re.findall(r'href="(/[^"]*sort=[^"]*)"', page))
    assert links
    assert all(link.startswith(f"/sealed/spring/{position}?") for link in links)
    problem_page = voter.get(f"/sealed/spring/{position}?sort=nonsense")
    assert problem_page.status_code == 422


def test_the_pages_commands_verify_the_sealed_numbers(
    voter: CheckedClient, position: int, tmp_path: Path
) -> None:
    """What the page says to do, with this client for curl."""
    page = html.unescape(voter.get(f"/sealed/spring/{position}").get_data(as_text=True))
    fetched = re.findall(r'curl -o (\S+) "http://localhost(/\S+)"', page)
    assert [name for name, _ in fetched] == ["sealed.jsonl", "sealed.jsonl.manifest.json"]
    for name, path in fetched:
        (tmp_path / name).write_bytes(voter.get(path).get_data())
    manifest = json.loads((tmp_path / "sealed.jsonl.manifest.json").read_text())
    assert manifest["position"] == position
    assert {board["category"] for board in manifest["sealed"]} >= {"overall", "zh"}
    rows = (tmp_path / "sealed.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["seq"] == position
    verified = CliRunner().invoke(main, ["verify", str(tmp_path / "sealed.jsonl")])
    assert verified.exit_code == 0, verified.output
    manifest["sealed"][0]["document"]["rows"][0]["rating"] += 1
    (tmp_path / "sealed.jsonl.manifest.json").write_text(json.dumps(manifest))
    assert CliRunner().invoke(main, ["verify", str(tmp_path / "sealed.jsonl")]).exit_code == 1


def test_board_and_log_tell_of_the_sealed_board(voter: CheckedClient, position: int) -> None:
    for where in ("/board?campaign=spring", "/log", "/board/past?campaign=spring"):
        assert f'href="/sealed/spring/{position}"' in voter.get(where).get_data(as_text=True)
    assert "/sealed/" not in voter.get("/board").get_data(as_text=True)


def test_a_picture_of_it_can_be_kept(voter: CheckedClient, position: int) -> None:
    picture = voter.get(f"/sealed/spring/{position}/board.svg?category=zh")
    assert picture.mimetype == "image/svg+xml"
    assert b"<svg" in picture.get_data()


def test_later_votes_are_told_and_stay_outside(world: World, voter: CheckedClient) -> None:
    world.add_campaign("summer")
    world.store.votes.append([a_vote(f"su-{n}", campaign="summer") for n in range(3)])
    at = seal(world, "summer")
    before = voter.get(f"/api/sealed/summer/{at}")
    world.store.votes.append([a_vote(f"su-late-{n}", campaign="summer") for n in range(4)])
    exclusion, _ = a_remark("su-x", "exclusion", "su-0", "spam")
    world.store.votes.append([(replace(exclusion, campaign="summer"), None)])
    world.wait_sealed()

    def told() -> bool:
        rows = voter.get("/api/board?campaign=summer").json["rows"]
        return bool(sum(row["votes"] for row in rows) == 2 * 6)

    wait_until(told, 10, what="the current board")
    after = voter.get(f"/api/sealed/summer/{at}")
    assert (after.get_data(), after.headers["ETag"]) == (before.get_data(), before.headers["ETag"])
    assert "later: 4." in voter.get(f"/sealed/summer/{at}").get_data(as_text=True)


def test_a_changed_board_is_called_broken_and_no_cache_keeps_it(
    world: World, voter: CheckedClient
) -> None:
    world.add_campaign("forged")
    world.store.votes.append([a_vote(f"f-{n}", campaign="forged") for n in range(3)])
    at = seal(world, "forged")
    document = voter.get(f"/api/sealed/forged/{at}").json
    document["rows"][0]["rating"] += 1
    with world.database.write() as connection:
        ours = sealed_boards.c.campaign == "forged"
        connection.execute(update(sealed_boards).where(ours).values(document=document))
    answer = voter.get(f"/api/sealed/forged/{at}")
    assert answer.headers["Arena-Seal"] == "broken"
    assert answer.headers["Cache-Control"] == "no-cache"
    page = voter.get(f"/sealed/forged/{at}").get_data(as_text=True)
    assert 'role="alert"' in page
    assert "This board is not the one that was sealed." in page


def test_a_private_campaigns_sealed_board_is_there_for_its_readers_only(
    world: World, voter: CheckedClient
) -> None:
    world.add_campaign("secret", public=False)
    world.store.votes.append([a_vote(f"p-{n}", campaign="secret") for n in range(3)])
    at = seal(world, "secret")
    unknown = problem(voter.get(f"/api/sealed/nowhere/{at}"), 404, "not-found")["detail"]
    hidden = problem(voter.get(f"/api/sealed/secret/{at}"), 404, "not-found")["detail"]
    assert hidden == unknown.replace("nowhere", "secret")
    assert voter.get(f"/sealed/secret/{at}").status_code == 404
    problem(voter.get("/api/sealed?campaign=secret"), 404, "not-found")
    assert "secret" not in voter.get("/api/sealed").get_data(as_text=True)
    seen = voter.get(f"/api/sealed/secret/{at}", headers=OPERATOR)
    assert seen.headers["Cache-Control"] == "private, no-cache"
    assert voter.get(f"/sealed/secret/{at}", headers=OPERATOR).status_code == 200
    assert "secret" in voter.get("/api/sealed", headers=OPERATOR).get_data(as_text=True)


# --- the operator -------------------------------------------------------------------------------


def form(voter: CheckedClient, campaign: str, **fields: str) -> Any:
    return voter.post(f"/admin/campaigns/{campaign}/seal", data=fields, headers=OPERATOR)


def test_an_operator_seals_by_a_form_with_statement_and_confirmation(
    world: World, voter: CheckedClient
) -> None:
    world.add_campaign("autumn")
    with world.nothing_written():
        for fields in (
            {"statement": "Over."},
            {"statement": " ", "sure": "on"},
            {"statement": "Over.", "statement_zh": "x" * 1_001, "sure": "on"},
        ):
            refused = form(voter, "autumn", **fields)
            assert refused.status_code == 422
            assert fields["statement"] in refused.get_data(as_text=True)
    done = form(voter, "autumn", statement="Over.", statement_zh="结束。", sure="on")
    assert (done.status_code, done.headers["Location"]) == (303, "/admin/campaigns/autumn?sealed=1")

    def listed() -> list[Any]:
        found: list[Any] = voter.get("/api/sealed?campaign=autumn").json["sealed"]
        return found

    (sealing,) = wait_until(listed, 10, what="the sealing")
    assert (sealing["statement"], sealing["statement_zh"]) == ("Over.", "结束。")
    act = world.store.audit.last("campaign.seal")
    assert act is not None
    assert (act.act.target, act.act.details) == ("autumn", {"statement": "Over."})


def test_nobody_else_can_seal(world: World, voter: CheckedClient) -> None:
    with world.nothing_written():
        fields = {"statement": "Mine.", "sure": "on"}
        answer = voter.post("/admin/campaigns/online/seal", data=fields)
    assert answer.status_code == 401


# --- past boards --------------------------------------------------------------------------------


@contextmanager
def renamed(world: World, model: str, name: str) -> Iterator[None]:
    """A model has another name in the roster for the time of the block."""
    changed = [replace(one, name=name) if one.id == model else one for one in MODELS]
    entries: list[ModelEntry] = changed
    world.store.roster.replace(entries, "2099-01-01T00:00:00.000Z")
    yield
    world.store.roster.replace(MODELS, "2099-01-02T00:00:00.000Z")


def newest_of(voter: CheckedClient, campaign: str) -> dict[str, Any]:
    boards = voter.get("/api/boards").json["boards"]
    found: dict[str, Any] = next(
        one for one in boards if one["campaign"] == campaign and one["official"]
    )
    return found


def test_a_past_board_is_told_whole_by_its_id(
    world: World, voter: CheckedClient, position: int
) -> None:
    wait_until(lambda: voter.get("/api/board?campaign=spring").status_code == 200, what="a board")
    entry = wait_until(
        lambda: (found := newest_of(voter, "spring"))["log_position"] >= position and found,
        10,
        what="a board of all votes",
    )
    answer = voter.get(f"/api/boards/{entry['id']}")
    told = answer.json
    assert {name: told[name] for name in entry if name in told} == {
        name: entry[name] for name in entry if name in told
    }
    assert {name: row["votes"] for row in told["rows"] for name in [row["model"]]}
    assert told.keys() == voter.get("/api/board?campaign=spring").json.keys()
    assert told["tree_head"]["size"] == entry["log_position"]
    same = voter.get(
        f"/api/boards/{entry['id']}", headers={"If-None-Match": answer.headers["ETag"]}
    )
    assert same.status_code == 304
    with renamed(world, "m0", "Later name"):
        world.services.boards._past._found.clear()
        names = [row["name"] for row in voter.get(f"/api/boards/{entry['id']}").json["rows"]]
    assert "Model 0" in names


def test_a_past_board_has_a_page_that_says_so_and_is_not_renewed(
    voter: CheckedClient, position: int
) -> None:
    entry = newest_of(voter, "spring")
    page = voter.get(f"/board?snapshot={entry['id']}&sort=-model").get_data(as_text=True)
    assert "A past board: as of" in page
    assert re.search(r'id="board"[^>]* data-past', page)
    assert 'class="connection"' not in page
    sorting = set(re.findall(r'href="(/board\?[^"]*sort=[^"]*)"', page))
    assert sorting
    assert all(f"snapshot={entry['id']}" in link for link in sorting)
    listed = voter.get("/board/past?campaign=spring").get_data(as_text=True)
    assert f'href="/board?snapshot={entry["id"]}"' in listed


def test_a_past_board_that_is_not_there_is_not_found(voter: CheckedClient) -> None:
    body = problem(voter.get("/api/boards/999999"), 404, "not-found")
    assert "/api/boards" in body["detail"]
    problem(voter.get("/api/boards/x"), 422, "invalid-field")
    assert voter.get("/board?snapshot=999999").status_code == 404
    assert voter.get("/board?snapshot=x").status_code == 422
    assert voter.get("/board/past?campaign=spring&category=nonsense").status_code == 404


def test_a_private_campaigns_past_board_is_as_if_it_were_not_there(
    world: World, voter: CheckedClient
) -> None:
    world.add_campaign("hush", public=False)
    world.store.votes.append([a_vote(f"h-{n}", campaign="hush") for n in range(3)])

    def published() -> int | None:
        boards = voter.get("/api/boards", headers=OPERATOR).json["boards"]
        return next((one["id"] for one in boards if one["campaign"] == "hush"), None)

    number = wait_until(published, 10, what="a board")
    hidden = problem(voter.get(f"/api/boards/{number}"), 404, "not-found")["detail"]
    unknown = problem(voter.get("/api/boards/999999"), 404, "not-found")["detail"]
    assert hidden == unknown.replace("999999", str(number))
    assert voter.get(f"/board?snapshot={number}").status_code == 404
    seen = voter.get(f"/api/boards/{number}", headers=OPERATOR)
    assert json.loads(seen.get_data())["campaign"] == "hush"
    assert voter.get(f"/board?snapshot={number}", headers=OPERATOR).status_code == 200
