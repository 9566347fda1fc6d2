"""Every error this service raises on purpose.

ArenaError                      what, where, what to do; `retryable`: whether trying again helps
├── RequestError                an HTTP request is refused; carries status and a stable problem type
│   ├── MalformedRequest 400    body or header cannot be read
│   ├── CrossOrigin      403    a browser page of another origin tried to change something
│   ├── InvitationNeeded 403    only guests may see this, or the invitation no longer holds
│   ├── Unauthorized     401    the operator's token is missing or wrong
│   ├── NotFound         404    no such battle (or not yours), campaign, board, page
│   ├── Conflict         409    not in this state: see the subclasses
│   │   ├── TooEarly            the answers are not complete yet
│   │   ├── AlreadyVoted
│   │   ├── BattleSkipped
│   │   ├── BattleVoid
│   │   └── CampaignClosed
│   ├── Erased           410    the battle's text was erased for good
│   ├── TooLarge         413    body over the configured size
│   ├── InvalidField     422    a field is missing, unknown or out of range
│   ├── TooMany          429    slow down
│   │   └── TooOften            too many requests in a minute
│   └── Unavailable      503    a needed part is away; nothing was written
│       ├── NoModels            fewer than two models could answer
│       └── NoRoom              all places for battles are taken; there is a line to wait in
├── EndpointError               a model's endpoint failed; never becomes an answer or a vote
│   ├── EndpointUnreachable     before the first byte, for now: refused, DNS, TLS, 429, 5xx, …
│   ├── EndpointRefused         before the first byte and for good: other 4xx, redirect, missing key
│   │   └── EndpointDeclined        this question, and perhaps no other: 400, 413, 422
│   ├── EndpointTimeout         a deadline passed
│   ├── EndpointBroken          malformed, in-band error, ended without finish_reason
│   └── EndpointEmpty           ended well, with no text
├── BadEntry                    a model cannot be in the roster: names the field and the problem
├── BadFile                     a file given by the user: names file, row and field
├── BadSetting                  an environment variable or arena.toml cannot be used
├── LiveLost                    Redis is away; frames wait in memory, hints are dropped
├── ForkedLog                   the log is not the one whose head was signed; publish nothing
└── LeaseLost                   another worker holds the lease; this one must stop writing
"""

from __future__ import annotations


class ArenaError(Exception):
    """Base of all errors raised on purpose. The message is a plain sentence for a person."""

    retryable = False


class RequestError(ArenaError):
    """A request is refused, answered as `application/problem+json` (RFC 9457).

    `slug` is the last part of the problem's stable `type`; `field` names the offending input.
    """

    status = 400
    slug = "bad-request"
    title = "Bad request"

    def __init__(
        self, detail: str, *, field: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.retry_after = retry_after


class MalformedRequest(RequestError):
    slug, title = "malformed-request", "The request cannot be read"


class Unauthorized(RequestError):
    status, slug, title = 401, "unauthorized", "Operator's token needed"


class CrossOrigin(RequestError):
    status, slug, title = 403, "cross-origin", "Request from another site"


class InvitationNeeded(RequestError):
    status, slug, title = 403, "invitation-needed", "An invitation is needed"


class NotFound(RequestError):
    status, slug, title = 404, "not-found", "Not found"


class Conflict(RequestError):
    status, slug, title = 409, "conflict", "Not possible in this state"


class TooEarly(Conflict):
    slug, title = "too-early", "The answers are not complete yet"
    retryable = True


class AlreadyVoted(Conflict):
    slug, title = "already-voted", "This battle already has its vote"


class BattleSkipped(Conflict):
    slug, title = "battle-skipped", "This battle was skipped"


class BattleVoid(Conflict):
    slug, title = "battle-void", "This battle is void"


class CampaignClosed(Conflict):
    slug, title = "campaign-closed", "This campaign takes no new battles"


class Erased(RequestError):
    status, slug, title = 410, "erased", "Erased"


class TooLarge(RequestError):
    status, slug, title = 413, "too-large", "Request body too large"


class InvalidField(RequestError):
    status, slug, title = 422, "invalid-field", "A field is not valid"


class TooMany(RequestError):
    status, slug, title = 429, "too-many", "Too many at once"
    retryable = True


class TooOften(TooMany):
    slug, title = "too-often", "Too many requests"


class Unavailable(RequestError):
    status, slug, title = 503, "unavailable", "Temporarily unavailable"
    retryable = True


class NoModels(Unavailable):
    slug, title = "no-models", "No two models to compare"


class NoRoom(Unavailable):
    slug, title = "no-room", "All places are taken"


class EndpointError(ArenaError):
    """A model's endpoint failed. The message is for the operator and never reaches a voter.

    `retry_after` is the number of seconds the endpoint asked us to wait, when it did.
    """

    def __init__(self, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class EndpointUnreachable(EndpointError):
    retryable = True


class EndpointRefused(EndpointError):
    pass


class EndpointDeclined(EndpointRefused):
    pass


class EndpointTimeout(EndpointError):
    pass


class EndpointBroken(EndpointError):
    pass


class EndpointEmpty(EndpointError):
    pass


class BadEntry(ArenaError):
    """A model cannot be in the roster so: `problem` of `field` is one of `roster.PROBLEMS`."""

    def __init__(self, field: str, problem: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field, self.problem = field, problem


class BadFile(ArenaError):
    """A user's file cannot be used; says which file, row (1 = first data row) and field."""

    def __init__(
        self, problem: str, *, file: str, row: int | None = None, field: str | None = None
    ) -> None:
        where = [file]
        if row is not None:
            where.append(f"row {row}")
        if field is not None:
            where.append(f"field '{field}'")
        super().__init__(f"{', '.join(where)}: {problem}")
        self.file, self.row, self.field = file, row, field


class BadSetting(ArenaError):
    """A setting cannot be used; the message names it and says what is accepted."""


class ForkedLog(ArenaError):
    """The log is not the one whose head was signed: its first `size` records have another root.

    Roots are hex; None is found where the log has fewer records.
    """

    def __init__(self, size: int, signed: str, found: str | None) -> None:
        there = "the log has fewer now" if found is None else f"they now have {found}"
        super().__init__(
            f"The signed head of the log's first {size} records has the root {signed}, and "
            f"{there}: sealed records were changed or lost, or the database is of another arena. "
            "No board and no head is published. Find what changed (docs/operations.md says how) "
            "and put it back, or restore a backup from before ('arena restore --new-key'); then "
            "start the worker again."
        )


class LeaseLost(ArenaError):
    """The lease's fencing number moved on: another process does this work now."""


class LiveLost(ArenaError):
    """Redis cannot be reached. Nothing that counts is lost: SQL is the system of record."""

    retryable = True
