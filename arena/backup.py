"""Backup and restore: one tar file with the database, the keys, the roster's file, and a manifest.

A backup is a consistent copy made while the service runs, and appears whole or not at all. A
restore checks everything before it changes anything, overwrites nothing, and brings the database
last: cut off before that, it can be done again. Redis is in no backup: it holds only what can be
rebuilt.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import quote

from sqlalchemy.engine import make_url

from arena import __version__
from arena.addresses import is_shared, postgres_arguments
from arena.clock import now
from arena.errors import BadFile, BadSetting
from arena.settings import Settings
from arena.store.schema import known_versions

Bar = Callable[[int, str], AbstractContextManager[Callable[[int], None]]]
"""Shows progress: of how much, and of what; gives a function to be told of each step."""

_FORMAT = 1
_MANIFEST, _ROSTER = "manifest.json", "arena.toml"
_DATABASES = {"sqlite": "database.sqlite", "postgresql": "database.pgdump"}
_SIGNING_KEY = "signing.key"
_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}\.key")
_LARGEST_MANIFEST = 1 << 20
_CHUNK = 1 << 20
_PAGES = 2_048  # of SQLite, copied at a time


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. `files` has the bytes and SHA-256 of each; times are RFC 3339 UTC."""

    arena: str
    created_at: str
    database: str
    schema: str
    log_position: int
    files: dict[str, dict[str, Any]]
    format: int = _FORMAT


@dataclass(frozen=True, slots=True)
class _State:
    schema: str
    log_position: int


class _Database(Protocol):
    kind: str

    def dump(self, target: Path, bar: Bar) -> _State:
        """Write a consistent copy; raises `BadSetting`."""
        ...

    def check(self, dump: Path) -> None:
        """Raise `BadFile` when the copy cannot be read."""
        ...

    def occupied(self) -> list[str]:
        """What is in the place of a restored database already."""
        ...

    def load(self, dump: Path) -> None:
        """Bring back all of a copy where nothing is, or nothing of it; raises `BadSetting`."""
        ...


# --- making one ---------------------------------------------------------------------------------


def create(settings: Settings, file: Path, bar: Bar) -> Manifest:
    """Back everything up into `file`, which is replaced when it is there.

    Raises `BadSetting` or `BadFile`; then there is no new file, and an old one is as it was.
    """
    database = _database(settings)
    with _readably(file), _stage(file.parent, file.name) as stage:
        state = database.dump(stage / _DATABASES[database.kind], bar)
        for source in _files_of(settings):
            name = _ROSTER if source == settings.config else source.name
            shutil.copyfile(source, stage / name)
        contents = sorted(stage.iterdir())
        manifest = Manifest(
            arena=__version__,
            created_at=now(),
            database=database.kind,
            schema=state.schema,
            log_position=state.log_position,
            files={one.name: _described(one) for one in contents},
        )
        _write_tar(stage / "archive", manifest, contents, bar)
        (stage / "archive").replace(file)
        _sync(file.parent)
    return manifest


def _files_of(settings: Settings) -> Iterator[Path]:
    """Keys of the data folder, and the roster's file."""
    yield from (one for one in settings.data.glob("*.key") if _KEY.fullmatch(one.name))
    if settings.config.is_file():
        yield settings.config


