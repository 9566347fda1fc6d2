#!/usr/bin/env python3
"""Our rating engine and its peers on the same synthetic votes, in one run on two cores.

Every measurement has a process of its own: the engine is imported and given its favourite form of
input, then its call is timed: the best of five warm calls (what else the machine does only ever
adds), of fewer where a call takes long. With `--rounds` every engine's turn comes again after all
the others', and its best round counts: a machine that is slow for a minute is so for one round.
Ours runs with one BLAS thread, and keeps what a board freed for the next one as `arena rate` does;
the peers run as installed. An engine that is not installed is a row that says so.

arena-rank pins a numpy other than ours, so the peers have a virtual environment of their own:

    .venv/bin/uv venv .venv/peers
    .venv/bin/uv pip install --python .venv/peers --no-deps -r requirements/peers.txt
    .venv/bin/python scripts/bench_ratings.py [--large] [--json FILE]

FastChat's newer engine is on no package index: copy fastchat/serve/monitor/rating_systems.py of its
repository to the same place in .venv/peers.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

ELO_PER_NAT = 400 / math.log(10)
CORES = 2
PEERS = Path(__file__).parents[1] / ".venv" / "peers" / "bin" / "python"


@dataclass(frozen=True)
class Size:
    votes: int
    models: int

    def __str__(self) -> str:
        votes = f"{self.votes // 10**6} M" if self.votes >= 10**6 else f"{self.votes // 1000} k"
        return f"{votes} × {self.models}"


SIZES = [Size(50_000, 50), Size(500_000, 150), Size(2_000_000, 250)]
LARGE = Size(5_000_000, 400)
GOALS_AT = Size(2_000_000, 250)

INSTALL = {
    "arena_rank": "pip install arena-rank==0.1.1",
    "arenakit": "pip install arenakit==0.1.1",
    "evalica": "pip install evalica==0.4.2",
    "fastchat": "copy rating_systems.py of FastChat's repository, as --help says",
    "fschat": "pip install fschat==0.2.36 scikit-learn pandas plotly pytz tqdm",
    "ours": "make test",
    "exact": "make test",
}
PACKAGES = {"arena_rank": "arena-rank", "fastchat": "fschat"}

ANY, NOT_LARGE, SMALL = LARGE.votes, GOALS_AT.votes, 500_000
TASKS: list[tuple[str, str, int]] = [  # engine, task, most votes
    ("exact", "arrays", ANY),
    ("ours", "arrays", ANY),
    ("ours", "graded_arrays", ANY),
    ("ours", "live", ANY),
    ("ours", "one_more_approximate", ANY),
    ("ours", "one_more_exact", ANY),
    ("ours", "names", ANY),
    ("ours", "style", NOT_LARGE),
    ("ours", "bootstrap_100", NOT_LARGE),
    ("evalica", "arrays", ANY),
    ("evalica", "names", ANY),
    ("arenakit", "arrays", ANY),
    ("arenakit", "bootstrap_100", NOT_LARGE),
    ("arena_rank", "arrays", ANY),
    ("arena_rank", "names", NOT_LARGE),
    ("arena_rank", "style", NOT_LARGE),
    ("fastchat", "names", ANY),
    ("fastchat", "style", NOT_LARGE),
    ("fastchat", "bootstrap_100", NOT_LARGE),
    ("fschat", "names", SMALL),  # 16 bytes per vote and model: 8 GB at 2 M × 250
    ("fschat", "bootstrap_100", SMALL),
]


# --- the child: one measurement -----------------------------------------------------------------

TIMED = 5
ENOUGH_S = 10.0
SHORTEST_S = 0.1


def seconds_of(call: Callable[[], Any], first: float) -> tuple[float, int]:
    """Best time of up to five calls, short calls in loops, and how many were timed."""
    loops = max(1, math.ceil(SHORTEST_S / max(first, 1e-6)))
    times: list[float] = []
    while len(times) < TIMED and sum(times) * loops < ENOUGH_S:
        started = time.perf_counter()
        for _ in range(loops):
            call()
        times.append((time.perf_counter() - started) / loops)
    return min(times), len(times)


def resident_mb(what: str = "VmRSS") -> float | None:
    """What this process holds now, or held at most since `forget_peak` (VmHWM); Linux only."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) * 1024 / 1e6
    return None


