"""What Prometheus is told of this machine: every process counts, and any web process tells all.

Values live in files of one folder (prometheus-client's multiprocess mode), one set for each
process. A process holds a lock on its name for as long as it lives, so the kernel says which are
dead: what these had counted is kept in the files of `gone`, because a sum must not fall, and what
they held (streams, connections) is forgotten. The first process after a full stop starts from zero.

Every metric has a label, so that no value is made before `share` has chosen where it is kept.
Labels are bounded: routes, models of the roster, names of errors; nothing that a client sends.
"""

from __future__ import annotations

import fcntl
import logging
import os
import platform
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
    values,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from arena import __version__
from arena.errors import RequestError

_log = logging.getLogger(__name__)

OURS = CollectorRegistry(auto_describe=False)

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SLOW = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=OURS)


def _seconds(name: str, text: str, *labels: str) -> Histogram:
    return Histogram(f"{name}_seconds", text, labels, buckets=_QUICK, registry=OURS)


def _long_seconds(name: str, text: str, *labels: str) -> Histogram:
    return Histogram(f"{name}_seconds", text, labels, buckets=_SLOW, registry=OURS)


def _held(name: str, text: str, *labels: str) -> Gauge:
    """Something that living processes hold; their sum is told."""
    return Gauge(name, text, labels, registry=OURS, multiprocess_mode="livesum")


# web
REQUESTS = _counter("arena_http_requests", "Requests answered", "route", "method", "status")
REQUEST_TIME = _seconds("arena_http_request", "Whole requests but for event streams", "route")
REFUSALS = _counter("arena_refusals", "Refusals by type of problem", "route", "problem")
STREAMS = _held("arena_streams_open", "Event streams being sent", "route")
VOTES = _counter("arena_votes", "Votes acknowledged, or refused and why", "outcome")

# runner
TURNS_RUNNING = _held("arena_turns_running", "Turns being streamed", "process")
FIRST_FRAME = _long_seconds("arena_relay_first_frame", "Since a turn was taken in", "process")
TICK_LAG = _seconds("arena_relay_tick_lag", "How late a tick comes", "process")
FRAMES = _counter("arena_relay_frames", "Frames given to Redis", "process")
TURN_COMMITS = _seconds("arena_turn_commit", "Commits of ready, failed, interrupted turns", "end")
CALLS = _counter("arena_endpoint_calls", "Answers by how they ended", "model", "outcome")
CALL_TIME = _long_seconds("arena_endpoint_call", "Whole answers", "model")
CALL_FIRST_TEXT = _long_seconds("arena_endpoint_first_text", "To the first text", "model")

# worker
WORK = _long_seconds("arena_worker_stage", "Sealing, counting, fitting, publishing", "stage")

# every process
RECORDS = _counter("arena_log_records", "Records written: votes, flags, exclusions, …", "type")
SQL_WRITES = _seconds("arena_sql_write", "Write transactions, waiting included", "process")
SQL_ERRORS = _counter("arena_sql_errors", "Statements that the database refused", "process", "kind")
SQL_CONNECTIONS = _held("arena_sql_connections_in_use", "Connections of the pool in use", "process")
REDIS_ERRORS = _counter("arena_redis_errors", "Calls that Redis failed", "process")

ACKNOWLEDGED = "acknowledged"

_process = "here"
_shared: _Folder | None = None

# The library would share because of its own variable, which a parent may have left behind.
values.ValueClass = values.MutexValue


def here() -> str:
    """The kind of this process: web, runner or worker."""
    return _process


@contextmanager
def timed(histogram: Histogram, *labels: str) -> Iterator[None]:
    """Observe how long the block, or the function decorated so, takes when it succeeds."""
    started = time.perf_counter()
    yield
    histogram.labels(*labels).observe(time.perf_counter() - started)


def written(types: Mapping[str, int]) -> None:
    """Count records, by type, that were committed."""
    for kind, count in types.items():
        RECORDS.labels(kind).inc(count)


@contextmanager
def outcomes(counter: Counter) -> Iterator[None]:
    """Count whether the block, or the function decorated so, is refused, and why."""
    try:
        yield
    except RequestError as refusal:
        counter.labels(refusal.slug).inc()
        raise
    counter.labels(ACKNOWLEDGED).inc()


# --- many processes -----------------------------------------------------------------------------

_GONE = "gone"
_KEPT, _DROPPED = ("counter", "histogram"), ("gauge_livesum",)
_FILE_BYTES = 1 << 20


