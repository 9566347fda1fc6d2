"""Checks an export of an arena's log against its signed manifest; `docs/verify.md` says how.

This file can be copied: it needs Python's standard library and, to recompute the boards, numpy,
scipy and the folder `ratings` beside it. Nothing here is shared with the arena's server, so that
two programs must agree. What is written out again here: RFC 8785 (JSON), RFC 8032 (Ed25519), the
tree of RFC 6962 §2.1 and C2SP's signed notes.

    python verify.py [--key VERIFIER_KEY] [--no-boards] FILE.jsonl

It reads FILE.jsonl and FILE.jsonl.manifest.json and prints one line for each failure, `seq, field,
kind`, where `seq` is `-` for what is about no single record. The last line is `OK …` or `INVALID
…`; the exit status is 0, 1, or 2 when there is nothing that could be checked.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import re
import sys
from array import array
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from json.encoder import encode_basestring
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

if TYPE_CHECKING:
    from ratings import board

FORMAT = "arena-export/1"
ENDS = {"valid": 0, "invalid": 1, "unreadable": 2}

_NOWHERE = "-"


class Unreadable(Exception):
    """There is nothing that could be checked; the message is one sentence."""


class _Malformed(Exception):
    """Something is not of the form that an export has. The message names it."""


_ODD = (
    *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
    _Malformed,
)
"""What comes of reading a thing that is not of the form that an export has."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What is wrong: at which `seq` (or a range of them, or `-`), in which field, and how."""

    seq: str
    field: str
    kind: str

    def __str__(self) -> str:
        return _line(f"{self.seq}, {self.field}, {self.kind}")


def _line(text: str) -> str:
    """What a hostile file names must neither end the line nor steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


@dataclass(slots=True)
class Report:
    """What was checked, and what failed. `notes` say what a valid export does not prove."""

    records: int = 0
    votes: int = 0
    erased: int = 0
    boards: int = 0
    failures: int = 0
    notes: list[str] = field(default_factory=list)
    manifest: bytes = b""
    """As it was read."""

    sha256: str = ""
    """Of the export's bytes as they were read."""

    @property
    def status(self) -> int:
        """The exit status."""
        return ENDS["invalid" if self.failures else "valid"]

    def __str__(self) -> str:
        if self.failures:
            return f"INVALID {self.failures} failures in {self.records} records"
        return f"OK {self.votes} votes, {self.erased} erased, {self.boards} boards"


# --- canonical JSON -----------------------------------------------------------------------------

_LARGEST_INTEGER = 2**53 - 1
_PLAIN_FROM, _PLAIN_TO = -6, 21  # places of the point without an exponent: ECMA-262, toString


def canonical(value: Any) -> str:
    """The value as RFC 8785 writes it.

    Raises `ValueError` for what has no such form: a number that is not finite or an integer beyond
    2⁵³ − 1.
    """
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        if abs(value) > _LARGEST_INTEGER:
            raise ValueError(f"the integer {value} is too large")
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(canonical, value))}]"
    members = sorted(value.items(), key=lambda member: member[0].encode("utf-16-be"))
    pairs = ",".join(f"{encode_basestring(name)}:{canonical(held)}" for name, held in members)
    return f"{{{pairs}}}"


def _number(value: float) -> str:
    """Number::toString of ECMA-262: the shortest digits, as Python's `repr` finds them too."""
    if not math.isfinite(value):
        raise ValueError(f"the number {value} is not finite")
    if value == 0:
        return "0"
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, part = mantissa.partition(".")
    part = "" if part == "0" else part
    point = len(whole) + int(exponent or 0)
    digits = whole + part
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    digits = stripped.rstrip("0")
    if 0 < point <= _PLAIN_TO:
        text = digits.ljust(point, "0")
        text = text if len(text) == point else f"{text[:point]}.{text[point:]}"
    elif _PLAIN_FROM < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        text = f"{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{point - 1:+d}"
    return f"-{text}" if value < 0 else text


