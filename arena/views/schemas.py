"""Shapes of request bodies and answers, for parsing and for the OpenAPI document."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from flask import request
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]  # it ships none
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)
from werkzeug.exceptions import RequestEntityTooLarge

from arena.battle import Grade
from arena.errors import InvalidField, MalformedRequest

GradeValue = Annotated[
    Grade,
    BeforeValidator(Grade.parse),
    WithJsonSchema(
        {"enum": [*(g.value for g in Grade), *(g.name for g in Grade)], "title": "Grade"}
    ),
]

# no NUL and (as the pattern can only look at whole characters) no half of a surrogate pair
Word = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=200)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Earlier(_Body):
    """Your battle that has its vote, and the side whose answers to go on with."""

    battle: Word
    side: Literal["a", "b"]


class NewBattle(_Body):
    """A prompt for two models drawn at random."""

    prompt: str
    campaign: Word | None = Field(
        None, description="Default: that of the battle gone back to, else the open campaign."
    )
    redraw_of: Word | None = Field(None, description="Your void battle that is tried again.")
    continue_from: Earlier | None = Field(
        None, description="The conversation that both new models get to read before the prompt."
    )


class NewTurn(_Body):
    """A follow-up prompt for both models."""

    prompt: str


class Vote(_Body):
    """A grade on the five-step scale."""

    grade: GradeValue
    both_bad: bool = Field(False, description="Only with grade 0.")
    reasons: list[Word] = Field(default_factory=list, max_length=10)
    comment: str | None = None


class Report(_Body):
    """What is wrong with an answer; without `side`, with both or with the battle."""

    reason: str | None = None
    side: Literal["a", "b"] | None = None


class MessageView(BaseModel):
    """One message of a conversation."""

    role: Literal["user", "assistant"]
    text: str


class TurnView(BaseModel):
    """One prompt; the answers are given once both are complete."""

    turn: int
    state: str
    prompt: str
    answer_a: str | None = None
    answer_b: str | None = None
    finish_a: str | None = None
    finish_b: str | None = None


class Revealed(BaseModel):
    """A vote and the two models that it was about."""

    grade: int
    both_bad: bool
    model_a: str
    model_b: str
    about_a: dict[str, str]
    about_b: dict[str, str]
    leaks: dict[str, str] = Field(
        description="By side ('a', 'b'), the name by which its answer told who one of the models "
        "is. A vote with any counts in no board but that of the category 'unfiltered'."
    )


class RevealView(Revealed):
    """What the committed vote reveals."""

    receipt: str = Field(description="The hash of the vote's leaf in the log's tree, hex.")
    signed_receipt: str = Field(
        description="The arena's signed promise that the log has, or will have, this leaf: a note "
        "(c2sp.org/signed-note) whose lines are 'arena receipt v1', the log's name, the record's "
        "id, the leaf and the time."
    )


class Conversation(BaseModel):
    """A battle's prompts and answers."""

    model_config = ConfigDict(extra="forbid")

    id: str
    campaign: str
    state: str
    turn: int
    created_at: str
    opening: list[MessageView] = Field(
        description="The earlier conversation that the battle goes on with, alike on both sides."
    )
    turns: list[TurnView]
    void_reason: str | None = None


class BlindView(Conversation):
    """A battle before its vote."""

    events: str


class VotedView(RevealView, BlindView):
    """A battle after its vote: the same, what the vote revealed, and whether others may read it."""

    shared: bool
    excluded_reason: str | None = Field(
        description="Why the operator left the vote out of every board; null where that is not so."
    )


class BattleView(RootModel[BlindView | VotedView]):
    """Your battle, blind until it has your vote."""


class SharedView(Revealed, Conversation):
    """A battle that its voter shares, as anybody may read it."""


class ReadableView(RootModel[BlindView | VotedView | SharedView]):
    """Your battle, or one that its voter shares."""


