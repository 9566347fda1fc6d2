"""first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "campaigns",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("title_zh", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("description_zh", sa.Text(), nullable=False),
        sa.Column("consent", sa.Text(), nullable=False),
        sa.Column("consent_zh", sa.Text(), nullable=False),
        sa.Column("credit", sa.Text(), nullable=False),
        sa.Column("license", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("publish_text", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaigns")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "roster_revisions",
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("entries", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_roster_revisions")),
    )
    op.create_table(
        "battles",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("voter", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("model_a", sa.Text(), nullable=False),
        sa.Column("model_b", sa.Text(), nullable=False),
        sa.Column("propensity", sa.Float(), nullable=False),
        sa.Column("sampling_rule", sa.Text(), nullable=False),
        sa.Column("roster_revision", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("turn", sa.Integer(), nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("category_tag", sa.Text(), nullable=True),
        sa.Column("redrawn_from", sa.Text(), nullable=True),
        sa.Column("stop_requested", sa.Boolean(), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["campaign"], ["campaigns.id"], name=op.f("fk_battles_campaign")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_battles")),
    )
    with op.batch_alter_table("battles", schema=None) as batch_op:
        batch_op.create_index(
            "ix_battles_open",
            ["state"],
            unique=False,
            sqlite_where=sa.text("state IN ('created', 'running')"),
            postgresql_where=sa.text("state IN ('created', 'running')"),
        )
        batch_op.create_index(
            "ix_battles_outcomes",
            ["campaign", "ended_at"],
            unique=False,
            sqlite_where=sa.text("state IN ('skipped', 'void')"),
            postgresql_where=sa.text("state IN ('skipped', 'void')"),
        )
        batch_op.create_index(
            batch_op.f("ix_battles_voter_created_at"), ["voter", "created_at"], unique=False
        )

    op.create_table(
        "imports",
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("votes", sa.Integer(), nullable=False),
        sa.Column("imported_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["campaign"], ["campaigns.id"], name=op.f("fk_imports_campaign")),
        sa.PrimaryKeyConstraint("campaign", "digest", name=op.f("pk_imports")),
    )
    op.create_table(
        "pseudonyms",
        sa.Column("voter", sa.Text(), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("pseudonym", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign"], ["campaigns.id"], name=op.f("fk_pseudonyms_campaign")
        ),
        sa.PrimaryKeyConstraint("voter", "campaign", name=op.f("pk_pseudonyms")),
        sa.UniqueConstraint("pseudonym", name=op.f("uq_pseudonyms_pseudonym")),
    )
    op.create_table(
        "records",
        sa.Column(
            "n",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("timestamp", sa.Text(), nullable=False),
        sa.Column("battle_id", sa.Text(), nullable=True),
        sa.Column("model_a", sa.Text(), nullable=True),
        sa.Column("model_b", sa.Text(), nullable=True),
        sa.Column("grade", sa.Integer(), nullable=True),
        sa.Column("winner", sa.Text(), nullable=True),
        sa.Column("both_bad", sa.Boolean(), nullable=True),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("voter", sa.Text(), nullable=True),
        sa.Column("voter_kind", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("category_tag", sa.Text(), nullable=True),
        sa.Column("turns", sa.Integer(), nullable=True),
        sa.Column("tokens_a", sa.Integer(), nullable=True),
        sa.Column("tokens_b", sa.Integer(), nullable=True),
        sa.Column("ttft_a", sa.Float(), nullable=True),
        sa.Column("ttft_b", sa.Float(), nullable=True),
        sa.Column("duration_a", sa.Float(), nullable=True),
        sa.Column("duration_b", sa.Float(), nullable=True),
        sa.Column("finish_a", sa.Text(), nullable=True),
        sa.Column("finish_b", sa.Text(), nullable=True),
        sa.Column("propensity", sa.Float(), nullable=True),
        sa.Column("sampling_rule", sa.Text(), nullable=True),
        sa.Column("roster_revision", sa.Integer(), nullable=True),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("content_digest", sa.Text(), nullable=True),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
        sa.Column("request_digest", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["campaign"], ["campaigns.id"], name=op.f("fk_records_campaign")),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_records")),
        sa.UniqueConstraint("id", name=op.f("uq_records_id")),
        sa.UniqueConstraint("seq", name=op.f("uq_records_seq")),
    )
    with op.batch_alter_table("records", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_records_campaign_seq"), ["campaign", "seq"], unique=False
        )
        batch_op.create_index(
            "ix_records_target",
            ["target"],
            unique=False,
            sqlite_where=sa.text("target IS NOT NULL"),
            postgresql_where=sa.text("target IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_records_unsealed",
            ["n"],
            unique=False,
            sqlite_where=sa.text("seq IS NULL"),
            postgresql_where=sa.text("seq IS NULL"),
        )
        batch_op.create_index(
            "uq_records_vote_of_battle",
            ["battle_id"],
            unique=True,
            sqlite_where=sa.text("type = 'vote' AND battle_id IS NOT NULL"),
            postgresql_where=sa.text("type = 'vote' AND battle_id IS NOT NULL"),
        )

    op.create_table(
        "snapshots",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("log_position", sa.BigInteger(), nullable=False),
        sa.Column("published_at", sa.Text(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("rows", sa.JSON(), nullable=False),
        sa.Column("voters", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["campaign"], ["campaigns.id"], name=op.f("fk_snapshots_campaign")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshots")),
    )
    with op.batch_alter_table("snapshots", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_snapshots_campaign_category_id"),
            ["campaign", "category", "id"],
            unique=False,
        )

    op.create_table(
        "contents",
        sa.Column("record_id", sa.Text(), nullable=False),
        sa.Column("salt", sa.Text(), nullable=False),
        sa.Column("conversation_a", sa.JSON(), nullable=True),
        sa.Column("conversation_b", sa.JSON(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["record_id"], ["records.id"], name=op.f("fk_contents_record_id")),
        sa.PrimaryKeyConstraint("record_id", name=op.f("pk_contents")),
    )
    op.create_table(
        "reports",
        sa.Column(
            "n",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("battle_id", sa.Text(), nullable=False),
        sa.Column("voter", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["battle_id"], ["battles.id"], name=op.f("fk_reports_battle_id")),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_reports")),
    )
    op.create_table(
        "turns",
        sa.Column("battle_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("text_a", sa.Text(), nullable=True),
        sa.Column("finish_a", sa.Text(), nullable=True),
        sa.Column("tokens_a", sa.Integer(), nullable=True),
        sa.Column("ttft_a", sa.Float(), nullable=True),
        sa.Column("duration_a", sa.Float(), nullable=True),
        sa.Column("text_b", sa.Text(), nullable=True),
        sa.Column("finish_b", sa.Text(), nullable=True),
        sa.Column("tokens_b", sa.Integer(), nullable=True),
        sa.Column("ttft_b", sa.Float(), nullable=True),
        sa.Column("duration_b", sa.Float(), nullable=True),
        sa.Column("steps", sa.JSON(), nullable=True),
        sa.Column("void_reason", sa.Text(), nullable=True),
        sa.Column("void_side", sa.Text(), nullable=True),
        sa.Column("void_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["battle_id"], ["battles.id"], name=op.f("fk_turns_battle_id")),
        sa.PrimaryKeyConstraint("battle_id", "number", name=op.f("pk_turns")),
    )
    with op.batch_alter_table("turns", schema=None) as batch_op:
        batch_op.create_index(
            "ix_turns_failed",
            ["battle_id"],
            unique=False,
            sqlite_where=sa.text("void_side IS NOT NULL"),
            postgresql_where=sa.text("void_side IS NOT NULL"),
        )
