"""The OpenAI-compatible endpoint against a server that does everything wrong a server can do."""

from __future__ import annotations

import gc
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from arena.battle import Message
from arena.endpoints import build
from arena.errors import (
    BadSetting,
    EndpointBroken,
    EndpointDeclined,
    EndpointEmpty,
    EndpointError,
    EndpointRefused,
    EndpointTimeout,
    EndpointUnreachable,
)
from arena.interfaces import AnswerStream, Deadlines, Finished, ModelEntry

QUESTION = [Message("user", "Who is there?")]
SHORT = Deadlines(connect=0.5, first_byte=0.5, stall=0.5, total=2.0)
KEY_ENV = "ARENA_TEST_KEY"
KEY = "sk-Not-For-Anyone"
SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n"
CHUNKED_HEAD = SSE_HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"


class Request:
    """What the server was asked."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.line, *lines = head.decode("latin-1").split("\r\n")
        self.headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        self.body: dict[str, Any] = json.loads(body)


Script = Callable[[socket.socket], None]


class Peer:
    """A server that reads one request per connection and then does what the script says."""

    def __init__(self) -> None:
        self.script: Script = lambda _: None
        self.requests: list[Request] = []
        self.ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def send(self, *chunks: bytes, pause: float = 0.0) -> None:
        """From now on, answer every request with these bytes and hang up."""

        def script(conn: socket.socket) -> None:
            for chunk in chunks:
                conn.sendall(chunk)
                time.sleep(pause)

        self.script = script

    def send_and_wait(self, *chunks: bytes) -> None:
        """From now on, answer with these bytes and wait until the client has gone."""

        def script(conn: socket.socket) -> None:
            conn.sendall(b"".join(chunks))
            self.hang_up_by_client(conn)

        self.script = script

    def hang_up_by_client(self, conn: socket.socket) -> None:
        conn.settimeout(10)
        while conn.recv(1024):
            pass

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            with conn, suppress(OSError):
                self._read(conn)
                self.script(conn)
            self.ended.set()

    def _read(self, conn: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._some(conn)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += self._some(conn)
        self.requests.append(Request(head, body))

    def _some(self, conn: socket.socket) -> bytes:
        data = conn.recv(65536)
        if not data:
            raise ConnectionError
        return data


@pytest.fixture
def peer() -> Iterator[Peer]:
    server = Peer()
    yield server
    server.close()


def entry(url: str, **more: Any) -> ModelEntry:
    return ModelEntry(**{"id": "m", "name": "M", "base_url": url, "model": "m-1"} | more)


def ask(
    url: str,
    deadlines: Deadlines = SHORT,
    messages: Sequence[Message] = QUESTION,
    **more: Any,
) -> AnswerStream:
    return build(entry(url, **more), demo_folder=None).ask(messages, deadlines)


def answer(*args: Any, **more: Any) -> tuple[str, Finished]:
    """The whole text and how it ended."""
    *pieces, finished = ask(*args, **more)
    assert isinstance(finished, Finished)
    texts = [piece for piece in pieces if isinstance(piece, str) and piece]
    assert len(texts) == len(pieces), "pieces are texts and never empty"
    return "".join(texts), finished


def sse(*payloads: Any) -> bytes:
    texts = (item if isinstance(item, str) else json.dumps(item) for item in payloads)
    return b"".join(f"data: {text}\n\n".encode() for text in texts)


def delta(content: Any = None, finish: Any = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": content} | more, "finish_reason": finish}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def usage(tokens: Any) -> dict[str, Any]:
    return {"choices": [], "usage": {"completion_tokens": tokens}}


def reply(status: str, body: bytes = b"", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


WHOLE = SSE_HEAD + sse(delta("Hi"), delta("!"), delta(None, "stop"), "[DONE]")


# --- what is asked ---


def test_the_question_is_sent_as_a_streamed_chat_completion(peer: Peer) -> None:
    peer.send(WHOLE)
    talk = [Message("user", "a"), Message("assistant", "b"), Message("user", "naïve 🙂")]
    answer(peer.url + "/", messages=talk)
    (request,) = peer.requests
    assert request.line == "POST /v1/chat/completions HTTP/1.1"
    assert request.body == {
        "model": "m-1",
        "messages": [{"role": message.role, "content": message.text} for message in talk],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert request.headers["accept-encoding"] == "identity"
    assert "authorization" not in request.headers


def test_parameters_go_into_the_body_and_system_into_a_message(peer: Peer) -> None:
    peer.send(WHOLE)
    parameters = {"temperature": 0.3, "top_k": 0, "system": "Be brief.", "stream_options": None}
    answer(peer.url, parameters=parameters)
    body = peer.requests[0].body
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["temperature"], body["top_k"]) == (0.3, 0)
    assert "stream_options" not in body and "system" not in body


@pytest.mark.parametrize("name", ["model", "messages", "stream"])
def test_parameters_may_not_change_what_the_arena_decides(name: str) -> None:
    with pytest.raises(BadSetting, match=f"'m': parameters may not set '{name}'"):
        build(entry("http://localhost", parameters={name: 1}), demo_folder=None)


@pytest.mark.parametrize("value", [float("inf"), object()])
def test_parameters_that_are_not_json_are_refused_when_the_roster_is_read(value: object) -> None:
    with pytest.raises(BadSetting, match="parameters are not JSON"):
        build(entry("http://localhost", parameters={"temperature": value}), demo_folder=None)


def test_an_unknown_protocol_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadSetting, match="protocol 'gopher' is unknown; known: openai"):
        build(entry("http://localhost", protocol="gopher"), demo_folder=None)


@pytest.mark.parametrize("url", ["", "localhost:80", "ftp://host", "http://", "http://u:p@host"])
def test_an_address_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(BadSetting, match="base_url"):
        build(entry(url), demo_folder=None)


def test_a_query_in_the_address_is_kept(peer: Peer) -> None:
    peer.send(WHOLE)
    answer(peer.url + "?api-version=2")
    assert peer.requests[0].line.split()[1] == "/v1/chat/completions?api-version=2"


def test_a_demo_address_is_looked_up_at_every_question(peer: Peer, tmp_path: Path) -> None:
    peer.send(WHOLE)
    endpoint = build(entry("demo:smol"), demo_folder=tmp_path)
    with pytest.raises(EndpointUnreachable, match="demo model smol is not up yet"):
        endpoint.ask(QUESTION, SHORT)
    (tmp_path / "smol.url").write_text(peer.url + "\n")
    assert list(endpoint.ask(QUESTION, SHORT))[-1] == Finished("stop")


# --- what is read ---


def test_an_answer_is_its_pieces_and_how_it_ended(peer: Peer) -> None:
    peer.send(WHOLE)
    assert answer(peer.url) == ("Hi!", Finished("stop"))


def test_the_answer_is_the_same_however_slowly_its_bytes_come(peer: Peer) -> None:
    peer.send(*(bytes([byte]) for byte in WHOLE))
    assert answer(peer.url) == ("Hi!", Finished("stop"))


def test_chunked_transfer_is_understood(peer: Peer) -> None:
    parts = (sse(delta("é", role="assistant")), sse(delta("!", "stop")))
    peer.send(CHUNKED_HEAD, *(b"%x\r\n%s\r\n" % (len(part), part) for part in parts), b"0\r\n\r\n")
    assert answer(peer.url) == ("é!", Finished("stop"))


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
        ("model_length", "length"),
    ],
)
def test_every_known_ending_is_one_of_the_apis_three(peer: Peer, said: str, means: str) -> None:
    peer.send(SSE_HEAD + sse(delta("x", said)))
    assert answer(peer.url) == ("x", Finished(means))


def test_tokens_are_counted_where_the_endpoint_counts_them(peer: Peer) -> None:
    peer.send(SSE_HEAD + sse(delta("x"), delta(None, "stop")), sse(usage(7), "[DONE]"), pause=0.1)
    assert answer(peer.url) == ("x", Finished("stop", 7))


def test_what_comes_after_the_end_cannot_spoil_the_answer(peer: Peer) -> None:
    peer.send(SSE_HEAD + sse(delta("x", "stop"), "{", {"error": "late"}, usage(-1), delta("y")))
    assert answer(peer.url) == ("x", Finished("stop"))


def test_a_server_that_stays_silent_after_the_end_is_not_waited_for(peer: Peer) -> None:
    peer.send_and_wait(SSE_HEAD + sse(delta("x", "stop")))
    start = time.monotonic()
    assert answer(peer.url, Deadlines()) == ("x", Finished("stop"))
    assert time.monotonic() - start < 4


def test_roles_thoughts_and_other_choices_are_not_shown(peer: Peer) -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}]}
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}]
    peer.send(
        SSE_HEAD
        + sse(delta(None, role="assistant"), delta(None, reasoning_content="hm"), other)
        + b": a comment\n\n"
        + sse(delta(parts), delta(""), {"choices": []}, {}, delta("!", "stop"))
    )
    assert answer(peer.url) == ("yes!", Finished("stop"))


def test_text_is_made_safe_to_store(peer: Peer) -> None:
    peer.send(SSE_HEAD + sse(delta("a\0b\x1b[0m\r\n\tc"), delta("\ud83d"), delta("x", "stop")))
    assert answer(peer.url)[0] == "a�b�[0m\n\tc�x"


@pytest.mark.parametrize("pause", [0.0, 0.1], ids=["one read", "two reads"])
def test_a_surrogate_pair_cut_in_half_is_joined(peer: Peer, pause: float) -> None:
    peer.send(SSE_HEAD + sse(delta("a\ud83d")), sse(delta("\ude42", "stop")), pause=pause)
    assert answer(peer.url)[0] == "a🙂"


def test_half_a_surrogate_pair_at_the_end_is_replaced(peer: Peer) -> None:
    peer.send(SSE_HEAD + sse(delta("a\ud83d", "stop")))
    assert answer(peer.url)[0] == "a�"


def test_an_answer_is_cut_at_its_cap(peer: Peer) -> None:
    peer.send(SSE_HEAD + sse(*(delta("four") for _ in range(100)), delta("", "stop"), usage(1)))
    assert answer(peer.url, Deadlines(max_chars=10)) == ("fourfourfo", Finished("length"))


def test_an_answer_exactly_as_long_as_its_cap_is_whole(peer: Peer) -> None:
    peer.send(SSE_HEAD + sse(delta("four"), delta("four"), delta("", "stop")))
    assert answer(peer.url, Deadlines(max_chars=8)) == ("fourfour", Finished("stop"))


def test_a_server_that_does_not_stream_is_understood(peer: Peer) -> None:
    message = {"role": "assistant", "content": "All at once."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = usage(3) | {"choices": [choice]}
    peer.send(reply("200 OK", json.dumps(body).encode(), "Content-Type: application/json\r\n"))
    assert answer(peer.url) == ("All at once.", Finished("stop", 3))


def test_a_byte_order_mark_before_a_whole_answer_is_no_part_of_it(peer: Peer) -> None:
    choice = {"message": {"content": "Marked."}, "finish_reason": "stop"}
    body = b"\xef\xbb\xbf" + json.dumps({"choices": [choice]}).encode()
    peer.send(reply("200 OK", body, "Content-Type: application/json\r\n"))
    assert answer(peer.url) == ("Marked.", Finished("stop"))


# --- what goes wrong ---

BROKEN = {
    "malformed JSON": (sse(delta("x"), "{oops"), "malformed JSON: {oops"),
    "endless nesting": (sse("[" * 100_000), "malformed JSON"),
    "no object": (sse([1]), "not a JSON object"),
    "null": (sse("null"), "not a JSON object"),
    "an error in the stream": (sse(delta("x"), {"error": {"message": "GPU lost"}}), "GPU lost"),
    "an error as a text": (sse({"error": "GPU lost"}), "reported an error: GPU lost"),
    "an error event": (b"event: error\ndata: GPU lost\n\n", "reported an error: GPU lost"),
    "an early hang-up": (sse(delta("x")), "without a finish_reason"),
    "an early [DONE]": (sse(delta("x"), "[DONE]"), "without a finish_reason"),
    "nothing at all": (b"", "without a finish_reason"),
    "an unknown ending": (sse(delta("x", "bored")), "unknown finish_reason 'bored'"),
    "an ending of another type": (sse(delta("x", ["stop"])), "unknown finish_reason"),
    "a tool call": (sse(delta("x", "tool_calls")), "unknown finish_reason 'tool_calls'"),
    "content of another type": (sse(delta(5, "stop")), "neither text nor parts"),
    "parts of another type": (sse(delta(["x"])), "not a JSON object"),
    "choices of another type": (sse({"choices": 5}), "choices that are not a list"),
    "an endless event": (b"data: " + b"x" * (1 << 20) + b"x", "an event longer than 502144 bytes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_stream_is_never_an_answer(peer: Peer, name: str) -> None:
    stream, says = BROKEN[name]
    peer.send(SSE_HEAD + stream)
    with pytest.raises(EndpointBroken) as error:
        answer(peer.url)
    assert says in str(error.value)
    assert not error.value.retryable


@pytest.mark.parametrize("text", [None, "", " \n\t"])
def test_an_answer_without_text_is_an_error(peer: Peer, text: str | None) -> None:
    peer.send(SSE_HEAD + sse(delta(text), delta(None, "stop"), "[DONE]"))
    with pytest.raises(EndpointEmpty):
        answer(peer.url)


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/ev",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        CHUNKED_HEAD + b"zz\r\n",
        CHUNKED_HEAD + b"5\r\ndat",
        SSE_HEAD[:-2] + b"Content-Length: 999\r\n\r\n" + sse(delta("x")),
    ],
    ids=["half a head", "no HTTP", "no chunk", "half a chunk", "half a body"],
)
def test_what_breaks_http_is_never_an_answer(peer: Peer, sent: bytes) -> None:
    peer.send(sent)
    with pytest.raises(EndpointBroken):
        answer(peer.url)


def test_a_connection_that_is_reset_breaks_the_answer(peer: Peer) -> None:
    def script(conn: socket.socket) -> None:
        conn.sendall(SSE_HEAD + sse(delta("x")))
        time.sleep(0.2)
        linger_0 = b"\1\0\0\0\0\0\0\0"
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_0)

    peer.script = script
    with pytest.raises(EndpointBroken, match="connection to the endpoint broke"):
        answer(peer.url)


def test_a_hang_up_without_a_word_may_be_tried_again(peer: Peer) -> None:
    with pytest.raises(EndpointUnreachable, match="hung up without an answer") as error:
        answer(peer.url)
    assert error.value.retryable


@pytest.mark.parametrize(
    "status",
    [
        "408 Too Slow",
        "409 Busy With It",
        "425 Too Early",
        "429 Slow Down",
        "500 Oops",
        "503 Busy",
        "529 Overloaded",
    ],
)
def test_a_busy_or_failing_server_may_be_tried_again(peer: Peer, status: str) -> None:
    peer.send(reply(status, b'{"error": {"message": "later"}}', "Retry-After: 7\r\n"))
    with pytest.raises(EndpointUnreachable, match=f"answered {status[:3]}: later") as error:
        answer(peer.url)
    assert error.value.retry_after == 7.0
    assert error.value.retryable


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600, 3600),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0, 0),
        ("Fri, 31 Dec 9999999999999 23:59:59 GMT", None, None),
        ("Fri, 31 Dec 2030 23:59:59 +9999999999999", None, None),
        ("in 300 seconds", 200, 300),
        ("1e99", 3600, 3600),
        ("-5", 0, 0),
        ("nan", None, None),
        ("soon", None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_reason(
    peer: Peer, value: str, low: float | None, high: float | None
) -> None:
    if value == "in 300 seconds":  # from now, not from when the tests were collected
        value = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 300))
    peer.send(reply("503 Busy", headers=f"Retry-After: {value}\r\n"))
    with pytest.raises(EndpointUnreachable) as error:
        answer(peer.url)
    seconds = error.value.retry_after
    if low is None or high is None:
        assert seconds is None
    else:
        assert seconds is not None and low <= seconds <= high


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (reply("400 No", b'{"error": {"message": "no such model"}}'), "400: no such model"),
        (reply("401 No", b"<h1>who\n\nare you</h1>"), "401: <h1>who are you</h1>"),
        (reply("404 No"), "answered 404."),
        (reply("204 No Content"), "answered 204."),
        (reply("200 OK", b"<html>", "Content-Type: text/html\r\n"), "content type 'text/html'"),
        (reply("200 OK", b"x"), "content type ''"),
    ],
)
def test_a_refusal_is_for_good(peer: Peer, sent: bytes, says: str) -> None:
    peer.send(sent)
    with pytest.raises(EndpointRefused) as error:
        answer(peer.url)
    assert says in str(error.value)
    assert not error.value.retryable


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, EndpointDeclined),
        (401, EndpointRefused),
        (403, EndpointRefused),
        (404, EndpointRefused),
        (413, EndpointDeclined),
        (422, EndpointDeclined),
    ],
)
def test_a_refusal_that_a_prompt_can_bring_about_is_of_its_own_kind(
    peer: Peer, status: int, error: type[EndpointRefused]
) -> None:
    peer.send(reply(f"{status} No"))
    with pytest.raises(EndpointRefused) as caught:
        answer(peer.url)
    assert type(caught.value) is error


def test_a_redirect_is_not_followed(peer: Peer) -> None:
    peer.send(reply("307 Elsewhere", headers=f"Location: {peer.url}/other\r\n"))
    with pytest.raises(EndpointRefused, match="answered 307"):
        answer(peer.url)
    assert len(peer.requests) == 1


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
def test_compressed_answers_are_refused(peer: Peer, kind: str) -> None:
    peer.send(reply("200 OK", b"x", f"Content-Type: {kind}\r\nContent-Encoding: gzip\r\n"))
    with pytest.raises(EndpointRefused, match="compressed"):
        answer(peer.url)


def test_an_endless_body_without_streaming_is_broken_off(peer: Peer) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    peer.send(head, *(b" " * (1 << 20) for _ in range(6)))
    with pytest.raises(EndpointBroken, match="longer than"):
        answer(peer.url, Deadlines())


def test_a_foreign_error_is_quoted_shortly(peer: Peer) -> None:
    peer.send(reply("400 No", b"x" * 100_000))
    with pytest.raises(EndpointRefused) as error:
        answer(peer.url)
    assert len(str(error.value)) < 250


def test_a_failing_server_that_never_ends_its_error_is_still_a_failing_server(peer: Peer) -> None:
    peer.send_and_wait(b"HTTP/1.1 500 Oops\r\n\r\nhm")
    with pytest.raises(EndpointUnreachable, match="answered 500"):
        answer(peer.url, Deadlines())


def test_a_closed_port_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(EndpointUnreachable, match="refused"):
        answer(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70 + ".invalid"])
def test_an_unknown_host_is_unreachable(host: str) -> None:
    with pytest.raises(EndpointUnreachable, match="cannot be reached"):
        answer(f"http://{host}", Deadlines(connect=20))


def test_every_address_of_a_host_is_tried(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    peer.send(WHOLE)
    port = int(peer.url.rpartition(":")[2].removesuffix("/v1"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = listener.getsockname()
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", a) for a in (closed, ("127.0.0.1", port))]

    def getaddrinfo(*_: Any, flags: int, **__: Any) -> list[Any]:
        if flags:
            raise socket.gaierror
        return found

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert answer("http://two-addresses.example") == ("Hi!", Finished("stop"))


def test_a_server_without_tls_is_unreachable_over_tls(peer: Peer) -> None:
    with pytest.raises(EndpointUnreachable, match="cannot be reached"):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=lambda: speak_plainly(listener)).start()
            answer(f"https://127.0.0.1:{listener.getsockname()[1]}")


def speak_plainly(listener: socket.socket) -> None:
    conn, _ = listener.accept()
    with conn:
        conn.sendall(b"HTTP/1.1 400 Speak plainly\r\n\r\n")
        conn.recv(65536)


# --- keys ---


def test_the_key_is_read_at_every_question(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    peer.send(WHOLE)
    endpoint = build(entry(peer.url, api_key_env=KEY_ENV), demo_folder=None)
    monkeypatch.delenv(KEY_ENV, raising=False)
    with pytest.raises(EndpointRefused, match=KEY_ENV):
        endpoint.ask(QUESTION, SHORT)
    monkeypatch.setenv(KEY_ENV, KEY + "\n")
    list(endpoint.ask(QUESTION, SHORT))
    assert peer.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", ["", "  ", f"{KEY}\nx", f"{KEY}\x00", f"{KEY}é"])
def test_a_missing_or_impossible_key_is_named_but_never_shown(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setattr("os.environ", {KEY_ENV: key})
    with pytest.raises(EndpointRefused, match=KEY_ENV) as error:
        answer(peer.url, api_key_env=KEY_ENV)
    assert KEY not in str(error.value)
    assert peer.requests == []


@pytest.mark.parametrize(
    "sent",
    [
        reply("401 No", json.dumps({"error": {"message": f"bad key {KEY}"}}).encode()),
        reply("500 Oops", f"Authorization: Bearer {KEY}".encode()),
        reply("200 OK", b"", f"Content-Type: {KEY}\r\n"),
        SSE_HEAD + sse({"error": {"message": f"bad key {KEY}"}}),
        SSE_HEAD + sse(f"bad key {KEY}"),
        SSE_HEAD + sse(delta("x", KEY)),
        b"HTTP/1.1 200 OK\r\n authorization: " + KEY.encode() + b"\r\n\r\n",
        f"authorization: Bearer {KEY}\r\n\r\n".encode(),
    ],
)
def test_an_endpoint_that_repeats_the_key_does_not_get_it_into_an_error(
    peer: Peer, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)
    peer.send(sent)
    with pytest.raises(EndpointError) as error:
        answer(peer.url, api_key_env=KEY_ENV)
    assert KEY not in str(error.value)
    assert error.value.__cause__ is None


# --- deadlines ---


def timed(peer: Peer, script: Script, deadlines: Deadlines) -> tuple[str, float]:
    """What the time-out says, and how long it took."""
    peer.script = script
    start = time.monotonic()
    with pytest.raises(EndpointTimeout) as error:
        answer(peer.url, deadlines)
    return str(error.value), time.monotonic() - start


def forever(*first: bytes, then: bytes, every: float = 0.05) -> Script:
    def script(conn: socket.socket) -> None:
        conn.sendall(b"".join(first))
        while True:
            conn.sendall(then)
            time.sleep(every)

    return script


def test_silence_before_the_first_text_ends_at_its_deadline(peer: Peer) -> None:
    said, seconds = timed(peer, peer.hang_up_by_client, Deadlines(first_byte=0.4))
    assert said == "The endpoint sent no text within 0.4 s."
    assert 0.4 <= seconds < 0.8


@pytest.mark.parametrize(
    "script",
    [
        forever(then=b"H"),
        forever(SSE_HEAD, then=b": ping\n\n"),
        forever(SSE_HEAD, then=b": ping\n\n", every=0.0),
        forever(SSE_HEAD, then=sse(delta(None, role="assistant"))),
        forever(SSE_HEAD, then=sse(delta(None, reasoning_content="hm"))),
        forever(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", then=b" "),
    ],
    ids=["a trickling head", "comments", "a flood of comments", "roles", "thoughts", "blanks"],
)
def test_only_text_meets_the_first_deadline(peer: Peer, script: Script) -> None:
    said, seconds = timed(peer, script, Deadlines(first_byte=0.4))
    assert said == "The endpoint sent no text within 0.4 s."
    assert 0.4 <= seconds < 0.8


def test_silence_in_the_middle_ends_at_its_deadline(peer: Peer) -> None:
    peer.send_and_wait(SSE_HEAD + sse(delta("x")))
    said, seconds = timed(peer, peer.script, Deadlines(stall=0.4))
    assert said == "The endpoint was silent for 0.4 s."
    assert 0.4 <= seconds < 0.8


@pytest.mark.parametrize("every", [0.05, 0.0])
def test_an_answer_that_never_ends_meets_the_total(peer: Peer, every: float) -> None:
    script = forever(SSE_HEAD, then=sse(delta("x")), every=every)
    said, seconds = timed(peer, script, Deadlines(total=0.6, max_chars=10**9))
    assert said == "The endpoint did not finish within 0.6 s."
    assert 0.6 <= seconds < 1.0


def test_a_slow_consumer_is_not_the_endpoints_silence(peer: Peer) -> None:
    peer.send(SSE_HEAD + sse(delta("x")), sse(delta("y")), sse(delta("z", "stop")), pause=0.1)
    stream = iter(ask(peer.url, Deadlines(stall=0.3)))
    assert next(stream) == "x"
    time.sleep(0.6)
    assert list(stream) == ["yz", Finished("stop")]


def full_listener() -> tuple[socket.socket, list[socket.socket]]:
    """A port whose queue is full: connecting to it hangs."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    return listener, fillers


