"""The board: validators, freshness, and private campaigns that nobody sees."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from arena.boards import Boards
from arena.errors import EndpointBroken
from arena.interfaces import ModelEntry
from arena.leaderboard import Method, method_record
from tests.arena.http_world import HELLO, MODELS, CheckedClient, World, parse_sse, problem
from tests.fakes import a_vote, log_rows
from tests.services import wait_until


def newest(world: World, client: CheckedClient) -> dict[str, Any]:
    """The board once it stands for every vote of its campaign."""
    last = log_rows(world.store.votes, "online", until=world.wait_sealed())[-1]["seq"]

    def look() -> dict[str, Any] | None:
        board: dict[str, Any] = client.get("/api/board").json
        return board if board["log_position"] >= last else None

    return wait_until(look, 5, what=f"a board at {last}")


def test_a_board_has_the_rows_of_the_contract(world: World, voter: CheckedClient) -> None:
    with world.pinned("m0", "m1"):
        voter.voted(grade=2)
        voter.voted(grade=0)
    board = newest(world, voter)
    assert set(board) == {
        *("log_position", "tree_head", "method", "config", "config_hash", "published_at"),
        *("campaign", "category", "voters", "fit", "evidence", "converged", "components", "rows"),
    }
    rows = board["rows"]
    assert [row["model"] for row in rows] == ["m0", "m1", "m2"]
    first, second, unrated = rows
    assert (first["votes"], first["wins"], first["losses"], first["ties"]) == (2, 1, 0, 1)
    assert first["rating"] > second["rating"]
    assert first["rating_lower"] < first["rating"]
    assert first["name"] == "Model 0"
    assert (unrated["votes"], unrated["rating"], unrated["rank"]) == (0, None, None)


def test_a_board_has_a_strong_validator(voter: CheckedClient) -> None:
    first = voter.get("/api/board")
    etag = first.headers["ETag"]
    assert re.fullmatch(r'"[0-9a-f]+"', etag)
    assert first.headers["Cache-Control"] == "no-cache"
    assert voter.get("/api/board").headers["ETag"] == etag
    for header in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        same = voter.get("/api/board", headers={"If-None-Match": header})
        assert (same.status_code, same.get_data()) == (304, b"")
        assert same.headers["ETag"] == etag
    for header in ('"other"', '"', "x"):
        other = voter.get("/api/board", headers={"If-None-Match": header})
        assert (other.status_code, other.get_data()) == (200, first.get_data())


def test_two_boards_never_share_a_validator(world: World, voter: CheckedClient) -> None:
    world.add_campaign("twin")
    battle_id = voter.ready("hello", campaign="twin")
    voter.post(f"/api/battles/{battle_id}/vote", json={"grade": 1})
    wait_until(lambda: voter.get("/api/board?campaign=twin").status_code == 200, what="a board")
    one, other = voter.get("/api/board"), voter.get("/api/board?campaign=twin")
    assert one.headers["ETag"] != other.headers["ETag"]


def test_a_vote_changes_board_and_validator_within_two_seconds(
    world: World, voter: CheckedClient
) -> None:
    stream, blocks = world.voter().stream("/api/board/events")
    assert next(blocks) == ": open\n\n"
    voter.voted()
    newest(world, voter)
    etag = voter.get("/api/board").headers["ETag"]
    voter.voted()
    begun = time.monotonic()
    snapshot = next(event for block in blocks for event in parse_sse(block))
    wait_until(
        lambda: voter.get("/api/board", headers={"If-None-Match": etag}).status_code == 200,
        what="the new board",
    )
    assert time.monotonic() - begun < 2
    assert snapshot.event == "snapshot"
    stream.close()


def test_every_method_of_the_contract_is_known(voter: CheckedClient) -> None:
    assert voter.get("/api/board").json["method"] == "bt"
    for method in ("graded", "bt", "davidson", "rao-kupper", "elo"):
        path = f"/api/board?method={method}"
        wait_until(lambda p=path: voter.get(p).status_code == 200, what=method)
        assert voter.get(path).json["method"] == method
    problem(voter.get("/api/board?method=magic"), 422, "invalid-field")


def test_a_campaign_tells_its_categories_and_every_change_of_its_method(
    world: World, voter: CheckedClient
) -> None:
    world.add_campaign("told")
    record = method_record("told", "As last year.", Method("davidson"))
    world.store.votes.append([(record, None)])
    wait_until(lambda: world.store.votes.events(["told"], ["method"]), what="the record's place")
    campaigns = {c["id"]: c for c in voter.get("/api/campaigns").json["campaigns"]}
    (event,) = campaigns["told"]["methods"]
    assert (event["method"], event["reason"]) == ("davidson", "As last year.")
    assert event["log_position"] > 0 and not event["automatic"]
    assert campaigns["online"]["methods"] == []


def test_a_category_has_its_board_and_its_title(world: World, voter: CheckedClient) -> None:
    world.add_campaign("sliced")
    rows = [
        a_vote(f"sliced-{i}", campaign="sliced", language="zh", category_tag="coding")
        for i in range(20)
    ]
    world.store.votes.append(rows)
    wait_until(
        lambda: voter.get("/api/board?campaign=sliced&category=zh").status_code == 200,
        what="the board",
    )
    board = voter.get("/api/board?campaign=sliced&category=zh").json
    assert (board["category"], board["rows"][0]["votes"]) == ("zh", 20)
    problem(voter.get("/api/board?campaign=sliced&category=math"), 404, "not-found")
    wait_until(lambda: len(categories_of(voter, "sliced")) == 2, what="both categories")
    assert categories_of(voter, "sliced") == [
        {"id": "coding", "title": "Coding", "title_zh": "编程"},
        {"id": "zh", "title": "Chinese", "title_zh": "中文"},
    ]


def categories_of(voter: CheckedClient, campaign: str) -> list[dict[str, str]]:
    campaigns = {c["id"]: c for c in voter.get("/api/campaigns").json["campaigns"]}
    return campaigns[campaign]["categories"]


def test_a_campaign_without_a_board_says_so(world: World, voter: CheckedClient) -> None:
    world.add_campaign("silent")
    body = problem(voter.get("/api/board?campaign=silent"), 404, "not-found")
    assert "silent" in body["detail"]


def test_a_retired_model_keeps_its_row_and_its_dates(world: World, voter: CheckedClient) -> None:
    with world.pinned("m1", "m2"):
        voter.voted()
    world.store.roster.replace(MODELS[:2], "2026-05-01T00:00:00.000Z")
    try:
        models = {model["id"]: model for model in voter.get("/api/models").json["models"]}
        assert models["m2"]["retired_at"] == "2026-05-01T00:00:00.000Z"
        assert models["m1"]["retired_at"] is None
        assert "m2" in {row["model"] for row in newest(world, voter)["rows"]}
    finally:
        world.store.roster.replace(MODELS, "2026-06-01T00:00:00.000Z")
    models = {model["id"]: model for model in voter.get("/api/models").json["models"]}
    assert models["m2"]["retired_at"] is None
    assert models["m2"]["entered_at"] == "2026-01-01T00:00:00.000Z"


# --- private campaigns --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hidden(world: World) -> str:
    """A private campaign with a sealed vote and a published board; its id."""
    name = "hidden-7f3a"
    world.add_campaign(name, title=f"Title of {name}")
    voter = world.voter()
    battle_id = voter.ready("hello", campaign=name)
    voter.post(f"/api/battles/{battle_id}/vote", json={"grade": 2})
    wait_until(lambda: voter.get(f"/api/board?campaign={name}").status_code == 200, what="a board")
    world.set_campaign(name, public=False)
    return name


def test_a_private_campaign_is_as_if_it_were_not_there(
    world: World, voter: CheckedClient, hidden: str
) -> None:
    missing = problem(voter.get("/api/board?campaign=never-was"), 404, "not-found")
    for path in ("/api/board", "/api/votes"):
        body = problem(voter.get(f"{path}?campaign={hidden}"), 404, "not-found")
        told = {"detail": missing["detail"].replace("never-was", hidden)}
        assert body == {**missing, **told, "request_id": body["request_id"]}
    answer = voter.post("/api/battles", json={"prompt": "x", "campaign": hidden})
    problem(answer, 404, "not-found")
    for path in ("/", "/board"):
        assert voter.get(f"{path}?campaign={hidden}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        *("/api/board", "/api/boards", "/api/campaigns", "/api/models", "/api/votes"),
        *("/api/votes?format=csv", "/api/votes?outcomes=all", "/", "/board", "/log", "/about"),
        *("/readyz", "/api/openapi.json", "/api/docs"),
    ],
)
def test_nothing_public_names_a_private_campaign(
    voter: CheckedClient, hidden: str, path: str
) -> None:
    answer = voter.get(path)
    assert answer.status_code == 200
    assert hidden not in answer.get_data(as_text=True)


def test_the_board_stream_is_silent_about_a_private_campaign(
    world: World, voter: CheckedClient, hidden: str
) -> None:
    stream, blocks = voter.stream("/api/board/events")
    assert next(blocks) == ": open\n\n"
    world.services.live.announce({"campaign": hidden})
    world.services.live.announce({"campaign": "online"})
    heard = ""
    while "online" not in heard:
        heard += next(blocks)
    assert hidden not in heard
    stream.close()


# --- rosters ------------------------------------------------------------------------------------


def test_without_two_models_a_battle_is_refused_for_now(world: World, voter: CheckedClient) -> None:
    retired = [ModelEntry(id="m0", name="Model 0", base_url="http://x", state="retired")]
    world.store.roster.replace([*retired, *MODELS[1:2]], "2026-07-01T00:00:00.000Z")
    try:
        with world.nothing_written():
            answer = voter.post("/api/battles", json={"prompt": "hello"})
            problem(answer, 503, "no-models")
            assert int(answer.headers["Retry-After"]) > 0
    finally:
        world.store.roster.replace(MODELS, "2026-08-01T00:00:00.000Z")


# --- the page -----------------------------------------------------------------------------------


def a_campaign_of_votes(world: World, name: str, *pairs: tuple[str, str], **fields: Any) -> None:
    """A campaign with a vote for the first of each pair, and its published board."""
    world.add_campaign(name, state="closed")
    world.store.votes.append(
        [
            a_vote(f"{name}-{i}", campaign=name, model_a=a, model_b=b, **fields)
            for i, (a, b) in enumerate(pairs)
        ]
    )
    voter, votes = world.voter(), 2 * len(pairs)

    def stands() -> bool:
        answer = voter.get(f"/api/board?campaign={name}")
        return answer.status_code == 200 and votes == sum(r["votes"] for r in answer.json["rows"])

    wait_until(stands, what=f"the board of {name}")


def page_of(voter: CheckedClient, query: str, status: int = 200) -> str:
    answer = voter.get(f"/board?{query}")
    assert answer.status_code == status
    return answer.get_data(as_text=True)


def models_on(page: str) -> list[str]:
    return re.findall(r'data-model="([^"]*)"', page)


@pytest.fixture(scope="module")
def trees(world: World) -> str:
    """A campaign of three models; its id."""
    wins, upsets = [("oak/1", "elm"), ("elm", "ash")], [("elm", "oak/1"), ("ash", "elm")]
    a_campaign_of_votes(world, "trees", *wins * 3, *upsets)
    return "trees"


def test_the_page_has_table_links_and_place_in_the_log(voter: CheckedClient, trees: str) -> None:
    page = page_of(voter, f"campaign={trees}")
    assert models_on(page) == ["oak/1", "elm", "ash"]
    assert 'href="/models/oak/1?campaign=trees"' in page
    assert 'href="/board/figures?campaign=trees&amp;category=overall"' in page
    position = voter.get(f"/api/board?campaign={trees}").json["log_position"]
    assert f"as of record {position:,}" in page
    assert "Votes: 8, people: 1" in page
    assert "95% interval" in page


def test_the_query_sorts_and_filters_on_the_server(voter: CheckedClient, trees: str) -> None:
    page = page_of(voter, f"campaign={trees}&sort=model")
    assert models_on(page) == ["ash", "elm", "oak/1"]
    assert page.count("aria-sort=") == 1
    assert models_on(page_of(voter, f"campaign={trees}&q=OAK")) == ["oak/1"]
    assert "No model matches." in page_of(voter, f"campaign={trees}&q=birch")
    page_of(voter, f"campaign={trees}&sort=age", 422)


def test_what_a_reader_types_is_text(voter: CheckedClient, trees: str) -> None:
    page = page_of(voter, f"campaign={trees}&q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in page


def test_elo_claims_no_interval(voter: CheckedClient, trees: str) -> None:
    path = f"campaign={trees}&method=elo"
    wait_until(lambda: voter.get(f"/api/board?{path}").status_code == 200, what="Elo's board")
    page = page_of(voter, path)
    table = page[page.index("<table") : page.index("</table>")]
    assert "95%" not in table and "∞" not in table and "sort=lower" not in table
    assert "This method has no interval" in page
    assert re.search(r'aria-current="true">Elo', page)


def test_models_that_were_never_compared_are_told_apart(world: World, voter: CheckedClient) -> None:
    a_campaign_of_votes(world, "islands", ("a", "b"), ("b", "a"), ("c", "d"))
    page = page_of(voter, "campaign=islands")
    assert "2 groups of models that were never compared" in page
    assert page.count("Group 2:") == 1


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("campaign=waiting", "No board yet."),
        ("campaign=waiting&category=zh", "This category has no board yet"),
        ("campaign=waiting&method=elo", "By this method there is no board yet"),
    ],
)
def test_a_board_that_is_not_there_is_told(
    world: World, voter: CheckedClient, query: str, words: str
) -> None:
    if world.store.campaigns.get("waiting") is None:
        world.add_campaign("waiting")
    assert words in page_of(voter, query)


def test_a_category_that_is_none_is_not_found(voter: CheckedClient) -> None:
    page_of(voter, "category=astrology", 404)


def test_models_without_votes_stand_below(world: World, voter: CheckedClient) -> None:
    with world.pinned("m0", "m1"):
        voter.voted()
    newest(world, voter)
    newcomer = ModelEntry(id="aaa", name="Newcomer", base_url="http://x", model="x")
    world.store.roster.replace([*MODELS, newcomer], "2026-09-01T00:00:00.000Z")
    try:
        for sort in ("model", "-model"):
            wait_until(
                lambda by=sort: "Newcomer" in page_of(voter, f"campaign=online&sort={by}"),
                what="the newcomer",
            )
            page = page_of(voter, f"campaign=online&sort={sort}")
            assert "aaa" in models_on(page[page.index("Not rated yet") :])
    finally:
        world.store.roster.replace(MODELS, "2026-10-01T00:00:00.000Z")


def test_judges_beside_people_give_people_a_board_of_their_own(
    world: World, voter: CheckedClient
) -> None:
    a_campaign_of_votes(world, "mixed", *[("a", "b")] * 20)
    assert "People only" not in page_of(voter, "campaign=mixed")
    world.store.votes.append([a_vote("mixed-j", campaign="mixed", voter_kind="judge")])
    found = "/api/board?campaign=mixed&category=people"
    wait_until(lambda: voter.get(found).status_code == 200, what="the people's board")
    wait_until(lambda: "People only" in page_of(voter, "campaign=mixed"), what="its chip")
    assert models_on(page_of(voter, "campaign=mixed&category=people")) == ["a", "b"]


def test_void_rates_are_beside_the_snapshot_and_not_in_it(
    world: World, voter: CheckedClient
) -> None:
    world.answers("break", m0=(EndpointBroken("x"),), m1=HELLO)
    with world.pinned("m0", "m1"):
        voter.voted()
        assert voter.settle(voter.battle("break"))[-1].event == "void"
    campaign = world.store.campaigns.get("online")
    assert campaign is not None
    # as the worker does once a minute
    seen = world.store.leases.take("another", "test", None)
    assert seen is not None
    world.store.figures.save_void_rates(seen, world.store.battles.void_rates())
    one, other = (Boards(world.store).get(campaign) for _ in range(2))
    assert one.etag == other.etag
    rows = {row["model"]: row for row in one.document["rows"]}
    assert 0 < rows["m0"]["void_rate"] < 1
    assert rows["m1"]["void_rate"] == 0
    snapshot = world.store.snapshots.latest("online", "overall")
    assert snapshot is not None
    assert all("void_rate" not in row for row in snapshot.rows)
