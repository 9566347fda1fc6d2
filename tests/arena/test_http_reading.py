"""Pages to read: errors in the reader's language, the log's fields, the API's docs."""

from __future__ import annotations

import re

import pytest

from arena.errors import RequestError, TooOften, Unavailable
from arena.records import EXPORT_FIELDS
from arena.views.language import moment
from tests.arena.http_world import CheckedClient, World

REFUSALS = {
    404: ("There is nothing here", "这里什么也没有"),
    405: ("This address cannot be used so", "这个地址不能这样使用"),
    403: ("The request came from another site", "请求来自其他网站"),
    429: ("A little slower, please", "请稍慢一些"),
    500: ("Something broke on our side", "我们这边出了错"),
    503: ("Not available right now", "暂时无法使用"),
}


def refused(world: World, status: int, lang: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page that a refusal of this status brings."""
    voter = world.voter()
    causes: dict[int, Exception] = {
        429: TooOften("secret-detail"),
        503: Unavailable("secret-detail"),
        500: RuntimeError("secret-detail"),
    }
    if status in causes:

        def fail(*_: object) -> None:
            raise causes[status]

        monkeypatch.setattr(type(world.services.campaigns), "visible", fail)
    path = {404: "/nope", 405: "/about"}.get(status, "/log")
    method = "POST" if status in (405, 403) else "GET"
    headers = {"Origin": "http://evil.test"} if status == 403 else {}
    answer = voter.open(f"{path}?lang={lang}", method=method, headers=headers)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    return answer.get_data(as_text=True)


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_is_a_page_in_the_readers_language_with_a_way_on(
    world: World, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for lang, words in zip(("en", "zh"), REFUSALS[status], strict=True):
        page = refused(world, status, lang, monkeypatch)
        main = page.partition("<main")[2]
        assert words in main
        assert 'href="/"' in main and 'href="/board"' in main
        assert ("secret-detail" in main) == (status == 429 and lang == "en")
        assert "Traceback" not in page
        retry = re.search(r'class="primary" href="(/log[^"]*)"', main)
        assert (retry is not None) == (status in (429, 500, 503))


def test_every_refusal_has_words_of_its_own_or_the_common_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def every(kind: type[RequestError]) -> list[type[RequestError]]:
        return [kind, *(one for special in kind.__subclasses__() for one in every(special))]

    for kind in every(RequestError):

        def fail(*_: object, kind: type[RequestError] = kind) -> None:
            raise kind("No.")

        with monkeypatch.context() as patch:
            patch.setattr(type(world.services.campaigns), "visible", fail)
            answer = world.voter().get("/log?lang=zh")
        assert answer.status_code == kind.status
        assert re.search("<h1>[\u4e00-\u9fff，]+</h1>", answer.get_data(as_text=True)), kind


def test_the_log_page_tells_of_every_field_of_an_exported_record(voter: CheckedClient) -> None:
    page = voter.get("/log").get_data(as_text=True)
    told = re.findall(r"<dt>(.*?)<small", page)
    names = [name for names in told for name in re.findall(r"<code>(\w+)</code>", names)]
    assert sorted(names) == sorted(EXPORT_FIELDS)


@pytest.mark.parametrize("path", ["/api/docs", "/about", "/log"])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_what_is_code_is_set_as_code(voter: CheckedClient, path: str, lang: str) -> None:
    page = voter.get(f"{path}?lang={lang}").get_data(as_text=True)
    assert "`" not in page
    assert page.count("<code>") == page.count("</code>") > 0


def test_every_place_that_the_about_page_points_to_is_there(voter: CheckedClient) -> None:
    page = voter.get("/about").get_data(as_text=True)
    contents = re.findall(r'href="#([\w-]+)"', page)
    assert len(contents) > 5
    assert {f'id="{place}"' in page for place in contents} == {True}


@pytest.mark.parametrize(
    ("lang", "written"),
    [("en", "2 Jan 2026, 23:04 UTC"), ("zh", "2026年1月2日 23:04 UTC")],
)
def test_a_time_is_written_as_its_language_does(lang: str, written: str) -> None:
    assert moment(lang, "2026-01-02T23:04:05.678Z") == written
