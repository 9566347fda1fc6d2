"""The supervisor with real children: restarts, order, clean ends, one per data folder."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from arena.errors import BadSetting
from arena.settings import Settings
from arena.supervisor import Child, check_port, run, web_command
from tests.services import ROOT, descendants, free_port, is_alive, wait_until

SCRIPT = """
import json, sys
from functools import partial
from pathlib import Path
from arena.errors import BadSetting
from arena.supervisor import Child, run

here, kind = Path(sys.argv[1]), sys.argv[2]

def child(ready_file=None, code=None, **fields):
    ready = (here / ready_file).exists if ready_file else None
    if code is not None and kind == "copy":
        fields["call"] = partial(exec, code, {})
    elif code is not None:
        fields["argv"] = [sys.executable, "-c", code]
    return Child(ready=ready, **fields)

try:
    sys.exit(run(
        [child(**fields) for fields in json.loads(sys.argv[3])],
        lock=here / "arena.lock",
        banner=lambda: print("the banner", flush=True),
        out=sys.stdout,
    ))
except BadSetting as error:
    sys.exit(str(error))
"""

SLEEPER = "import time; print('hello'); time.sleep(600)"
"""A child that says one line and stays."""


class Supervised:
    """A supervisor in a process of its own, its output, and the ids of its children."""

    def __init__(
        self, folder: Path, kind: str, children: list[dict[str, Any]], **options: Any
    ) -> None:
        self.log = folder / f"log-{time.monotonic_ns()}"
        self._out = self.log.open("wb")
        command = [sys.executable, "-c", SCRIPT, str(folder), kind, json.dumps(children)]
        defaults: dict[str, Any] = {
            "env": {**os.environ, "PYTHONPATH": str(ROOT)},
            "stdout": self._out,
            "stderr": subprocess.STDOUT,
        }
        self.process = subprocess.Popen(command, **{**defaults, **options})

    def text(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str, times: int = 1) -> None:
        wait_until(lambda: self.text().count(text) >= times, what=f"{text!r} in:\n{self.text()}")

    def children(self) -> list[int]:
        return descendants(self.process.pid)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
        self._out.close()


Start = Callable[..., Supervised]


@pytest.fixture(params=["program", "copy"])
def start(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Start]:
    """Starts a supervisor of children that run `python` code: as programs, or as its copies."""
    begun: list[Supervised] = []

    def begin(*children: dict[str, Any], **options: Any) -> Supervised:
        begun.append(Supervised(tmp_path, request.param, list(children), **options))
        return begun[-1]

    yield begin
    for one in begun:
        one.close()


def python(name: str, code: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "code": code, **fields}


def test_each_line_of_a_child_follows_its_name(start: Start) -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); print('no end', end='')"
    supervised = start(python("talker", code), python("web", SLEEPER))
    supervised.wait_for("talker | no end")
    supervised.wait_for("web    | hello")
    assert "talker | out\n" in supervised.text()
    assert "talker | err\n" in supervised.text()
    assert "\x1b[" not in supervised.text(), "colour is for terminals"


def test_names_are_coloured_on_a_terminal(start: Start) -> None:
    controller, terminal = pty.openpty()
    supervised = start(python("web", SLEEPER), stdout=terminal)
    os.close(terminal)
    seen = b""
    while b"hello" not in seen:
        seen += os.read(controller, 4096)
    assert re.search(rb"\x1b\[\d+mweb   \|\x1b\[0m hello", seen)
    supervised.close()
    os.close(controller)


def test_a_killed_child_is_started_again_while_the_others_keep_running(start: Start) -> None:
    supervised = start(python("one", SLEEPER), python("two", SLEEPER))
    supervised.wait_for("hello", times=2)
    first, second = supervised.children()
    os.kill(first, signal.SIGKILL)
    supervised.wait_for("hello", times=3)
    assert "one was killed (SIGKILL); starts again in 0.2 s" in supervised.text()
    assert is_alive(second)
    assert first not in supervised.children()


def test_a_death_is_noticed_where_the_ends_of_children_are_ignored(start: Start) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    supervised = start(python("one", SLEEPER), preexec_fn=ignore)
    supervised.wait_for("hello")
    [child] = supervised.children()
    os.kill(child, signal.SIGKILL)
    supervised.wait_for("one was killed (SIGKILL)")
    supervised.wait_for("hello", times=2)


def test_a_child_that_keeps_dying_is_restarted_less_and_less_often(start: Start) -> None:
    supervised = start(python("one", SLEEPER), python("crash", "raise SystemExit(7)"))
    supervised.wait_for("starts again in 0.8 s")
    waits = re.findall(r"crash ended \(exit status 7\); starts again in (.*) s", supervised.text())
    assert waits == ["0.2", "0.4", "0.8"]


def test_what_a_killed_child_had_started_does_not_outlive_it(start: Start) -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-uc', {SLEEPER!r}])"
    supervised = start(python("parent", code))
    supervised.wait_for("hello")
    child, grandchild = supervised.children()
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: not is_alive(grandchild), what="the grandchild to end")


def test_a_child_has_its_settings_and_none_of_the_supervisors_files(start: Start) -> None:
    code = (
        "import os, sys\n"
        "print(os.environ['COLOUR'], sys.stdin.read() == '', os.getsid(0) == os.getpid())\n"
        "print('open:', *sorted(os.listdir('/dev/fd'), key=int)[:-1])"
    )
    supervised = start(python("web", SLEEPER), python("one", code, env={"COLOUR": "blue"}))
    supervised.wait_for("one   | blue True True")
    supervised.wait_for("one   | open: 0 1 2\n")


def test_an_error_that_ends_a_child_is_shown(start: Start) -> None:
    supervised = start(python("web", SLEEPER), python("odd", "raise ValueError('how odd')"))
    supervised.wait_for("odd ended (exit status 1)")
    assert "odd   | ValueError: how odd" in supervised.text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_in_reverse_order_and_leaves_nothing(
    start: Start, number: signal.Signals
) -> None:
    polite = (
        "import signal, sys, time\n"
        "def stop(*_): print('bye'); sys.exit()\n"
        "signal.signal(signal.SIGTERM, stop); print('hello'); time.sleep(600)"
    )
    supervised = start(*(python(name, polite) for name in ("redis", "web", "worker")))
    supervised.wait_for("hello", times=3)
    children = supervised.children()
    supervised.process.send_signal(number)
    assert supervised.process.wait(10) == 0
    assert re.findall(r"(\w+) +\| bye", supervised.text()) == ["worker", "web", "redis"]
    assert not any(map(is_alive, children))


def test_a_child_that_does_not_listen_is_killed_at_a_second_signal(start: Start) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEPER
    supervised = start(python("deaf", deaf))
    supervised.wait_for("hello")
    [child] = supervised.children()
    supervised.process.send_signal(signal.SIGINT)
    supervised.wait_for("stopping")
    assert is_alive(child)
    supervised.process.send_signal(signal.SIGINT)
    assert supervised.process.wait(4) == 0
    assert not is_alive(child)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the children for us")
def test_a_killed_supervisor_takes_its_children_with_it(start: Start) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEPER
    supervised = start(python("one", SLEEPER), python("deaf", deaf))
    supervised.wait_for("hello", times=2)
    children = supervised.children()
    assert len(children) == 2
    supervised.process.kill()
    supervised.process.wait()
    wait_until(lambda: not any(map(is_alive, children)), what="the children to end")
    again = start(python("one", SLEEPER))
    again.wait_for("the banner")


def test_a_second_start_on_the_same_data_is_refused_with_the_process_id(start: Start) -> None:
    first = start(python("one", SLEEPER))
    first.wait_for("the banner")
    second = start(python("one", SLEEPER))
    assert second.process.wait(10) == 1
    assert f"an arena is already running (process {first.process.pid})" in second.text()
    assert second.text().count("\n") == 1
    assert first.process.poll() is None


def test_the_next_child_waits_until_an_essential_one_is_ready(start: Start, tmp_path: Path) -> None:
    supervised = start(
        python("redis", SLEEPER, ready_file="ready"), python("web", "print('started'); input()")
    )
    supervised.wait_for("hello")
    time.sleep(0.5)
    assert "started" not in supervised.text()
    assert "the banner" not in supervised.text()
    (tmp_path / "ready").touch()
    supervised.wait_for("the banner")
    supervised.wait_for("started")


def test_nobody_waits_for_a_child_that_is_not_essential(start: Start) -> None:
    supervised = start(
        python("model", "raise SystemExit(2)", ready_file="never", essential=False),
        python("web", SLEEPER),
    )
    supervised.wait_for("the banner")
    supervised.wait_for("model ended (exit status 2); starts again", times=3)
    assert supervised.process.poll() is None


def test_the_start_is_given_up_when_an_essential_child_keeps_dying(start: Start) -> None:
    supervised = start(
        python("redis", SLEEPER), python("web", "raise SystemExit(3)", ready_file="never")
    )
    assert supervised.process.wait(20) == 1
    assert "web ended (exit status 3); given up after 4 attempts" in supervised.text()
    assert "the banner" not in supervised.text()


def test_the_start_is_given_up_at_once_when_the_settings_cannot_work(start: Start) -> None:
    supervised = start(python("web", "raise SystemExit(2)", ready_file="never"))
    assert supervised.process.wait(10) == 1
    assert "web cannot run with these settings" in supervised.text()
    assert "starts again" not in supervised.text()


def test_a_program_that_is_not_there_is_one_clear_line(start: Start) -> None:
    supervised = start({"name": "web", "argv": ["/no/such/program"], "ready_file": "never"})
    assert supervised.process.wait(20) == 1
    assert "web cannot start: [Errno 2] No such file or directory" in supervised.text()
    assert "Traceback" not in supervised.text()


def test_all_stops_when_nobody_reads_the_output_any_more(start: Start) -> None:
    chatty = "import time\nwhile True: print('x'); time.sleep(0.05)"
    supervised = start(python("chatty", chatty), stdout=subprocess.PIPE)
    assert supervised.process.stdout is not None
    supervised.process.stdout.readline()
    [child] = supervised.children()
    supervised.process.stdout.close()
    supervised.process.wait(10)
    assert not is_alive(child)


def test_a_full_disk_under_the_output_stops_nothing(start: Start, tmp_path: Path) -> None:
    chatty = f"""
