"""What an operator sees of a running arena: logs without secrets, metrics, dashboard and alerts."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.conftest import missing
from tests.services import ROOT, ArenaProcess, wait_until
from tests.upstream import roster, upstream
from tests.voter import Voter

TOKEN = "token-of-the-operator-S1"  # noqa: S105  opens nothing but these tests
KEY = "sk-key-of-the-provider-S2"
SECRETS = {
    "prompt": "prompt-of-a-person-S3",
    "comment": "comment-of-a-person-S4",
    "query": "word-of-a-query-S5",
    "path": "word-of-a-path-S6",
    "agent": "Browser/S7",
    "address": "203.0.113.77",
    "cookie": "cookie-of-a-person-S8",
    "request id": "a word of mine S9",
    "wrong token": "guessed-token-SA",
    "report": "report-of-a-person-SB",
    "raw": "line-that-is-no-request-SC",
    "method": "METHODSD",
    "key": "idempotency-key-SE",
    "referer": "https://example.org/came-from-SF",
}
BATTLE = "0123456789abcdef0123456789abcdef"
VOTE = "abcdef00-1111-2222-3333-444444444444"


class _Quoting(BaseHTTPRequestHandler):
    """An endpoint that fails and repeats the prompt and key that it was sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        said = body + self.headers.get("Authorization", "").encode()
        self.send_response(400)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        return


@dataclass(frozen=True)
class Visited:
    """An arena that everything was sent to, what it wrote, and its metrics."""

    url: str
    lines: list[str]
    metrics: str
    battle: str
    cookies: list[str]

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visited]:
    data = tmp_path_factory.mktemp("operations") / "data"
    data.mkdir()
    quoting = ThreadingHTTPServer(("127.0.0.1", 0), _Quoting)
    thread = Thread(target=quoting.serve_forever, args=(0.05,))
    thread.start()
    environ = {"ARENA_ADMIN_TOKEN": TOKEN, "PROVIDER_KEY": KEY, "ARENA_LOG_LEVEL": "debug"}
    try:
        with upstream() as url:
            quoted = roster(f"http://127.0.0.1:{quoting.server_port}/v1", ["x"])
            (data / "arena.toml").write_text(
                roster(url, ["quick", "quick"])
                + quoted.replace("model-0", "model-2")
                + 'api_key_env = "PROVIDER_KEY"\n'
            )
            with ArenaProcess(data, "up", "--no-demo", environ=environ) as arena:
                arena.wait_ready()
                battle, cookies = _visit(arena)
                metrics = _wait_for_worker(arena)
            yield Visited(arena.url, arena.log().splitlines(), metrics, battle, cookies)
    finally:
        quoting.shutdown()
        quoting.server_close()
        thread.join()


def _visit(arena: ArenaProcess) -> tuple[str, list[str]]:
    """Send a secret on every way there is; the battle that was voted on, and the voter's cookie."""
    with Voter(arena.url) as voter:
        voter.http.headers.update(
            {
                "User-Agent": SECRETS["agent"],
                "X-Forwarded-For": SECRETS["address"],
                "Referer": SECRETS["referer"],
            }
        )
        voter.http.cookies.set("other", SECRETS["cookie"])
        battle = _battles_until_both_ends(voter)
        voter.http.post(
            f"/api/battles/{battle}/vote?q={SECRETS['query']}",
            json={"grade": 1, "comment": SECRETS["comment"]},
            headers={"X-Request-ID": VOTE, "Idempotency-Key": SECRETS["key"]},
        ).raise_for_status()
        again = voter.http.post(f"/api/battles/{battle}/vote", json={"grade": 2})
        assert again.status_code == 409
        report = {"reason": SECRETS["report"]}
        voter.http.post(f"/api/battles/{battle}/report", json=report).raise_for_status()
        voter.http.get(f"/api/{SECRETS['path']}?q={SECRETS['query']}")
        voter.http.get(f"/api/battles/{SECRETS['path']}")
        voter.http.get(f"/board?search={SECRETS['query']}")
        voter.http.get("/readyz", headers={"Authorization": f"Bearer {SECRETS['wrong token']}"})
        voter.http.request(SECRETS["method"], "/api/board")
        voter.http.post("/api/battles", json={"prompt": [SECRETS["prompt"]]})
        answer = voter.http.get("/api/board", headers={"X-Request-ID": SECRETS["request id"]})
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])
        cookies = [value for name, value in voter.http.cookies.items() if name == "arena_voter"]
    _send_raw(arena.port, f"{SECRETS['raw']}\r\n\r\n".encode())
    _send_raw(arena.port, f"GET / HTTP/1.1\r\n{SECRETS['raw']}\x00\r\n\r\n".encode())
    return battle, cookies


