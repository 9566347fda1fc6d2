"""Methods in the log, and boards of several methods."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("records", sa.Column("data", sa.JSON(none_as_null=True), nullable=True))
    op.create_index(
        "ix_records_events",
        "records",
        ["campaign", "type", "seq"],
        unique=False,
        sqlite_where=sa.text("type = 'method'"),
        postgresql_where=sa.text("type = 'method'"),
    )
    op.add_column(
        "snapshots",
        sa.Column("official", sa.Boolean(), server_default=sa.true(), nullable=False),
    )
    op.add_column(
        "snapshots",
        sa.Column("details", sa.JSON(), server_default=sa.text("'{}'"), nullable=False),
    )