class _Folder:
    """The files of this machine's processes. Its methods need the folder's lock."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Iterator[None]:
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def enter(self, name: str) -> None:
        """Take part under this name until the process ends. Nobody living: start from zero."""
        if not self.bury():
            for file in self.path.glob("*.db"):
                file.unlink()
        # never closed: the kernel lets go of it when the process ends
        descriptor = os.open(self._sign(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for kind in (*_KEPT, *_DROPPED):
            _reserve(self._file(kind, name))

    def bury(self) -> list[str]:
        """Take leave of the dead; returns the names of the living."""
        living = []
        for sign in sorted(self.path.glob("*.alive")):
            if _is_locked(sign):
                living.append(sign.stem)
                continue
            for kind in _KEPT:
                self._keep(kind, sign.stem)
            for kind in _DROPPED:
                self._file(kind, sign.stem).unlink(missing_ok=True)
            sign.unlink()
        return living

    def _keep(self, kind: str, name: str) -> None:
        """Add what a dead process had counted to what is kept of the others."""
        dead, gone = self._file(kind, name), self._file(kind, _GONE)
        draft = gone.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        try:
            merged = _merged(file for file in (gone, dead) if file.exists())
        except (ValueError, KeyError, RuntimeError) as error:  # killed while it wrote a key
            _log.warning("the metrics of %s are lost: %s", name, type(error).__name__)
        else:
            _reserve(draft)
            _write(draft, merged)
            draft.replace(gone)
        dead.unlink(missing_ok=True)

    def _sign(self, name: str) -> Path:
        return self.path / f"{name}.alive"

    def _file(self, kind: str, name: str) -> Path:
        return self.path / f"{kind}_{name}.db"


def share(path: Path, process: str) -> None:
    """Keep this process's values in this folder. Without it they are told by this process alone.

    To be called once, before anything is counted.
    """
    global _process, _shared  # noqa: PLW0603  the library's own choice of a place is as global
    _process = process
    name, folder = f"{process}-{os.getpid()}", _Folder(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with folder.locked():
            folder.enter(name)
    except OSError as error:
        _log.warning("metrics stay in this process, %s is no place for them: %s", path, error)
        return
    _shared = folder
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(path)
    values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]
    REDIS_ERRORS.labels(process)  # from zero, so that the first one is a rise


def exposition(*collectors: Collector) -> bytes:
    """All of this machine, and what the collectors add, in Prometheus's text format."""
    own = CollectorRegistry(auto_describe=False)
    for collector in collectors:
        own.register(collector)
    return _of_processes() + generate_latest(own)


def _of_processes() -> bytes:
    if _shared is None:
        return generate_latest(OURS)
    registry = CollectorRegistry(auto_describe=False)
    with _shared.locked():
        registry.register(_Processes(_shared.bury()))
        MultiProcessCollector(registry, str(_shared.path))  # type: ignore[no-untyped-call]
        return generate_latest(registry)


class _Processes(Collector):
    """Memory, processor time, files and age of each living process, by kind and process id."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def collect(self) -> Iterable[Metric]:
        told: dict[str, Metric] = {}
        for name in self._names:
            kind, _, pid = name.rpartition("-")
            labels = {"process": kind, "pid": pid}
            of_process = ProcessCollector("arena", pid=lambda pid=pid: pid, registry=None)  # type: ignore[misc]
            for metric in of_process.collect():
                one = told.setdefault(
                    metric.name, Metric(metric.name, metric.documentation, metric.type)
                )
                one.samples += [Sample(s.name, labels, s.value) for s in metric.samples]
        build = Metric("arena_build", "The program's and Python's version", "info")
        build.add_sample(
            "arena_build_info", {"version": __version__, "python": platform.python_version()}, 1
        )
        return [*told.values(), build]


def _is_locked(sign: Path) -> bool:
    descriptor = os.open(sign, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _reserve(file: Path) -> None:
    """Give the file its room now: to write into a hole on a full disk would kill the process."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with suppress(AttributeError):  # not on macOS
            os.posix_fallocate(descriptor, 0, _FILE_BYTES)
    finally:
        os.close(descriptor)


def _merged(files: Iterable[Path]) -> list[Metric]:
    paths = [str(file) for file in files]
    return list(MultiProcessCollector.merge(paths, accumulate=False))  # type: ignore[no-untyped-call]


def _write(file: Path, metrics: list[Metric]) -> None:
    kept = MmapedDict(str(file))  # type: ignore[no-untyped-call]  # as all of this module is
    for metric in metrics:
        for sample in metric.samples:
            key = mmap_key(
                metric.name,
                sample.name,
                list(sample.labels),
                list(sample.labels.values()),
                metric.documentation,
            )
            kept.write_value(key, sample.value, 0.0)  # type: ignore[no-untyped-call]
    kept.close()  # type: ignore[no-untyped-call]
