"""What is inside packages, who signed them, where they were published; states have URLs."""

from collections.abc import Iterable

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

PACKAGE = ("name", "version", "architecture", "format")
INDEXES = {"time": "published_at", "app": "app", "commit": "commit"}


def upgrade() -> None:
    """Add columns and tables; what was recorded stays."""
    with op.batch_alter_table("packages") as table:
        table.add_column(sa.Column("signed_by", sa.Text(), server_default="", nullable=False))
        table.add_column(sa.Column("withdrawn_at", sa.String()))
    for word, column in INDEXES.items():
        op.create_index(f"packages_by_{word}", "packages", [column])
    op.create_table(
        "package_facts",
        *_keys(PACKAGE),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint(*PACKAGE),
    )
    op.create_table(
        "package_terms",
        *_keys(("kind", "term", *PACKAGE)),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("kind", "term", *PACKAGE),
        sqlite_with_rowid=False,
    )
    _give_states_urls()
    _create_publications()


def _give_states_urls() -> None:
    with op.batch_alter_table("repository_states") as table:
        table.add_column(sa.Column("url", sa.Text(), server_default="", nullable=False))
    op.execute("UPDATE repository_states SET url = 'file:' || directory")
    with op.batch_alter_table("repository_states") as table:
        table.drop_column("directory")


def _create_publications() -> None:
    op.create_table(
        "publications",
        *_keys((*PACKAGE, "repository", "channel")),
        sa.Column("state_number", sa.Integer(), nullable=False),
        sa.Column("published_by", sa.Text(), server_default="", nullable=False),
        sa.Column("published_at", sa.String(), nullable=False),
        sa.Column("withdrawn_in", sa.Integer(), server_default="0", nullable=False),
        sa.Column("withdrawn_at", sa.String()),
        sa.Column("withdrawn_by", sa.Text(), server_default="", nullable=False),
        sa.Column("withdrawn_because", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint(*PACKAGE, "repository", "channel", "state_number"),
    )
    op.execute(
        "INSERT INTO publications (name, version, architecture, format, repository, channel,"
        " state_number, published_by, published_at)"
        " SELECT name, version, architecture, format, coalesce((SELECT repository FROM"
        " repository_states s WHERE s.channel = p.channel AND s.number = p.state_number), 'main'),"
        " channel, state_number, published_by, published_at FROM packages p"
    )


def _keys(names: Iterable[str]) -> tuple[sa.Column[str], ...]:
    return tuple(sa.Column(name, sa.String(), nullable=False) for name in names)


def downgrade() -> None:
    """Go back; facts and publications are lost."""
    for table_name in ("publications", "package_terms", "package_facts"):
        op.drop_table(table_name)
    with op.batch_alter_table("repository_states") as table:
        table.alter_column("url", new_column_name="directory")
    for word in INDEXES:
        op.drop_index(f"packages_by_{word}", "packages")
    with op.batch_alter_table("packages") as table:
        table.drop_column("withdrawn_at")
        table.drop_column("signed_by")
