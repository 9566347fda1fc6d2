"""Erasing text for good: by its voter, by the operator, by age (the worker does that).

The vote stays in the log, because a board is a pure function of the log; an `erasure` record says
why its text is gone. SQL forgets in one transaction, so nothing is ever half-erased; what Redis
still holds of a running answer goes right after it, or else by itself when its time is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from arena.errors import LiveLost
from arena.interfaces import Act, LiveBuffer, Store

VOTER, OPERATOR, RETENTION = "voter", "operator", "retention"
"""Who wanted it: the reason that the log gives."""

_AT_ONCE = 100


def erase(
    store: Store, live: LiveBuffer, battle_ids: Sequence[str], reason: str, act: Act | None = None
) -> list[str]:
    """Erase the text of these battles; returns those that still had it."""
    erased = store.votes.erase(battle_ids, reason, act=act)
    for battle_id in erased:
        for turn in store.battles.turns(battle_id):
            with suppress(LiveLost):
                live.replace(battle_id, turn.number, [])
    if erased:
        live.wake_worker()
    return erased


def forget(store: Store, live: LiveBuffer, voter: str) -> None:
    """Erase everything of a voter, then cut what ties the voter to it.

    Should it end half-way, the rest is as it was, and asking again goes on.
    """
    while not store.votes.forget(voter):
        battles = store.battles.of_voter(voter, before=None, limit=_AT_ONCE)
        erase(store, live, [one.battle.id for one in battles], VOTER)
