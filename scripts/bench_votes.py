#!/usr/bin/env python3
"""Durable votes a second over HTTP, through the real web processes, on SQLite and PostgreSQL.

Every vote goes to a battle of its own that is ready, with two answers of 1,200 characters, from
voters with a few battles each. The baselines, in the same run, with the same load and as many
processes and threads: a bare Flask app that answers the same JSON, and one that inserts one row.

    .venv/bin/python scripts/bench_votes.py [--votes 4000] [--connections 32] [--only sqlite]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import psycopg
from itsdangerous import Signer
from machine import SECRET_KEY, Load, Machine, load, machine, wait_until_up
from sqlalchemy import insert

from arena.battle import Battle, BattleState, TurnState
from arena.campaigns import DEFAULT
from arena.clock import now
from arena.interfaces import ModelEntry
from arena.settings import Settings
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
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--only", choices=GOALS)
    options = parser.parse_args()
    print("database    what             per second  goal   p50    p99 ms  goal  answers")
    for database in [options.only] if options.only else GOALS:
        with machine(database, ROSTER) as place:
            requests = ready_battles(place, ROSTER, options.votes)
            warm_up, measured = requests[: options.votes // 8], requests[options.votes // 8 :]
            with place.running("web"):
                load(place.port, warm_up, options.connections)
                votes = load(place.port, measured, options.connections)
            show(database, "votes", votes, GOALS[database])
            body = b'{"grade": 1}'
            for what in ("insert", "echo"):
                with bare(place):
                    request = post(place.port, f"/{what}", body)
                    load(place.port, [request] * len(warm_up), options.connections)
                    bare_load = load(place.port, [request] * len(measured), options.connections)
                show(database, f"bare {what}", bare_load)
                print(f"{'':12}votes at {votes.rate / bare_load.rate:.2f} of it")


def show(database: str, what: str, seen: Load, goal: int | None = None) -> None:
    p50, p99 = seen.quantile_ms(0.5), seen.quantile_ms(0.99)
    print(
        f"{database:11} {what:16} {seen.rate:10.0f} {goal or '':>5} {p50:5.0f} {p99:9.0f}"
        f" {GOAL_P99_MS if goal else '':>5}  {seen.statuses}",
        flush=True,
    )


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
    database = Database(Settings.from_environment(place.env).database_url)
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


@contextmanager
def bare(place: Machine) -> Iterator[None]:
    """The bare app in the place of the arena's web part, with as many processes and threads."""
    settings = Settings.from_environment(place.env)
    url = settings.database_url.replace("+psycopg", "")
    create = "CREATE TABLE IF NOT EXISTS bare (body TEXT)"
    if url.startswith("postgresql"):
        with psycopg.connect(url) as connection:
            connection.execute(create)
    else:
        url = str(place.folder / "bare.db")
        with sqlite3.connect(url) as file:
            file.execute(create)
    command = [sys.executable, "-m", "gunicorn", "bare:make()", "--worker-class", "gthread"]
    command += ["--bind", f"127.0.0.1:{place.port}", "--keep-alive", "15", "--no-control-socket"]
    command += ["--workers", str(settings.web_workers), "--threads", str(settings.web_threads)]
    env = {**place.env, "BARE_DATABASE": url, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until_up(f"{place.url}/constant")
            yield
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