import pathlib, time
while True: print('x'); pathlib.Path({str(tmp_path / "alive")!r}).touch(); time.sleep(0.05)
"""
    with Path("/dev/full").open("wb") as full:
        supervised = start(python("chatty", chatty), stdout=full)
        wait_until((tmp_path / "alive").exists, what="the child")
        time.sleep(0.5)
        (tmp_path / "alive").unlink()
        wait_until((tmp_path / "alive").exists, what="the child, still at work")
        [child] = supervised.children()
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: not is_alive(child), what="its end")
        (tmp_path / "alive").unlink()
        wait_until((tmp_path / "alive").exists, what="another in its place")
        assert supervised.process.poll() is None


def test_what_the_output_has_no_letters_for_is_escaped(start: Start) -> None:
    ascii_only = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    code = "import sys; sys.stdout.reconfigure(encoding='utf-8'); print('\u6a21\u578b')"
    supervised = start(python("web", SLEEPER), python("model", code), env=ascii_only)
    supervised.wait_for("model | \\u6a21\\u578b")


UNFORESEEN = """
import sys, time
from pathlib import Path
from arena.supervisor import Child, run

class Odd:
    def isatty(self): return False
    def flush(self): pass
    def write(self, text):
        print(text, end="", flush=True)
        raise RuntimeError("as nobody had foreseen")

