"""Runs the processes of one machine: starts them in order, restarts what dies, stops all cleanly.

One thread: a loop over the children's output and the clock. A child is another program, or a copy
of this process that calls a function: what is loaded before the first copy is in memory once.
A child that dies is started again while the others keep running. On Linux the kernel ends the
children of a supervisor that was killed; everywhere a lock keeps a second one off the data.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from io import TextIOWrapper
from itertools import cycle, repeat
from pathlib import Path
from typing import IO, NoReturn, Protocol, TextIO, cast

from arena import logs
from arena.embedded import RedisServer, is_ready, stop_leftover
from arena.errors import BadSetting
from arena.open_files import KEPT_ALIVE
from arena.parent import death_signal
from arena.settings import Settings

FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 5.0
STEADY_SECONDS = 10.0
"""A child that was up this long is healthy: its next restart starts at the first back-off."""
START_SECONDS = 60.0
START_ATTEMPTS = 4
STOP_SECONDS = 8.0
TICK_SECONDS = 0.1
LONGEST_LINE = 65_536
USAGE_ERROR = 2
"""Exit status by which a child says that it will never start with these settings."""

COLOURS = (36, 33, 32, 35, 34, 31)


Show = Callable[[str], str]
"""How a line of a child is shown."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process to keep running: a program (`argv`), or `call` in a copy of this process.

    `env` is added to the supervisor's own environment. A call that raises `SystemExit` says how it
    ends, as a program's exit status does.

    The children after an `essential` one start once its `ready` says so (at once without one),
    and the start is given up when it cannot be brought up; nobody waits for the others.
    `prepare` is called before every start; what it returns is shown.
    `log` is the file it writes to, if not its output.
    """

    name: str
    argv: Sequence[str] = ()
    call: Callable[[], None] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    essential: bool = True
    prepare: Callable[[], str | None] | None = None
    log: Path | None = None


def run(
    children: Sequence[Child],
    *,
    lock: Path,
    banner: Callable[[], None],
    out: TextIO,
    prepare: Callable[[], None] | None = None,
    form: str = logs.TEXT,
) -> int:
    """Run `children` until SIGINT, SIGTERM or SIGHUP; to be called from the main thread.

    `lock` is held throughout; under it `prepare` is called first. `banner` is called once every
    essential child is up. Lines of the children go to `out`, each after its child's name, or each
    as an object in the JSON form of `arena.logs`.
    Returns 0 after a signal, 1 when an essential child could not be brought up.
    Raises `BadSetting` when another process holds the lock.
    """
    with only_one(lock):
        try:
            if prepare is not None:
                with _interrupting():
                    prepare()
        except KeyboardInterrupt:
            return 0
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or the kernel keeps their ends to itself
        if isinstance(out, TextIOWrapper):
            out.reconfigure(errors="backslashreplace")  # a child may write what it cannot show
        with _Signals() as signals:
            return _Supervisor(children, banner, out, signals, form).run()


def redis_child(server: RedisServer) -> Child:
    """The embedded Redis. It takes over from a server that an earlier run left behind."""
    return Child(
        "redis",
        server.argv,
        ready=lambda: is_ready(server.socket),
        prepare=lambda: (
            "stopped a Redis that an earlier run had left behind"
            if stop_leftover(server.socket)
            else None
        ),
        log=server.log,
    )


def web_child(settings: Settings, serve: Callable[[], None], env: Mapping[str, str]) -> Child:
    """The web part, which `serve` serves; it is ready when it answers `GET /healthz`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104 - compared, not bound

    def ready() -> bool:
        connection = HTTPConnection(host, settings.port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    return Child("web", call=serve, env=env, ready=ready)


def web_command(settings: Settings) -> list[str]:
    """The command that serves the web part."""
    command = [sys.executable, "-m", "gunicorn", "arena.app:wsgi()"]
    options = {
        "config": "python:arena.app",
        "bind": f"{_bracketed(settings.host)}:{settings.port}",
        "worker-class": "arena.serving.Worker",
        "workers": settings.web_workers,
        "threads": settings.web_threads,
        "forwarded-allow-ips": "",  # ARENA_PROXY_HOPS says whom to believe
        "worker-connections": settings.web_threads + KEPT_ALIVE,
        "timeout": 120,
        "graceful-timeout": 5,
        "keep-alive": 15,
        "log-level": settings.log_level.lower(),
        "logger-class": "arena.weblog.WebLog",
    }
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command.append("--no-control-socket")  # it would be a file in the home directory
    if os.access("/dev/shm", os.W_OK):  # noqa: S108 - heartbeats must not wait for a disk
        command += ["--worker-tmp-dir", "/dev/shm"]  # noqa: S108 - the same
    return command


def check_port(host: str, port: int) -> None:
    """Make sure that the web part will be able to listen.

    Raises `BadSetting` naming PORT or ARENA_HOST and what to do.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise BadSetting(f"ARENA_HOST is '{host}', which is no address or known name.") from None
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen()  # where SO_REUSEADDR lets two sockets bind, only one may listen
        except OSError as error:
            raise BadSetting(_port_problem(host, port, error)) from error


def _port_problem(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"PORT {port} is already in use on {host}: stop the program that uses it, or choose "
            f"another port, such as PORT={port + 1}."
        )
    if error.errno == errno.EACCES:
        return f"PORT {port} is reserved for the system: choose one from 1024 up."
    return f"ARENA_HOST is '{host}', which this machine cannot listen on: {error.strerror}."


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Hold the lock file, with our process id in it; the kernel lets go of it if we are killed."""
    try:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise BadSetting(
            f"ARENA_DATA is '{lock.parent}', where this user cannot write: {error.strerror}."
        ) from error
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = file.read().strip() or "unknown"
            raise BadSetting(
                f"ARENA_DATA is '{lock.parent}', where an arena is already running (process "
                f"{pid}): stop that one, or choose another data folder."
            ) from None
        file.write(f"{os.getpid()}\n")
        file.truncate()
        file.flush()
        try:
            yield
        finally:
            # left in place, emptied: removing it could let two processes lock two files
            file.truncate(0)


@contextmanager
def _interrupting() -> Iterator[None]:
    """Let every signal that asks us to stop raise `KeyboardInterrupt`, as Ctrl-C does."""
    heard = [one for one in _Signals.STOP if signal.getsignal(one) is not signal.SIG_IGN]
    old = {number: signal.signal(number, signal.default_int_handler) for number in heard}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


class _Signals:
    """Counts the signals that ask us to stop."""

    STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.stops = 0

    def __enter__(self) -> _Signals:
        self._old = {
            number: signal.signal(number, self._stop)
            for number in self.STOP
            if signal.getsignal(number) is not signal.SIG_IGN  # as under nohup
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _stop(self, *_: object) -> None:
        self.stops += 1


class _GiveUp(Exception):
    """An essential child cannot be brought up; the message says which and why."""


class _Process(Protocol):
    """What is needed of a `subprocess.Popen`."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class _Copy:
    """A copy of this process that makes a call: a `_Process`. Its `output` is to be read."""

    def __init__(
        self, call: Callable[[], None], env: Mapping[str, str], wish: Callable[[], None] | None
    ) -> None:
        reading, writing = os.pipe()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, _Signals.STOP)
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _become(call, env, writing, wish)
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
        self.output = open(reading, "rb", buffering=0)
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _become(
    call: Callable[[], None],
    env: Mapping[str, str],
    output: int,
    wish: Callable[[], None] | None,
) -> NoReturn:
    """Make the call as a new program would: with nothing of the supervisor's but what is loaded.

    What the supervisor has not written yet is not the copy's to write, so this never returns.
    """
    status = 1
    try:
        if wish is not None:
            wish()
        _leave_the_supervisor(output)
        os.environ.update(env)
        try:
            call()
        finally:
            sys.stdout.flush()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - it ends here, as it would end a program
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _leave_the_supervisor(output: int) -> None:
    """Have a session, files and signals of one's own."""
    os.setsid()  # Ctrl-C reaches the supervisor only
    standard = (os.open(os.devnull, os.O_RDONLY), output, output)
    for descriptor, source in enumerate(standard):
        os.dup2(source, descriptor)
    sys.stdin, sys.stdout, sys.stderr = open(0), _line_by_line(1), _line_by_line(2)
    try:
        there = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:  # as where /proc is not mounted
        there = list(range(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    for descriptor in there:
        if descriptor >= len(standard):
            with suppress(OSError):  # not open, as the folder's own
                os.close(descriptor)
    for number in _Signals.STOP:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _Signals.STOP)


def _line_by_line(descriptor: int) -> TextIO:
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace")


class _Running:
    """A child's process and the line it is writing."""

    def __init__(self, show: Show, process: _Process, output: IO[bytes]) -> None:
        os.set_blocking(output.fileno(), False)
        self.process = process
        self.output = output
        self._show_line = show
        self._rest = b""

    def lines(self) -> Iterator[str] | None:
        """The lines that what it has written since completes; None at the end of its output."""
        data = self.output.read(LONGEST_LINE)
        if data == b"":
            return None
        *complete, self._rest = (self._rest + (data or b"")).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            complete.append(self._rest)
            self._rest = b""
        return map(self._show, complete)

    def end(self) -> Iterator[str]:
        """End what a dead process has left of its group; its last lines."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        yield from self.lines() or ()
        if self._rest:
            yield self._show(self._rest)
        self.output.close()

    def _show(self, line: bytes) -> str:
        return self._show_line(line.decode("utf-8", "replace").rstrip("\r"))


class _Slot:
    """One child's place: its process while there is one, and when the next may start."""

    def __init__(self, child: Child, show: Show) -> None:
        self.child = child
        self.show = show
        self.running: _Running | None = None
        self.was_ready = not child.essential  # nobody waits for it
        self.attempts = 0
        self.started = self.due = 0.0
        self._backoff = FIRST_BACKOFF

    def postpone(self) -> float:
        """Plan the next start; the seconds until then."""
        now = time.monotonic()
        if now - self.started >= STEADY_SECONDS:
            self._backoff = FIRST_BACKOFF
        wait = self._backoff
        self.due = now + wait
        self._backoff = min(2 * wait, LONGEST_BACKOFF)
        return wait


class _Supervisor:
    def __init__(
        self,
        children: Sequence[Child],
        banner: Callable[[], None],
        out: TextIO,
        signals: _Signals,
        form: str,
    ) -> None:
        width = max(len(name) for name in ("arena", *(child.name for child in children)))
        colours = cycle(COLOURS) if out.isatty() else repeat(None)
        self._slots = [
            _Slot(child, _show(child.name, width, colour, form))
            for child, colour in zip(children, colours, strict=False)
        ]
        self._show_own = _show("arena", width, None, form)
        self._banner = banner
        self._out: TextIO | None = out
        self._signals = signals
        self._announced = False
        self._death_wish = _death_wish()
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        try:
            while not self._signals.stops:
                self._advance()
                self._listen()
                self._bury()
        except _GiveUp as reason:
            self._say(str(reason))
            return 1
        finally:
            try:
                self._stop_all()
            finally:
                self._kill_all()
                self._selector.close()
        return 0

    def _advance(self) -> None:
        """Start what is due, up to the first essential child that has not come up yet."""
        for slot in self._slots:
            if slot.running is None and time.monotonic() >= slot.due:
                self._start(slot)
            if not self._has_come_up(slot):
                return
        if not self._announced:
            self._announced = True
            with self._output():
                self._banner()

    def _has_come_up(self, slot: _Slot) -> bool:
        if not slot.was_ready and slot.running is not None:
            slot.was_ready = slot.child.ready is None or slot.child.ready()
            if not slot.was_ready and time.monotonic() - slot.started > START_SECONDS:
                raise _GiveUp(f"{slot.child.name} was not ready after {START_SECONDS:.0f} s")
        return slot.was_ready

    def _start(self, slot: _Slot) -> None:
        slot.started = time.monotonic()
        slot.attempts += 1
        try:
            if slot.child.prepare is not None and (news := slot.child.prepare()):
                self._say(news)
            slot.running = self._spawn(slot)
        except (OSError, BadSetting) as error:
            self._plan_restart(slot, f"{slot.child.name} cannot start: {error}")

    def _spawn(self, slot: _Slot) -> _Running:
        child = slot.child
        if child.call is None:
            program = self._program(child)
            running = _Running(slot.show, program, cast("IO[bytes]", program.stdout))
        else:
            copy = _Copy(child.call, child.env, self._death_wish)
            running = _Running(slot.show, copy, copy.output)
        self._selector.register(running.output, selectors.EVENT_READ, running)
        return running

    def _program(self, child: Child) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own command lines
            list(child.argv),
            env={**os.environ, "PYTHONUNBUFFERED": "1", **child.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,  # Ctrl-C reaches the supervisor only
            preexec_fn=self._death_wish,  # noqa: PLW1509 - there is no other thread
        )

    def _listen(self) -> None:
        """Pass on what the children write, waiting for it for a tick at most."""
        for key, _ in self._selector.select(TICK_SECONDS):
            lines = key.data.lines()
            if lines is None:
                self._selector.unregister(key.fileobj)
            else:
                self._write(lines)

    def _bury(self) -> None:
        """Take leave of the children that have ended, and plan their return."""
        for slot in self._slots:
            if slot.running is not None and (status := slot.running.process.poll()) is not None:
                self._clear(slot, slot.running)
                name = slot.child.name
                if status == USAGE_ERROR and slot.child.essential and not self._announced:
                    raise _GiveUp(f"{name} cannot run with these settings")
                log = f", see {slot.child.log}" if slot.child.log else ""
                self._plan_restart(slot, f"{name} {_how_it_ended(status)}{log}")

    def _plan_restart(self, slot: _Slot, what: str) -> None:
        if not slot.was_ready and slot.attempts >= START_ATTEMPTS:
            raise _GiveUp(f"{what}; given up after {slot.attempts} attempts")
        self._say(f"{what}; starts again in {slot.postpone():.1f} s")

    def _clear(self, slot: _Slot, running: _Running) -> None:
        with suppress(KeyError):  # its output may have ended before it did
            self._selector.unregister(running.output)
        self._write(running.end())
        slot.running = None

    def _stop_all(self) -> None:
        """Stop the children, the last one first; one more signal hurries."""
        asked = self._signals.stops
        self._say("stopping")
        for slot in reversed(self._slots):
            if slot.running is None:
                continue
            process = slot.running.process
            process.terminate()
            end = time.monotonic() + STOP_SECONDS
            while process.poll() is None:
                if time.monotonic() > end or self._signals.stops > asked:
                    process.kill()
                self._listen()
            self._clear(slot, slot.running)

    def _kill_all(self) -> None:
        """Let nobody outlive the lock, whatever kept us from stopping them."""
        for slot in self._slots:
            if slot.running is not None:
                slot.running.process.kill()

    def _say(self, text: str) -> None:
        self._write([self._show_own(text)])

    def _write(self, lines: Iterable[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        if self._out is None:
            return
        with self._output():
            self._out.write(text)
            self._out.flush()

    @contextmanager
    def _output(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno == errno.ENOSPC:
                return  # lines are missing from the log, and nothing else is
            # the terminal or pipe is gone, and nobody could see what we do
            self._out = None
            self._signals.stops += 1


def _show(name: str, width: int, colour: int | None, form: str) -> Show:
    """How the lines of a child are shown."""
    if form == logs.JSON:
        return partial(logs.as_json, name)
    label = f"{name:<{width}} |"
    prefix = f"{label} " if colour is None else f"\x1b[{colour}m{label}\x1b[0m "
    return prefix.__add__


def _how_it_ended(status: int) -> str:
    if status < 0:
        return f"was killed ({signal.Signals(-status).name})"
    return f"ended (exit status {status})"


def _death_wish() -> Callable[[], None] | None:
    """What a child does before it becomes its program: ask to be killed when we die.

    Everything is looked up here, before the fork, so that the child only makes system calls.
    """
    ask = death_signal(signal.SIGKILL)
    if ask is None:
        return None
    supervisor = os.getpid()

    def wish() -> None:
        ask()
        if os.getppid() != supervisor:  # it died in between
            os._exit(1)

    return wish