class ListedBattle(BaseModel):
    """One of your battles; grade and models once it has your vote. `prompt` is its beginning."""

    model_config = ConfigDict(extra="forbid")

    id: str
    campaign: str
    state: str
    turn: int
    continued: bool = Field(description="Whether it goes on with an earlier conversation.")
    created_at: str
    prompt: str
    shared: bool = False
    grade: int | None = None
    both_bad: bool | None = None
    counted: bool | None = Field(
        default=None,
        description="Whether boards count the vote: not one that was excluded, nor one on an "
        "answer that named its model, which only the board of the category 'unfiltered' counts.",
    )
    excluded_reason: str | None = Field(
        default=None, description="Why the operator left the vote out of every board."
    )
    model_a: str | None = None
    model_b: str | None = None
    about_a: dict[str, str] | None = None
    about_b: dict[str, str] | None = None


class BattlesView(BaseModel):
    """Your battles, newest first; `next` is what to give as `before` for older ones."""

    battles: list[ListedBattle]
    next: str | None


class PlaceView(BaseModel):
    """Whether a battle can start now; if not, how many wait before you, and when to ask again."""

    has_room: bool
    ahead: int
    retry_after: int = Field(description="Seconds.")


class OwnDataView(BaseModel):
    """All that is stored of your battles: prompts, answers, votes, comments, reports."""

    exported_at: str
    battles: list[dict[str, Any]]


class BoardRow(BaseModel):
    """One model. Ratings on the Elo scale; null bounds are infinite, null ratings not known."""

    model: str
    name: str
    organization: str
    license: str
    link: str
    rank: int | None
    rank_lower: int | None
    rank_upper: int | None
    rating: float | None
    rating_lower: float | None
    rating_upper: float | None
    votes: int
    wins: int
    losses: int
    ties: int
    grades: list[int]
    component: int | None
    mean_win_rate: float | None
    void_rate: float | None = Field(
        description="The share of its turns in battles that are over which the model made void, "
        "as of now; null where it has answered none here."
    )


class HeadView(BaseModel):
    """A signed head of the log's tree: `root` is the hex root over its first `size` records."""

    size: int
    root: str
    timestamp: str
    note: str = Field(description="The same, signed (c2sp.org/tlog-checkpoint).")


class KeyView(BaseModel):
    """The Ed25519 key that signs heads and receipts."""

    name: str
    public_key: str = Field(description="Its 32 bytes, base64.")
    verifier_key: str = Field(description="The same as tools for signed notes take it.")


class SignedHeadView(HeadView):
    """A signed head, and the key it is signed with; `keys` are the arena's others, such as earlier
    ones, the newest first."""

    key: KeyView
    keys: list[KeyView]


class ManifestView(BaseModel):
    """The signed manifest of an export: docs/verify.md tells its members."""

    after: int
    campaigns: list[dict[str, Any]]
    complete: bool
    erased_later: list[str]
    file: None
    format: str
    head: str
    key: KeyView
    position: int
    proof: list[tuple[int, int, str]]
    sealed: list[dict[str, Any]]
    signature: str
    snapshots: list[dict[str, Any]]
    spans: dict[str, Any]


class InclusionView(BaseModel):
    """Proves that a record is leaf seq - 1 of the tree of `size` records. Hashes are hex."""

    seq: int
    id: str | None = Field(None, description="Where it was asked for by id.")
    leaf: str
    size: int
    root: str
    path: list[str] = Field(description="In the order of RFC 6962, 2.1.1.")
    head: str | None = Field(description="The signed head of this size, where one is kept.")


class ConsistencyView(BaseModel):
    """Proves that the log of `to` records begins with that of `from`. Hashes are hex."""

    model_config = ConfigDict(populate_by_name=True)

    first: int = Field(alias="from")
    to: int
    path: list[str] = Field(description="In the order of RFC 6962, 2.1.2.")
    root_from: str
    root_to: str
    head_from: str | None
    head_to: str | None


class VoteProofView(BaseModel):
    """A vote as the log has it: SHA-256(0x00 and the RFC 8785 JSON of `record`) is its leaf."""

    record: dict[str, Any]
    leaf: str
    signed_receipt: str
    key: KeyView
    keys: list[KeyView] = Field(description="Earlier keys of the arena, the newest first.")
    inclusion: InclusionView | None = Field(
        description="Null while the vote waits for its place under a signed head."
    )


