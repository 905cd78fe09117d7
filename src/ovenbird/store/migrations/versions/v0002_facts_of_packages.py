"""What is inside packages, who signed them, where they were published; states have URLs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns and a table; what was recorded stays."""
    with op.batch_alter_table("packages") as table:
        table.add_column(sa.Column("signed_by", sa.Text(), server_default="", nullable=False))
        table.add_column(sa.Column("facts", sa.JSON()))
    with op.batch_alter_table("repository_states") as table:
        table.add_column(sa.Column("url", sa.Text(), server_default="", nullable=False))
    op.execute("UPDATE repository_states SET url = 'file:' || directory")
    with op.batch_alter_table("repository_states") as table:
        table.drop_column("directory")
    op.create_table(
        "publications",
        *(
            sa.Column(name, sa.String(), nullable=False)
            for name in ("name", "version", "architecture", "format", "repository", "channel")
        ),
        sa.Column("state_number", sa.Integer(), server_default="0", nullable=False),
        sa.Column("published_by", sa.Text(), server_default="", nullable=False),
        sa.Column("published_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint(
            "name", "version", "architecture", "format", "repository", "channel"
        ),
    )
    op.execute(
        "INSERT INTO publications SELECT name, version, architecture, format, 'main', channel,"
        " state_number, published_by, published_at FROM packages"
    )


def downgrade() -> None:
    """Go back; facts and publications are lost."""
    op.drop_table("publications")
    with op.batch_alter_table("repository_states") as table:
        table.alter_column("url", new_column_name="directory")
    with op.batch_alter_table("packages") as table:
        table.drop_column("facts")
        table.drop_column("signed_by")