def _described(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return {"bytes": file.stat().st_size, "sha256": digest}


def _write_tar(archive: Path, manifest: Manifest, contents: Sequence[Path], bar: Bar) -> None:
    about = archive.with_name(_MANIFEST)
    about.write_text(json.dumps(asdict(manifest), indent=1) + "\n")
    total = sum(one.stat().st_size for one in contents)
    descriptor = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out, bar(total, "writing") as progress:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for one in (about, *contents):
                entry = tarfile.TarInfo(one.name)
                entry.size, entry.mode, entry.mtime = one.stat().st_size, 0o600, one.stat().st_mtime
                with one.open("rb") as opened:
                    tar.addfile(entry, opened)
                progress(entry.size if one is not about else 0)
        _sync(out)


# --- taking one back ----------------------------------------------------------------------------


def restore(settings: Settings, file: Path, bar: Bar, *, new_key: bool = False) -> Manifest:
    """Bring back what is in `file` to where nothing of it is yet.

    With `new_key` the signing key stays in the backup, and another one signs from now on; the
    database knows the public half of the old one. Raises `BadFile` or `BadSetting` with everything
    as it was.
    """
    if new_key and settings.given_signing_key is not None:
        raise BadSetting(
            "ARENA_SIGNING_KEY is the key, and --new-key cannot change it: give it 64 other "
            "hexadecimal digits everywhere ('openssl rand -hex 32'), then restore with --same-key."
        )
    database = _database(settings)
    with _readably(settings.data):
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _readably(file), _stage(settings.data, "restore") as stage:
        manifest = _unpack(file, stage, bar)
        _refuse_unfit(file, manifest, database)
        dump = stage / _DATABASES[database.kind]
        database.check(dump)
        targets = {
            one: settings.config if one.name == _ROSTER else settings.data / one.name
            for one in sorted(stage.iterdir())
            if one != dump and not (new_key and one.name == _SIGNING_KEY)
        }
        there = [*database.occupied(), *_different(targets)]
        if new_key and (key := settings.data / _SIGNING_KEY).exists():
            there.append(str(key))
        if there:
            raise BadFile(
                f"nothing is restored over what is there ({', '.join(there)}): move it away, or "
                "choose an empty data folder and database",
                file=str(file),
            )
        with ExitStack() as undo:
            for source, target in targets.items():
                if not target.exists():
                    _place(source, target)
                    undo.callback(target.unlink)
            database.load(dump)
            undo.pop_all()
    return manifest


def _different(targets: dict[Path, Path]) -> list[str]:
    return [
        str(target)
        for source, target in targets.items()
        if target.exists() and target.read_bytes() != source.read_bytes()
    ]


def _unpack(file: Path, stage: Path, bar: Bar) -> Manifest:
    """Take the archive apart into `stage`; everything in it is as its manifest says."""
    try:
        with tarfile.open(file, "r:") as tar, bar(file.stat().st_size, "checking") as progress:
            manifest, digests = _manifest(file, tar)
            for name, digest in digests.items():
                _unpack_one(file, tar, stage / name, digest, progress)
            if tar.next() is not None:
                raise BadFile("holds more than its manifest says", file=str(file))
    except (tarfile.TarError, EOFError) as error:
        raise BadFile("is no backup of an arena, or is damaged", file=str(file)) from error
    return manifest


def _manifest(file: Path, tar: tarfile.TarFile) -> tuple[Manifest, dict[str, str]]:
    """The manifest, and the SHA-256 of each file that follows."""
    entry = tar.next()
    if entry is None or entry.name != _MANIFEST or entry.size > _LARGEST_MANIFEST:
        raise BadFile("is no backup of an arena: it does not begin with a manifest", file=str(file))
    try:
        said = json.loads(_opened(tar, entry).read())
        if said["format"] != _FORMAT:
            raise BadFile(f"has the unknown format {said['format']!r}", file=str(file))
        manifest = Manifest(**said)
        wanted = {_DATABASES[manifest.database]}
        others = manifest.files.keys() - wanted
        fits = wanted <= manifest.files.keys() and all(
            name == _ROSTER or _KEY.fullmatch(name) for name in others
        )
        digests = {name: str(one["sha256"]) for name, one in manifest.files.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadFile("has a manifest that cannot be read", file=str(file)) from error
    if not fits:
        raise BadFile("names files that no backup has", file=str(file))
    return manifest, digests


def _unpack_one(
    file: Path,
    tar: tarfile.TarFile,
    target: Path,
    wanted: str,
    progress: Callable[[int], None],
) -> None:
    entry, digest = tar.next(), hashlib.sha256()
    if entry is None or entry.name != target.name or not entry.isfile():
        raise BadFile(f"is damaged: {target.name} is missing", file=str(file))
    with _opened(tar, entry) as source, target.open("xb") as out:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            out.write(chunk)
            progress(len(chunk))
        _sync(out)
    if digest.hexdigest() != wanted:
        raise BadFile(f"is damaged: {target.name} has another SHA-256", file=str(file))


def _opened(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    found = tar.extractfile(entry)
    if found is None:
        raise tarfile.ReadError(entry.name)
    return found


def _refuse_unfit(file: Path, manifest: Manifest, database: _Database) -> None:
    if manifest.database != database.kind:
        raise BadFile(
            f"is of a {manifest.database} database, and DATABASE_URL names a {database.kind} one",
            file=str(file),
        )
    known = known_versions()
    if manifest.schema not in known:
        raise BadFile(
            f"has schema {manifest.schema}, which is newer than this program ({known[0]}): install "
            f"arena {manifest.arena} or newer",
            file=str(file),
        )


def _place(source: Path, target: Path) -> None:
    """Move a file to where none is: on the disk, whole and for its owner only, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    near = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
    try:
        shutil.move(source, near)  # maybe from another disk, which takes its time
        near.chmod(0o600)
        with near.open("rb") as opened:
            _sync(opened)
        near.rename(target)
        _sync(target.parent)
    except BaseException:
        for one in (near, target):
            one.unlink(missing_ok=True)
        raise


# --- databases ----------------------------------------------------------------------------------


def _database(settings: Settings) -> _Database:
    url = settings.database_url
    return _Postgres(url) if is_shared(url) else _Sqlite(Path(make_url(url).database or ""))


class _Sqlite:
    """A file, copied page by page out of one snapshot: writers go on meanwhile."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self._path = path

    def dump(self, target: Path, bar: Bar) -> _State:
        try:
            with closing(self._opened()) as source, closing(_plain(target)) as copy:
                # With a transaction of its own, later commits do not make it begin again.
                source.execute("BEGIN")
                state = _state(source)
                self._copy(source, copy, bar)
                copy.execute("PRAGMA journal_mode=DELETE")
                problem = _damage(copy)
        except sqlite3.Error as error:
            raise BadSetting(
                f"The database {self._path} cannot be read ({error}): is ARENA_DATA the data "
                "folder, and 'arena db upgrade' done?"
            ) from error
        if problem is not None:
            raise BadSetting(
                f"The database {self._path} is damaged ({problem}), so there is no new backup: "
                "restore the last one."
            )
        return state

    @staticmethod
    def _copy(source: sqlite3.Connection, copy: sqlite3.Connection, bar: Bar) -> None:
        (pages,) = source.execute("PRAGMA page_count").fetchone()
        with bar(pages, "copying") as progress:
            left = pages

            def told(_status: int, remaining: int, _total: int) -> None:
                nonlocal left
                progress(left - remaining)
                left = remaining

            source.backup(copy, pages=_PAGES, progress=told)

    def check(self, dump: Path) -> None:
        try:
            with closing(_plain(dump)) as copy:
                problem = _damage(copy)
        except sqlite3.Error as error:
            problem = str(error)
        if problem is not None:
            raise BadFile(f"the database in it is damaged ({problem})", file=str(dump.name))

    def occupied(self) -> list[str]:
        """Also what SQLite keeps beside a database, which must not meet another one."""
        ends = ("", "-wal", "-shm", "-journal")
        return [str(one) for end in ends if (one := Path(f"{self._path}{end}")).exists()]

    def load(self, dump: Path) -> None:
        _place(dump, self._path)

    def _opened(self) -> sqlite3.Connection:
        address = f"file:{quote(str(self._path))}?mode=ro"
        return sqlite3.connect(address, uri=True, isolation_level=None, timeout=1)


def _plain(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def _state(connection: sqlite3.Connection) -> _State:
    (schema,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    (position,) = connection.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()
    return _State(schema, position)


def _damage(connection: sqlite3.Connection) -> str | None:
    (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return None if said == "ok" else str(said)


class _Postgres:
    """A database of a server, dumped and restored by PostgreSQL's own programs."""

    kind = "postgresql"

    def __init__(self, url: str) -> None:
        self._arguments = postgres_arguments(url)

    def dump(self, target: Path, bar: Bar) -> _State:
        with self._connected() as connection:
            program = _program("pg_dump", connection.info.server_version)
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            (snapshot,) = connection.execute("SELECT pg_export_snapshot()").fetchone()
            try:
                state = _State(
                    *connection.execute(
                        "SELECT version_num, (SELECT coalesce(max(seq), 0) FROM records)"
                        " FROM alembic_version"
                    ).fetchone()
                )
            except (self._errors, TypeError) as error:
                raise BadSetting("The database has no schema: run 'arena db upgrade'.") from error
            self._run(program, "--format=custom", f"--snapshot={snapshot}", f"--file={target}")
        return state

    def check(self, dump: Path) -> None:
        listed = subprocess.run(  # noqa: S603  the program's name is ours
            [self._restorer(), "--list", str(dump)], capture_output=True, check=False
        )
        if listed.returncode:
            raise BadFile(
                f"pg_restore cannot read it ({_last_line(listed.stderr)})", file=dump.name
            )

    def occupied(self) -> list[str]:
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"
        with self._connected() as connection:
            (count,) = connection.execute(tables).fetchone()
        return [f"{count} tables of the database in DATABASE_URL"] if count else []

    def load(self, dump: Path) -> None:
        self._run(self._restorer(), "--single-transaction", "--exit-on-error", str(dump))

    def _restorer(self) -> str:
        with self._connected() as connection:
            return _program("pg_restore", connection.info.server_version)

    @property
    def _errors(self) -> type[Exception]:
        from psycopg import Error  # noqa: PLC0415  one machine with SQLite does without it

        return Error

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        from psycopg import connect  # noqa: PLC0415  the same

        try:
            with connect(**self._arguments) as connection:
                yield connection
        except self._errors as error:
            raise BadSetting(
                f"DATABASE_URL: PostgreSQL cannot be used: {_last_line(str(error).encode())}."
            ) from error

    def _run(self, program: str, *words: str) -> None:
        from psycopg.conninfo import make_conninfo  # noqa: PLC0415  the same

        given = {k: v for k, v in self._arguments.items() if k != "prepare_threshold"}
        secret = {"PGPASSWORD": given.pop("password")} if "password" in given else {}
        database = f"--dbname={make_conninfo(**given)}"
        done = subprocess.run(  # noqa: S603  the program's name is ours
            [program, "--no-owner", "--no-privileges", database, *words],
            env={**os.environ, **secret},  # not among the words, which everybody can see
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise BadSetting(f"{Path(program).name} failed: {_last_line(done.stderr)}.")


def _program(name: str, server: int) -> str:
    """One of PostgreSQL's programs, of the version of the server (a number such as 150004).

    What a newer pg_dump writes, the server's own pg_restore cannot read; and a newer pg_restore
    sends settings that the server does not know.
    """
    found, needed = shutil.which(name), server // 10_000
    if found is None:
        raise BadSetting(
            f"{name} is not on PATH: install PostgreSQL's client programs of version {needed}."
        )
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)  # noqa: S603  the same
    version = re.search(r"\) (\d+)", said.stdout)
    if version is None or int(version[1]) != needed:
        raise BadSetting(
            f"{found} is of version {version[1] if version else 'unknown'}, and the server of "
            f"{needed}: install PostgreSQL's client programs of version {needed}, and put their "
            f"folder first on PATH (Debian: /usr/lib/postgresql/{needed}/bin)."
        )
    return found


def _last_line(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip().rstrip(".") if lines else "it does not say why"


# --- files --------------------------------------------------------------------------------------


@contextmanager
def _readably(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or file
        raise BadFile(f"cannot be used: {error.strerror or error}", file=str(where)) from error


@contextmanager
def _stage(folder: Path, name: str) -> Iterator[Path]:
    """A folder for drafts on the same disk, for its owner only; it goes with what is left in it."""
    stage = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _sync(what: IO[bytes] | Path) -> None:
    """Make sure that a file's bytes, or a folder's names, are on the disk."""
    if not isinstance(what, Path):
        what.flush()
        os.fsync(what.fileno())
        return
    descriptor = os.open(what, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
