"""Settings: read once from the environment, checked, and documented in one table.

The fields of `Settings` are that table. `python -m arena.settings` prints it as markdown, and a
test compares it with the README.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from arena.addresses import database_url, is_shared, redis_address
from arena.errors import BadSetting
from arena.notes import Signer

SECRET_KEY_CHARS = 32
"""Fewest characters of a key that signs cookies."""

_SIGNING_KEY = re.compile("[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable: its default as a user would write it, and what it means.

    `parse` turns the text into the value, or raises `ValueError` saying what is accepted.
    `{data}` in a default stands for the data folder.
    """

    name: str
    default: str | None
    parse: Callable[[str], Any]
    help: str
    secret: bool

    def read(self, environ: Mapping[str, str], data: Path | None) -> Any:
        """The value in `environ`, or the default; an empty variable counts as not set.

        Raises `BadSetting` naming the variable; the value of a secret is never repeated.
        """
        text = environ.get(self.name, "").strip()
        if not text:
            if self.default is None:
                return None
            text = self.default.replace("{data}", str(data))
        try:
            return self.parse(text)
        except ValueError as error:
            value = "has a value that" if self.secret else f"is '{text}', which"
            raise BadSetting(f"{self.name} {value} cannot be used: give {error}.") from None


def _setting(
    name: str,
    default: str | None,
    parse: Callable[[str], Any],
    text: str,
    *,
    secret: bool = False,
) -> Any:
    variable = Variable(name, default, parse, text, secret)
    return field(repr=not secret, metadata={"variable": variable})


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        # int() alone would take '1_000', '+5' and digits of other scripts
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    problem = "a number of seconds above 0, such as 2.5"
    try:
        value = float(text)
    except ValueError:
        raise ValueError(problem) from None
    if not (math.isfinite(value) and value > 0):
        raise ValueError(problem)
    return value