def forget_peak() -> None:
    """What it took to make the input is not the engine's."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measure(engine: str, task: str, folder: Path) -> dict[str, Any]:
    try:
        module = import_module(f"rating_engines.{engine}")
    except ImportError as error:
        return {"problem": f"not installed ({error.name or error}): {INSTALL[engine]}"}
    from rating_engines.votes import Votes  # noqa: PLC0415 - needs the child's numpy

    if not hasattr(module, task):
        return {"problem": f"{engine} has no {task}"}
    if engine == "ours":
        import_module("arena.memory").keep_for_boards()
    job = getattr(module, task)(Votes.load(folder))
    forget_peak()
    before = resident_mb()
    started = time.perf_counter()
    result = job.call()
    first = time.perf_counter() - started
    seconds, timed = seconds_of(job.call, first) if job.warm_up else (first, 1)
    most = resident_mb("VmHWM")
    found = {
        "seconds": seconds * job.times,
        "first_seconds": first * job.times,
        "timed_calls": timed,
        "peak_mb": peak_mb(),
        "over_input_mb": None if before is None or most is None else most - before,
    }
    if job.theta is not None:
        theta = job.theta(result)
        found["theta"] = [float(value) for value in theta - theta.mean()]
    with suppress(metadata.PackageNotFoundError):
        found["version"] = metadata.version(PACKAGES.get(engine, engine))
    return found


def child(engine: str, task: str, folder: Path, answer: Path) -> None:
    if engine == "votes":
        votes, models = map(int, task.split("x"))
        import_module("rating_engines.votes").generate(folder, votes, models)
    else:
        answer.write_text(json.dumps(measure(engine, task, folder)))


# --- the parent: which measurements -------------------------------------------------------------


@dataclass(frozen=True)
class Interpreters:
    """Stays small: on Linux a child's peak memory is never reported below its parent's."""

    ours: str
    peers: str

    def run(self, engine: str, task: str, folder: Path) -> dict[str, Any]:
        own = engine in ("ours", "exact", "votes")
        python = self.ours if own else self.peers
        answer = folder / f"{engine}-{task}.json"
        process = subprocess.run(
            [python, __file__, "--child", engine, task, str(folder), str(answer)],
            env=self._environment(own=own),
            check=False,
            capture_output=True,
            text=True,
        )
        if process.returncode:
            said = process.stderr.strip().splitlines()
            return {"problem": f"failed: {said[-1] if said else process.returncode}"}
        found: dict[str, Any] = json.loads(answer.read_text()) if answer.exists() else {}
        return found

    @staticmethod
    def _environment(*, own: bool) -> dict[str, str]:
        if not own:
            return dict(os.environ)
        root = str(Path(__file__).parents[1])
        return dict(os.environ, OPENBLAS_NUM_THREADS="1", PYTHONPATH=root)


@dataclass(frozen=True)
class Results:
    """What was found, by engine, task and size. Looking up what is not there raises `Missing`."""

    found: dict[tuple[str, str, Size], dict[str, Any]]

    def get(self, engine: str, task: str, size: Size, what: str = "seconds") -> Any:
        measured = self.found.get((engine, task, size), {"problem": ""})
        if "problem" in measured:
            raise Missing(f"{engine}: {measured['problem']}" if measured["problem"] else "")
        if measured.get(what) is None:
            raise Missing("")
        return measured[what]


class Missing(Exception):
    """A measurement was not made; the message says why, and is empty where it was not meant to."""


def run_all(
    interpreters: Interpreters, sizes: list[Size], only: set[str], rounds: int
) -> dict[tuple[str, str, Size], dict[str, Any]]:
    best: dict[tuple[str, str, Size], dict[str, Any]] = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            say(f"{size}: drawing votes")
            problem = interpreters.run("votes", f"{size.votes}x{size.models}", folder)
            if problem:
                raise SystemExit(f"The votes could not be drawn: {problem['problem']}")
            wanted = [
                (engine, task)
                for engine, task, most in TASKS
                if size.votes <= most and (not only or engine in {*only, "exact"})
            ]
            for engine, task in wanted * rounds:
                found = interpreters.run(engine, task, folder)
                say(f"{size}: {engine} {task}: {found.get('problem') or told(found)}")
                best[engine, task, size] = better(best.get((engine, task, size), found), found)
    return best


def better(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The quicker of two rounds, with the higher memory of both; a failure stays one."""
    if "problem" in one or "problem" in other:
        return one if "problem" in one else other
    quicker = min(one, other, key=lambda found: found["seconds"])
    return quicker | {
        what: max(one[what] or 0.0, other[what] or 0.0) for what in ("peak_mb", "over_input_mb")
    }


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def told(found: dict[str, Any]) -> str:
    return f"{duration(found['seconds'])}, peak {found['peak_mb']:.0f} MB"


def duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


# --- the figures --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """A number with a goal at `at`: `at_least` for ratios, at most for times, memory and errors."""

    text: str
    goal: float | None
    unit: str
    of: Callable[[Results, Size], float]
    at_least: bool = False
    at: Size = GOALS_AT

    def verdict(self, value: float) -> str:
        if self.goal is None:
            return ""
        return "ok" if (value >= self.goal if self.at_least else value <= self.goal) else "MISSED"


def faster(text: str, goal: float | None, task: str, peer: str, peer_task: str) -> Figure:
    return Figure(
        text,
        goal,
        "×",
        lambda results, size: results.get(peer, peer_task, size) / results.get("ours", task, size),
        at_least=True,
    )


def time_of(text: str, goal: float, unit: str, task: str) -> Figure:
    scale = {"ms": 1e3, "µs": 1e6}[unit]
    return Figure(text, goal, unit, lambda r, size: scale * r.get("ours", task, size))


def memory(text: str, goal: float, task: str, what: str) -> Figure:
    return Figure(text, goal, "MB", lambda r, size: float(r.get("ours", task, size, what)))


def error(engine: str, task: str, goal: float | None) -> Figure:
    def worst(results: Results, size: Size) -> float:
        exact = results.get("exact", "arrays", size, "theta")
        theta = results.get(engine, task, size, "theta")
        gaps = (abs(x - y) for x, y in zip(theta, exact, strict=True))
        return ELO_PER_NAT * max(gaps)

    return Figure(f"largest error, {engine}", goal, "Elo", worst)


def per_vote(results: Results, size: Size) -> float:
    """Time per vote against that at 2 M × 250, with the fit, which grows with models alone."""

    def cost(at: Size) -> float:
        seconds: float = results.get("ours", "arrays", at) / at.votes
        return seconds

    return cost(size) / cost(GOALS_AT)


def per_counted_vote(results: Results, size: Size) -> float:
    """The same of what votes cost, without the fit: 1 where time is linear in votes."""

    def cost(at: Size) -> float:
        whole, fit = (results.get("ours", task, at) for task in ("arrays", "live"))
        seconds: float = (whole - fit) / at.votes
        return seconds

    return cost(size) / cost(GOALS_AT)


def graded_cost(results: Results, size: Size) -> float:
    ratio: float = results.get("ours", "graded_arrays", size) / results.get("ours", "arrays", size)
    return ratio


FIGURES = [
    faster("bt + sandwich from arrays, than arena-rank", 150, "arrays", "arena_rank", "arrays"),
    faster("… than evalica's point fit, as documented", 50, "arrays", "evalica", "names"),
    faster("… than evalica's, arrays with an index", None, "arrays", "evalica", "arrays"),
    faster("… than arenakit's point fit", 3, "arrays", "arenakit", "arrays"),
    faster("bt + sandwich from strings, than arena-rank", 15, "names", "arena_rank", "names"),
    faster("… than evalica's point fit", 5, "names", "evalica", "names"),
    faster("… than FastChat's point fit", None, "names", "fastchat", "names"),
    faster("… than FastChat's release on PyPI", None, "names", "fschat", "names"),
    Figure("graded + sandwich: times bt + sandwich", 3, "×", graded_cost),
    time_of("from live counts, fit + intervals", 15, "ms", "live"),
    time_of("one more vote, approximate", 50, "µs", "one_more_approximate"),
    time_of("one more vote, exact", 20, "ms", "one_more_exact"),
    faster("style control + intervals, than arena-rank", 12, "style", "arena_rank", "style"),
    faster("… than FastChat, no intervals", 12, "style", "fastchat", "style"),
    memory("… peak memory of the process", 400, "style", "peak_mb"),
    faster("100 bootstrap rounds, than arenakit", 8, "bootstrap_100", "arenakit", "bootstrap_100"),
    faster("… than FastChat", 100, "bootstrap_100", "fastchat", "bootstrap_100"),
    faster("… than its release on PyPI", None, "bootstrap_100", "fschat", "bootstrap_100"),
    error("ours", "arrays", 1e-6),
    error("evalica", "names", None),
    error("arenakit", "arrays", None),
    error("arena_rank", "arrays", None),
    error("fastchat", "names", None),
    error("fschat", "names", None),
    Figure("time per vote against 2 M × 250", None, "×", per_vote),
    Figure("… without the fit of M models", 1.5, "×", per_counted_vote, at=LARGE),
    memory("memory over the input, bt + sandwich", 150, "arrays", "over_input_mb"),
    memory("… from strings", 150, "names", "over_input_mb"),
    memory("… graded + sandwich", 150, "graded_arrays", "over_input_mb"),
]


