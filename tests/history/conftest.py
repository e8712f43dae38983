"""Both databases for every test of the store."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.history.fakes import FakeClock
from tests.history.postgres_server import PostgresServer, installed_server

from flyball.database import Database, open_database
from flyball.history.store import History


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    yield from installed_server()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.live)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'history.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.empty()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with open_database(url) as opened:
        yield opened


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def history(database: Database, clock: FakeClock) -> History:
    return History(database, clock=clock)