@pytest.fixture
def black_hole() -> Iterator[str]:
    listener, fillers = full_listener()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    for sock in (listener, *fillers):
        sock.close()


@pytest.fixture
def mute_tls() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("where", ["black_hole", "mute_tls"])
def test_connecting_ends_at_its_deadline(where: str, request: pytest.FixtureRequest) -> None:
    start = time.monotonic()
    with pytest.raises(EndpointTimeout, match=r"took no connection within 0\.4 s"):
        answer(request.getfixturevalue(where), Deadlines(connect=0.4))
    assert 0.4 <= time.monotonic() - start < 0.8


def test_a_name_server_that_hangs_meets_the_connect_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = hang_the_resolver(monkeypatch)
    with pytest.raises(EndpointTimeout, match=r"took no connection within 0\.3 s"):
        answer("http://somewhere.example", Deadlines(connect=0.3))
    released.set()


def hang_the_resolver(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    released = threading.Event()

    def getaddrinfo(*_: Any, flags: int, **__: Any) -> list[Any]:
        if not flags:
            released.wait(10)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return released


# --- cancelling and leaving ---


def cancelled_after(stream: AnswerStream, seconds: float) -> float:
    """Cancel from another thread; how long iteration goes on after that."""
    moments: list[float] = []

    def cancel() -> None:
        moments.append(time.monotonic())
        stream.cancel()

    timer = threading.Timer(seconds, cancel)
    timer.start()
    with pytest.raises(EndpointBroken, match="cancelled"):
        list(stream)
    timer.join()
    return time.monotonic() - moments[0]


def test_cancel_wakes_a_waiting_read_and_hangs_up(peer: Peer) -> None:
    peer.send_and_wait(SSE_HEAD + sse(delta("x")))
    assert cancelled_after(ask(peer.url, Deadlines()), 0.3) < 0.2
    assert peer.ended.wait(1)


def test_cancel_stops_a_flood(peer: Peer) -> None:
    peer.script = forever(SSE_HEAD, then=sse(delta("x")), every=0.0)
    assert cancelled_after(ask(peer.url, Deadlines(max_chars=10**9)), 0.3) < 0.2


def test_cancel_does_not_wait_for_the_next_read(peer: Peer) -> None:
    peer.script = forever(SSE_HEAD, then=sse(delta("x")))
    stream = build(entry(peer.url), demo_folder=None)
    stream._read_every = 60.0  # type: ignore[attr-defined]
    assert cancelled_after(stream.ask(QUESTION, Deadlines()), 0.3) < 0.2


@pytest.mark.parametrize("where", ["black_hole", "mute_tls"])
def test_cancel_wakes_a_connect(where: str, request: pytest.FixtureRequest) -> None:
    assert cancelled_after(ask(request.getfixturevalue(where), Deadlines()), 0.3) < 0.2


def test_cancel_does_not_wait_for_the_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    released = hang_the_resolver(monkeypatch)
    assert cancelled_after(ask("http://somewhere.example", Deadlines()), 0.3) < 0.2
    released.set()


def test_an_answer_cancelled_before_it_began_is_never_asked_for(peer: Peer) -> None:
    stream = ask(peer.url)
    stream.cancel()
    with pytest.raises(EndpointBroken, match="cancelled"):
        list(stream)
    assert peer.requests == []


def test_cancel_after_the_end_does_nothing(peer: Peer) -> None:
    peer.send(WHOLE)
    stream = ask(peer.url)
    assert list(stream)[-1] == Finished("stop")
    stream.cancel()
    stream.cancel()


def test_leaving_an_answer_halfway_hangs_up(peer: Peer) -> None:
    peer.script = forever(SSE_HEAD, then=sse(delta("x")))
    for _ in ask(peer.url):
        break
    gc.collect()  # an unclosed socket would warn here, and warnings are errors
    assert peer.ended.wait(2)