# --- signatures ---------------------------------------------------------------------------------

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT_OF_MINUS_1 = pow(2, (_P - 1) // 4, _P)
_HALF = 32  # bytes of a point, of a key, and of either half of a signature
_ED25519 = b"\x01"
_ID = 4

_Point = tuple[int, int, int, int]
"""X, Y, Z, T of RFC 8032 §5.1.4."""

_NEUTRAL: _Point = (0, 1, 1, 0)


def is_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether this is an Ed25519 signature of the message: RFC 8032 §5.1.7."""
    if len(public_key) != _HALF or len(signature) != 2 * _HALF:
        return False
    key, scalar = _point(public_key), int.from_bytes(signature[_HALF:], "little")
    if key is None or scalar >= _ORDER:
        return False
    digest = hashlib.sha512(signature[:_HALF] + public_key + message).digest()
    minus_key = (_P - key[0], key[1], key[2], _P - key[3])
    times = int.from_bytes(digest, "little") % _ORDER
    found = _added(_multiple(scalar, _BASE), _multiple(times, minus_key))
    return _encoded(found) == signature[:_HALF]


def _added(one: _Point, other: _Point) -> _Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c, d = 2 * one[3] * other[3] * _D % _P, 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _multiple(times: int, point: _Point) -> _Point:
    total = _NEUTRAL
    while times:
        if times & 1:
            total = _added(total, point)
        point, times = _added(point, point), times >> 1
    return total


def _encoded(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(_HALF, "little")


def _point(data: bytes) -> _Point | None:
    """The point of these bytes: RFC 8032 §5.1.3."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT_OF_MINUS_1 % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


_BASE = _point((4 * pow(5, -1, _P) % _P).to_bytes(_HALF, "little")) or _NEUTRAL


@dataclass(frozen=True, slots=True)
class Key:
    """The key of an arena and its name, which is made of it."""

    name: str
    public_key: bytes

    @property
    def id(self) -> bytes:
        named = self.name.encode() + b"\n" + _ED25519 + self.public_key
        return hashlib.sha256(named).digest()[:_ID]

    @property
    def verifier_key(self) -> str:
        """As tools for signed notes write it: name, id, algorithm and key."""
        key = base64.b64encode(_ED25519 + self.public_key).decode()
        return f"{self.name}+{self.id.hex()}+{key}"

    def opened(self, note: str) -> list[str]:
        """The lines of a note's text; raises `_Malformed` unless this key signed it."""
        text, gap, signature = note.rpartition("\n\n")
        start = f"— {self.name} "
        if not gap or not signature.startswith(start) or not signature.endswith("\n"):
            raise _Malformed("is no note of this key")
        signed = _base64(signature.removeprefix(start).removesuffix("\n"))
        if signed[:_ID] != self.id:
            raise _Malformed("is a note of another key")
        if not is_signed(self.public_key, f"{text}\n".encode(), signed[_ID:]):
            raise _Malformed("has a wrong signature")
        return text.split("\n")


def _base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise _Malformed("is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise _Malformed("is not base64 as it is written")
    return data


# --- the tree -----------------------------------------------------------------------------------


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """The tree of RFC 6962 §2.1, from leaves and roots of whole subtrees in their order.

    `spans` are the roots, from the first on, of all whole subtrees of 2^`level` leaves, which the
    manifest tells so that a wrong record can be found. `differs` is called with the first and last
    leaf (from 0) of each that comes out otherwise; the tree goes on with what the manifest says.
    """

    def __init__(
        self, level: int, spans: Sequence[bytes], differs: Callable[[int, int], None]
    ) -> None:
        self.size = 0
        self._level = level
        self._spans = spans
        self._differs = differs
        self._roots: list[tuple[int, bytes]] = []

    def append(self, node: bytes, level: int = 0) -> None:
        """Add the root of 2^level leaves, whose number divides the present size."""
        self.size += 1 << level
        node = self._compared(node, level)
        while self._roots and self._roots[-1][0] == level:
            node, level = _node(self._roots.pop()[1], node), level + 1
            node = self._compared(node, level)
        self._roots.append((level, node))

    def _compared(self, node: bytes, level: int) -> bytes:
        number = (self.size >> level) - 1
        if level != self._level or number >= len(self._spans) or node == self._spans[number]:
            return node
        self._differs(number << level, (number + 1 << level) - 1)
        return self._spans[number]

    def root(self) -> bytes:
        if not self._roots:
            return hashlib.sha256().digest()
        *others, (_, root) = self._roots
        for _, left in reversed(others):
            root = _node(left, root)
        return root


# --- the manifest -------------------------------------------------------------------------------


class _Part(NamedTuple):
    """A whole subtree of records that the export leaves out, from `first` to `last`."""

    first: int
    last: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the manifest says, in the forms that are used here."""

    key: Key
    position: int
    after: int
    root: bytes
    campaigns: dict[str, dict[str, Any]]
    """By id, of whose records the rows are."""

    parts: list[_Part]
    span: int
    """Each of `spans` is over 2^span records."""

    spans: list[bytes]
    erased_later: frozenset[str]
    boards: list[dict[str, Any]]
    sealed: list[dict[str, Any]]
    rows: int | None
    sha256: str | None

    def withholds(self, campaign: str) -> bool:
        """Whether a campaign's texts are not published."""
        return campaign in self.campaigns and not self.campaigns[campaign]["publish_text"]

    @classmethod
    def of(cls, raw: dict[str, Any]) -> Manifest:
        """Raises `_Malformed`, naming the member, for one that is not as it must be."""
        _require(raw.get("format") == FORMAT, f"format must be {FORMAT}")
        key = _key_of(_member(raw, "key", dict))
        position, file = _member(raw, "position", int), raw.get("file")
        spans = _member(raw, "spans", dict)
        width = _member(spans, "width", int)
        _require(width > 0 and not width & (width - 1), "spans must have a power of two as width")
        root = _head_root(key, _member(raw, "head", str), position)
        parts = list(_parts(_member(raw, "proof", list), position))
        _require(raw.get("complete") is (not parts), "complete contradicts proof")
        after, front = _member(raw, "after", int), 0
        for part in parts:
            front = part.last if part.first == front + 1 else front
        _require(0 <= min(after, position) <= front, "after contradicts proof")
        campaigns = _member(raw, "campaigns", list)
        if file is not None:
            _require(isinstance(file, dict), "file")
        return cls(
            key=key,
            position=position,
            after=after,
            root=root,
            campaigns={
                _member(one, "id", str): one
                for one in campaigns
                if _member(one, "publish_text", bool) is not None
            },
            parts=parts,
            span=width.bit_length() - 1,
            spans=[_hash(root, "spans") for root in _member(spans, "roots", list)],
            erased_later=frozenset(map(str, _member(raw, "erased_later", list))),
            boards=_member(raw, "snapshots", list),
            sealed=_member(raw, "sealed", list),
            rows=None if file is None else _member(file, "rows", int),
            sha256=None if file is None else _member(file, "sha256", str),
        )


def _member(holder: Any, name: str, kind: type) -> Any:
    value = holder.get(name) if isinstance(holder, dict) else None
    _require(type(value) is kind, name)
    return value


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise _Malformed(problem)


def _hash(text: Any, name: str) -> bytes:
    _require(isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text) is not None, name)
    return bytes.fromhex(text)


def _key_of(told: dict[str, Any]) -> Key:
    public_key = _base64(_member(told, "public_key", str))
    key = Key(f"arena-{hashlib.sha256(public_key).hexdigest()[:16]}", public_key)
    _require(told.get("name") == key.name, "key has another name")
    _require(told.get("verifier_key") == key.verifier_key, "key is not its verifier_key")
    return key


def _head_root(key: Key, note: str, position: int) -> bytes:
    try:
        name, size, root, _ = key.opened(note)
    except _Malformed as error:
        raise _Malformed(f"head {error}") from error
    except ValueError as error:
        raise _Malformed("head is of another form") from error
    _require(name == key.name and size == str(position), "head is of another position")
    return _base64(root)


def _parts(proof: list[Any], position: int) -> Iterator[_Part]:
    end = 0
    for entry in proof:
        _require(isinstance(entry, list) and len(entry) == 3, "proof")  # noqa: PLR2004  as below
        first, last, root = entry
        _require(type(first) is int and type(last) is int, "proof")
        width = last - first + 1
        whole = width > 0 and not width & (width - 1) and (first - 1) % width == 0
        _require(whole and end < first and last <= position, "proof is not of whole subtrees")
        end = last
        yield _Part(first, last, _hash(root, "proof"))


_SIGNATURE = b',"signature":'


def read_manifest(data: bytes, fail: Callable[[str, str], None]) -> Manifest | None:
    """The manifest of these bytes, and every failure in it by field and kind; None without sense.

    The signature is over SHA-256 of all bytes before its member, with the brace that is then
    missing: this is the RFC 8785 JSON of the manifest without it.
    """
    body, _, end = data.rpartition(_SIGNATURE)
    try:
        raw = json.loads(data)
        _require(isinstance(raw, dict), "is no object")
        signature = _member(raw, "signature", str)
        _require(end == f"{canonical(signature)}}}\n".encode(), "signature is not at the end")
        manifest = Manifest.of(raw)
    except _ODD as error:
        fail("manifest", f"malformed: {error}")
        return None
    digest = hashlib.sha256(body + b"}").hexdigest()
    try:
        text = manifest.key.opened(signature)
        if text != ["arena manifest v1", manifest.key.name, digest]:
            fail("signature", "of another manifest")
            return manifest
    except _ODD as error:
        fail("signature", str(error))
        return manifest
    del raw["signature"]
    try:
        is_canonical = canonical(raw).encode() == body + b"}"
    except _ODD:
        is_canonical = False
    if not is_canonical:
        fail("manifest", "not as RFC 8785 writes it")
    return manifest


# --- records ------------------------------------------------------------------------------------

COLUMNS = (
    *("seq", "type", "id", "campaign", "battle_id", "timestamp"),
    *("model_a", "model_b", "grade", "winner", "both_bad", "reasons", "comment"),
    *("voter", "voter_kind", "language", "category_tag", "turns"),
    *("conversation_a", "conversation_b", "tokens_a", "tokens_b", "ttft_a", "ttft_b"),
    *("duration_a", "duration_b", "finish_a", "finish_b"),
    *("propensity", "sampling_rule", "roster_revision", "flags", "excluded_reason"),
    *("salt", "content_digest", "target", "reason", "data", "consent", "hash"),
)
"""The columns of an export, in their order."""

_TEXTS = ("comment", "conversation_a", "conversation_b")
_BESIDE = {"seq", "flags", "excluded_reason", "salt", "hash", *_TEXTS}
_LEAF = sorted(set(COLUMNS) - _BESIDE)
_LATER = frozenset({"data", "consent"})  # in the leaf only where there is any
_NUMBERS = ("ttft_a", "ttft_b", "duration_a", "duration_b", "propensity")
_KINDS: dict[str, type] = {
    **dict.fromkeys(COLUMNS, str),
    **dict.fromkeys(_NUMBERS, float),
    **dict.fromkeys(("seq", "grade", "turns", "tokens_a", "tokens_b", "roster_revision"), int),
    **dict.fromkeys(("reasons", "flags", "conversation_a", "conversation_b"), list),
    "both_bad": bool,
    "data": dict,
}
_REQUIRED = frozenset({"type", "id", "campaign", "timestamp", "reasons", "flags"})
_BEGINNING = re.compile(rb'\{"seq":([0-9]{1,16}),')
_VOTE = re.compile(rb'\{"seq":[0-9]+,"type":"vote",')
_OUTCOMES = ("void", "skip")
_OF_OUTCOMES = frozenset(
    (
        *("type", "id", "campaign", "battle_id", "timestamp", "model_a", "model_b", "turns"),
        *("propensity", "sampling_rule", "roster_revision", "reasons", "flags", "reason"),
    )
)
"""What a row beside the log may tell."""

Row = dict[str, Any]


def _finite(text: str) -> float:
    """Raises `ValueError` for what no export writes; −0 has the leaf of 0, and would be a second
    way to write one record."""
    value = float(text)
    if not math.isfinite(value) or (value == 0 and text.startswith("-")):
        raise ValueError(text)
    return value


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def read_row(line: bytes) -> Row:
    """The row of a line. Raises `_Malformed`, naming the field, unless an export writes it so."""
    try:
        row: Row = _DECODER.decode(line.decode())
    except _ODD:
        raise _Malformed("line") from None
    _require(isinstance(row, dict) and tuple(row) == COLUMNS, "line")
    for (name, value), kind in zip(row.items(), _KINDS.values(), strict=True):
        if type(value) is not kind and (value is not None or name in _REQUIRED):
            raise _Malformed(name)
    _require(row["seq"] is None or 0 <= row["seq"] <= _LARGEST_INTEGER, "seq")
    try:
        written = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except _ODD:
        raise _Malformed("line") from None
    _require(written == line, "line")
    return row


def leaf_of(row: Row) -> bytes:
    """The hash of the record's leaf: SHA-256(0x00 ‖ RFC 8785 JSON of what never changes).

    Raises `ValueError` for a number that has no such form.
    """
    parts = []
    for name in _LEAF:
        value = row[name]
        if value is None and name in _LATER:
            continue
        if name == "winner" and value == "both_bad":
            value = "tie"
        text = encode_basestring(value) if type(value) is str else canonical(value)
        parts.append(f'"{name}":{text}')
    return hashlib.sha256(b"\x00{%s}" % ",".join(parts).encode()).digest()


def digest_of(row: Row) -> str:
    """SHA-256(salt ‖ RFC 8785 JSON of the texts), hex; raises one of `_ODD`."""
    texts = canonical({name: row[name] for name in _TEXTS})
    salt = bytes.fromhex(row["salt"])
    if salt.hex() != row["salt"]:
        raise ValueError("a salt has one spelling")
    return hashlib.sha256(salt + texts.encode()).hexdigest()


@dataclass(slots=True)
class _Said:
    """What later records say of one: flags and exclusions with their `seq`, in log order."""

    flags: list[tuple[int, str]] = field(default_factory=list)
    exclusions: list[tuple[int, str]] = field(default_factory=list)
    is_erased: bool = False


def _remarks(path: Path) -> dict[str, _Said]:
    """What the records that are no votes say of others. Lines without sense fail later."""
    said: dict[str, _Said] = defaultdict(_Said)
    with path.open("rb") as file:
        for line in file:
            if _VOTE.match(line):
                continue
            try:
                row = read_row(line)
            except _Malformed:
                continue
            target, seq, reason = row["target"], row["seq"], row["reason"] or ""
            if target is None or seq is None:
                continue
            if row["type"] == "flag":
                said[target].flags.append((seq, reason))
            elif row["type"] == "exclusion":
                said[target].exclusions.append((seq, reason))
            elif row["type"] == "erasure":
                said[target].is_erased = True
    for one in said.values():
        one.flags.sort(key=lambda remark: remark[0])
        one.exclusions.sort(key=lambda remark: remark[0])
    return dict(said)


_NEVER = 2**62
_NOBODY = -1
_LEAK = "identity_leak"


class _Kind(NamedTuple):
    """What tells to which boards a vote belongs."""

    campaign: str
    language: str | None
    category_tag: str | None
    turns: int | None
    voter_kind: str | None


class Columns:
    """The votes as rating needs them, 45 bytes each; models, voters and kinds are numbered."""

    def __init__(self) -> None:
        self.models: dict[str, int] = {}
        self.voters: dict[str, int] = {}
        self.kinds: dict[_Kind, int] = {}
        self.answers: dict[tuple[int | None, str | None], int] = {}
        self.seq, self.excluded, self.leaked = array("q"), array("q"), array("q")
        self.model_a, self.model_b, self.voter = array("i"), array("i"), array("i")
        self.kind, self.answer, self.propensity = array("i"), array("i"), array("f")

    def add(self, seq: int, row: Row, said: _Said | None) -> None:
        voter, propensity = row["voter"], row["propensity"]
        kind = _Kind(*(row[name] for name in _Kind._fields))
        self.seq.append(seq)
        self.model_a.append(self.models.setdefault(row["model_a"] or "", len(self.models)))
        self.model_b.append(self.models.setdefault(row["model_b"] or "", len(self.models)))
        self.voter.append(
            _NOBODY if voter is None else self.voters.setdefault(voter, len(self.voters))
        )
        self.kind.append(self.kinds.setdefault(kind, len(self.kinds)))
        answer = (row["grade"], row["winner"])
        self.answer.append(self.answers.setdefault(answer, len(self.answers)))
        self.propensity.append(float("nan") if propensity is None else propensity)
        exclusions = said.exclusions if said else []
        leaks = [remark for remark in said.flags if remark[1] == _LEAK] if said else []
        self.excluded.append(min((at for at, _ in exclusions if at > seq), default=_NEVER))
        self.leaked.append(min((at for at, _ in leaks if at > seq), default=_NEVER))


_WITHHELD = "withheld, as the manifest alone says"
_ERASED = "erased, as a record says"
_ERASED_LATER = "erased, as the manifest alone says"


class Records:
    """The rows of an export, checked one after the other."""

    def __init__(
        self,
        manifest: Manifest,
        said: Mapping[str, _Said],
        report: Report,
        fail: Callable[[Failure], None],
    ) -> None:
        self.columns = Columns()
        self.methods: dict[str, list[tuple[int, Any]]] = defaultdict(list)
        """What `method` records say, with their `seq`, by campaign."""
        self.sealings: dict[int, Row] = {}
        """The `sealing` records by their `seq`."""
        self.roots: dict[int, bytes] = {}
        """The tree's root at each of them."""
        self.sealed: dict[str, dict[str, str]] = {}
        """Digests of sealed boards by the sealing's id and by category, as the log tells them."""
        self.campaigns: dict[str, Row] = {}
        """The newest `campaign` record of each campaign."""
        self._beside = 0
        self._gone: Counter[tuple[str, str]] = Counter()  # texts by campaign and how they went
        self._manifest = manifest
        self._said = said
        self._report = report
        self._fail = fail
        self._tree = Tree(manifest.span, manifest.spans, self._span_differs)
        self._part = 0  # of the manifest's parts the next one
        self._missing: set[int] = set()
        self._suspect = 0  # the last place at which something was wrong
        self._unsaid: list[Failure] = []  # what is not as later records say
        self._knows_all = True  # what later records say: none of them is missing or altered

    # --- places -----------------------------------------------------------------------------

    def check(self, lines: Iterator[bytes]) -> None:
        """Check all lines; then every record has its place and the tree its root."""
        place = self._next_place(0)
        number = 0
        for number, (line, following) in enumerate(_with_next(lines), 1):
            told = _seq_of(line)
            try:
                row = read_row(line)
            except _Malformed as error:
                kind = "not as it was written" if str(error) == "line" else "malformed"
                self._knows_all &= _VOTE.match(line) is not None
                is_here = told is None or self._is_here(told, place, following)
                where = place if is_here else told
                self._wrong(f"line {number}" if where is None else where, str(error), kind)
                if is_here and place is not None:
                    self._tree.append(bytes(_HALF))
                    place = self._next_place(place)
                continue
            if row["seq"] is None and row["type"] in _OUTCOMES and place is None:
                self._check_outcome(number, row)
                continue
            if told is None:
                self._wrong(place or _NOWHERE, "seq", "foreign")
                continue
            place = self._put(told, row, place, following)
        while place is not None:
            place = self._miss(place)
        self._end(number)

    def _put(self, told: int, row: Row, place: int | None, following: int | None) -> int | None:
        """Put a row in its place; the next one."""
        if told != place:
            if place is not None and self._is_here(told, place, following):
                self._knows_all &= row["type"] == "vote"  # flags come in the order of seq
                self._wrong(place, "seq", f"altered to {told}")
            elif place is not None and told > place and self._is_expected(told):
                while place is not None and place != told:
                    place = self._miss(place)
            else:
                known = told < (place or _NEVER) and self._is_expected(told)
                late = told in self._missing
                self._missing.discard(told)
                self._knows_all &= row["type"] == "vote"
                kind = "out of its place" if late else "doubled" if known else "foreign"
                self._wrong(told, "seq", kind)
                return place
        assert place is not None  # noqa: S101  it was told, or is altered
        self._tree.append(self._checked(place, row))
        if place in self.sealings:
            self.roots[place] = self._tree.root()
        return self._next_place(place)

    def _is_here(self, told: int, place: int | None, following: int | None) -> bool:
        """Whether a line belongs to the place that is due, whatever `seq` it tells."""
        return told == place or (place is not None and following == self._after(place))

    def _after(self, place: int) -> int | None:
        parts, at = self._manifest.parts, self._part
        while at < len(parts) and parts[at].first == place + 1:
            place, at = parts[at].last, at + 1
        return place + 1 if place < self._manifest.position else None

    def _is_expected(self, seq: int) -> bool:
        parts = self._manifest.parts
        before = bisect_right(parts, seq, key=lambda part: part.first)
        is_left_out = before > 0 and seq <= parts[before - 1].last
        return 1 <= seq <= self._manifest.position and not is_left_out

    def _next_place(self, place: int) -> int | None:
        """The next place that a row must have, behind the parts that are left out."""
        parts = self._manifest.parts
        while self._part < len(parts) and parts[self._part].first == place + 1:
            first, place, root = parts[self._part]
            self._tree.append(root, (place - first + 1).bit_length() - 1)
            self._part += 1
        return place + 1 if place < self._manifest.position else None

    def _miss(self, place: int) -> int | None:
        self._missing.add(place)
        self._suspect = place
        self._knows_all = False
        self._tree.append(bytes(_HALF))
        return self._next_place(place)

    def _end(self, lines: int) -> None:
        if self._knows_all:
            for failure in self._unsaid:
                self._fail(failure)
        for first, last in _ranges(self._missing):
            self._fail(
                Failure(str(first) if first == last else f"{first}-{last}", "seq", "missing")
            )
        if self._tree.root() != self._manifest.root:
            self._fail(Failure(_NOWHERE, "head", "the records have another root"))
        if self._manifest.rows not in (None, lines):
            self._fail(Failure(_NOWHERE, "file", f"{lines} rows, not {self._manifest.rows}"))

    def _span_differs(self, first: int, last: int) -> None:
        """Tell of a wrong subtree in which nothing else was found."""
        if first == last:
            if self._suspect != first + 1:
                self._wrong(first + 1, "hash", "not the record that was signed")
        elif self._suspect <= first:
            self._wrong(f"{first + 1}-{last + 1}", "hash", "not the records that were signed")

    def _wrong(self, seq: int | str, name: str, kind: str) -> None:
        if isinstance(seq, int):
            self._suspect = max(self._suspect, seq)
        self._fail(Failure(str(seq), name, kind))

    # --- one record -------------------------------------------------------------------------

    def _checked(self, seq: int, row: Row) -> bytes:
        """The row's leaf; what it says wrongly is told."""
        self._report.records += 1
        try:
            leaf = leaf_of(row)
        except _ODD:
            self._knows_all &= row["type"] == "vote"
            self._wrong(seq, "hash", "malformed")
            return bytes(_HALF)
        if row["hash"] != leaf.hex():
            self._knows_all &= row["type"] == "vote"
            self._wrong(seq, "hash", "altered")
        if (row["winner"] == "both_bad") is not (row["both_bad"] is True):
            self._wrong(seq, "winner", "contradicts both_bad")
        said = self._said.get(row["id"])
        flags = [reason for _, reason in said.flags] if said else []
        if row["flags"] != flags:
            self._unsaid.append(Failure(str(seq), "flags", "not what later records say"))
        excluded = said.exclusions[-1][1] if said and said.exclusions else None
        if row["excluded_reason"] != excluded:
            self._unsaid.append(Failure(str(seq), "excluded_reason", "not what later records say"))
        self._check_texts(seq, row, said)
        if row["type"] == "vote":
            self._report.votes += 1
            self.columns.add(seq, row, said)
        else:
            self._follow(seq, row)
        return leaf

    def _follow(self, seq: int, row: Row) -> None:
        """Keep what a record says of boards and campaigns."""
        if row["type"] == "method":
            self.methods[row["campaign"]].append((seq, row["data"]))
        elif row["type"] == "sealing":
            self.sealings[seq] = row
        elif row["type"] == "campaign":
            self.campaigns[row["campaign"]] = row
        elif row["type"] == "sealed":
            with suppress(_Malformed):  # the arena leaves an odd record out too
                boards = _member(row["data"], "boards", dict)
                digests = {name: _hash(told, "boards").hex() for name, told in boards.items()}
                # the first one holds: a seal is not told anew
                self.sealed.setdefault(_member(row["data"], "sealing", str), digests)

    def _check_outcome(self, number: int, row: Row) -> None:
        """A battle without a vote is beside the log, and no leaf holds what its row says."""
        self._beside += 1
        for name, value in row.items():
            if value is not None and name not in _OF_OUTCOMES:
                self._wrong(f"line {number}", name, "of no battle without a vote")

    def remarks(self) -> Iterator[str]:
        """What the rows and the manifest leave open, a sentence each."""
        if self._beside and self._manifest.sha256 is None:
            rows, are = ("row", "is") if self._beside == 1 else ("rows", "are")
            yield f"{self._beside} {rows} of a battle without a vote {are} not covered by any proof"
        told: Counter[str] = Counter()
        for campaign, row in sorted(self.campaigns.items()):
            here, log = self._manifest.campaigns.get(campaign, {}), row["data"] or {}
            names = sorted(name for name in here if name in log and here[name] != log[name])
            if names:
                yield (
                    f"campaign {campaign!r} is not told as by the log's record of it: "
                    f"{', '.join(names)}"
                )
        for (campaign, how), texts in self._gone.items():
            log = (self.campaigns[campaign]["data"] or {}) if campaign in self.campaigns else {}
            is_told = how == _WITHHELD and log.get("publish_text") is False
            told["withheld, as the campaign's record says" if is_told else how] += texts
        for how, texts in sorted(told.items()):
            yield f"{texts} text{'s are' if texts > 1 else ' is'} not here: {how}"

    def _check_texts(self, seq: int, row: Row, said: _Said | None) -> None:
        if row["salt"] is None:
            if any(row[name] is not None for name in _TEXTS):
                self._wrong(seq, "salt", "missing")
            elif row["content_digest"] is not None:
                self._check_absence(seq, row, is_erased=said is not None and said.is_erased)
            return
        try:
            holds = digest_of(row) == row["content_digest"]
        except _ODD:
            holds = False
        if not holds:
            self._wrong(seq, "content_digest", "not of these texts")
        elif said and said.is_erased:
            kind = "there, though a record says that it was erased"
            self._unsaid.append(Failure(str(seq), "salt", kind))

    def _check_absence(self, seq: int, row: Row, *, is_erased: bool) -> None:
        if self._manifest.withholds(row["campaign"]):
            how = _WITHHELD
        else:
            self._report.erased += 1
            how = _ERASED if is_erased else _ERASED_LATER
            if not is_erased and row["id"] not in self._manifest.erased_later:
                kind = "missing, and no record says that it was erased"
                self._unsaid.append(Failure(str(seq), "salt", kind))
        self._gone[row["campaign"], how] += 1


def _seq_of(line: bytes | None) -> int | None:
    found = _BEGINNING.match(line or b"")
    return int(found[1]) if found else None


def _with_next(lines: Iterator[bytes]) -> Iterator[tuple[bytes, int | None]]:
    """Every line with the `seq` that the next one tells; None at the end."""
    before = next(lines, None)
    if before is None:
        return
    for line in lines:
        yield before, _seq_of(line)
        before = line
    yield before, None


def _ranges(numbers: set[int]) -> Iterator[tuple[int, int]]:
    """First and last of what follows each other."""
    ordered = sorted(numbers)
    breaks = [i for i, (one, two) in enumerate(pairwise(ordered), 1) if two != one + 1]
    for start, stop in pairwise([0, *breaks, len(ordered)]):
        if stop > start:
            yield ordered[start], ordered[stop - 1]


# --- boards -------------------------------------------------------------------------------------

_LANGUAGES = (
    "zh Chinese en English af Afrikaans am Amharic ar Arabic az Azerbaijani be Belarusian "
    "bg Bulgarian bn Bengali bo Tibetan bs Bosnian ca Catalan cs Czech cy Welsh da Danish "
    "de German el Greek eo Esperanto es Spanish et Estonian eu Basque fa Persian fi Finnish "
    "fr French ga Irish gl Galician gu Gujarati he Hebrew hi Hindi hr Croatian hu Hungarian "
    "hy Armenian id Indonesian is Icelandic it Italian ja Japanese ka Georgian kk Kazakh "
    "km Khmer kn Kannada ko Korean ku Kurdish ky Kyrgyz la Latin lo Lao lt Lithuanian "
    "lv Latvian mk Macedonian ml Malayalam mn Mongolian mr Marathi ms Malay my Burmese "
    "ne Nepali nl Dutch no Norwegian pa Punjabi pl Polish ps Pashto pt Portuguese ro Romanian "
    "ru Russian si Sinhala sk Slovak sl Slovenian sq Albanian sr Serbian sv Swedish sw Swahili "
    "ta Tamil te Telugu th Thai tl Tagalog tr Turkish ug Uyghur uk Ukrainian ur Urdu uz Uzbek "
    "vi Vietnamese yi Yiddish"
)
_NAMES = dict(zip(_LANGUAGES.split()[::2], _LANGUAGES.split()[1::2], strict=True))
_CODES = {name.lower(): code for code, name in _NAMES.items()}
_PART_OF = {"arz": "ar", "wuu": "zh", "yue": "zh", "nn": "no"}
_UNFILTERED = "unfiltered"
_EVERY = ("overall", _UNFILTERED)
_AGREES = 0.005
"""Ratings agree where they differ by less: half of the 0.01 that boards are told to."""
_EXACT = 1e-9
"""The same of shares, which no fit is behind."""


def belongs(kind: _Kind, category: str) -> bool:
    """Whether a vote's own fields put it on the board of a category."""
    if category in _EVERY:
        return True
    if category == "people":
        return kind.voter_kind == "person"
    turns = kind.turns or 0
    if category in ("single-turn", "multi-turn"):
        return turns > 1 if category == "multi-turn" else turns == 1
    if category in _NAMES:
        written = (kind.language or "").strip().lower()
        code = re.split("[-_]", written, maxsplit=1)[0]
        code = _PART_OF.get(code, code)
        return category == (code if code in _NAMES else _CODES.get(written))
    tags = (kind.category_tag or "").split(",")
    return category in {tag.strip().lower() for tag in tags}


class Methods:
    """How a campaign's votes are rated, as its `method` records say one after the other."""

    def __init__(self, records: Sequence[tuple[int, Any]]) -> None:
        """`records` are their `seq` and `data`, in log order."""
        self._from = [0]
        self._options = [_options({})]
        automatic = True
        for seq, data in records:
            try:
                if data["evidence"] is not None and not automatic:
                    continue  # a decision by the votes, and an operator pinned a method for good
                automatic = data["automatic"]
                told, _ = data["method"], data["votes"]
                if told is not None:
                    self._options.append(_options(told))
                    self._from.append(seq)
            except _ODD:
                continue  # the arena leaves an odd record out too

    def at(self, position: int) -> board.Options:
        """What is pinned by the records up to this one."""
        return self._options[bisect_right(self._from, position) - 1]


def _options(told: Mapping[str, Any]) -> board.Options:
    """A method with its options; raises one of `_ODD` for one that there is not."""
    from ratings.board import Options  # noqa: PLC0415  as in `Recount`

    known = {f.name: told[f.name] for f in fields(Options) if f.name in told}
    anchor = told.get("anchor")
    options = Options(**known | {"anchor": anchor and (anchor[0], float(anchor[1]))})
    if options.name == "graded" and options.variant is None:
        options = replace(options, variant="pooled")
    return Options.of(options.pinned())


class Recount:
    """The boards anew, from the columns."""

    def __init__(self, columns: Columns, methods: Mapping[str, Sequence[tuple[int, Any]]]) -> None:
        """`methods` are what the `method` records of each campaign say, with their `seq`.

        Raises `Unreadable` where the rating engine is not there."""
        try:
            import numpy  # noqa: PLC0415  records are checked without it

            from ratings import board, comparisons, errors, intervals  # noqa: PLC0415  likewise
        except ImportError as error:
            raise Unreadable(
                f"The boards cannot be recomputed: {error}. Install numpy and scipy and put the "
                "folder 'ratings' beside this program, or leave them out by --no-boards."
            ) from error
        self._np, self._board, self._comparisons = numpy, board, comparisons
        self._intervals, self._error = intervals, errors.RatingError
        self._methods = {name: Methods(told) for name, told in methods.items()}
        self._models, self._kinds = list(columns.models), list(columns.kinds)
        outcomes = []
        for grade, winner in columns.answers:
            try:
                outcomes.append(int(comparisons.outcome_of(grade, winner or "")))
            except ValueError:
                outcomes.append(_NOBODY)
        names = ("seq", "excluded", "leaked", "model_a", "model_b", "voter", "kind", "propensity")
        self._columns = {
            name: numpy.frombuffer(data := getattr(columns, name), data.typecode) for name in names
        }
        self._outcome = numpy.array(outcomes, numpy.int8)[
            numpy.frombuffer(columns.answer, columns.answer.typecode)
        ]
        sense = self._outcome != _NOBODY
        self._makes_sense = sense & (self._columns["model_a"] != self._columns["model_b"])

    def campaigns(self) -> list[str]:
        """Those that have votes."""
        return sorted({kind.campaign for kind in self._kinds})

    def problems(self, board: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """What a published board says otherwise, by field and kind."""
        leaks = "included" if board["category"] == _UNFILTERED else "excluded"
        pinned = self._methods.get(board["campaign"], Methods([])).at(board["log_position"])
        is_official = board["method"] == pinned.name
        if board["official"] is not is_official:
            yield "official", f"is {board['official']}, while the log pins {pinned.name}"
            return
        options = pinned if is_official else _options({"name": board["method"]})
        config = {"exclusions": "applied", "identity_leaks": leaks, **options.pinned()}
        written = canonical(board["config"])
        if hashlib.sha256(written.encode()).hexdigest() != board["config_hash"]:
            yield "config_hash", "not of this config"
        if written != canonical(config):
            yield "config", "is not what the log pins"
            return
        try:
            votes, voters = self._votes(board, with_leaks=leaks == "included")
            rated = self._board.rate(votes, options)
        except self._error as error:
            yield "config", f"cannot be computed: {error}"
            return
        for name, found in (
            ("voters", voters),
            ("converged", rated.converged),
            ("components", rated.components),
        ):
            if not _agree(board[name], found, 0):
                yield name, f"is {found}, not {board[name]}"
        yield from _row_problems(board["rows"], rated.rows)

    def _votes(self, board: Mapping[str, Any], *, with_leaks: bool) -> tuple[board.Votes, int]:
        """The votes behind a board and how many people they are of."""
        np, columns, position = self._np, self._columns, board["log_position"]
        inside = [
            kind.campaign == board["campaign"] and belongs(kind, board["category"])
            for kind in self._kinds
        ]
        chosen = self._makes_sense & (columns["seq"] <= position) & (columns["excluded"] > position)
        chosen &= np.array(inside, np.bool_)[columns["kind"]]
        if not with_leaks:
            chosen &= columns["leaked"] > position
        a, b, voter = (columns[name][chosen] for name in ("model_a", "model_b", "voter"))
        outcome = self._outcome[chosen].astype(np.intp)
        seen = np.unique(np.concatenate([a, b]))
        names = sorted(self._models[code] for code in seen)
        codes = {name: code for code, name in enumerate(self._models)}
        place = np.zeros(len(self._models), np.int32)
        place[[codes[name] for name in names]] = np.arange(len(names))
        counts = self._comparisons.PairCounts(len(names))
        counts.add(place[a], place[b], outcome)
        ballots = self._intervals.Ballots(place[a], place[b], outcome, voter)
        propensity = columns["propensity"][chosen].astype(np.float64)
        votes = self._board.Votes(names, counts, lambda: ballots, lambda: propensity)
        return votes, len(np.unique(voter[voter != _NOBODY]))


def _row_problems(
    told: Sequence[Mapping[str, Any]], found: Sequence[board.Row]
) -> Iterator[tuple[str, str]]:
    rows = {row.model: row.to_json() for row in found}
    for row in told:
        model = row["model"]
        if model not in rows:
            yield f"{model}", "has no votes here"
            continue
        for name, value in rows.pop(model).items():
            if not _agree(row[name], value, _AGREES if name.startswith("rating") else _EXACT):
                yield f"{model} {name}", f"is {value}, not {row[name]}"
    for model in rows:
        yield f"{model}", "is left out"


def _agree(told: Any, found: Any, tolerance: float) -> bool:
    if isinstance(found, float) and type(told) in (int, float):  # RFC 8785 writes 1000.0 as 1000
        return bool(abs(told - found) < tolerance)
    return type(told) is type(found) and bool(told == found)


# --- the whole ----------------------------------------------------------------------------------


def _no_progress(_: int) -> None:
    return None


def verify(
    path: Path,
    *,
    key: str | None = None,
    boards: bool = True,
    on_failure: Callable[[Failure], None] = lambda _: None,
    progress: Callable[[int], None] = _no_progress,
) -> Report:
    """Check an export against the manifest beside it.

    `key` is the verifier key that must have signed. `progress` is told of bytes as they are read.
    Raises `Unreadable` when there is nothing that could be checked.
    """
    report = Report()

    def fail(failure: Failure) -> None:
        report.failures += 1
        on_failure(failure)

    report.manifest = data = _bytes(path.with_name(f"{path.name}.manifest.json"))
    manifest = read_manifest(data, lambda name, kind: fail(Failure(_NOWHERE, name, kind)))
    if manifest is None:
        return report
    signed_by = manifest.key.verifier_key
    if key is None:
        report.notes.append(f"signed by {signed_by}: is this the key that the arena publishes?")
    elif key != signed_by:
        fail(Failure(_NOWHERE, "key", f"signed by {signed_by}"))
    if manifest.parts:
        left_out = sum(part.last - part.first + 1 for part in manifest.parts)
        report.notes.append(
            f"{left_out} of {manifest.position} records are left out of this export: that every "
            "record in it is in the log can be proven, that none more should be in it can not"
        )
    try:
        records = _records(path, manifest, report, fail, progress)
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}.") from error
    if boards and not report.failures:
        _check_boards(manifest, records, report, fail)
    report.notes = [_line(note) for note in (*report.notes, *records.remarks())]
    return report


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror}.") from error