class BoardView(BaseModel):
    """One published board: a pure function of a log prefix and a configuration."""

    log_position: int
    tree_head: HeadView | None = Field(
        description="The signed head of the log at this position, where one is kept."
    )
    method: str
    config: dict[str, Any]
    config_hash: str
    published_at: str
    campaign: str
    category: str
    voters: int
    fit: dict[str, Any] | None = Field(description="How well the model fits the votes.")
    evidence: dict[str, Any] | None = Field(description="Why this method was chosen.")
    converged: bool | None = Field(description="Whether the fit came to its end.")
    components: int | None = Field(
        description="Groups of models that no chain of votes joins; they share no scale."
    )
    rows: list[BoardRow]


class BoardEntry(BaseModel):
    """A board that was published, without its rows. `official`: of the campaign's own method."""

    id: int
    campaign: str
    category: str
    method: str
    log_position: int
    published_at: str
    config_hash: str
    voters: int
    official: bool


class BoardsView(BaseModel):
    """Boards, newest first."""

    boards: list[BoardEntry]


class SealedView(BoardView):
    """A sealed board. Its RFC 8785 JSON, which is what is sent, has the digest that the log names.

    Models are called as they were at `sealed_at`; `void_rate` is no part of it.
    """

    title: str
    title_zh: str
    statement: str
    statement_zh: str
    sealing: str = Field(description="The id of the record by which it was sealed.")
    sealed_at: str


class SealedEntry(BaseModel):
    """One sealing. `boards` are digests by category; none before the boards are made.

    Where the log gives no board at all, `problem` says why.
    """

    campaign: str
    position: int
    at: str
    statement: str
    statement_zh: str
    boards: dict[str, str]
    problem: str | None


class SealedBoardsView(BaseModel):
    """Sealings, the newest first."""

    sealed: list[SealedEntry]


class CalibrationBin(BaseModel):
    """Votes of about one predicted score: what was predicted and observed, and its bounds."""

    predicted: float
    observed: float
    lower: float
    upper: float
    votes: float


class PairsView(BaseModel):
    """What every two models did; `i`, `j` are places in `models`, and a tie is half a point."""

    campaign: str
    category: str
    log_position: int
    published_at: str
    models: list[str]
    graded: list[list[int]] = Field(
        description="i < j, then votes as i sees them, from won much to lost much."
    )
    winner_only: list[list[int]] = Field(
        description="Votes without a grade: i < j, then won, tied and lost as i sees them."
    )
    predicted: list[list[float | None]] = Field(
        description="Row i: the share of the points that i would score against each j > i."
    )
    calibration: list[CalibrationBin] | None = Field(description="Only of the overall board.")


class HistoryPoint(BaseModel):
    """One model on one published board; a null bound is infinite."""

    log_position: int
    published_at: str
    rating: float
    rating_lower: float | None
    rating_upper: float | None
    rank: int


class HistorySeries(BaseModel):
    """One model's points, oldest first."""

    model: str
    points: list[HistoryPoint]


class HistoryView(BaseModel):
    """How the ratings of models went on one board."""

    campaign: str
    category: str
    series: list[HistorySeries]


class CategoryView(BaseModel):
    """A slice of a campaign's votes that has a board of its own."""

    id: str
    title: str
    title_zh: str


class MethodEvent(BaseModel):
    """From this log position on the campaign's board is rated so. `auto`: the votes decide."""

    log_position: int
    at: str
    method: str
    variant: str | None
    automatic: bool
    reason: str | None
    evidence: dict[str, Any] | None


class CampaignEntry(BaseModel):
    """A named set of battles with its own roster, rules and board."""

    id: str
    kind: str
    title: str
    title_zh: str
    description: str
    description_zh: str
    consent: str
    consent_zh: str
    credit: str
    license: str
    source: str
    state: str
    public: bool
    publish_text: bool
    categories: list[CategoryView]
    methods: list[MethodEvent]


class EventView(BaseModel):
    """A dated public record of the log about a campaign or one of its models."""

    seq: int = Field(description="Its place in the log.")
    id: str
    type: str
    at: str = Field(description="When it happened; the log is ordered by `seq` alone.")
    campaign: str
    reason: str | None
    data: dict[str, Any] = Field(description="What it says; which fields depends on its type.")
    consent: str | None = Field(
        description="Of a `campaign` record: the digest by which votes name its consent text."
    )


class EventsView(BaseModel):
    """Events, newest first; `next` is what to give as `before` for older ones."""

    events: list[EventView]
    next: int | None


class CampaignsView(BaseModel):
    """Every public campaign."""

    campaigns: list[CampaignEntry]


