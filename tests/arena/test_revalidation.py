"""Readers who have the newest board: one is answered by the app, the others by what it said."""

from __future__ import annotations

import pytest
from flask import Flask, Response, request
from werkzeug.test import Client

import arena.views.revalidation
from arena.views import revalidation
from arena.views.context import INVITATIONS_COOKIE, OPERATOR_COOKIE, VOTER_COOKIE

KNOWN = {"If-None-Match": '"now"'}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The validators of the requests that reached the app."""
    monkeypatch.setattr(arena.views.revalidation, "_SECONDS", 60.0)
    return []


@pytest.fixture
def reader(asked: list[str]) -> Client:
    app = Flask("test")

    @app.route("/api/<name>", methods=["GET", "POST"])
    def board(name: str) -> Response:
        asked.append(f"{name} {request.headers.get('If-None-Match')}")
        response = Response("all of it", headers={"Cache-Control": "no-cache"})
        response.set_etag("now")
        response.set_cookie("mine", str(len(asked)))
        return response.make_conditional(request)  # type: ignore[return-value]  # it is ours

    revalidation.install(app)
    return Client(app, use_cookies=False)


def test_the_same_question_is_answered_once(reader: Client, asked: list[str]) -> None:
    answers = [reader.get("/api/board", headers=KNOWN) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [304] * 3
    assert asked == ['board "now"']
    assert {answer.headers["ETag"] for answer in answers} == {'"now"'}
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-cache"}
    assert [answer.data for answer in answers] == [b""] * 3


def test_a_cookie_is_given_to_nobody_else(reader: Client) -> None:
    first, second = (reader.get("/api/board", headers=KNOWN) for _ in range(2))
    assert "Set-Cookie" in first.headers
    assert "Set-Cookie" not in second.headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"If-None-Match": '"old"'},
        {**KNOWN, "Cookie": f"{OPERATOR_COOKIE}=x"},
        {**KNOWN, "Cookie": f"a=b; {INVITATIONS_COOKIE}=x"},
        {**KNOWN, "Authorization": "Bearer x"},
    ],
)
def test_others_are_answered_by_the_app(
    reader: Client, asked: list[str], headers: dict[str, str]
) -> None:
    reader.get("/api/board", headers=KNOWN)
    for _ in range(2):
        reader.get("/api/board", headers=headers)
    assert len(asked) == 3


@pytest.mark.parametrize("path", ["/api/board?category=zh", "/api/boards"])
def test_another_board_is_another_question(reader: Client, asked: list[str], path: str) -> None:
    reader.get("/api/board", headers=KNOWN)
    reader.get(path, headers=KNOWN)
    reader.post("/api/board", headers=KNOWN)
    assert len(asked) == 3


def test_voters_are_readers_like_any_other(reader: Client, asked: list[str]) -> None:
    for voter in ("one", "two"):
        reader.get("/api/board", headers={**KNOWN, "Cookie": f"{VOTER_COOKIE}={voter}"})
    assert len(asked) == 1


def test_the_answer_holds_for_a_moment(
    reader: Client, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena.views.revalidation, "_SECONDS", 0.0)
    for _ in range(2):
        reader.get("/api/board", headers=KNOWN)
    assert len(asked) == 2
