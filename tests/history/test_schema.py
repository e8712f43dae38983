"""Migrations make what the models say, and leave Optuna's tables alone."""

import optuna
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from tests.history.fakes import complete, new_experiment, new_trial

from flyball.database import Database, open_database
from flyball.database.schema import MIGRATIONS, VERSION_TABLE, is_current, revisions
from flyball.errors import DatabaseError
from flyball.history.alert_tables import ALERTS
from flyball.history.metadata import METADATA, PREFIX
from flyball.history.migrations.ours import include_object
from flyball.history.models import TrialRow
from flyball.history.store import History


def version_of_optuna(database: Database) -> list[str]:
    with database.engine.connect() as connection:
        return list(connection.scalars(text("SELECT version_num FROM alembic_version")))


def tell_one(url: str, name: str, value: float) -> None:
    storage = optuna.storages.RDBStorage(url)
    try:
        study = optuna.create_study(storage=storage, study_name=name)
        trial = study.ask()
        trial.suggest_int("micro_batch", 1, 8)
        study.tell(trial, value)
    finally:
        storage.engine.dispose()


def test_migrations_and_models_agree(database: Database) -> None:
    assert {ALERTS.metadata, TrialRow.metadata} == {METADATA}  # the tables of both are there
    options = {"include_object": include_object, "version_table": VERSION_TABLE, "compare_type": True}
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []


def test_the_revisions_are_those_that_alembic_finds() -> None:
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert [each.revision for each in scripts.walk_revisions()] == list(reversed(revisions()))
    assert scripts.get_heads() == [revisions()[-1]]


def test_another_process_can_migrate(url: str) -> None:
    with open_database(url, migrate_apart=True) as database:
        assert is_current(database.engine, database.place)


def test_every_table_of_ours_has_our_prefix(database: Database) -> None:
    assert all(name.startswith(PREFIX) for name in inspect(database.engine).get_table_names())


@pytest.mark.parametrize("ours_first", [True, False])
def test_optuna_works_in_the_same_database(url: str, ours_first: bool) -> None:
    if not ours_first:
        tell_one(open_url(url), "before", 1.0)
    with open_database(url) as database:
        tell_one(database.url, "beside", 2.0)
        head = version_of_optuna(database)
        history = History(database)
        experiment = new_experiment(history)
        complete(history, new_trial(history, experiment, 0), 5.0)
    with open_database(url) as database:
        assert version_of_optuna(database) == head
        assert len(head) == 1
        tables = inspect(database.engine).get_table_names()
        assert {"studies", "trials", "flyball_trial", VERSION_TABLE} <= set(tables)
        assert [each.number for each in History(database).trials(experiment)] == [0]
        storage = optuna.storages.RDBStorage(database.url)
        study = optuna.load_study(storage=storage, study_name="beside")
        assert study.best_value == 2.0
        assert len(optuna.get_all_study_names(storage)) == (1 if ours_first else 2)
        storage.engine.dispose()


def open_url(url: str) -> str:
    """The URL with the driver that is installed, as a user of Optuna alone would write it."""
    return url.replace("postgresql://", "postgresql+psycopg://")


def test_a_database_of_a_newer_version_is_refused(url: str) -> None:
    with open_database(url) as database, database.writing() as session:
        session.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="written by a newer version of flyball; update flyball"):
        open_database(url)


def test_other_tables_are_left_alone(url: str) -> None:
    with open_database(url) as database, database.writing() as session:
        session.execute(text("CREATE TABLE theirs (n INTEGER)"))
        session.execute(text(f"DROP TABLE {VERSION_TABLE}"))
        for table in reversed(METADATA.sorted_tables):
            session.execute(text(f"DROP TABLE {table.name}"))
    with open_database(url) as database:
        assert "theirs" in inspect(database.engine).get_table_names()


ADDED_BY = {
    "0003": ("flyball_run", "flyball_p2p"),
    "0004": (
        "flyball_delivery",
        "flyball_notification",
        "flyball_alert",
        "flyball_mute",
        "flyball_receiver",
        "flyball_agent",
        "flyball_tuning_request",
    ),
}


@pytest.mark.parametrize("before", ["0002", "0003"])
def test_a_database_of_a_version_before_is_brought_up_to_date(url: str, before: str) -> None:
    with open_database(url) as database:
        experiment = new_experiment(History(database))
    with open_database(url) as database, database.writing() as session:
        for version in sorted(ADDED_BY, reverse=True):
            for table in ADDED_BY[version] if version > before else ():
                session.execute(text(f"DROP TABLE {table}"))
        session.execute(text("ALTER TABLE flyball_trial DROP COLUMN alerts"))
        session.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{before}'"))
    with open_database(url) as database:
        test_migrations_and_models_agree(database)
        history = History(database)
        new_trial(history, experiment, 0)
        assert [trial.alerts for trial in history.trials(experiment)] == [None]
