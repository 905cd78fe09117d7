"""Judgements are kept with their policy, and looks with their samples and metrics."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the columns; what was recorded has sums alone."""
    op.create_table(
        "judgements",
        sa.Column("rollout_id", sa.String(), nullable=False),
        sa.Column("action", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("canary", sa.Text(), server_default="", nullable=False),
        sa.Column("baseline", sa.Text(), server_default="", nullable=False),
        sa.Column("since", sa.String(), nullable=False),
        sa.Column("observe_s", sa.Float(), nullable=False),
        sa.Column("steps", sa.Integer(), server_default="0", nullable=False),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("rollout_id", "action"),
    )
    with op.batch_alter_table("verdicts") as table:
        table.add_column(sa.Column("metrics", sa.JSON(), nullable=True))
        table.add_column(sa.Column("samples", sa.JSON(), nullable=True))
        table.add_column(sa.Column("instances", sa.JSON(), nullable=True))
        table.add_column(sa.Column("score", sa.Float(), nullable=True))
        table.add_column(sa.Column("observed", sa.Float(), nullable=True))
        table.add_column(sa.Column("is_final", sa.Boolean(), nullable=True))
