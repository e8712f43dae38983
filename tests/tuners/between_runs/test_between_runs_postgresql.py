"""A study over production runs on PostgreSQL, where several hosts share it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.history.fakes import elsewhere
from tests.history.postgres_server import PostgresServer, installed_server
from tests.tuners.production_bench import Production

from flyball.database import open_database
from flyball.history.owner import LEASE_SECONDS
from flyball.history.store import History

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    yield from installed_server()


@pytest.fixture
def job(server: PostgresServer, tmp_path: Path) -> Production:
    return Production(tmp_path, database_url=server.empty())


def test_it_comes_to_its_recommendation(job: Production) -> None:
    tried = job.runs(10)
    assert sorted(tried[1:4]) == [2, 4, 8]
    assert job.recommendation()["recommended"]["ds_config"]["train_micro_batch_size_per_gpu"] == 8


def test_a_run_of_another_host_is_under_way_while_it_is_heard_of(job: Production) -> None:
    job.runs(1)
    theirs = job.begin(owner=elsewhere())
    ours = job.begin()
    assert job.micro(ours) != job.micro(theirs)
    job.end(ours)
    with open_database(job.database_url) as database:
        # Half a lease later they still say that they live.
        job.clock.sleep(LEASE_SECONDS / 2)
        assert theirs.experiment_id is not None
        History(database, clock=job.clock).renew(theirs.experiment_id, elsewhere())
    job.end(job.begin(after_seconds=LEASE_SECONDS * 0.9))
    assert job.outcomes()[1] is None
    job.begin(after_seconds=LEASE_SECONDS * 1.1)
    assert job.outcomes()[1] == "interrupted"
