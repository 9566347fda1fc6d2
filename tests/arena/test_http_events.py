"""Server-sent events: order, ids, resumption, replay, heartbeats, and how many may be open."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import EnvironBuilder, TestResponse

from arena.errors import EndpointBroken
from arena.interfaces import Finished
from arena.views.context import StreamSlots
from tests.arena.http_world import BEGUN, CheckedClient, Sse, World, parse_sse, problem
from tests.services import wait_until

LONG_A = "".join(f"Satz {n} 👩‍👩‍👧 語 " for n in range(40))
LONG_B = "".join(f"phrase {n} ﷽ e\u0301 " for n in range(25))


def pieces(text: str, size: int) -> list[str | Finished]:
    return [*(text[n : n + size] for n in range(0, len(text), size)), Finished("stop", 7)]


@pytest.fixture(scope="module")
def told(world: World) -> tuple[CheckedClient, str, list[Sse]]:
    """A voter, a battle with answers of different lengths, and its events as first received."""
    gate = threading.Event()
    slow: list[str | Finished | threading.Event] = [LONG_A[:30], gate, *pieces(LONG_A[30:], 11)]
    world.answers("tell", m0=slow, m1=pieces(LONG_B, 7))
    voter = world.voter()
    with world.pinned("m0", "m1"):
        battle_id = voter.battle("tell")
    gate.set()
    return voter, battle_id, voter.settle(battle_id)


def events(client: CheckedClient, battle_id: str, query: str = "", **headers: str) -> TestResponse:
    path = f"/api/battles/{battle_id}/events{query}"
    return client.get(path, headers=headers)


def follow(
    client: CheckedClient, battle_id: str, **headers: str
) -> tuple[TestResponse, Iterator[str]]:
    """An open stream, and its blocks as they come after the comment that opens it."""
    response, blocks = client.stream(f"/api/battles/{battle_id}/events", **headers)
    assert next(blocks) == ": open\n\n"
    return response, blocks


def take(blocks: Iterator[str], count: int) -> list[Sse]:
    """The next events of an open stream."""
    coming = (event for block in blocks for event in parse_sse(block))
    return [next(coming) for _ in range(count)]


@pytest.fixture
def quick_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent stream says so at once. (The test client waits for a stream's first piece.)"""
    monkeypatch.setattr("arena.relay.HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr("arena.views.board_api.HEARTBEAT_SECONDS", 0.05)


# --- the order of a turn ------------------------------------------------------------------------


def test_a_turn_is_told_in_pairs_and_ends_with_ready(
    told: tuple[CheckedClient, str, list[Sse]],
) -> None:
    _, _, received = told
    *deltas, last = received
    assert [event.id for event in received] == [f"1-{n}" for n in range(len(received))]
    assert {event.event for event in deltas} == {"delta"}
    assert [event.data["side"] for event in deltas] == ["a", "b"] * (len(deltas) // 2)
    assert all(set(event.data) == {"turn", "side", "text"} for event in deltas)
    assert all(event.data["turn"] == 1 for event in deltas)
    assert last.event == "ready"
    assert last.data == {"turn": 1, "finish_a": "stop", "finish_b": "stop"}


def test_the_deltas_add_up_to_the_answers(told: tuple[CheckedClient, str, list[Sse]]) -> None:
    voter, battle_id, received = told
    answer = {"a": "", "b": ""}
    for event in received[:-1]:
        answer[event.data["side"]] += event.data["text"]
    assert answer == {"a": LONG_A, "b": LONG_B}
    turn = voter.get(f"/api/battles/{battle_id}").json["turns"][0]
    assert (turn["answer_a"], turn["answer_b"]) == (LONG_A, LONG_B)


def test_both_sides_advance_in_equal_steps_until_both_are_complete(
    told: tuple[CheckedClient, str, list[Sse]],
) -> None:
    _, _, received = told
    pairs = list(zip(received[:-1:2], received[1:-1:2], strict=True))
    sizes = [(len(a.data["text"]), len(b.data["text"])) for a, b in pairs]
    unequal = [n for n, (a, b) in enumerate(sizes) if a != b]
    assert sizes[0][0] == sizes[0][1] > 0
    assert all(size[1] == 0 for size in sizes[unequal[0] + 1 :]), "only the longer side goes on"


def test_nothing_is_shown_before_both_sides_have_begun(
    world: World, voter: CheckedClient, quick_heartbeats: None
) -> None:
    gate = threading.Event()
    world.answers("wait", m0=["early text", Finished("stop")], m1=[gate, "late", Finished("stop")])
    with world.pinned("m0", "m1"):
        battle_id = voter.battle("wait")
    response, blocks = follow(voter, battle_id)
    assert [next(blocks) for _ in range(4)] == [": still here\n\n"] * 4
    gate.set()
    first = next(event for block in blocks for event in parse_sse(block))
    assert first.data["text"].startswith("earl")
    response.close()


def test_a_failed_turn_ends_with_void_and_says_no_side(world: World, voter: CheckedClient) -> None:
    gate = threading.Event()
    world.answers("half", m0=[BEGUN, gate, EndpointBroken("m0 is down")], m1=[BEGUN, gate, "more"])
    with world.pinned("m0", "m1"):
        battle_id = voter.battle("half")
    response, blocks = follow(voter, battle_id)
    received = parse_sse(next(blocks))
    gate.set()
    for block in blocks:
        received += parse_sse(block)
    response.close()
    assert received[0].data["text"] == BEGUN
    assert received[-1].event == "void"
    assert received[-1].data == {"turn": 1, "reason": "endpoint_failed"}
    after = events(voter, battle_id, **{"Last-Event-ID": str(received[-1].id)})
    assert after.status_code == 204


def test_a_skipped_battle_ends_its_stream(world: World, voter: CheckedClient) -> None:
    gate = threading.Event()
    world.answers("left", BEGUN, gate, Finished("stop"))
    battle_id = voter.battle("left")
    response, blocks = follow(voter, battle_id)
    next(blocks)
    voter.post(f"/api/battles/{battle_id}/skip")
    received = parse_sse("".join(blocks))
    response.close()
    gate.set()
    assert received[-1].event == "void"
    assert events(voter, battle_id).status_code == 200


def test_every_turn_keeps_its_own_events(world: World, voter: CheckedClient) -> None:
    world.answers("fall", EndpointBroken("down"))
    battle_id = voter.ready()
    first = events(voter, battle_id).get_data()
    voter.post(f"/api/battles/{battle_id}/turns", json={"prompt": "fall"})
    second = events(voter, battle_id).get_data()
    assert parse_sse(second.decode())[-1].event == "void"
    voter.post(f"/api/battles/{battle_id}/turns", json={"prompt": "hello"})
    third = events(voter, battle_id)
    assert parse_sse(third.get_data(as_text=True))[-1].id.startswith("3-")  # type: ignore[union-attr]  # events of turns have ids
    assert events(voter, battle_id, "?turn=1").get_data() == first
    assert events(voter, battle_id, "?turn=3").get_data() == third.get_data()
    again = parse_sse(events(voter, battle_id, "?turn=2").get_data(as_text=True))
    assert again[-1].event == "void"


# --- resumption and replay ----------------------------------------------------------------------


def test_a_stream_resumes_after_every_event(told: tuple[CheckedClient, str, list[Sse]]) -> None:
    voter, battle_id, received = told
    for place, event in enumerate(received[:-1]):
        rest = events(voter, battle_id, **{"Last-Event-ID": str(event.id)})
        assert parse_sse(rest.get_data(as_text=True)) == received[place + 1 :]


def test_after_the_last_event_there_is_nothing(told: tuple[CheckedClient, str, list[Sse]]) -> None:
    voter, battle_id, received = told
    answer = events(voter, battle_id, **{"Last-Event-ID": str(received[-1].id)})
    assert (answer.status_code, answer.get_data()) == (204, b"")


@pytest.mark.parametrize(
    "unknown",
    [
        "x",
        "",
        "1",
        "1-",
        "-0",
        "2-0",
        "0-1",
        "1--1",
        "1-x",
        "1-0-0",
        "1-99999",
        "é",
        "1-²",
        "1-9e9",
    ],
)
def test_an_unknown_event_id_replays_from_the_start(
    told: tuple[CheckedClient, str, list[Sse]], unknown: str
) -> None:
    voter, battle_id, received = told
    answer = events(voter, battle_id, **{"Last-Event-ID": unknown})
    assert parse_sse(answer.get_data(as_text=True)) == received


def test_a_replay_is_identical_whether_redis_still_has_the_turn_or_not(
    world: World, told: tuple[CheckedClient, str, list[Sse]]
) -> None:
    voter, battle_id, received = told
    before = events(voter, battle_id).get_data()
    world.redis.flushall()
    after = events(voter, battle_id).get_data()
    assert after == before
    assert parse_sse(after.decode()) == received


def test_a_running_turn_resumes_after_every_event(
    world: World, voter: CheckedClient, quick_heartbeats: None
) -> None:
    gate, end = threading.Event(), threading.Event()
    world.answers("run", BEGUN, gate, BEGUN, end, "five", Finished("stop"))
    battle_id = voter.battle("run")
    response, blocks = follow(voter, battle_id)
    received = take(blocks, 2)
    gate.set()
    received += take(blocks, 2)
    resumed = [
        (place, *follow(voter, battle_id, **{"Last-Event-ID": str(event.id)}))
        for place, event in enumerate(received)
    ]
    end.set()
    received += parse_sse("".join(blocks))
    response.close()
    for place, other, rest in resumed:
        assert parse_sse("".join(rest)) == received[place + 1 :]
        other.close()
    assert received[-1].event == "ready"


def test_a_running_turn_survives_the_loss_of_redis(world: World, voter: CheckedClient) -> None:
    gate = threading.Event()
    world.answers("lost", BEGUN, gate, "three", Finished("stop"))
    battle_id = voter.battle("lost")
    response, blocks = follow(voter, battle_id)
    received = parse_sse(next(blocks))
    world.redis.flushall()
    gate.set()
    received += parse_sse("".join(blocks))
    response.close()
    assert received == voter.settle(battle_id)
    assert received[-1].event == "ready"


# --- how a stream is served ---------------------------------------------------------------------


def test_no_proxy_or_cache_may_hold_a_stream_back(
    told: tuple[CheckedClient, str, list[Sse]],
) -> None:
    voter, battle_id, _ = told
    answer = events(voter, battle_id)
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Accel-Buffering"] == "no"


def test_a_silent_stream_sends_comments(
    world: World, voter: CheckedClient, quick_heartbeats: None
) -> None:
    gate = threading.Event()
    world.answers("silent", gate, "text", Finished("stop"))
    battle_id = voter.battle("silent")
    response, blocks = follow(voter, battle_id)
    assert next(blocks) == next(blocks) == ": still here\n\n"
    gate.set()
    assert parse_sse("".join(blocks))[-1].event == "ready"
    response.close()


def test_a_silent_board_stream_sends_comments(voter: CheckedClient, quick_heartbeats: None) -> None:
    response, stream = voter.stream("/api/board/events")
    assert next(stream) == ": open\n\n"
    assert next(stream) == ": still here\n\n"
    response.close()


def test_streams_over_the_limit_are_refused_and_places_are_given_back(
    world: World, voter: CheckedClient
) -> None:
    battle_id = voter.ready()
    path = f"/api/battles/{battle_id}/events"
    cookie = voter.get_cookie("arena_voter")
    assert cookie is not None
    app = world.new_app(streams=StreamSlots(2, each=2))
    client = world.voter(app)
    client.set_cookie("arena_voter", cookie.value)

    def open_unread() -> Any:
        builder = EnvironBuilder(path=path, headers={"Cookie": f"arena_voter={cookie.value}"})
        return app.wsgi_app(builder.get_environ(), lambda *_: lambda _: None)

    for _ in range(3):  # what was taken once and not given back would be missing now
        unread, (board, _) = open_unread(), client.stream("/api/board/events")
        for refused in (client.get(path), client.get("/api/board/events")):
            problem(refused, 503, "unavailable")
            assert int(refused.headers["Retry-After"]) > 0
        unread.close()  # the client went away before the first byte
        board.close()  # and in the middle
    last = parse_sse(client.get(path).get_data(as_text=True))[-1].id
    for _ in range(3):
        assert client.head(path).status_code == 200
        assert client.head("/api/board/events").status_code == 200
        assert client.get(f"{path}?turn=9").status_code == 404
        assert client.get(path, headers={"Last-Event-ID": str(last)}).status_code == 204
    assert client.get(path).status_code == 200


def test_a_follower_that_goes_away_leaves_nothing_behind(
    world: World, voter: CheckedClient
) -> None:
    gate = threading.Event()
    world.answers("leave", BEGUN, gate, Finished("stop"))
    battle_id = voter.battle("leave")
    response, blocks = follow(voter, battle_id)
    next(blocks)
    followers = world.services.live._hub._followers  # type: ignore[attr-defined]  # no other sign of a leak
    assert f"{battle_id}:1" in followers
    response.close()
    wait_until(lambda: f"{battle_id}:1" not in followers, what="the follower to be forgotten")
    gate.set()


# --- boards -------------------------------------------------------------------------------------


def test_a_vote_reaches_the_board_stream_within_two_seconds(
    world: World, voter: CheckedClient
) -> None:
    response, stream = world.voter().stream("/api/board/events")
    assert next(stream) == ": open\n\n"
    voter.voted()
    position = world.wait_sealed()

    def announced() -> Sse:
        return next(event for block in stream for event in parse_sse(block))

    wait_until(lambda: announced().data["log_position"] >= position, 2, what="the snapshot")
    event = json.loads(voter.get("/api/board").get_data())
    assert event["log_position"] >= position
    response.close()


def test_a_snapshot_says_which_board_and_no_rows(world: World, voter: CheckedClient) -> None:
    response, stream = world.voter().stream("/api/board/events")
    next(stream)
    voter.voted()
    event = next(event for block in stream for event in parse_sse(block))
    assert (event.id, event.event) == (None, "snapshot")
    assert set(event.data) == {
        *("campaign", "category", "method", "official"),
        *("log_position", "published_at", "config_hash"),
    }
    response.close()


def test_a_campaign_made_after_the_stream_was_opened_is_announced_too(
    world: World, voter: CheckedClient
) -> None:
    response, stream = voter.stream("/api/board/events")
    next(stream)
    world.add_campaign("fresh")
    world.services.live.announce({"campaign": "fresh"})
    event = next(event for block in stream for event in parse_sse(block))
    assert event.data == {"campaign": "fresh"}
    response.close()
