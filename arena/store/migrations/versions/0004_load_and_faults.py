"""Continued conversations, circuits, staged imports, kept pages and void rates; two indexes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("battles", sa.Column("continued_from", sa.Text(), nullable=True))
    op.create_table(
        "openings",
        sa.Column("battle_id", sa.Text(), nullable=False),
        sa.Column("messages", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["battle_id"], ["battles.id"], name="fk_openings_battle_id_battles"
        ),
        sa.PrimaryKeyConstraint("battle_id", name="pk_openings"),
    )
    op.create_index("ix_reports_battle_id", "reports", ["battle_id"])
    op.create_table(
        "circuits",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("failing", sa.Float(), nullable=False),
        sa.Column("rest", sa.Float(), nullable=False),
        sa.Column("probes", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("error_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("model", name="pk_circuits"),
    )
    op.create_table(
        "failures",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("model", "error", name="pk_failures"),
    )
    op.create_table(
        "void_rates",
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("rates", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign"], ["campaigns.id"], name="fk_void_rates_campaign_campaigns"
        ),
        sa.PrimaryKeyConstraint("campaign", name="pk_void_rates"),
    )
    op.create_table(
        "counted_pages",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_counted_pages"),
    )
    op.create_table(
        "import_tries",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_import_tries"),
    )
    op.create_table(
        "import_rows",
        sa.Column("import_try", sa.Text(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
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
        sa.Column("data", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("salt", sa.Text(), nullable=True),
        sa.Column("conversation_a", sa.JSON(), nullable=True),
        sa.Column("conversation_b", sa.JSON(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["import_try"], ["import_tries.id"], name="fk_import_rows_import_try_import_tries"
        ),
        sa.PrimaryKeyConstraint("import_try", "place", name="pk_import_rows"),
    )
    condition = "state NOT IN ('created', 'running')"
    op.create_index(
        "ix_battles_not_open",
        "battles",
        ["state"],
        sqlite_where=sa.text(condition),
        postgresql_where=sa.text(condition),
    )
    condition = "state IN ('voted', 'skipped', 'void')"
    op.create_index(
        "ix_battles_over",
        "battles",
        ["campaign", "model_a", "model_b", "turn"],
        sqlite_where=sa.text(condition),
        postgresql_where=sa.text(condition),
    )
