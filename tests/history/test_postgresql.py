"""A PostgreSQL server that can be reached, and every way in which one cannot."""

import socket
import sys
from collections.abc import Callable

import pytest
from sqlalchemy import text
from tests.history.fakes import new_experiment
from tests.history.postgres_server import PASSWORD, PostgresServer

from flyball.database import Database, open_database
from flyball.errors import DatabaseError, StorageFailed
from flyball.history.store import History


def test_a_missing_driver_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DatabaseError) as caught:
        open_database("postgresql://ann:a-secret@localhost/past")
    assert str(caught.value) == (
        "postgresql://ann:***@localhost/past: the PostgreSQL driver is not installed; "
        "pip install 'flyball[postgres]'"
    )


def test_a_server_that_does_not_answer() -> None:
    with socket.socket() as nobody:
        # Bound and not listening: connections to it are refused, and no one else gets the port.
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        with pytest.raises(DatabaseError, match=r"does not answer .*; start PostgreSQL") as caught:
            open_database(f"postgresql://ann:a-secret@127.0.0.1:{port}/past")
    assert "a-secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.live
@pytest.mark.parametrize(
    ("url", "what", "mend"),
    [
        (lambda server: server.url(password="wrong"), "the password is wrong", "check user and password"),
        (
            lambda server: server.url(password=None),
            "the password is wrong or missing",
            "check user and password",
        ),
        (lambda server: server.url("nothing"), "there is no such database", "createdb"),
        (lambda server: server.url(host="/nowhere"), "does not answer", "start PostgreSQL"),
        (lambda server: reader(server), "the user may not do this", "GRANT CREATE"),
        (
            lambda server: server.url(options="-cdefault_transaction_read_only=on -csearch_path=nothing"),
            "is read-only",
            "name the primary",
        ),
    ],
)
def test_a_server_that_refuses(
    postgres: PostgresServer, url: Callable[[PostgresServer], str], what: str, mend: str
) -> None:
    with pytest.raises(DatabaseError) as caught:
        open_database(url(postgres))
    assert what in caught.value.what
    assert mend in (caught.value.mend or "")
    assert PASSWORD not in str(caught.value)
    assert "\n" not in str(caught.value)


def reader(server: PostgresServer) -> str:
    """A user who may look and not make tables."""
    server.execute("CREATE ROLE reader LOGIN PASSWORD 'read'")
    return server.url(user="reader", password="read")


def cut(database: Database, server: PostgresServer) -> None:
    with database.writing() as session:
        own = session.scalar(text("SELECT pg_backend_pid()"))
        server.execute(f"SELECT pg_terminate_backend({own})")
        session.execute(text("SELECT 1"))


@pytest.mark.live
def test_a_connection_that_is_cut_in_the_middle(postgres: PostgresServer) -> None:
    with open_database(postgres.empty()) as database:
        history = History(database)
        new_experiment(history)
        with pytest.raises(StorageFailed, match=r"the connection was lost .*; see that the server runs"):
            cut(database, postgres)
        # The next call connects again: a server that came back is not the study's end.
        assert [each.experiment.name for each in history.experiments()] == ["first"]


@pytest.mark.live
def test_a_migration_waits_for_another_no_longer_than_it_may(postgres: PostgresServer) -> None:
    url = postgres.empty()
    with open_database(postgres.empty()) as database, database.writing() as session:
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": int.from_bytes(b"flyball")})
        with pytest.raises(DatabaseError, match="another process holds the lock; wait until it is done"):
            open_database(url, busy_timeout_seconds=0.05)
    open_database(url).close()
