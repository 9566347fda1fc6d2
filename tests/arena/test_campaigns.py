"""Campaigns: what each reader sees, invitations, and what an operator may write."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from arena import campaigns as module
from arena.campaigns import DEFAULT, LIMITS, OPERATOR, STRANGER, Campaigns, Reader, digest_of
from arena.clock import rfc3339
from arena.errors import InvalidField, InvitationNeeded, NotFound
from arena.interfaces import Campaign
from tests.fakes import FakeStore, a_battle, a_turn

TEXTS: dict[str, Any] = {"title": "Class of 2026", "consent": "We keep what you write."}


@pytest.fixture
def store() -> FakeStore:
    made = FakeStore()
    made.campaigns.add(DEFAULT)
    return made


@pytest.fixture
def campaigns(store: FakeStore) -> Campaigns:
    return Campaigns(store.campaigns)


@pytest.fixture
def private(campaigns: Campaigns) -> Campaign:
    return campaigns.create("class", {**TEXTS, "public": False})


def ids(found: list[Campaign]) -> list[str]:
    return [campaign.id for campaign in found]


def guest(secret: str) -> Reader:
    return Reader((digest_of(secret),))


def test_a_private_campaign_exists_for_guests_and_the_operator_only(
    campaigns: Campaigns, private: Campaign
) -> None:
    other = campaigns.create("other", {**TEXTS, "public": False})
    invited = guest(campaigns.invite(private))
    assert ids(campaigns.public()) == ids(campaigns.visible(STRANGER)) == ["online"]
    assert ids(campaigns.visible(invited)) == ["online", "class"]
    assert ids(campaigns.visible(OPERATOR)) == ["online", "class", "other"]
    assert campaigns.get("class", invited) == private
    assert campaigns.get("other", OPERATOR) == other
    for hidden, reader in (("class", STRANGER), ("other", invited), ("none", OPERATOR)):
        with pytest.raises(NotFound):
            campaigns.get(hidden, reader)


def test_a_hidden_campaign_is_refused_in_the_words_of_one_that_never_was(
    campaigns: Campaigns, private: Campaign
) -> None:
    refusals = []
    for campaign_id in (private.id, "never"):
        with pytest.raises(NotFound) as refused:
            campaigns.get(campaign_id)
        refusals.append(refused.value.detail.replace(campaign_id, "…"))
    assert refusals[0] == refusals[1]


def test_a_private_default_campaign_asks_for_an_invitation(campaigns: Campaigns) -> None:
    campaigns.change(DEFAULT, {"public": False})
    with pytest.raises(InvitationNeeded):
        campaigns.get(None)
    assert campaigns.get(None, guest(campaigns.invite(DEFAULT))).id == DEFAULT.id


def test_a_revoked_invitation_ends_what_it_granted(
    campaigns: Campaigns, private: Campaign, store: FakeStore
) -> None:
    secret = campaigns.invite(private, "for the class")
    reader = guest(secret)
    assert campaigns.admits(reader)
    acts = len(store.database.acts)
    for _ in range(2):
        campaigns.revoke(digest_of(secret))
    assert len(store.database.acts) == acts + 1
    assert not campaigns.admits(reader)
    assert ids(campaigns.visible(reader)) == ["online"]
    with pytest.raises(InvitationNeeded):
        campaigns.accept(secret)


def test_an_invitation_ends_on_its_day(
    campaigns: Campaigns, private: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = campaigns.invite(private, days=7)
    for days, holds in ((6.9, True), (7.1, False)):
        at = rfc3339(datetime.now(UTC) + timedelta(days=days))
        monkeypatch.setattr(module, "now", lambda at=at: at)
        assert campaigns.admits(guest(secret)) is holds


def test_only_the_digest_of_a_secret_is_kept(
    campaigns: Campaigns, private: Campaign, store: FakeStore
) -> None:
    secret = campaigns.invite(private, "for you")
    assert campaigns.accept(secret).campaign == private.id
    assert len(secret) >= 32
    assert secret not in f"{store.campaigns.invitations()} {store.database.acts}"
    with pytest.raises(InvitationNeeded):
        campaigns.accept(digest_of(secret))


def test_every_act_of_the_operator_is_told(campaigns: Campaigns, store: FakeStore) -> None:
    made = campaigns.create("class", TEXTS)
    campaigns.change(made, {**TEXTS, "title": "Class of 2027"})
    campaigns.change(replace(made, title="Class of 2027"), {**TEXTS, "title": "Class of 2027"})
    campaigns.set_open(made, False)
    campaigns.revoke(digest_of(campaigns.invite(made)))
    told = [(act.act, act.target) for act in store.database.acts]
    assert told == [
        (act, "class")
        for act in (
            *("campaign.create", "campaign.change", "campaign.close"),
            *("invitation.create", "invitation.revoke"),
        )
    ]
    assert store.database.acts[1].details == {"title": "Class of 2027"}
    assert campaigns.get("class").state == "closed"


@pytest.mark.parametrize(
    ("campaign_id", "texts", "field"),
    [
        ("", {}, "id"),
        ("Upper", {}, "id"),
        ("a/b", {}, "id"),
        ("-a", {}, "id"),
        ("a" * 65, {}, "id"),
        ("fine", {"title": " "}, "title"),
        ("fine", {"consent": ""}, "consent"),
        ("online", {}, "id"),
        *(("fine", {name: "x" * (limit + 1)}, name) for name, limit in LIMITS.items()),
    ],
)
def test_a_campaign_that_cannot_be_used_is_refused(
    campaigns: Campaigns, store: FakeStore, campaign_id: str, texts: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidField) as refused:
        campaigns.create(campaign_id, {**TEXTS, **texts})
    assert refused.value.field == field
    assert ids(store.campaigns.all()) == ["online"]
    assert store.database.acts == []


def test_imported_votes_take_no_battles(campaigns: Campaigns, store: FakeStore) -> None:
    imported = replace(DEFAULT, id="imported", kind="offline", state="closed")
    store.campaigns.add(imported)
    with pytest.raises(InvalidField):
        campaigns.set_open(imported, True)
    assert campaigns.get("imported").state == "closed"


@pytest.mark.parametrize(
    ("kept", "opened"),
    [
        ({"public": True, "publish_text": False}, {"publish_text": True}),
        ({"public": False, "publish_text": True}, {"public": True}),
        ({"public": False, "publish_text": False}, {"public": True, "publish_text": True}),
    ],
)
def test_texts_that_were_given_to_a_few_are_never_published(
    store: FakeStore, campaigns: Campaigns, kept: dict[str, bool], opened: dict[str, bool]
) -> None:
    made = campaigns.create("class", {**TEXTS, **kept})
    store.battles.add(a_battle(campaign="class"), a_turn())
    with pytest.raises(InvalidField, match="were not to be published") as caught:
        campaigns.change(made, {**TEXTS, **kept, **opened})
    assert caught.value.field == "publish_text"
    assert campaigns.get("class", OPERATOR) == made
    campaigns.change(made, {**TEXTS, "public": True, "publish_text": False})  # the votes alone may
    assert campaigns.get("class").public


def test_before_its_first_battle_a_campaign_may_still_publish_its_texts(
    campaigns: Campaigns,
) -> None:
    made = campaigns.create("class", {**TEXTS, "publish_text": False})
    campaigns.change(made, {**TEXTS, "publish_text": True})
    assert campaigns.get("class").publish_text