def _battles_until_both_ends(voter: Voter) -> str:
    """Battles until one is ready and one void, the ready one under a request id of ours."""
    ready, void = "", False
    while not (ready and void):
        answer = voter.http.post(
            "/api/battles",
            json={"prompt": SECRETS["prompt"]},
            headers={"X-Request-ID": BATTLE if not ready else "none"},
        )
        assert answer.status_code == 201, answer.text
        battle = answer.json()["id"]
        state = wait_until(
            lambda battle=battle: (
                (seen := voter.look(battle)["state"]) in ("ready", "void") and seen
            ),
            20,
            what="an end",
        )
        void = void or state == "void"
        ready = ready or (battle if state == "ready" else "")
    return ready


def _send_raw(port: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(sent)
        client.recv(4096)


def _wait_for_worker(arena: ArenaProcess) -> str:
    """The metrics once the vote is on the board, so that every stage has told of itself."""
    headers = {"Authorization": f"Bearer {TOKEN}"}

    def told() -> str | None:
        text = httpx.get(f"{arena.url}/metrics", headers=headers, trust_env=False).text
        stages = [f'arena_worker_stage_seconds_count{{stage="{one}"}}' for one in _STAGES]
        return text if all(stage in text for stage in stages) else None

    with httpx.stream("GET", f"{arena.url}/api/board/events", trust_env=False):
        return wait_until(told, 20, what="every stage of the worker")


_STAGES = ("seal", "count", "fit", "publish")


# --- logs ---------------------------------------------------------------------------------------


def test_every_line_of_every_process_is_one_json_object(visited: Visited) -> None:
    objects = visited.objects()
    assert {one["process"] for one in objects} >= {"arena", "web", "runner", "worker"}
    for one in objects:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["time"])
        assert one["level"] in {"debug", "info", "warning", "error", "critical"}
        assert one["message"]


@pytest.mark.parametrize("where", SECRETS)
def test_no_process_writes_down_what_a_client_sent(visited: Visited, where: str) -> None:
    found = [line for line in visited.lines if SECRETS[where] in line]
    assert not found


def test_no_process_writes_down_keys_cookies_or_addresses(visited: Visited) -> None:
    text = "\n".join(visited.lines)
    assert visited.cookies
    for secret in (TOKEN, KEY, *visited.cookies):
        assert secret not in text
    web = [one for one in visited.objects() if one["process"] == "web"]
    told = [one for one in web if "Listening at" not in one["message"]]
    assert told
    assert "127.0.0.1" not in json.dumps(told)


def test_one_search_follows_a_battle_from_the_request_to_the_commit(visited: Visited) -> None:
    of_request = [one for one in visited.objects() if one.get("request_id") == BATTLE]
    of_battle = [one for one in of_request if one.get("battle") == visited.battle]
    told = [(one["process"], one["message"]) for one in of_battle]
    assert told.count(("runner", "an endpoint's answer ended")) == 2
    assert ("runner", "the turn's end is committed") in told
    assert {
        "process": "web",
        "message": "request",
        "method": "POST",
        "route": "/api/battles",
        "status": 201,
    }.items() <= next(one for one in of_battle if one["process"] == "web").items()


def test_a_vote_and_its_refusal_are_told_by_route_and_reason(visited: Visited) -> None:
    votes = [one for one in visited.objects() if str(one.get("route")).endswith("/vote")]
    assert [(one["status"], one.get("problem")) for one in votes] == [
        (200, None),
        (409, "already-voted"),
    ]
    assert votes[0]["request_id"] == VOTE
    assert {one["battle"] for one in votes} == {visited.battle}


def test_a_request_that_cannot_be_read_is_told_without_what_it_was(visited: Visited) -> None:
    messages = [one["message"] for one in visited.objects()]
    assert "a request that cannot be read is refused" in messages


# --- metrics ------------------------------------------------------------------------------------


def value(text: str, name: str) -> float:
    """The one sample that is called so, labels included."""
    (found,) = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found)


