"""What a power failure leaves of a SQLite database: the writes of a traced process, replayed.

`strace` records every write, sync, truncation and removal of the database's files, and what was
sent to clients meanwhile. A power failure at any moment keeps what was synced by then; of the rest
it may keep anything: nothing, all, or some writes, in parts. The shared memory file is no part of
it, and a file's entry in its folder is taken to be as durable as the file's first sync, because
SQLite syncs the folder then.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_CALLS = "pwrite64,ftruncate,fsync,fdatasync,unlink,sendto"
_LONGEST = 16_384  # bytes of one call that are recorded
_SECTOR = 512

_LINE = re.compile(r"(\d+) +(.*)")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_CALL = re.compile(
    r"(?P<name>\w+)\((?:\d+<(?P<file>(?:\\x..|[^>])*)>|\"(?P<path>[^\"]*)\")"
    r"(?:, (?:\"(?P<data>[^\"]*)\"(?P<cut>\.\.\.)?)?(?P<rest>.*))?\) += (?P<result>-?\d+)"
)


def why_not() -> str | None:
    """Why nothing can be traced here; None when it can."""
    if shutil.which("strace") is None:
        return "strace is not installed (apt-get install strace)"
    tried = subprocess.run(
        ["strace", "-f", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False
    )
    return None if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.strip()}"


def tracing(trace: Path) -> list[str]:
    """The words before a command that make it, and what it starts, write `trace`."""
    options = ["-D", "-f", "-y", "-xx", "-s", str(_LONGEST), "--seccomp-bpf"]
    return ["strace", *options, "-e", f"trace={_CALLS}", "-o", str(trace)]


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at an offset of a file; without bytes, its new end."""

    file: str
    offset: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Sync:
    """A file's writes before `begun` (a place in the list of events) are on the disk."""

    file: str
    begun: int


@dataclass(frozen=True, slots=True)
class Removal:
    file: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What a client may have read."""

    data: bytes


Event = Write | Sync | Removal | Sent


def ended(trace: Path, process: int) -> bool:
    """Whether a process is over, and all that it did is in the trace."""
    return re.search(rf"^{process} +\+\+\+", trace.read_text(), re.MULTILINE) is not None


def events(trace: Path, folder: Path) -> list[Event]:
    """What happened to the files of a folder, and was sent, in order.

    A send counts from its beginning, anything else from its end.
    """
    found: list[Event] = []
    begun: dict[str, tuple[str, int]] = {}
    for line in trace.read_text().splitlines():
        matched = _LINE.match(line)
        if matched is None:
            continue
        process, said = matched.groups()
        start = len(found)
        if said.endswith(_UNFINISHED):
            begun[process] = (said.removesuffix(_UNFINISHED), start)
            if said.startswith("sendto("):
                found += _event(f"{begun.pop(process)[0]}) = 0", folder, start)
            continue
        resumed = _RESUMED.match(said)
        if resumed is not None:
            if process not in begun:
                continue  # a send, which counted from its beginning
            first, start = begun.pop(process)
            said = first + resumed[1]
        found += _event(said, folder, start)
    return found


def _event(said: str, folder: Path, begun: int) -> Iterator[Event]:
    call = _CALL.match(said)
    if call is None or int(call["result"]) < 0:
        return
    data = _bytes(call["data"] or "")
    if call["name"] == "sendto":
        yield Sent(data)
        return
    path = Path(_bytes(call["file"] or call["path"]).decode())
    if path.parent != folder or path.name.endswith("-shm"):
        return
    match call["name"]:
        case "pwrite64":
            size, offset = (int(number) for number in re.findall(r"\d+", call["rest"]))
            assert len(data) == size, f"the trace is cut: {len(data)} of {size} bytes"
            yield Write(path.name, offset, data)
        case "ftruncate":
            yield Write(path.name, int(call["rest"]), None)
        case "unlink":
            yield Removal(path.name)
        case "fsync" | "fdatasync":
            yield Sync(path.name, begun)


def _bytes(text: str) -> bytes:
    """The hexadecimal escapes of strace."""
    return bytes.fromhex(text.replace("\\x", "")) if text.startswith("\\x") else text.encode()


@dataclass
class Disk:
    """Files as the disk has them, and the writes that only the machine's memory has."""

    files: dict[str, bytearray]
    pending: list[tuple[int, Write]] = field(default_factory=list)

    def apply(self, place: int, event: Event) -> None:
        """The next event, which is the one at `place`."""
        match event:
            case Write():
                self.pending.append((place, event))
            case Sync(file, begun):
                synced = [w for at, w in self.pending if w.file == file and at < begun]
                for write in synced:
                    _write(self.files, write)
                self.pending = [(at, w) for at, w in self.pending if w.file != file or at >= begun]
            case Removal(file):
                self.files.pop(file, None)
                self.pending = [(at, w) for at, w in self.pending if w.file != file]

    def after_power_loss(self, keeps: Callable[[], bool]) -> dict[str, bytearray]:
        """The files as they may be found: `keeps` says which unsynced sectors made it."""
        found = {name: bytearray(content) for name, content in self.files.items()}
        for _, write in self.pending:
            for part in _sectors(write):
                if keeps():
                    _write(found, part)
        return found


def _sectors(write: Write) -> Iterator[Write]:
    if write.data is None:
        yield write
        return
    for start in range(0, len(write.data), _SECTOR):
        yield Write(write.file, write.offset + start, write.data[start : start + _SECTOR])


def _write(files: dict[str, bytearray], write: Write) -> None:
    content = files.setdefault(write.file, bytearray())
    content.extend(bytes(max(0, write.offset - len(content))))  # what was skipped reads as zeros
    if write.data is None:
        del content[write.offset :]
    else:
        content[write.offset : write.offset + len(write.data)] = write.data
