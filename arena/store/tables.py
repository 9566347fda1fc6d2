"""Every table. Times are RFC 3339 UTC strings with milliseconds; ids are random and opaque."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    text,
    true,
)

from arena.records import EVENT_TYPES

_T = TypeVar("_T")

# Of a record: literal, or SQLite does not see that a query may use the index.
IS_EVENT = text(f"type IN ({', '.join(map(repr, sorted(EVENT_TYPES)))})")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite only numbers rows by itself in a column declared exactly INTEGER PRIMARY KEY.
RowNumber = BigInteger().with_variant(Integer(), "sqlite")

campaigns = Table(
    "campaigns",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("title_zh", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("description_zh", Text, nullable=False),
    Column("consent", Text, nullable=False),
    Column("consent_zh", Text, nullable=False),
    Column("credit", Text, nullable=False),
    Column("license", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("public", Boolean, nullable=False),
    Column("publish_text", Boolean, nullable=False),
    Column("position", Integer, nullable=False),
)

roster_revisions = Table(
    "roster_revisions",
    metadata,
    Column("revision", Integer, primary_key=True),
    Column("at", Text, nullable=False),
    Column("entries", JSON, nullable=False),
    # Of the file's models when it was read last: an operator's change holds until the file changes.
    Column("file_digest", Text),
    Column("reason", Text),
)

battles = Table(
    "battles",
    metadata,
    Column("id", Text, primary_key=True),
    Column("campaign", Text, ForeignKey("campaigns.id"), nullable=False),
    Column("voter", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("model_a", Text, nullable=False),
    Column("model_b", Text, nullable=False),
    Column("propensity", Float, nullable=False),
    Column("sampling_rule", Text, nullable=False),
    Column("roster_revision", Integer, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("turn", Integer, nullable=False),
    Column("language", Text),
    Column("category_tag", Text),
    Column("redrawn_from", Text),
    Column("continued_from", Text),
    Column("consent", Text),
    Column("stop_requested", Boolean, nullable=False),
    Column("claimed_by", Text),
    Column("ended_at", Text),
    Column("shared_at", Text),
    Column("erased_at", Text),
    Index(None, "voter", "created_at"),
    # The few battles that runners look for among the many that are over.
    Index(
        "ix_battles_open",
        "state",
        sqlite_where=text("state IN ('created', 'running')"),
        postgresql_where=text("state IN ('created', 'running')"),
    ),
    # All others, so that metrics count them without a look at the long rows.
    Index(
        "ix_battles_not_open",
        "state",
        sqlite_where=text("state NOT IN ('created', 'running')"),
        postgresql_where=text("state NOT IN ('created', 'running')"),
    ),
    # What void rates add up, likewise.
    Index(
        "ix_battles_over",
        "campaign",
        "model_a",
        "model_b",
        "turn",
        sqlite_where=text("state IN ('voted', 'skipped', 'void')"),
        postgresql_where=text("state IN ('voted', 'skipped', 'void')"),
    ),
    Index(
        "ix_battles_outcomes",
        "campaign",
        "ended_at",
        sqlite_where=text("state IN ('skipped', 'void')"),
        postgresql_where=text("state IN ('skipped', 'void')"),
    ),
    # The few that are shared, and, for the retention, the oldest that still have their text.
    Index(
        "ix_battles_shared",
        "shared_at",
        sqlite_where=text("shared_at IS NOT NULL"),
        postgresql_where=text("shared_at IS NOT NULL"),
    ),
    Index(
        "ix_battles_kept",
        "created_at",
        sqlite_where=text("erased_at IS NULL"),
        postgresql_where=text("erased_at IS NULL"),
    ),
)

# The conversation that a battle goes on from, alike on both sides.
openings = Table(
    "openings",
    metadata,
    Column("battle_id", Text, ForeignKey("battles.id"), primary_key=True),
    Column("messages", JSON, nullable=False),
)

turns = Table(
    "turns",
    metadata,
    Column("battle_id", Text, ForeignKey("battles.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("prompt", Text, nullable=False),
    Column("state", Text, nullable=False),
    *(
        Column(f"{name}_{side}", kind)
        for side in ("a", "b")
        for name, kind in (
            ("text", Text),
            ("finish", Text),
            ("tokens", Integer),
            ("ttft", Float),
            ("duration", Float),
        )
    ),
    Column("steps", JSON),
    Column("leaks", JSON(none_as_null=True)),
    Column("void_reason", Text),
    Column("void_side", Text),
    Column("void_error", Text),
    Index(
        "ix_turns_failed",
        "battle_id",
        sqlite_where=text("void_side IS NOT NULL"),
        postgresql_where=text("void_side IS NOT NULL"),
    ),
)

records = Table(
    "records",
    metadata,
    Column("n", RowNumber, primary_key=True, autoincrement=True),
    Column("seq", BigInteger, unique=True),
    Column("id", Text, nullable=False, unique=True),
    Column("type", Text, nullable=False),
    Column("campaign", Text, ForeignKey("campaigns.id"), nullable=False),
    Column("timestamp", Text, nullable=False),
    Column("battle_id", Text),
    Column("model_a", Text),
    Column("model_b", Text),
    Column("grade", Integer),
    Column("winner", Text),
    Column("both_bad", Boolean),
    Column("reasons", JSON, nullable=False),
    Column("voter", Text),
    Column("voter_kind", Text),
    Column("language", Text),
    Column("category_tag", Text),
    Column("turns", Integer),
    Column("tokens_a", Integer),
    Column("tokens_b", Integer),
    Column("ttft_a", Float),
    Column("ttft_b", Float),
    Column("duration_a", Float),
    Column("duration_b", Float),
    Column("finish_a", Text),
    Column("finish_b", Text),
    Column("propensity", Float),
    Column("sampling_rule", Text),
    Column("roster_revision", Integer),
    Column("target", Text),
    Column("reason", Text),
    Column("content_digest", Text),
    Column("data", JSON(none_as_null=True)),
    Column("consent", Text),
    Column("hash", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("request_digest", Text),
    # One vote per battle, whatever the application does.
    Index(
        "uq_records_vote_of_battle",
        "battle_id",
        unique=True,
        sqlite_where=text("type = 'vote' AND battle_id IS NOT NULL"),
        postgresql_where=text("type = 'vote' AND battle_id IS NOT NULL"),
    ),
    Index(
        "ix_records_unsealed",
        "n",
        sqlite_where=text("seq IS NULL"),
        postgresql_where=text("seq IS NULL"),
    ),
    Index(
        "ix_records_target",
        "target",
        sqlite_where=text("target IS NOT NULL"),
        postgresql_where=text("target IS NOT NULL"),
    ),
    Index(None, "campaign", "seq"),
    # The few events of a campaign among its many votes.
    Index(
        "ix_records_events",
        "campaign",
        "type",
        "seq",
        sqlite_where=IS_EVENT,
        postgresql_where=IS_EVENT,
    ),
)


def unindexed(column: Column[_T]) -> ColumnElement[_T]:
    """The column, where the other conditions leave few rows. A planner does not know how few: by an
    index on this column it would walk through many more.
    """
    return func.coalesce(column, column)


contents = Table(
    "contents",
    metadata,
    Column("record_id", Text, ForeignKey("records.id"), primary_key=True),
    Column("salt", Text, nullable=False),
    Column("conversation_a", JSON),
    Column("conversation_b", JSON),
    Column("comment", Text),
)

pseudonyms = Table(
    "pseudonyms",
    metadata,
    Column("voter", Text, primary_key=True),
    Column("campaign", Text, ForeignKey("campaigns.id"), primary_key=True),
    Column("pseudonym", Text, nullable=False, unique=True),
)

reports = Table(
    "reports",
    metadata,
    Column("n", RowNumber, primary_key=True, autoincrement=True),
    Column("battle_id", Text, ForeignKey("battles.id"), nullable=False, index=True),
    Column("voter", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("side", Text),
    Column("handled_at", Text),
)

imports = Table(
    "imports",
    metadata,
    Column("campaign", Text, ForeignKey("campaigns.id"), primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("votes", Integer, nullable=False),
    Column("imported_at", Text, nullable=False),
)

# An import's way into the log: its rows are stored in short transactions, count all at once when
# its state is `done`, and leave from here as they are sealed. Nobody sees those of another state.
# `begun_at` is when the state began; an open try that goes on begins anew.
import_tries = Table(
    "import_tries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("campaign", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("begun_at", Text, nullable=False),
    Column("state", Text, nullable=False),
)

import_rows = Table(
    "import_rows",
    metadata,
    Column("import_try", Text, ForeignKey("import_tries.id"), primary_key=True),
    Column("place", Integer, primary_key=True),
    *(
        Column(column.name, column.type, nullable=column.nullable)
        for column in records.c
        if column.name not in ("n", "seq", "idempotency_key", "request_digest")
    ),
    *(Column(column.name, column.type) for column in contents.c if column.name != "record_id"),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", RowNumber, primary_key=True, autoincrement=True),
    Column("campaign", Text, ForeignKey("campaigns.id"), nullable=False),
    Column("category", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("log_position", BigInteger, nullable=False),
    Column("published_at", Text, nullable=False),
    Column("config", JSON, nullable=False),
    Column("config_hash", Text, nullable=False),
    Column("rows", JSON, nullable=False),
    Column("voters", Integer, nullable=False),
    Column("official", Boolean, nullable=False, server_default=true()),
    Column("details", JSON, nullable=False, server_default=text("'{}'")),
    Index(None, "campaign", "category", "id"),
)

# Roots of whole subtrees of the log's tree, of 256 ** level leaves each: see `arena.tree`.
tree_nodes = Table(
    "tree_nodes",
    metadata,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
)

tree_heads = Table(
    "tree_heads",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("root", Text, nullable=False),
    Column("timestamp", Text, nullable=False),
    Column("note", Text, nullable=False),
)

# Public keys of all keys that heads were signed with: old signatures are checked against them.
signing_keys = Table(
    "signing_keys",
    metadata,
    Column("verifier_key", Text, primary_key=True),
    Column("since", Text, nullable=False),
)

# Boards that were sealed, whole as they are shown; never changed. `sealing` is the record's id.
sealed_boards = Table(
    "sealed_boards",
    metadata,
    Column("sealing", Text, primary_key=True),
    Column("category", Text, primary_key=True),
    Column("campaign", Text, ForeignKey("campaigns.id"), nullable=False),
    Column("log_position", BigInteger, nullable=False),
    Column("document", JSON, nullable=False),
    Column("digest", Text, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text),
    Column("fence", BigInteger, nullable=False),
    Column("beat", BigInteger, nullable=False),
)

invitations = Table(
    "invitations",
    metadata,
    Column("digest", Text, primary_key=True),  # of the link's secret, which is not kept
    Column("campaign", Text, ForeignKey("campaigns.id"), nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("expires_at", Text),
    Column("revoked_at", Text),
)

audit = Table(
    "audit",
    metadata,
    Column("n", RowNumber, primary_key=True, autoincrement=True),
    Column("at", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("target", Text),
    Column("details", JSON, nullable=False),
)

# What each model did on a UTC day; `ttft` and `duration` are sums of seconds over the answers.
usage = Table(
    "usage",
    metadata,
    Column("day", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("answers", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("ttft", Float, nullable=False),
    Column("duration", Float, nullable=False),
)

# How the endpoints of models that ever failed are doing; the rules are in arena/circuit.py.
circuits = Table(
    "circuits",
    metadata,
    Column("model", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("failing", Float, nullable=False),
    Column("rest", Float, nullable=False),
    Column("probes", Integer, nullable=False),
    Column("error", Text),
    Column("error_at", Text),
)

# How often each model failed in which way.
failures = Table(
    "failures",
    metadata,
    Column("model", Text, primary_key=True),
    Column("error", Text, primary_key=True),
    Column("number", Integer, nullable=False),
)

# The newest pair counts of a board, for its matrices; replaced in place.
pair_tables = Table(
    "pair_tables",
    metadata,
    Column("campaign", Text, ForeignKey("campaigns.id"), primary_key=True),
    Column("category", Text, primary_key=True),
    Column("log_position", BigInteger, nullable=False),
    Column("published_at", Text, nullable=False),
    Column("data", JSON, nullable=False),
)

# The share of its turns that each model's failure made void; replaced in place.
void_rates = Table(
    "void_rates",
    metadata,
    Column("campaign", Text, ForeignKey("campaigns.id"), primary_key=True),
    Column("rates", JSON, nullable=False),
)

# The sealed log in columns, as rating needs it: see `arena.counting`. A cache, safe to lose.
counted_pages = Table(
    "counted_pages",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)
