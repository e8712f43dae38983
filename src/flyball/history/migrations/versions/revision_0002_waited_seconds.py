"""How long a trial waited for its fork server: a resumed study forecasts by the run alone."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column, null for trials that were recorded before."""
    op.add_column("flyball_trial", sa.Column("waited_seconds", sa.Double(), nullable=True))