def test_any_web_process_tells_the_metrics_of_all(visited: Visited) -> None:
    text = visited.metrics
    assert value(text, 'arena_votes_total{outcome="acknowledged"}') == 1
    assert value(text, 'arena_votes_total{outcome="already-voted"}') == 1
    vote = "/api/battles/<battle_id>/vote"
    assert value(text, f'arena_refusals_total{{problem="already-voted",route="{vote}"}}') == 1
    assert value(text, 'arena_log_records_total{type="vote"}') == 1
    assert value(text, 'arena_turn_commit_seconds_count{end="ready"}') >= 1
    assert value(text, 'arena_turn_commit_seconds_count{end="failed"}') >= 1
    assert 'arena_endpoint_calls_total{model="model-2",outcome="EndpointDeclined"}' in text
    assert value(text, 'arena_streams_open{route="/api/board/events"}') == 1
    for process, number in {"web": 2, "runner": 1, "worker": 1}.items():
        memory = rf'^arena_process_resident_memory_bytes{{pid="\d+",process="{process}"}}'
        assert len(re.findall(memory, text, re.MULTILINE)) == number


def test_no_label_holds_what_a_client_sent(visited: Visited) -> None:
    for secret in (*SECRETS.values(), TOKEN, KEY, visited.battle):
        assert secret not in visited.metrics
    assert 'method="other"' in visited.metrics


# --- dashboard and alerts -----------------------------------------------------------------------

NAME = re.compile(r"\barena_[a-z_]+")
DASHBOARD, ALERTS = ROOT / "docs/grafana/arena.json", ROOT / "docs/prometheus/alerts.yml"


def told_names(visited: Visited) -> set[str]:
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", visited.metrics, re.MULTILINE))
    parts = {
        f"{name}{end}"
        for name, kind in kinds.items()
        if kind == "histogram"
        for end in ("_bucket", "_sum", "_count")
    }
    from arena.metrics import OURS  # noqa: PLC0415  names that only trouble brings up

    rare = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name
        for metric in OURS.collect()
    }
    return kinds.keys() | parts | rare


def dashboard_expressions() -> list[str]:
    """What the panels ask, with Grafana's variables filled in."""
    board = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [one.replace("$__rate_interval", "5m").replace("$instance", ".*") for one in asked]


def test_every_metric_of_the_dashboard_exists(visited: Visited) -> None:
    expressions = dashboard_expressions()
    assert len(expressions) >= 15
    for expression in expressions:
        names = set(NAME.findall(expression))
        assert names, expression
        assert names <= told_names(visited), expression


def test_every_panel_has_its_own_place(visited: Visited) -> None:
    board = json.loads(DASHBOARD.read_text())
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in panels)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_every_metric_of_the_alerts_exists(visited: Visited) -> None:
    expressions = re.findall(r"^\s+expr: (.+)$", ALERTS.read_text(), re.MULTILINE)
    assert len(expressions) >= 8
    for expression in expressions:
        names = set(NAME.findall(expression))
        assert names <= told_names(visited), expression


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        missing("promtool is not on PATH (for example: apt-get install prometheus)")
    return found


@pytest.mark.parametrize(
    ("unsealed", "position", "fires"),
    [("1+0x80", "0+5x80", 0), ("1+0x80", "9+0x80", 1), ("0+0x80", "9+0x80", 0)],
    ids=["votes come and are counted", "votes are not counted", "no vote comes"],
)
def test_the_alert_of_votes_not_counted_is_of_nothing_else(
    promtool: str, tmp_path: Path, unsealed: str, position: str, fires: int
) -> None:
    alert = 'ALERTS{alertname="VotesNotCounted",alertstate="firing",severity="page"}'
    told = [
        {"series": f'{name}{{instance="{one}"}}', "values": values}
        for one in ("a", "b")
        for name, values in (
            ("arena_unsealed_records", unsealed),
            ("arena_log_position", position),
        )
    ]
    expected = {
        "expr": "ALERTS{alertname='VotesNotCounted',alertstate='firing'}",
        "eval_time": "15m",
        "exp_samples": [{"labels": alert, "value": 1}] * fires,
    }
    case = {"interval": "15s", "input_series": told, "promql_expr_test": [expected]}
    file = tmp_path / "case.yml"
    file.write_text(
        json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "15s", "tests": [case]})
    )
    done = subprocess.run(
        [promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_understands_metrics_alerts_and_dashboard(
    visited: Visited, promtool: str, tmp_path: Path
) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(dashboard_expressions())
    ]
    panels = tmp_path / "panels.yml"
    panels.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    for file in (ALERTS, panels):
        subprocess.run([promtool, "check", "rules", str(file)], check=True)
    told = subprocess.run(
        [promtool, "check", "metrics"],
        input=visited.metrics,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.stderr == ""