class ShareView(BaseModel):
    """A figure from 0 to 1 with its 95 % interval."""

    value: float
    lower: float
    upper: float


class RecognisedView(BaseModel):
    """One model. Both figures are 0.5 for a model that nobody could recognise."""

    model: str
    answers: int
    told_pair: ShareView = Field(
        description="Told which two models answered: how often the side was named rightly."
    )
    auc: ShareView = Field(
        description="How often an answer of this model looks more like it than another's does."
    )


class UnjudgedView(BaseModel):
    """A model of too few answers."""

    model: str
    answers: int


class BlindnessView(BaseModel):
    """What a classifier of words, trained on the log's own answers, can tell of unseen battles.

    `log_position` is what it read, `seq` its own place in the log.
    """

    campaign: str
    seq: int
    published_at: str
    log_position: int
    method: dict[str, Any]
    seed: int
    battles: int
    prompts: int
    told_pair: ShareView
    models: list[RecognisedView]
    too_few: list[UnjudgedView]
    left_out: dict[str, int] = Field(description="Votes whose answers were not read, by why.")


class ModelView(BaseModel):
    """What anyone may know of a model; `retired_at` is null while it plays."""

    id: str
    name: str
    organization: str
    license: str
    link: str
    modalities: list[str]
    entered_at: str
    retired_at: str | None


class ModelsView(BaseModel):
    """The roster's newest revision, and every model that ever stood in it."""

    revision: int
    models: list[ModelView]


class HealthView(BaseModel):
    """`problems` (by part) are told to the operator only."""

    status: str
    problems: dict[str, str] = Field(default_factory=dict)


class DocumentView(BaseModel):
    """An OpenAPI 3.1 document."""

    openapi: str
    paths: dict[str, Any]


class ProblemView(BaseModel):
    """A refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    field: str | None = None


B = TypeVar("B", bound=BaseModel)


def read_body(shape: type[B]) -> B:
    """The request's JSON body.

    Raises `MalformedRequest` when it is not UTF-8 JSON, `InvalidField` when it has another shape,
    `RequestEntityTooLarge`. An absent body is an empty object.
    """
    try:
        raw = request.get_data()
    except ParseException as error:  # gunicorn takes chunks apart only while they are read
        raise MalformedRequest("The body's chunks cannot be read.") from error
    if request.content_length is None and len(raw) >= (request.max_content_length or math.inf):
        raise RequestEntityTooLarge  # Werkzeug cuts a chunked body at the limit and says nothing
    try:
        body = _decoded(raw) if raw else {}
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise MalformedRequest("The body must be JSON in UTF-8.") from error
    if not isinstance(body, dict):
        raise InvalidField("The body must be a JSON object.")
    try:
        return shape.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        said = _SENTENCES.get(first["type"], f"{{}}: {first['msg']}.")
        raise InvalidField(said.format(f"'{field}'"), field=field) from error


_SENTENCES = {
    "missing": "{} is missing.",
    "extra_forbidden": "{} is not a known field.",
    "string_type": "{} must be text.",
    "string_too_long": "{} is too long.",
    "string_unicode": "{} holds characters that cannot be stored.",
    "string_pattern_mismatch": "{} holds characters that cannot be stored.",
    "bool_type": "{} must be true or false.",
    "list_type": "{} must be a list.",
    "too_long": "{} has too many items.",
}


def _decoded(raw: bytes) -> Any:
    return json.loads(
        raw.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_unique_keys
    )


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):  # which of two grades is meant?
        raise ValueError("a key is given twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def word(name: str) -> str | None:
    """A query parameter that names something, None when absent; raises `InvalidField`."""
    text = request.args.get(name)
    if text is not None and "\x00" in text:
        raise InvalidField(f"'{name}' holds characters that cannot be stored.", field=name)
    return text


def whole_number(name: str, default: int) -> int:
    """A query parameter that must be a whole number from 0; raises `InvalidField`."""
    text = request.args.get(name, "")
    return natural(text, name) if text else default


def natural(text: str, name: str) -> int:
    """The whole number from 0 that a text says; raises `InvalidField`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):  # noqa: PLR2004  64 bits
        raise InvalidField(f"'{name}' must be a whole number from 0.", field=name)
    return int(text)
