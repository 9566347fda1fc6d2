"""The dated records of campaigns and models: told once each, whenever and however often."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.clock import now
from arena.events import CHANGED, FOUND, MADE, MODEL_TYPES, Teller, campaign_record, missing
from arena.interfaces import Act, Campaign, Lease, ModelEntry, RosterRevision
from arena.records import Record, consent_digest
from arena.worker import Worker
from tests.fakes import CAMPAIGN, SIGNER, FakeLive, FakeStore, a_vote
from tests.services import wait_until

SECRET = replace(CAMPAIGN, id="secret", public=False, title="Secret", position=60)
IMPORTED = replace(CAMPAIGN, id="imported", kind="offline", position=70)


def at(minute: int) -> str:
    return f"2026-05-01T{minute // 60:02}:{minute % 60:02}:00.000Z"


def model(ident: str = "m", /, **fields: Any) -> ModelEntry:
    return ModelEntry(
        **{"id": ident, "name": ident, "base_url": "http://x", "model": "v1", **fields}
    )


def revision(number: int, *entries: ModelEntry, reason: str | None = None) -> RosterRevision:
    return RosterRevision(number, at(number), entries, reason=reason)


def said(campaign: Campaign, minute: int | None = None, before: Campaign | None = None) -> Record:
    """The record of a campaign: found, or made, or changed at a minute."""
    told = None if before is None else before.to_json()
    record = campaign_record(campaign, told, at(minute or 0), made=minute is not None)
    assert record is not None
    return record


def no_votes(*_: Any) -> int:
    return 0


def told(
    *history: RosterRevision, campaigns: Sequence[Record] = (said(CAMPAIGN),)
) -> list[tuple[str, str, Any, str]]:
    """Type, campaign, model and time of what an empty log lacks."""
    return [
        (one.type, one.campaign, (one.data or {})["model"], one.timestamp)
        for one in missing(history, campaigns, no_votes)
    ]


# --- what follows from the roster ---------------------------------------------------------------


def test_a_model_that_is_added_enters_every_campaign_that_it_plays_in() -> None:
    both = (said(CAMPAIGN), said(SECRET), said(IMPORTED))
    assert told(revision(1, model("a"), model("b", campaigns=("secret",))), campaigns=both) == [
        ("entry", "online", "a", at(1)),
        ("entry", "secret", "a", at(1)),
        ("entry", "secret", "b", at(1)),
    ]


def test_an_entry_says_what_the_public_may_know_and_nothing_of_what_is_behind() -> None:
    entry = model("a", organization="Org", license="MIT", link="https://a", parameters={"t": 1})
    (record,) = missing([revision(1, entry)], [said(CAMPAIGN)], no_votes)
    assert record.data == {
        **{"model": "a", "name": "a", "organization": "Org", "license": "MIT"},
        **{"link": "https://a", "modalities": ["text"], "roster_revision": 1},
    }


@pytest.mark.parametrize(
    "gone",
    [[], [model(state="retired")], [model(campaigns=("secret",))]],
    ids=["taken out", "retired", "moved"],
)
def test_a_model_that_plays_no_more_retires_and_may_enter_again(gone: list[ModelEntry]) -> None:
    found = told(revision(1, model()), revision(2, *gone), revision(3, model()))
    assert [(kind, when) for kind, _, _, when in found] == [
        ("entry", at(1)),
        ("retirement", at(2)),
        ("entry", at(3)),
    ]


def test_the_operators_reason_is_in_the_records_of_that_revision_only() -> None:
    history = [revision(1, model()), revision(2, reason="The maker asked."), revision(3, model())]
    reasons = {one.type: one.reason for one in missing(history, [said(CAMPAIGN)], no_votes)[:2]}
    assert reasons == {"entry": None, "retirement": "The maker asked."}
    late = [*history[:2], replace(history[1], revision=3, at=at(3), entries=(model(),))]
    made_later = said(SECRET, 4)
    (*_, entry) = missing(late, [said(CAMPAIGN), made_later], no_votes)
    assert (entry.campaign, entry.timestamp, entry.reason) == ("secret", at(4), None)


def test_a_new_description_is_told_field_by_field() -> None:
    history = [revision(1, model()), revision(2, model(name="Mo", license="MIT"))]
    _, change = missing(history, [said(CAMPAIGN)], no_votes)
    assert change.data == {
        "model": "m",
        "name": "Mo",
        "changed": {
            "name": {"from": "m", "to": "Mo"},
            "license": {"from": "", "to": "MIT"},
        },
        "behind": False,
        "roster_revision": 2,
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"base_url": "http://y"},
        {"model": "v2"},
        {"parameters": {"temperature": 2}},
        {"protocol": "other"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_that_something_else_answers_is_a_fact_without_values(fields: dict[str, Any]) -> None:
    history = [revision(1, model()), revision(2, model(**fields))]
    _, change = missing(history, [said(CAMPAIGN)], no_votes)
    assert change.data == {
        **{"model": "m", "name": "m", "changed": {}, "behind": True, "roster_revision": 2}
    }


def test_what_concerns_the_operator_alone_is_told_to_nobody() -> None:
    private = {"api_key_env": "KEY", "price": 2.0, "daily_tokens": 5, "campaigns": ("online",)}
    assert len(told(revision(1, model()), revision(2, model(**private)))) == 1


def test_what_changed_while_a_model_was_retired_is_told_when_it_returns() -> None:
    away = model(state="retired", model="v2", name="New")
    found = told(
        revision(1, model()), revision(2, away), revision(3, replace(away, state="active"))
    )
    assert [kind for kind, *_ in found] == ["entry", "retirement", "entry", "change"]


def test_a_campaign_that_is_made_later_is_entered_then() -> None:
    records = (said(CAMPAIGN), said(SECRET, 5))
    assert told(revision(1, model()), revision(9), campaigns=records) == [
        ("entry", "online", "m", at(1)),
        ("entry", "secret", "m", at(5)),
        ("retirement", "online", "m", at(9)),
        ("retirement", "secret", "m", at(9)),
    ]


# --- private variants ---------------------------------------------------------------------------

HIDDEN = model(campaigns=("secret",))


def disclosures(history: Sequence[RosterRevision], log: Sequence[Record]) -> list[Record]:
    return [one for one in missing(history, log, lambda *_: 7) if one.type == "disclosure"]


def test_a_model_that_comes_out_of_private_campaigns_is_disclosed_with_its_past() -> None:
    asked: list[Any] = []
    history = [revision(1, HIDDEN), revision(5, model())]
    found = missing(history, [said(CAMPAIGN), said(SECRET)], lambda *what: asked.append(what) or 7)
    assert [one.type for one in found] == ["entry", "entry", "disclosure"]
    assert (found[2].campaign, found[2].timestamp) == ("online", at(5))
    assert found[2].data == {
        **{"model": "m", "name": "m", "private_since": at(1), "private_battles": 7},
        "roster_revision": 2 + 3,
    }
    assert asked == [("m", {"secret"}, at(5))]


def test_a_campaign_that_is_made_public_discloses_its_models() -> None:
    opened = said(replace(SECRET, public=True), before=SECRET)
    log = [said(SECRET), replace(opened, timestamp=at(9))]
    (found,) = disclosures([revision(1, model())], log)
    assert (found.campaign, found.timestamp) == ("secret", at(9))


@pytest.mark.parametrize(
    "history",
    [
        [revision(1, model())],
        [revision(1, model(campaigns=("online",))), revision(2, model())],
        [revision(1, model()), revision(2, HIDDEN), revision(3, model())],
        [revision(1, HIDDEN), revision(2)],
    ],
    ids=["in both at once", "public first", "seen before", "never came out"],
)
def test_a_model_that_the_public_knew_or_never_met_is_not_disclosed(
    history: list[RosterRevision],
) -> None:
    assert disclosures(history, [said(CAMPAIGN), said(SECRET)]) == []
    assert disclosures(history, [said(SECRET), said(CAMPAIGN)]) == []


def test_a_model_is_disclosed_once() -> None:
    history = [revision(1, HIDDEN), revision(2, model()), revision(3, HIDDEN), revision(4, model())]
    assert len(disclosures(history, [said(CAMPAIGN), said(SECRET)])) == 1


# --- once each ----------------------------------------------------------------------------------


def test_the_id_of_a_record_cannot_be_guessed_from_what_it_says() -> None:
    """Whoever asks the public log for an id must not learn what a private campaign tries."""
    history, log = [revision(1, HIDDEN), revision(2, model())], [said(CAMPAIGN), said(SECRET)]
    once, again = (missing(history, log, no_votes) for _ in range(2))
    assert unnamed(once) == unnamed(again)
    assert {one.type for one in once} == {"entry", "disclosure"}
    assert not {one.id for one in once} & {one.id for one in again}
    assert all(len(bytes.fromhex(one.id)) == 16 for one in once)


def test_what_the_log_says_already_is_not_counted_once_more() -> None:
    asked: list[Any] = []
    history = [revision(1, HIDDEN), revision(5, model())]
    log = [said(CAMPAIGN), said(SECRET)]
    log += missing(history, log, lambda *what: asked.append(what) or 7)
    assert missing(history, log, lambda *what: asked.append(what) or 7) == []
    assert len(asked) == 1


def test_records_that_an_earlier_program_named_by_what_they_say_are_known() -> None:
    history, log = [revision(1, model()), revision(2)], [said(CAMPAIGN)]
    older = [
        replace(one, id=f"{place:032x}")
        for place, one in enumerate(missing(history, log, no_votes))
    ]
    assert missing(history, [*log, *older], no_votes) == []


entries = st.lists(
    st.builds(
        model,
        st.sampled_from(["a", "b", "c"]),
        name=st.sampled_from(["One", "Two"]),
        model=st.sampled_from(["v1", "v2"]),
        state=st.sampled_from(["active", "active", "retired"]),
        campaigns=st.sampled_from([(), ("online",), ("secret",), ("later",)]),
    ),
    max_size=3,
    unique_by=lambda entry: entry.id,
)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("roster"), entries),
        st.tuples(st.just("public"), st.sampled_from(["online", "secret", "later"])),
        st.tuples(st.just("make"), st.just("later")),
        st.tuples(st.just("tell"), st.integers(0, 4)),
    ),
    max_size=14,
)


def unnamed(records: Iterable[Record]) -> list[str]:
    """What records say, without their ids."""
    return [repr(replace(record, id="")) for record in records]


@given(changes=changes)
@settings(max_examples=150, deadline=None)
def test_however_it_is_told_the_log_gets_the_same_records_once_each(
    changes: list[tuple[str, Any]],
) -> None:
    """`tell` writes only the first few of what is missing: a worker that died in between."""
    campaigns = {one.id: one for one in (CAMPAIGN, SECRET)}
    history: list[RosterRevision] = []
    rules = [said(CAMPAIGN), said(SECRET)]
    log = list(rules)
    for minute, (act, what) in enumerate(changes, 1):
        if act == "roster" and (not history or history[-1].entries != tuple(what)):
            history.append(RosterRevision(len(history) + 1, at(minute), tuple(what)))
        elif act == "make" and what not in campaigns:
            campaigns[what] = replace(CAMPAIGN, id=what)
            rules.append(said(campaigns[what], minute))
            log.append(rules[-1])
        elif act == "public" and what in campaigns:
            before = campaigns[what]
            campaigns[what] = replace(before, public=not before.public)
            rules.append(replace(said(campaigns[what], before=before), timestamp=at(minute)))
            log.append(rules[-1])
        elif act == "tell":
            log += missing(history, log, no_votes)[:what]
    log += missing(history, log, no_votes)
    assert missing(history, log, no_votes) == []
    in_parts = unnamed(record for record in log if record.type in MODEL_TYPES)
    assert len(set(in_parts)) == len(in_parts)
    assert sorted(in_parts) == sorted(unnamed(missing(history, rules, no_votes)))


@given(entries_now=entries, entries_then=entries)
@settings(max_examples=60, deadline=None)
def test_what_another_arenas_log_says_is_not_told_again(
    entries_now: list[ModelEntry], entries_then: list[ModelEntry]
) -> None:
    log = [said(CAMPAIGN), said(SECRET)]
    log += missing([revision(1, *entries_then)], log, no_votes)
    assert missing([], log, no_votes) == [], "the other arena's models are nobody's here"
    mine = [RosterRevision(1, at(50), tuple(entries_now))]
    fresh = missing(mine, log, no_votes)
    known = {(one.campaign, (one.data or {})["model"]) for one in log if one.type == "entry"}
    entered = {(one.campaign, (one.data or {})["model"]) for one in fresh if one.type == "entry"}
    assert not known & entered
    assert {one.type for one in fresh} <= {"entry", "change", "disclosure"}
    log += fresh
    assert missing(mine, log, no_votes) == []


def test_a_campaign_is_told_when_it_differs_from_what_was_told_last() -> None:
    made = said(CAMPAIGN, 3)
    assert (made.reason, made.data and made.data["changed"]) == (MADE, [])
    assert made.consent == consent_digest(CAMPAIGN.consent, CAMPAIGN.consent_zh)
    assert campaign_record(CAMPAIGN, made.data, at(4)) is None
    other = replace(CAMPAIGN, consent="All of it is published.", title="New")
    changed = campaign_record(other, made.data, at(5))
    assert changed is not None and changed.data is not None
    assert (changed.reason, changed.data["changed"]) == (CHANGED, ["consent", "title"])
    assert changed.data["consent"] == "All of it is published."
    assert changed.consent not in (None, made.consent)
    assert said(CAMPAIGN).reason == FOUND


# --- by the worker ------------------------------------------------------------------------------


def leased(store: FakeStore) -> Lease:
    lease = store.leases.take("worker", "w", None)
    assert lease is not None
    return lease


def tell_all(store: FakeStore, lease: Lease) -> list[Record]:
    """Let a new worker tell until it has nothing to tell; the log."""
    teller = Teller(store, lease)
    names = [one.id for one in store.campaigns.all()]
    while store.votes.seal(lease, 999) or teller.tell(names):
        pass
    return [row.record for row in reversed(store.votes.events(names))]


def test_an_old_arena_gets_its_history_told_once() -> None:
    store = FakeStore()
    store.campaigns.add(CAMPAIGN)
    store.roster.replace([model("a"), model("b")], at(1))
    store.roster.replace([model("a")], at(2), reason="Too slow.")
    lease = leased(store)
    log = tell_all(store, lease)
    assert [(one.type, one.reason) for one in log] == [
        ("campaign", FOUND),
        ("entry", None),
        ("entry", None),
        ("retirement", "Too slow."),
    ]
    assert tell_all(store, lease) == log


def test_the_votes_of_a_private_past_are_counted_up_to_the_disclosure() -> None:
    store = FakeStore()
    store.campaigns.add(CAMPAIGN)
    store.campaigns.add(SECRET)
    store.roster.replace([HIDDEN], at(1))
    for name, campaign, minute, models in (
        ("v1", "secret", 2, ("m", "x")),
        ("v2", "secret", 3, ("x", "m")),
        ("v3", "secret", 4, ("x", "y")),
        ("v4", "online", 4, ("m", "x")),
        ("v5", "secret", 9, ("m", "x")),
    ):
        record, content = a_vote(
            name, campaign=campaign, timestamp=at(minute), model_a=models[0], model_b=models[1]
        )
        store.votes.append([(record, content)])
    store.roster.replace([model()], at(5))
    (found,) = [one for one in tell_all(store, leased(store)) if one.type == "disclosure"]
    assert found.data is not None and found.data["private_battles"] == 2


def test_a_campaigns_change_is_in_the_log_without_any_worker_and_so_is_what_it_replaced() -> None:
    store = FakeStore()
    store.campaigns.add(CAMPAIGN)  # as an older program left it
    act = Act(now(), "campaign.change", CAMPAIGN.id)
    store.campaigns.change(CAMPAIGN.id, {"consent": "Other."}, act)
    store.campaigns.change(CAMPAIGN.id, {"consent": CAMPAIGN.consent}, act)
    log = tell_all(store, leased(store))
    assert [(one.reason, (one.data or {})["consent"]) for one in log] == [
        (FOUND, CAMPAIGN.consent),
        (CHANGED, "Other."),
        (CHANGED, CAMPAIGN.consent),
    ]
    assert log[0].consent == log[2].consent


def test_a_worker_at_work_tells_what_is_new_within_moments() -> None:
    store, live, stop = FakeStore(), FakeLive(), threading.Event()
    store.campaigns.add(CAMPAIGN)
    store.roster.replace([model("a")], now())
    worker = Worker(store, live, signer=SIGNER, poll=0.02, lease_seconds=1)
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: store.votes.events(["online"], ["entry"]), what="the entry")
        store.roster.replace([], now(), reason="Over.")
        wait_until(lambda: store.votes.events(["online"], ["retirement"]), what="the retirement")
    finally:
        stop.set()
        thread.join(10)
    types = [row.record.type for row in store.votes.events(["online"])]
    assert types == ["retirement", "entry", "campaign"]