def work():
    print("hello")
    time.sleep(600)

run([Child("one", call=work)], lock=Path(sys.argv[1]), banner=lambda: None, out=Odd())
"""


def test_nobody_outlives_a_supervisor_that_fails(tmp_path: Path) -> None:
    command = [sys.executable, "-c", UNFORESEEN, str(tmp_path / "arena.lock")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        assert "hello" in supervisor.stdout.readline()
        children = descendants(supervisor.pid)
        assert supervisor.wait(10) == 1
    wait_until(lambda: not any(map(is_alive, children)), what="the child's end")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the data folder should be")
    with pytest.raises(BadSetting, match="where this user cannot write"):
        run([], lock=tmp_path / "data" / "arena.lock", banner=lambda: None, out=io.StringIO())


def test_preparation_happens_under_the_lock(tmp_path: Path) -> None:
    lock, holders = tmp_path / "arena.lock", []

    def prepare() -> None:
        holders.append(lock.read_text().strip())
        raise KeyboardInterrupt  # Ctrl-C in the middle of it

    child = Child("never", ["/no/such/program"])
    assert run([child], lock=lock, banner=lambda: None, out=io.StringIO(), prepare=prepare) == 0
    assert holders == [str(os.getpid())]
    assert lock.read_text() == ""


def test_a_port_in_use_is_refused_naming_it_and_a_free_one_is_not() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(BadSetting, match=f"PORT {port} is already in use"):
            check_port("127.0.0.1", port)
        with pytest.raises(BadSetting, match=f"PORT {port} is already in use"):
            check_port("0.0.0.0", port)  # noqa: S104 - it must notice listeners of one address
    check_port("127.0.0.1", free_port())


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours_is_refused_naming_the_setting(host: str) -> None:
    with pytest.raises(BadSetting, match=f"ARENA_HOST is '{host}'"):
        check_port(host, free_port())


def test_gunicorn_accepts_the_web_command(tmp_path: Path) -> None:
    settings = Settings.from_environment({"ARENA_HOST": "::1", "PORT": "8123"})
    command = web_command(settings)
    application = "arena.app:wsgi()"
    assert "[::1]:8123" in command
    (tmp_path / "stand_in.py").write_text("def wsgi(): return lambda environ, start: []")
    command[command.index(application)] = "stand_in:wsgi()"
    checked = subprocess.run(
        [*command, "--print-config"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "arena.serving.Worker" in checked.stdout
