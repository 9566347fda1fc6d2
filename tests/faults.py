"""Every way an endpoint can fail, over real sockets: what it sends, and what that must count as."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from itertools import chain, repeat
from pathlib import Path
from typing import Any

CANARY = "zq-canary"
"""In everything that only the operator may ever see: addresses, names, errors, headers."""

BEGINNING = "sixteen letters."
"""What an answer that fails in the middle has said; two steps of eight."""

Play = Callable[[socket.socket], None]


def sse(*payloads: Any) -> bytes:
    texts = (item if isinstance(item, str) else json.dumps(item) for item in payloads)
    return b"".join(f"data: {text}\n\n".encode() for text in texts)


def delta(content: Any = None, finish: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "choices": [{"index": 0, "delta": {"content": content} | more, "finish_reason": finish}]
    }


def head(status: str = "200 OK", kind: str | None = "text/event-stream", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"X-Served-By: {CANARY}"]
    lines += [] if kind is None else [f"Content-Type: {kind}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def refusal(status: str, **headers: str) -> bytes:
    body = json.dumps({"error": {"message": f"{CANARY} says no"}}).encode()
    return head(status, "application/json", Content_Length=str(len(body)), **headers) + body


def whole(**answer: Any) -> bytes:
    """A JSON answer as servers that do not stream give it."""
    return json.dumps({"choices": [answer]}).encode()


BEGUN = head() + sse(delta("sixteen "), delta("letters."))
GOOD = BEGUN + sse(delta(" And then some more."), delta(None, "stop"), "[DONE]")
END = sse(delta(None, "stop"), "[DONE]")


# --- how a script plays ---


def sends(*chunks: bytes, pause: float = 0.0) -> Play:
    """Send all of it and hang up."""

    def play(conn: socket.socket) -> None:
        for chunk in chunks:
            conn.sendall(chunk)
            time.sleep(pause)

    return play


def sends_and_waits(*chunks: bytes) -> Play:
    """Send all of it and say nothing more."""

    def play(conn: socket.socket) -> None:
        conn.sendall(b"".join(chunks))
        conn.settimeout(15)
        while conn.recv(1024):
            pass

    return play


def forever(*first: bytes, then: bytes, every: float = 0.02) -> Play:
    """Send the same again and again."""

    def play(conn: socket.socket) -> None:
        conn.sendall(b"".join(first))
        while True:
            conn.sendall(then)
            time.sleep(every)

    return play


def resets(*first: bytes) -> Play:
    def play(conn: socket.socket) -> None:
        conn.sendall(b"".join(first))
        time.sleep(0.3 if first else 0)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return play


def first_then(first: Play, then: Play) -> Play:
    """Another script from the second request on."""
    plays = chain([first], repeat(then))

    def play(conn: socket.socket) -> None:
        next(plays)(conn)

    return play


def after_beginning(play: Play) -> Play:
    """Let the beginning of an answer be seen first."""

    def both(conn: socket.socket) -> None:
        conn.sendall(BEGUN)
        time.sleep(0.4)
        play(conn)

    return both


# --- the catalogue ---


@dataclass(frozen=True)
class Fault:
    """One way to fail: the kind that it counts as, and whether the same model is asked again.

    `at` is where instead of the common server the model answers; None: there.
    """

    name: str
    play: Play
    error: str
    again: bool = False
    at: str | None = None


UNREACHABLE, REFUSED, DECLINED, TIMEOUT, BROKEN, EMPTY = (
    f"Endpoint{kind}"
    for kind in ("Unreachable", "Refused", "Declined", "Timeout", "Broken", "Empty")
)

_nothing: Play = sends()


def _connecting() -> Iterator[Fault]:
    for at in ("refused", "no such host", "bad certificate", "no TLS", "only TLS"):
        yield Fault(at, _nothing, UNREACHABLE, again=True, at=at)
    for at in ("slow connect", "slow handshake"):
        yield Fault(at, _nothing, TIMEOUT, at=at)


def _statuses() -> Iterator[Fault]:
    for error, statuses in (
        (DECLINED, (400, 413, 422)),
        (REFUSED, (401, 403, 404, 204, 206, 304, 600)),
    ):
        for status in statuses:
            yield Fault(f"{status}", sends(refusal(f"{status} No")), error)
    for status in (301, 307, 308):
        elsewhere = refusal(f"{status} Elsewhere", Location="{elsewhere}")
        yield Fault(f"{status}", sends(elsewhere), REFUSED)
    for status in (408, 409, 425, 429, 500, 502, 503, 504, 529):
        yield Fault(f"{status}", sends(refusal(f"{status} Later")), UNREACHABLE, again=True)
    never = formatdate(time.time() + 3600, usegmt=True)
    for value in ("3600", "1e308", "9" * 30, never):
        play = sends(refusal("429 Later", Retry_After=value))
        yield Fault(f"429 for {value[:16]}", play, UNREACHABLE)
    past, absurd = formatdate(0, usegmt=True), "Fri, 31 Dec 99999999999999 23:59:59 GMT"
    for value in ("0", "-5", "nan", "soon", "", past, absurd):
        play = sends(refusal("503 Later", Retry_After=value))
        yield Fault(f"503 for '{value}'", play, UNREACHABLE, again=True)


def _before_the_first_text() -> Iterator[Fault]:
    yield Fault("hangs up without a word", _nothing, UNREACHABLE, again=True)
    yield Fault("resets without a word", resets(), UNREACHABLE, again=True)
    yield Fault("no first byte", sends_and_waits(b""), TIMEOUT)
    yield Fault("a trickling head", forever(then=b"H"), TIMEOUT)
    yield Fault("comments only", forever(head(), then=b": ping\n\n"), TIMEOUT)
    thoughts = sse(delta(None, reasoning_content=f"{CANARY} hm"))
    yield Fault("thoughts without end", forever(head(), then=thoughts), TIMEOUT)
    early_hints = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
    yield Fault("1xx without end", forever(then=early_hints), TIMEOUT)
    yield Fault("switching protocols", sends(b"HTTP/1.1 101 Other\r\n\r\n" + GOOD), BROKEN)
    yield Fault("half a head", sends(b"HTTP/1.1 200 OK\r\nContent-Ty"), BROKEN)
    yield Fault("no HTTP", sends(f"SSH-2.0-{CANARY}\r\n\r\n".encode()), BROKEN)
    many = b"".join(b"X-%d: %s\r\n" % (n, b"y" * 90) for n in range(5000))
    yield Fault("a flood of headers", sends(b"HTTP/1.1 200 OK\r\n" + many), BROKEN)
    yield Fault("an endless header", forever(b"HTTP/1.1 200 OK\r\nX: ", then=b"y" * 9999), BROKEN)
    yield Fault("HTML", sends(head(kind="text/html") + b"<h1>Sign in</h1>"), REFUSED)
    yield Fault("no content type", sends(head(kind=None) + END), REFUSED)
    packed = gzip.compress(GOOD)
    for coding in ("gzip", "br", "gzip, identity"):
        yield Fault(f"packed as {coding}", sends(head(Content_Encoding=coding) + packed), REFUSED)
    yield Fault("packed unsaid", sends(head() + packed), BROKEN)
    bomb = gzip.compress(bytes(50 << 20), 9)
    yield Fault("a bomb", sends(head(Content_Encoding="gzip") + bomb), REFUSED)
    coded = head(Transfer_Encoding="gzip, chunked")
    yield Fault("a transfer coding", sends(coded + b"0\r\n\r\n"), BROKEN)
    yield Fault("UTF-16", sends(head() + GOOD.decode().encode("utf-16")), BROKEN)
    yield Fault("UTF-16 JSON", sends(head(kind="application/json") + _utf16()), BROKEN)
    yield Fault("JSON cut off", sends(head(kind="application/json") + b'{"choices": ['), BROKEN)
    yield Fault("an empty JSON body", sends(head(kind="application/json")), BROKEN)
    blanks = forever(head(kind="application/json"), then=b" " * 65536, every=0)
    yield Fault("JSON without end", blanks, BROKEN)
    yield Fault("no message", sends(head(kind="application/json") + b'{"choices": []}'), BROKEN)
    silent = whole(message={"content": None}, finish_reason="stop")
    yield Fault("a JSON answer without text", sends(head(kind="application/json") + silent), EMPTY)
    yield Fault("nothing", sends(head()), BROKEN)
    twice = head(Content_Length="0") + GOOD
    yield Fault("the answer only in a second response", sends(twice), BROKEN)
    yield Fault("no text", sends(head() + END), EMPTY)
    yield Fault("whitespace", sends(head() + sse(delta(" \n\t\u3000")) + END), EMPTY)
    yield Fault("thoughts only", sends(head() + thoughts + END), EMPTY)


def _utf16() -> bytes:
    return whole(message={"content": "Hello."}, finish_reason="stop").decode().encode("utf-16")


def _anywhere() -> Iterator[Fault]:
    """As the first thing in a stream, or in its middle."""
    yield Fault("malformed JSON", sends(sse(f"{{{CANARY}")), BROKEN)
    yield Fault("malformed events", sends(f"{CANARY}\n\n\0\xff\n\n".encode("latin-1")), BROKEN)
    yield Fault("an error in the stream", sends(sse({"error": {"message": CANARY}})), BROKEN)
    error_event = f"event: error\ndata: {CANARY}\n\n".encode()
    yield Fault("an error event", sends(error_event), BROKEN)
    yield Fault("[DONE] without an end", sends(sse("[DONE]")), BROKEN)
    call = {"tool_calls": [{"function": {"name": CANARY, "arguments": "{}"}}]}
    yield Fault("tool calls", sends(sse(delta(None, "tool_calls", **call))), BROKEN)
    yield Fault("an unknown ending", sends(sse(delta(None, CANARY))), BROKEN)
    yield Fault("content of another type", sends(sse(delta({"x": CANARY}))), BROKEN)
    yield Fault("a huge event", sends(sse(delta("x" * (1 << 20)))), BROKEN)
    yield Fault("an event without end", forever(b"data: ", then=b"x" * 65536, every=0), BROKEN)
    yield Fault("nesting without end", sends(sse("[" * 100_000)), BROKEN)


def _in_the_middle() -> Iterator[Fault]:
    yield from _anywhere()
    yield Fault("breaks off", _nothing, BROKEN)
    yield Fault("resets", resets(), BROKEN)
    yield Fault("stalls", sends_and_waits(b""), TIMEOUT)
    yield Fault("comments without end", forever(then=b": ping\n\n"), TIMEOUT)
    yield Fault("whitespace without end", forever(then=sse(delta(""))), TIMEOUT)


def before() -> list[Fault]:
    """Faults before the first text."""
    in_stream = [
        Fault(fault.name, _headed(fault.play), fault.error, fault.again) for fault in _anywhere()
    ]
    return [*_connecting(), *_statuses(), *_before_the_first_text(), *in_stream]


def _headed(play: Play) -> Play:
    def both(conn: socket.socket) -> None:
        conn.sendall(head())
        play(conn)

    return both


def after() -> list[Fault]:
    """Faults after the beginning of an answer was shown; two more that HTTP itself can have."""
    shown = [
        Fault(fault.name, after_beginning(fault.play), fault.error) for fault in _in_the_middle()
    ]
    body = sse(delta("sixteen "), delta("letters."))
    short = head(Content_Length="9999") + body
    chunked = head(Transfer_Encoding="chunked") + b"%x\r\n%s\r\n" % (len(body), body)
    return [
        *shown,
        Fault("a truncated body", sends(short, pause=0.4), BROKEN),
        Fault("a broken chunk", sends(chunked, b"zz\r\n", pause=0.4), BROKEN),
    ]


def harmless() -> dict[str, tuple[Play, str]]:
    """Odd servers whose answers are answers all the same, and what they say."""
    hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
    said = BEGINNING + " And then some more."
    latin = head() + b'data: {"choices": [{"delta": {"content": "caf\xe9"}}]}\n\n' + END
    marked = b"\xef\xbb\xbf" + whole(message={"content": BEGINNING}, finish_reason="stop")
    return {
        "1xx before it": (sends(hints + GOOD), said),
        "kept alive": (sends_and_waits(GOOD), said),
        "invalid UTF-8": (sends(latin), "caf\ufffd"),
        "a byte order mark": (sends(head() + b"\xef\xbb\xbf" + GOOD[len(head()) :]), said),
        "a marked JSON answer": (sends(head(kind="application/json") + marked), BEGINNING),
        "a capital content type": (
            sends(head(kind="Text/Event-Stream") + GOOD[len(head()) :]),
            said,
        ),
        "no end of text": (forever(head(), then=sse(delta("na " * 20)), every=0), "na " * 60),
        "a huge token": (sends(head() + sse(delta("x" * 200_000))), "x" * 180),
        "over TLS": (sends(GOOD), said),
        "in a second": (
            first_then(sends(refusal("429 Later", Retry_After="1")), sends(GOOD)),
            said,
        ),
        "soon after a reset": (first_then(resets(), sends(GOOD)), said),
    }


# --- the servers ---


@dataclass
class Asked:
    """One request as it came."""

    model: str
    prompt: str
    path: str
    at: float


@dataclass
class Faulty:
    """Servers on which every model has the fault that `plays` says.

    `asked` are the requests to the common server, `strays` those to where redirects lead.
    """

    url: str = ""
    tls_url: str = ""
    trusted: str = ""
    addresses: dict[str, str] = field(default_factory=dict)
    plays: dict[str, Play] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)

    @contextmanager
    def open(self, folder: Path) -> Iterator[Faulty]:
        """Serve on free ports."""
        with ExitStack() as stack:
            self.url = stack.enter_context(self._served(None))
            elsewhere = socket.create_server(("127.0.0.1", 0))
            stack.enter_context(_each(elsewhere, self._stray))
            self._elsewhere = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/{CANARY}"
            self.trusted, good = _certificate(folder / "good.pem")
            _, bad = _certificate(folder / "bad.pem")
            self.tls_url = stack.enter_context(self._served(good))
            bad_url = stack.enter_context(self._served(bad))
            plain = socket.create_server(("127.0.0.1", 0))
            stack.enter_context(_each(plain, sends(refusal("400 Speak plainly"))))
            mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            full = stack.enter_context(_full_listener())
            with socket.create_server(("127.0.0.1", 0)) as closed:
                nobody = closed.getsockname()[1]
            self.addresses = {
                "refused": f"http://127.0.0.1:{nobody}/v1",
                "no such host": f"http://{CANARY}.invalid/v1",
                "bad certificate": bad_url,
                "no TLS": f"https://127.0.0.1:{plain.getsockname()[1]}/v1",
                "only TLS": self.tls_url.replace("https:", "http:"),
                "slow connect": f"http://127.0.0.1:{full}/v1",
                "slow handshake": f"https://127.0.0.1:{mute.getsockname()[1]}/v1",
            }
            yield self

    @contextmanager
    def _served(self, tls: ssl.SSLContext | None) -> Iterator[str]:
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        with _each(listener, self._answer, tls):
            scheme = "http" if tls is None else "https"
            yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/v1"

    def _answer(self, conn: socket.socket) -> None:
        path, body = _request(conn)
        self.asked.append(Asked(body["model"], body["messages"][-1]["content"], path, time.time()))
        play = self.plays[body["model"]]
        play(_Redirecting(conn, self._elsewhere))  # type: ignore[arg-type]  # as far as is needed

    def _stray(self, conn: socket.socket) -> None:
        self.strays.append(conn.recv(65536).decode("latin-1"))


class _Redirecting:
    """A connection on which `{elsewhere}` is the address of another server."""

    def __init__(self, conn: socket.socket, elsewhere: str) -> None:
        self._conn = conn
        self._elsewhere = elsewhere.encode()

    def sendall(self, data: bytes) -> None:
        self._conn.sendall(data.replace(b"{elsewhere}", self._elsewhere))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)


@contextmanager
def _each(
    listener: socket.socket, handle: Callable[[socket.socket], None], tls: Any = None
) -> Iterator[None]:
    """Handle every connection in a thread of its own until the end of the block."""
    open_now: set[socket.socket] = set()

    def one(conn: socket.socket) -> None:
        with suppress(OSError, EOFError):
            conn.settimeout(15)
            secured = conn if tls is None else tls.wrap_socket(conn, server_side=True)
            open_now.add(secured)
            with secured:
                handle(secured)
        conn.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                conn, _ = listener.accept()
                threading.Thread(target=one, args=(conn,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for conn in list(open_now):
            with suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)


def _request(conn: socket.socket) -> tuple[str, dict[str, Any]]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(conn)
    first, _, body = data.partition(b"\r\n\r\n")
    length = int(first.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += _some(conn)
    return first.split()[1].decode(), json.loads(body)


def _some(conn: socket.socket) -> bytes:
    data = conn.recv(65536)
    if not data:
        raise EOFError
    return data


@contextmanager
def _full_listener() -> Iterator[int]:
    """A port whose queue is full: connecting to it hangs."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def _certificate(file: Path) -> tuple[str, ssl.SSLContext]:
    """A self-signed certificate for this machine: its file, and a server's context with it."""
    name = ["-subj", f"/CN={CANARY}", "-addext", "subjectAltName=IP:127.0.0.1"]
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    to = ["-nodes", "-days", "2", "-keyout", str(file), "-out", f"{file}.crt"]
    subprocess.run([*new, *to, *name], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{file}.crt", file)
    return f"{file}.crt", context
