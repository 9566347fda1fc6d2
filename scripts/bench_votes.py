#!/usr/bin/env python3
"""Durable votes a second over HTTP, through the real web processes, on SQLite and PostgreSQL.

Every vote goes to a battle of its own that is ready, with two answers of 1,200 characters, from
voters with a few battles each, beside many older votes with one short turn each. The baselines, in
the same run, the same server and with the same load: a bare Flask app that inserts one row, and one
that answers the same JSON.

    .venv/bin/python scripts/bench_votes.py [--votes 4000] [--older 200000] [--only sqlite]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict

from itsdangerous import Signer
from machine import SECRET_KEY, Load, Machine, Report, load, machine
from sqlalchemy import insert
from synthetic_log import votes, write_past

from arena.battle import Battle, BattleState, TurnState
from arena.campaigns import DEFAULT
from arena.clock import now
from arena.interfaces import ModelEntry
from arena.store.engine import Database
from arena.store.tables import battles, turns
from arena.views.context import VOTER_COOKIE

GOALS = {"sqlite": 200, "postgresql": 500}
GOAL_P99_MS = 250
ROSTER = [ModelEntry(f"m{n}", f"Model {n}") for n in range(20)]
BATTLES_PER_VOTER = 4
ANSWER_CHARS = 1200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--votes", type=int, default=4000)
    parser.add_argument("--older", type=int, default=200_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--only", choices=GOALS)
    options = parser.parse_args()
    with Report() as report:
        for database in [options.only] if options.only else GOALS:
            measure(report, database, options)


def measure(report: Report, database: str, options: argparse.Namespace) -> None:
    count, connections = options.votes, options.connections
    with machine(database, ROSTER) as place:
        write_past(place, votes(options.older, len(ROSTER), max(1, options.older // 20), seed=1))
        requests = ready_battles(place, ROSTER, count)
        warm_up, measured = requests[: count // 8], requests[count // 8 :]
        with place.running("web"):
            load(place.port, warm_up, connections)
            seen = {"votes": load(place.port, measured, connections)}
        for what in ("insert", "echo"):
            with place.bare():
                request = post(place.port, f"/{what}", b'{"grade": 1}')
                load(place.port, [request] * len(warm_up), connections)
                seen[f"bare {what}"] = load(place.port, [request] * len(measured), connections)
    given = seen["votes"]
    goal = f"≥ {GOALS[database]}/s, p99 ≤ {GOAL_P99_MS} ms"
    for what, one in seen.items():
        figure, result = f"{what}, {database}", told(one)
        report.expect(one.statuses.keys() == {200}, f"{figure}: the answers were {one.statuses}")
        if one is given:
            beside_insert, beside_echo = (
                given.rate / seen[name].rate for name in ("bare insert", "bare echo")
            )
            ratio = f"{beside_insert:.2f} of an insert, {beside_echo:.2f} of an echo"
            report.add(figure, result, goal=goal, ratio=ratio)
        else:
            report.add(figure, result)


def told(seen: Load) -> str:
    p50, p99 = seen.quantile_ms(0.5), seen.quantile_ms(0.99)
    return f"{seen.rate:,.0f}/s, p50 {p50:.0f} ms, p99 {p99:.0f} ms"


def ready_battles(place: Machine, roster: Sequence[ModelEntry], count: int) -> list[bytes]:
    """Battles that wait for their vote, and the requests that give it."""
    signer = Signer(SECRET_KEY, salt="voter", digest_method=hashlib.sha256)
    requests, battle_rows, turn_rows, voter = [], [], [], ""
    for n in range(count):
        if n % BATTLES_PER_VOTER == 0:
            voter = secrets.token_hex(16)
        battle = Battle(
            id=secrets.token_hex(16),
            campaign=DEFAULT.id,
            voter=voter,
            state=BattleState.ready,
            model_a=roster[n % len(roster)].id,
            model_b=roster[(n + 1) % len(roster)].id,
            propensity=1 / 380,
            sampling_rule="uniform",
            roster_revision=1,
            created_at=now(),
        )
        battle_rows.append(asdict(battle))
        answer = {"text": "answer " * (ANSWER_CHARS // 7), "finish": "stop", "tokens": 300}
        turn_rows.append(
            {
                "battle_id": battle.id,
                "number": 1,
                "prompt": "What should be measured?",
                "state": TurnState.ready,
                "steps": [[8, 8]] * (ANSWER_CHARS // 8),
                **{f"{name}_{side}": value for side in "ab" for name, value in answer.items()},
            }
        )
        cookie = f"{VOTER_COOKIE}={signer.sign(voter).decode()}"
        body = json.dumps({"grade": n % 5 - 2}).encode()
        requests.append(post(place.port, f"/api/battles/{battle.id}/vote", body, cookie))
    database = Database(place.settings.database_url)
    with database.write() as connection:
        connection.execute(insert(battles), battle_rows)
        connection.execute(insert(turns), turn_rows)
    database.close()
    return requests


def post(port: int, path: str, body: bytes, cookie: str = "") -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n" + (f"Cookie: {cookie}\r\n" if cookie else "")
    )
    return head.encode() + b"\r\n" + body


if __name__ == "__main__":
    main()
