"""Battles that go on with an earlier conversation; reports found by their battle."""

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