def _records(
    path: Path,
    manifest: Manifest,
    report: Report,
    fail: Callable[[Failure], None],
    progress: Callable[[int], None],
) -> Records:
    digest = hashlib.sha256()

    def lines() -> Iterator[bytes]:
        with path.open("rb") as file:
            for line in file:
                digest.update(line)
                progress(len(line))
                yield line

    records = Records(manifest, _remarks(path), report, fail)
    records.check(lines())
    report.sha256 = digest.hexdigest()
    if manifest.sha256 not in (None, report.sha256):
        fail(Failure(_NOWHERE, "file", "has another sha256"))
    return records


def _check_boards(
    manifest: Manifest, records: Records, report: Report, fail: Callable[[Failure], None]
) -> None:
    recount = Recount(records.columns, records.methods)
    there = set()
    for board in manifest.boards:
        name = f"board {_told(board, 'campaign')}/{_told(board, 'category')} "
        _check_board(f"{name}{_told(board, 'method')}", _board(board, manifest, recount), fail)
        if _told(board, "category") == "overall" and _told(board, "official") == "True":
            there.add(_told(board, "campaign"))
    seals = _Seals(records, recount, report)
    for sealed in manifest.sealed:
        name = f"sealed board {_told(sealed, 'campaign')}/{_told(sealed, 'category')}"
        _check_board(name, seals.problems(sealed), fail)
    report.boards += len(manifest.boards) + len(manifest.sealed)
    if manifest.after:
        return  # the manifest has no boards then
    for name in seals.left_out():
        fail(Failure(_NOWHERE, name, "is left out"))
    report.notes += [
        f"no board of all votes of campaign {campaign!r} is in this export"
        for campaign in recount.campaigns()
        if campaign not in there
    ]


