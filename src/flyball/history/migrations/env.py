"""What alembic runs: our tables only, in the transaction and under the lock of whoever called it."""

from alembic import context

from flyball.database.schema import VERSION_TABLE
from flyball.history.metadata import METADATA
from flyball.history.migrations.ours import include_object

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    include_object=include_object,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
