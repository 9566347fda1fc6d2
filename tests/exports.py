"""A log with everything in it that a log can have, its boards, and its export with the manifest."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import arena.worker
from arena import log
from arena.interfaces import Campaign, Store
from arena.leaderboard import Method, method_record
from arena.manifest import SUFFIX, Digest, Manifests
from arena.notes import Signer
from arena.records import IDENTITY_LEAK, Content, Record
from arena.sealing import Sealings
from arena.tree import Heads
from arena.worker import Worker
from tests.fakes import CAMPAIGN, SIGNER, FakeLive, a_remark, a_vote
from tests.services import wait_until

SECOND = replace(CAMPAIGN, id="second", title="Zweite", title_zh="第二", position=10)
SECRETIVE = replace(CAMPAIGN, id="secretive", publish_text=False, position=20)
PRIVATE = replace(CAMPAIGN, id="private", public=False, position=30)
CAMPAIGNS = (CAMPAIGN, SECOND, SECRETIVE)
TRICKY = 'comma, "quotes" \\ new\nline\t多行 🙂 \u2028 é'
GRADES = {2: "model_a", 1: "model_a", 0: "tie", -1: "model_b", -2: "model_b"}


def said(prompt: str, answer: str) -> list[dict[str, Any]]:
    return [
        {"role": role, "content": [{"type": "text", "text": text}]}
        for role, text in (("user", prompt), ("assistant", answer))
    ]


def _vote(name: str, place: int, **changes: Any) -> tuple[Record, Content]:
    a, b = place % 4, (place + 1 + place // 4 % 3) % 4
    grade = (place * 7 + place // 3) % 5 - 2
    fields = {
        "model_a": f"模型 m{a}",
        "model_b": f"模型 m{b}",
        "grade": grade,
        "winner": GRADES[grade],
        "voter": f"voter-{place % 12}",
        "language": ("zh", "en")[place % 2],
        "category_tag": (None, "coding", "coding,hard")[place % 3],
        "turns": 1 + place % 2,
        "tokens_a": place,
        "ttft_a": 0.1 + 0.2 + place,
        "duration_b": 1e-7 * (place + 1),
        "propensity": 1 / 12,
        "reasons": ("clear", "正确")[: place % 3],
        "content": Content(f"{place:064x}", said(f"问 {place}", TRICKY), said("?", "b"), "好"),
    }
    return a_vote(name, **{**fields, **changes})


def records(votes: int = 40) -> list[tuple[Record, Content | None]]:
    """Votes of three campaigns with all that can be said of them, and a record of the method."""
    rows: list[tuple[Record, Content | None]] = []
    for place in range(votes):
        campaign = (CAMPAIGN, CAMPAIGN, SECOND, SECRETIVE if place % 8 == 3 else CAMPAIGN)[
            place % 4
        ]
        rows.append(_vote(f"v{place:02}", place, campaign=campaign.id))
    rows[4] = _vote("v04", 4, grade=0, winner="tie", both_bad=True)
    rows[5] = _vote("v05", 5, grade=None, winner="model_b", both_bad=None, voter=None)
    rows[6] = (replace(rows[6][0], voter_kind="judge"), rows[6][1])
    rows[7] = (replace(rows[7][0], consent="c" * 64), rows[7][1])
    rows[9] = (rows[9][0], None)
    leak = Record(
        "f0", "flag", CAMPAIGN.id, rows[0][0].timestamp, target="v08", reason=IDENTITY_LEAK,
        data={"side": "a", "name": "文心"},
    )  # fmt: skip
    rows += [
        a_remark("x0", "exclusion", "v12", "spam"),
        (leak, None),
        a_remark("f1", "flag", "v00", "odd"),
        a_remark("f2", "flag", "v00", "strange"),
        a_remark("e0", "erasure", "v09", "voter"),
        (method_record(CAMPAIGN.id, "agreed", Method("davidson")), None),
        _vote("v90", 90),
        a_remark("x1", "exclusion", "v00", "again"),
    ]
    return rows


def publish(store: Store, *, signer: Signer = SIGNER, boards: int = 6) -> None:
    """Let a worker seal the log and publish its boards, of so many kinds at least."""
    stop = threading.Event()
    worker = Worker(store, FakeLive(), signer=signer, poll=0.05, lease_seconds=5)
    thread = threading.Thread(target=worker.run, args=(stop,))
    patch = pytest.MonkeyPatch()
    patch.setattr(arena.worker, "_PUBLISH_SECONDS", 0.02)
    patch.setattr(arena.worker, "_OTHER_METHODS_SECONDS", 0.02)
    ids = [campaign.id for campaign in store.campaigns.all()]

    def is_done() -> bool:
        time.sleep(0.05)
        standing = list(store.snapshots.standing(ids, 10**9))
        of_all = [board for board in standing if board.category == "overall" and board.rows]
        return (
            store.votes.unsealed() == 0
            and not store.sealed.waiting()
            and store.votes.unsealed() == 0  # what tells of sealed boards has its place too
            and len(standing) >= boards
            and len({board.method for board in of_all}) == len(arena.worker.METHOD_NAMES)
            and all(board.log_position >= _newest(store, board.campaign) for board in of_all)
        )

    thread.start()
    try:
        wait_until(is_done, 30, what="boards of everything")
    finally:
        stop.set()
        thread.join(20)
        patch.undo()
    assert not thread.is_alive()


def seal(store: Store, *, boards: int = 6) -> int:
    """Let an operator seal the boards of the first campaign; the place of the seal."""
    record = Sealings(store).seal(CAMPAIGN, "The spring round is over.", "春季赛结束。")
    publish(store, boards=boards)
    place = store.votes.place_of(record.id)
    assert place is not None
    return place


def _newest(store: Store, campaign: str) -> int:
    """The place of the campaign's last vote."""
    at, found = 0, 0
    while places := store.votes.places([campaign], at, 10**9, 1_000):
        at = found = places[-1]
    return min(found, 40)


def export(
    store: Store,
    path: Path,
    campaigns: Sequence[Campaign] = CAMPAIGNS,
    *,
    after: int = 0,
    until: int | None = None,
    signer: Signer = SIGNER,
    outcomes: bool = False,
) -> Path:
    """What `arena export` writes."""
    position = store.votes.position() if until is None else until
    sign_head(store, position, signer)
    digest = Digest()
    pages = log.pages(store.votes, campaigns, after=after, until=position, outcomes=outcomes)
    log.export_file(digest.of(log.encode(pages, "jsonl")), path)
    manifest = Manifests(store, signer).write(
        campaigns, position=position, after=after, file=digest.file(path.name)
    )
    log.export_file(manifest, path.with_name(path.name + SUFFIX))
    return path


def sign_head(store: Store, position: int, signer: Signer = SIGNER) -> None:
    """Let a worker sign a head there, where none is kept."""
    if store.trees.head(position) is not None:
        return
    lease = store.leases.take("worker", "signs", store.leases.look("worker"))
    assert lease is not None
    head = Heads(store.votes, store.trees, signer, lease, lambda: None).at(position)
    store.trees.add_head(lease, head)
    store.leases.release(lease)


def a_key() -> Signer:
    return Signer(secrets.token_bytes(32))