def _told(holder: Any, name: str) -> str:
    return str(holder.get(name)) if isinstance(holder, dict) else "?"


def _check_board(
    name: str,
    problems: Iterator[tuple[str, str]],
    fail: Callable[[Failure], None],
) -> None:
    try:
        for where, kind in problems:
            fail(Failure(_NOWHERE, f"{name} {where}", kind))
    except _ODD as error:
        fail(Failure(_NOWHERE, name, f"malformed: {error!r}"))


def _board(board: Any, manifest: Manifest, recount: Recount) -> Iterator[tuple[str, str]]:
    if _member(board, "log_position", int) > manifest.position:
        yield "log_position", "is of a later position"
    yield from recount.problems(board)


class _Seals:
    """Sealed boards, held against the records that seal them and tell their digests."""

    def __init__(self, records: Records, recount: Recount, report: Report) -> None:
        self._records = records
        self._recount = recount
        self._report = report
        self._seen: set[tuple[str, str]] = set()

    def problems(self, sealed: Any) -> Iterator[tuple[str, str]]:
        """What a sealed board of the manifest says otherwise, by field and kind."""
        sealing, category = _member(sealed, "sealing", str), _member(sealed, "category", str)
        document = _member(sealed, "document", dict)
        if (sealing, category) in self._seen:
            yield "sealing", "is there twice"
        self._seen.add((sealing, category))
        digest = hashlib.sha256(canonical(document).encode()).hexdigest()
        told = self._records.sealed.get(sealing)
        if sealed["digest"] != digest or (told is not None and told.get(category) != digest):
            yield "digest", "has another digest"
        elif told is None:
            self._report.notes.append(
                f"sealed board {sealed['campaign']}/{category}: its digest is not bound by this "
                "export, for no record in it tells the digest: does it lie behind the position?"
            )
        position = _member(sealed, "log_position", int)
        record = self._records.sealings.get(position)
        if record is None or record["id"] != sealing:
            yield "sealing", "no record in the log seals it"
            return
        said = {name: record["data"].get(name) or "" for name in _SEALED_TEXTS}
        said |= {"campaign": record["campaign"], "log_position": position, "category": category}
        said |= {"sealing": sealing, "sealed_at": record["timestamp"]}
        wrong = [name for name, value in said.items() if document[name] != value]
        wrong += ["campaign"] if sealed["campaign"] != record["campaign"] else []
        for name in wrong:
            yield name, "not as its sealing says"
        if wrong:
            return
        head, root = document["tree_head"], self._records.roots[position]
        signed = [str(position), base64.b64encode(root).decode()]
        if (head["size"], head["root"]) != (position, root.hex()) or (
            head["note"].split("\n")[1:3] != signed
        ):
            yield "tree_head", "is of other records"
        ranked = [row for row in document["rows"] if row["rank"] is not None]
        for row in document["rows"]:
            if row["rank"] is None and (row["votes"] != 0 or row["rating"] is not None):
                yield str(row["model"]), "has votes or a rating and no rank"
        yield from self._recount.problems({**document, "rows": ranked, "official": True})

    def left_out(self) -> Iterator[str]:
        """The boards whose digests the log tells and that are not there."""
        for sealing, boards in self._records.sealed.items():
            for category in boards:
                if (sealing, category) not in self._seen:
                    yield f"sealed board {sealing}/{category}"


_SEALED_TEXTS = ("title", "title_zh", "statement", "statement_zh")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The command; it ends by `SystemExit`."""
    parser = argparse.ArgumentParser(
        description="Check an export of an arena's log against its signed manifest."
    )
    parser.add_argument("file", type=Path, help="FILE.jsonl, with FILE.jsonl.manifest.json")
    parser.add_argument("--key", help="the verifier key that must have signed")
    parser.add_argument(
        "--no-boards", action="store_true", help="check the records, recompute no board"
    )
    given = parser.parse_args(arguments)
    try:
        report = verify(
            given.file,
            key=given.key,
            boards=not given.no_boards,
            on_failure=print,
        )
    except Unreadable as error:
        print(f"verify: {error}", file=sys.stderr)  # noqa: T201  likewise
        raise SystemExit(ENDS["unreadable"]) from None
    for note in report.notes:
        print(f"verify: {note}", file=sys.stderr)  # noqa: T201  likewise
    print(report)  # noqa: T201  likewise
    raise SystemExit(report.status)


if __name__ == "__main__":
    main()
