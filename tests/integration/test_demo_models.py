"""The demo's real models through our endpoint: llama.cpp with SmolLM2, and ELIZA."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from arena.battle import Message
from arena.demo import roster
from arena.demo.roster import demo_entries, demo_processes
from arena.endpoints import build
from arena.errors import EndpointBroken
from arena.interfaces import Deadlines, Finished, ModelEntry

pytestmark = pytest.mark.demo_model
ENTRIES = {entry.id: entry for entry in demo_entries()[0]}
PATIENT = Deadlines(first_byte=60, stall=30, total=120)


def start(name: str, folder: Path) -> subprocess.Popen[bytes]:
    processes = dict(demo_processes())
    if name not in processes:
        pytest.skip(f"the packages of the demo model {name} are not installed here")
    process = subprocess.Popen([sys.executable, *processes[name], str(folder)])
    wait_for((folder / f"{name}.url").exists, seconds=60)
    return process


def wait_for(happened: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("demo")
    process = start("smollm2", folder)
    yield folder
    process.terminate()
    assert process.wait(10) == 0


@pytest.fixture(scope="module")
def eliza(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("demo")
    process = start("eliza", folder)
    yield folder
    process.terminate()
    assert process.wait(10) == 0


def answer(entry: ModelEntry, folder: Path, *prompts: str) -> tuple[str, Finished]:
    messages = [Message("user", prompt) for prompt in prompts]
    *pieces, finished = build(entry, demo_folder=folder).ask(messages, PATIENT)
    assert isinstance(finished, Finished)
    return "".join(str(piece) for piece in pieces), finished


def test_the_language_model_answers_and_counts_its_tokens(smollm2: Path) -> None:
    prompt = "What is the capital of France? Answer in one sentence."
    text, finished = answer(ENTRIES["smollm2-135m-t0.3"], smollm2, prompt)
    assert "Paris" in text
    assert finished.reason == "stop"
    assert finished.tokens is not None and 3 <= finished.tokens <= 200


def test_two_temperatures_answer_at_once(smollm2: Path) -> None:
    endpoints = [build(ENTRIES[f"smollm2-135m-t{t}"], demo_folder=smollm2) for t in (0.3, 2.0)]
    prompt = [Message("user", "Name three colours.")]
    streams = [iter(endpoint.ask(prompt, PATIENT)) for endpoint in endpoints]
    first = [next(stream) for stream in streams]
    assert all(isinstance(piece, str) for piece in first)
    assert all(list(stream)[-1].reason in {"stop", "length"} for stream in streams)  # type: ignore[union-attr]


def busy_slots(folder: Path) -> int:
    url = (folder / "smollm2.url").read_text().strip().removesuffix("/v1")
    slots = httpx.get(f"{url}/slots", trust_env=False).raise_for_status().json()
    return sum(slot["is_processing"] for slot in slots)


def test_cancel_frees_the_models_slot(smollm2: Path) -> None:
    endpoint = build(ENTRIES["smollm2-135m-t1.0"], demo_folder=smollm2)
    stream = endpoint.ask([Message("user", "Write a long story about the sea.")], PATIENT)
    pieces = iter(stream)
    next(pieces)
    assert busy_slots(smollm2) == 1
    stream.cancel()
    with pytest.raises(EndpointBroken, match="cancelled"):
        list(pieces)
    wait_for(lambda: busy_slots(smollm2) == 0, seconds=5)


def test_eliza_answers(eliza: Path) -> None:
    text, finished = answer(ENTRIES["eliza"], eliza, "I am sad.")
    assert "sad" in text
    assert finished == Finished("stop", len(text.split()))


@pytest.mark.parametrize(
    "prompt", ["???", "🙂", "你好，法国的首都是哪里？", "my " * 4000, "Eliza: "]
)
def test_eliza_has_an_answer_to_everything_and_quickly(eliza: Path, prompt: str) -> None:
    start = time.monotonic()
    text, finished = answer(ENTRIES["eliza"], eliza, "Hello", prompt)
    assert finished.reason == "stop"
    assert not text.startswith("Eliza")
    assert time.monotonic() - start < 5


def test_eliza_does_not_understand_a_request_that_is_none(eliza: Path) -> None:
    url = (eliza / "eliza.url").read_text().strip()
    for body in (b"", b"{", b"[]", b'{"messages": [{"role": "user", "content": [1]}]}'):
        response = httpx.post(f"{url}/chat/completions", content=body, trust_env=False)
        assert response.status_code == 400


def test_eliza_is_not_shadowed_by_modules_in_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "utils.py").write_text("raise RuntimeError")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    process = start("eliza", tmp_path)
    process.terminate()
    assert process.wait(10) == 0


def test_a_demo_process_dies_with_its_parent_and_takes_its_address_along(tmp_path: Path) -> None:
    processes = dict(demo_processes())
    if "eliza" not in processes:
        pytest.skip("the package eliza-gpt is not installed here")
    command = [sys.executable, *processes["eliza"], str(tmp_path)]
    code = f"import subprocess, time; subprocess.Popen({command!r}); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        address = tmp_path / "eliza.url"
        wait_for(address.exists, seconds=20)
        parent.kill()
    wait_for(lambda: not address.exists(), seconds=5)


def test_an_address_is_gone_after_an_interrupt(tmp_path: Path) -> None:
    process = start("eliza", tmp_path)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    assert list(tmp_path.iterdir()) == []


def test_the_demos_roster_is_a_ladder_and_a_model_of_another_kind() -> None:
    entries, left_out = demo_entries()
    assert len(entries) + 5 * bool(left_out) >= 5
    assert len({entry.id for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.base_url.startswith("demo:")
        assert entry.license and entry.organization and entry.link and entry.name


def test_what_cannot_run_here_is_left_out_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "find_spec", lambda name: None if name == "xllamacpp" else name)
    entries, (sentence,) = demo_entries()
    assert [entry.id for entry in entries] == ["eliza"]
    assert "without the SmolLM2 models: the package xllamacpp is not installed" in sentence
    assert [name for name, _ in demo_processes()] == ["eliza"]
