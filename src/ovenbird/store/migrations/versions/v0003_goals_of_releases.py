"""Releases have a goal: all environments, or the image alone."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what was recorded went for all environments."""
    with op.batch_alter_table("releases") as table:
        table.add_column(sa.Column("goal", sa.Text(), server_default="rollout", nullable=False))