def _yes_or_no(text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in words:
        raise ValueError("true or false")
    return words[text.lower()]


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _text(text: str) -> str:
    return text


def _at_least(length: int) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if len(text) < length:
            raise ValueError(f"at least {length} characters")
        return text

    return parse


def _signing_key(text: str) -> str:
    if not _SIGNING_KEY.fullmatch(text):
        raise ValueError("64 hexadecimal digits, as 'openssl rand -hex 32' prints them")
    return text


def _log_level(text: str) -> str:
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    if text.upper() not in levels:
        raise ValueError("debug, info, warning or error")
    return text.upper()


def _log_format(text: str) -> str:
    if text.lower() not in ("text", "json"):
        raise ValueError("text or json")
    return text.lower()


def _redis_url(text: str) -> str:
    redis_address(text)
    return text


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything the environment decides. Seconds are floats, paths are absolute."""

    data: Path = _setting(  # noqa: RUF009 - it returns field()
        "ARENA_DATA",
        "./data",
        _path,
        "The data folder: database, embedded Redis, keys.",
    )
    database_url: str = _setting(
        "DATABASE_URL",
        "sqlite:///{data}/arena.db",
        database_url,
        "The system of record: SQLite on one machine, PostgreSQL for many.",
        secret=True,
    )
    redis_url: str | None = _setting(
        "REDIS_URL",
        None,
        _redis_url,
        "A Redis or Valkey server, version 7 or newer. Not set: a private one is started.",
        secret=True,
    )
    host: str = _setting(
        "ARENA_HOST",
        "127.0.0.1",
        _text,
        "The address to listen on; `0.0.0.0` opens the arena to the network.",
    )
    port: int = _setting("PORT", "8000", _whole(1, 65535), "The port to listen on.")
    config: Path = _setting(  # noqa: RUF009 - the same
        "ARENA_CONFIG", "arena.toml", _path, "The roster of models; it may be absent."
    )
    admin_token: str | None = _setting(
        "ARENA_ADMIN_TOKEN",
        None,
        _at_least(16),
        "Bearer token of the operator, 16 characters or more. Not set: those pages are closed.",
        secret=True,
    )
    private: bool = _setting(
        "ARENA_PRIVATE",
        "false",
        _yes_or_no,
        "Whether the whole arena is for invited people only.",
    )
    given_secret_key: str | None = _setting(
        "ARENA_SECRET_KEY",
        None,
        _at_least(SECRET_KEY_CHARS),
        "Signs voters' cookies; the same on every machine. Not set: made once, in the data folder.",
        secret=True,
    )
    given_signing_key: str | None = _setting(
        "ARENA_SIGNING_KEY",
        None,
        _signing_key,
        "Signs receipts and the log's heads, 64 hex digits; the same on every machine and for "
        "good. Not set: made once, in the data folder; on many machines, of ARENA_SECRET_KEY.",
        secret=True,
    )
    cookie_secure: bool = _setting(
        "ARENA_COOKIE_SECURE",
        "false",
        _yes_or_no,
        "Send cookies over HTTPS only; `true` behind a TLS proxy.",
    )
    tick_ms: int = _setting(
        "ARENA_TICK_MS", "100", _whole(10, 5000), "Milliseconds between two frames of a battle."
    )
    web_workers: int = _setting(
        "ARENA_WEB_WORKERS", "2", _whole(1, 64), "Web processes on this machine."
    )
    web_threads: int = _setting(
        "ARENA_WEB_THREADS",
        "128",
        _whole(4, 4096),
        "Threads of one web process; every open event stream holds one.",
    )
    runner_capacity: int = _setting(
        "ARENA_RUNNER_CAPACITY", "128", _whole(1, 4096), "Battles one runner streams at once."
    )
    max_prompt_chars: int = _setting(
        "ARENA_MAX_PROMPT_CHARS", "8000", _whole(1, 1_000_000), "Longest prompt, in characters."
    )
    max_body_bytes: int = _setting(
        "ARENA_MAX_BODY_BYTES",
        "65536",
        _whole(1024, 100_000_000),
        "Largest request body, in bytes.",
    )
    max_turns: int = _setting(
        "ARENA_MAX_TURNS", "10", _whole(1, 1000), "Most turns of one conversation."
    )
    max_running_per_voter: int = _setting(
        "ARENA_MAX_RUNNING_PER_VOTER",
        "3",
        _whole(1, 1000),
        "Battles one voter may have running at once.",
    )
    max_running: int = _setting(
        "ARENA_MAX_RUNNING", "200", _whole(1, 100_000), "Battles running at once, of all voters."
    )
    prompts_per_minute: int = _setting(
        "ARENA_PROMPTS_PER_MINUTE",
        "20",
        _whole(1, 1_000_000),
        "Battles and follow-ups one voter may start in a minute.",
    )
    votes_per_minute: int = _setting(
        "ARENA_VOTES_PER_MINUTE",
        "60",
        _whole(1, 1_000_000),
        "Votes one voter may send in a minute.",
    )
    actions_per_minute: int = _setting(
        "ARENA_ACTIONS_PER_MINUTE",
        "60",
        _whole(1, 1_000_000),
        "Everything else that changes something: reports, shares, skips; of one voter in a minute.",
    )
    reads_per_minute: int = _setting(
        "ARENA_READS_PER_MINUTE",
        "600",
        _whole(1, 1_000_000),
        "Pages, boards, battles and event streams one voter may ask for in a minute.",
    )
    exports_per_minute: int = _setting(
        "ARENA_EXPORTS_PER_MINUTE",
        "6",
        _whole(1, 1_000_000),
        "Downloads of the log or of all own battles one voter may begin in a minute.",
    )
    address_factor: int = _setting(
        "ARENA_ADDRESS_FACTOR",
        "20",
        _whole(1, 10_000),
        "How many voters' worth of each limit one network address has: a class shares one.",
    )
    streams_per_voter: int = _setting(
        "ARENA_STREAMS_PER_VOTER",
        "8",
        _whole(1, 1000),
        "Event streams one voter may have open at once in one web process.",
    )
    proxy_hops: int = _setting(
        "ARENA_PROXY_HOPS",
        "0",
        _whole(0, 10),
        "Reverse proxies in front that each add to `X-Forwarded-For`, `-Proto` and `-Host`.",
    )
    connect_seconds: float = _setting(
        "ARENA_CONNECT_SECONDS", "5", _seconds, "Longest wait for a connection to an endpoint."
    )
    first_byte_seconds: float = _setting(
        "ARENA_FIRST_BYTE_SECONDS", "60", _seconds, "Longest wait for an answer's first text."
    )
    stall_seconds: float = _setting(
        "ARENA_STALL_SECONDS", "30", _seconds, "Longest silence inside an answer."
    )
    total_seconds: float = _setting(
        "ARENA_TOTAL_SECONDS", "180", _seconds, "Longest time for a whole answer."
    )
    max_answer_chars: int = _setting(
        "ARENA_MAX_ANSWER_CHARS",
        "20000",
        _whole(1, 10_000_000),
        "Longest answer, in characters; it is cut there.",
    )
    live_ttl_seconds: int = _setting(
        "ARENA_LIVE_TTL_SECONDS",
        "900",
        _whole(10, 86_400),
        "How long Redis keeps a running answer, in seconds.",
    )
    poll_seconds: float = _setting(
        "ARENA_POLL_SECONDS",
        "1.0",
        _seconds,
        "How often runner and worker look for work that no wake-up told them of.",
    )
    lease_seconds: float = _setting(
        "ARENA_LEASE_SECONDS",
        "3.0",
        _seconds,
        "Silence after which another worker or runner takes over.",
    )
    retention_days: int | None = _setting(
        "ARENA_RETENTION_DAYS",
        None,
        _whole(1, 36_500),
        "Days after which the text of a battle is erased; its vote stays. Not set: never.",
    )
    log_level: str = _setting(
        "ARENA_LOG_LEVEL", "info", _log_level, "`debug`, `info`, `warning` or `error`."
    )
    log_format: str | None = _setting(
        "ARENA_LOG_FORMAT",
        None,
        _log_format,
        "`text`, or `json` for one object a line. Not set: text on a terminal, JSON elsewhere.",
    )
    metrics: Path = _setting(  # noqa: RUF009 - the same
        "ARENA_METRICS",
        "{data}/metrics",
        _path,
        "The folder that processes of one machine share for `/metrics`; kept in memory is best.",
    )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read every setting from `environ`.

        Raises `BadSetting` naming the first variable that cannot be used and what is accepted.
        """
        values: dict[str, Any] = {}
        for name, variable in _table():
            values[name] = variable.read(environ, values.get("data"))
        return cls(**values)

    def secret_key(self) -> str:
        """The key that signs cookies: `ARENA_SECRET_KEY`, else one kept in the data folder.

        The first process to ask makes it; all others read the same one. Raises `BadSetting`
        when the file cannot be read, written or is too short to be a key.
        """
        if self.given_secret_key is not None:
            return self.given_secret_key
        file = self.data / "secret.key"
        key = _kept_key(file, "secret")
        if len(key) < SECRET_KEY_CHARS:
            raise BadSetting(
                f"The secret key in {file} is shorter than {SECRET_KEY_CHARS} characters: "
                "restore it, or delete the file to make a new one (voters then start afresh)."
            )
        return key

    def signing_key(self) -> str:
        """The key that signs receipts and heads: `shared_signing_key`, else one kept in the data
        folder. 64 hex digits; made and refused as `secret_key` is.
        """
        if (shared := self.shared_signing_key()) is not None:
            return shared
        file = self.data / "signing.key"
        key = _kept_key(file, "signing")
        if not _SIGNING_KEY.fullmatch(key):
            raise BadSetting(
                f"The signing key in {file} is not 64 hexadecimal digits: restore it from a "
                "backup. A new one, made if you delete the file, is another signature: nobody "
                "could check the receipts and heads of the old one against it."
            )
        return key

    def shared_signing_key(self) -> str | None:
        """The key that every machine of this arena has: `ARENA_SIGNING_KEY`, or where a database is
        shared one that follows from the `ARENA_SECRET_KEY`. None: neither is there.
        """
        if (
            self.given_signing_key is None
            and self.given_secret_key
            and is_shared(self.database_url)
        ):
            secret = self.given_secret_key.encode()
            return hmac.new(secret, b"arena signing key", hashlib.sha256).hexdigest()
        return self.given_signing_key

    def has_signing_key(self) -> bool:
        """Whether there is one already."""
        return self.shared_signing_key() is not None or (self.data / "signing.key").exists()

    @property
    def demo_folder(self) -> Path:
        """Where the demo's processes say how they are reached."""
        return self.data / "demo"

    def signer(self) -> Signer:
        """Who signs with `signing_key`. Raises `BadSetting` as it does."""
        return Signer(bytes.fromhex(self.signing_key()))


def _table() -> Iterator[tuple[str, Variable]]:
    for one in fields(Settings):
        yield one.name, one.metadata["variable"]


def variables() -> list[Variable]:
    """Every environment variable the service reads, in the order of the documentation."""
    return [variable for _, variable in _table()]


def markdown_table() -> str:
    """The settings as a markdown table, as it stands in the README."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for one in variables():
        default = f"`{one.default}`" if one.default else "not set"
        lines.append(f"| `{one.name}` | {default} | {one.help} |")
    return "\n".join(lines)


def _kept_key(file: Path, what: str) -> str:
    """The text of a key's file, which the first process to ask makes; raises `BadSetting`."""
    try:
        if not file.exists():
            _write_once(file, secrets.token_hex(32))
        return file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"The {what} key in {file} cannot be used: {error}.") from error


def _write_once(file: Path, text: str) -> None:
    """Create `file` for its owner only, complete and on disk; leave one that is there alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as out:
            out.write(text + "\n")
            out.flush()
            os.fsync(out.fileno())
        # a link appears whole or not at all, so no reader sees half a key and no key is replaced
        os.link(draft, file)
    except FileExistsError:
        return
    finally:
        draft.unlink()
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


if __name__ == "__main__":
    sys.stdout.write(markdown_table() + "\n")
