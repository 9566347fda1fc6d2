"""What voters own (sharing, erasure), what operators do, and the pairs behind a board."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("battles", sa.Column("shared_at", sa.Text(), nullable=True))
    op.add_column("battles", sa.Column("erased_at", sa.Text(), nullable=True))
    for name, column, condition in (
        ("ix_battles_shared", "shared_at", "shared_at IS NOT NULL"),
        ("ix_battles_kept", "created_at", "erased_at IS NULL"),
    ):
        op.create_index(
            name,
            "battles",
            [column],
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )
    op.add_column("reports", sa.Column("side", sa.Text(), nullable=True))
    op.add_column("reports", sa.Column("handled_at", sa.Text(), nullable=True))
    op.add_column("roster_revisions", sa.Column("file_digest", sa.Text(), nullable=True))
    op.create_table(
        "invitations",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Text(), nullable=True),
        sa.Column("revoked_at", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["campaign"], ["campaigns.id"], name="fk_invitations_campaign_campaigns"
        ),
        sa.PrimaryKeyConstraint("digest", name="pk_invitations"),
    )
    op.create_table(
        "audit",
        sa.Column("n", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("n", name="pk_audit"),
    )
    op.create_table(
        "usage",
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("answers", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("ttft", sa.Float(), nullable=False),
        sa.Column("duration", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("day", "model", name="pk_usage"),
    )
    op.create_table(
        "pair_tables",
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("log_position", sa.BigInteger(), nullable=False),
        sa.Column("published_at", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign"], ["campaigns.id"], name="fk_pair_tables_campaign_campaigns"
        ),
        sa.PrimaryKeyConstraint("campaign", "category", name="pk_pair_tables"),
    )