def rows(results: Results, sizes: list[Size]) -> list[dict[str, Any]]:
    return [row(figure, results, sizes) for figure in FIGURES]


def row(figure: Figure, results: Results, sizes: list[Size]) -> dict[str, Any]:
    values: dict[str, float] = {}
    verdict, problem = "", ""
    for size in sizes:
        try:
            value = figure.of(results, size)
        except Missing as missing:
            problem = problem or str(missing)
            continue
        values[str(size)] = value
        if size == figure.at:
            verdict = figure.verdict(value)
    return {
        "figure": figure.text,
        "goal": figure.goal,
        "goal_is": "at least" if figure.at_least else "at most",
        "goal_at": str(figure.at),
        "unit": figure.unit,
        "values": values,
        "verdict": verdict or problem,
    }


def print_figures(table: list[dict[str, Any]], sizes: list[Size]) -> None:
    heads = "".join(f"{size!s:>12}" for size in sizes)
    print(f"\n{'':46}{'goal':>10}{heads}  at {GOALS_AT}")
    for one in table:
        sign = "≥" if one["goal_is"] == "at least" else "≤"
        goal = "" if one["goal"] is None else f"{sign} {one['goal']:g} {one['unit']}"
        cells = "".join(
            f"{brief(one['values'][str(size)]) if str(size) in one['values'] else '–':>12}"
            for size in sizes
        )
        print(f"{one['figure']:46}{goal:>10}{cells}  {one['verdict']}")


def print_measurements(results: Results, sizes: list[Size]) -> None:
    heads = "".join(f"{size!s:>22}" for size in sizes)
    print(f"\n{'warm time, peak memory':40}{heads}")
    for engine, task, _ in TASKS:
        cells = "".join(f"{cell(results, engine, task, size):>22}" for size in sizes)
        print(f"{engine + ' ' + task:40}{cells}")


def cell(results: Results, engine: str, task: str, size: Size) -> str:
    try:
        seconds = results.get(engine, task, size)
    except Missing:
        return "–"
    return f"{duration(seconds)}, {results.get(engine, task, size, 'peak_mb'):.0f} MB"


def brief(value: float) -> str:
    return f"{value:.1e}" if 0 < value < 0.01 else f"{value:.3g}"  # noqa: PLR2004


def machine() -> dict[str, Any]:
    return {
        "cores": CORES,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--large", action="store_true", help=f"measure {LARGE} too")
    parser.add_argument("--small", action="store_true", help=f"measure {SIZES[0]} only")
    parser.add_argument(
        "--rounds", type=int, choices=range(1, 10), default=1, help="measure all of it so often"
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="ENGINE", help="leave out others")
    parser.add_argument(
        "--peers",
        default=str(PEERS) if PEERS.exists() else sys.executable,
        metavar="PYTHON",
        help="the Python that has the peers (default: .venv/peers, or this one)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        engine, task, folder, answer = options.child
        child(engine, task, Path(folder), Path(answer))
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    sizes = SIZES[:1] if options.small else [*SIZES, LARGE] if options.large else SIZES
    described = machine()
    if described["load_before"] > 1:
        say(f"The load is {described['load_before']:.1f}: others' work will make figures worse.")
    interpreters = Interpreters(sys.executable, options.peers)
    results = Results(run_all(interpreters, sizes, set(options.only), options.rounds))
    table = rows(results, sizes)
    print_measurements(results, sizes)
    print_figures(table, sizes)
    if options.json:
        report = {"machine": described, "figures": table, "measurements": measurements(results)}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


def measurements(results: Results) -> list[dict[str, Any]]:
    return [
        {"engine": engine, "task": task, "votes": size.votes, "models": size.models}
        | {key: value for key, value in found.items() if key != "theta"}
        for (engine, task, size), found in results.found.items()
    ]


if __name__ == "__main__":
    main()
