"""The log's tree and its signed heads, sealed boards, consent and naming answers of battles."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_EVENTS = (
    "type IN ('blindness', 'campaign', 'change', 'disclosure', 'entry', 'method', 'retirement', "
    "'sealed', 'sealing')"
)


def upgrade() -> None:
    op.add_column("records", sa.Column("consent", sa.Text(), nullable=True))
    op.add_column("import_rows", sa.Column("consent", sa.Text(), nullable=True))
    op.add_column("battles", sa.Column("consent", sa.Text(), nullable=True))
    op.add_column("turns", sa.Column("leaks", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("roster_revisions", sa.Column("reason", sa.Text(), nullable=True))
    op.create_table(
        "tree_nodes",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "number", name="pk_tree_nodes"),
    )
    op.create_table(
        "tree_heads",
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("timestamp", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_tree_heads"),
    )
    op.create_table(
        "signing_keys",
        sa.Column("verifier_key", sa.Text(), nullable=False),
        sa.Column("since", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("verifier_key", name="pk_signing_keys"),
    )
    op.create_table(
        "sealed_boards",
        sa.Column("sealing", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("log_position", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign"], ["campaigns.id"], name="fk_sealed_boards_campaign_campaigns"
        ),
        sa.PrimaryKeyConstraint("sealing", "category", name="pk_sealed_boards"),
    )
    op.drop_index("ix_records_events", "records")
    op.create_index(
        "ix_records_events",
        "records",
        ["campaign", "type", "seq"],
        sqlite_where=sa.text(_EVENTS),
        postgresql_where=sa.text(_EVENTS),
    )
