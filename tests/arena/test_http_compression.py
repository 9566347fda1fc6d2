"""What is compressed, what never is, and what that does to validators."""

from __future__ import annotations

import gzip

import pytest
from flask import Flask

from arena.campaigns import DEFAULT
from arena.views.compression import _ENDPOINTS
from tests.arena.http_world import ADMIN_TOKEN, CheckedClient, World
from tests.services import wait_until

GZIP = {"Accept-Encoding": "gzip, br"}
SAME_FOR_ALL = (
    "/static/css/base.css",
    "/static/i18n/zh.json",
    "/about",
    "/log",
    "/api/openapi.json",
)


@pytest.fixture
def gzipped(world: World) -> CheckedClient:
    """A client without the check against the contract, which reads bodies as they are."""
    app: Flask = world.app
    client = app.test_client()
    assert isinstance(client, CheckedClient)
    client.contract = type("Lenient", (), {"check": lambda *_: None})()  # type: ignore[assignment]
    return client


@pytest.mark.parametrize("path", SAME_FOR_ALL)
def test_what_is_the_same_for_everybody_is_compressed_on_wish(
    world: World, gzipped: CheckedClient, path: str
) -> None:
    world.wait_sealed()
    world.wait_counted()  # pages tell the votes and the head that there are
    plain = gzipped.get(path)
    packed = gzipped.get(path, headers=GZIP)
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.get_data()) == plain.get_data()
    assert len(packed.get_data()) < len(plain.get_data())
    assert packed.content_length == len(packed.get_data())
    for answer in (plain, packed):
        assert "Accept-Encoding" in answer.headers["Vary"]


@pytest.mark.parametrize("wish", ["identity", "gzip;q=0", "br", ""])
def test_nobody_gets_what_they_did_not_ask_for(gzipped: CheckedClient, wish: str) -> None:
    answer = gzipped.get("/about", headers={"Accept-Encoding": wish})
    assert "Content-Encoding" not in answer.headers


def test_nothing_that_mixes_secrets_with_others_text_is_compressed(
    world: World, gzipped: CheckedClient
) -> None:
    battle_id = gzipped.ready()
    invitation = world.services.campaigns.invite(DEFAULT)
    own = (
        *("/", f"/battles/{battle_id}", f"/join/{invitation}", "/mine", "/nope"),
        *(f"/api/battles/{battle_id}", f"/api/battles/{battle_id}/events", "/api/battles"),
        *("/admin", "/admin/campaigns", "/admin/campaigns/online", "/admin/audit", "/metrics"),
    )
    for path in own:
        token = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        for headers in (GZIP, {**GZIP, **token}):
            assert "Content-Encoding" not in gzipped.get(path, headers=headers).headers, path


@pytest.mark.parametrize("path", ["/static/css/base.css", "/api/board"])
def test_both_forms_have_strong_validators_of_their_own_and_both_save_a_download(
    world: World, gzipped: CheckedClient, path: str
) -> None:
    gzipped.voted()
    wait_until(lambda: gzipped.get(path).status_code == 200, what="a board")
    plain, packed = (
        gzipped.get(path).headers["ETag"],
        gzipped.get(path, headers=GZIP).headers["ETag"],
    )
    assert plain != packed
    assert not plain.startswith("W/") and not packed.startswith("W/")
    for etag, headers in ((plain, {}), (packed, GZIP)):
        again = gzipped.get(path, headers={**headers, "If-None-Match": etag})
        assert (again.status_code, again.headers["ETag"]) == (304, etag)
        assert not again.get_data()


def test_every_name_of_the_list_is_a_view(world: World) -> None:
    assert _ENDPOINTS <= world.app.view_functions.keys()


@pytest.mark.parametrize("path", ["/board?q=guess", "/log", "/api/campaigns", "/board/figures"])
def test_guests_and_the_operator_get_pages_with_private_campaigns_uncompressed(
    world: World, gzipped: CheckedClient, path: str
) -> None:
    token = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    assert "Content-Encoding" in gzipped.get(path, headers=GZIP).headers
    assert "Content-Encoding" not in gzipped.get(path, headers={**GZIP, **token}).headers
    gzipped.get(f"/join/{world.services.campaigns.invite(DEFAULT)}")
    assert "Content-Encoding" not in gzipped.get(path, headers=GZIP).headers
    assert "Content-Encoding" in gzipped.get("/static/css/base.css", headers=GZIP).headers
