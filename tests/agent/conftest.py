"""A database of an agent's making, for the tests of ``flyball alerts``."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.agent.alerts_fakes import GONE, HOT, HOT_ALERT, LOST, NOW, OVER, RUN, STALLED, raised, record
from tests.agent.fakes import HOSTILE, FakeClock
from tests.history.alert_fakes import change, done, told

from flyball.database import Database, open_database
from flyball.history.alert_log import AlertLog
from flyball.history.alert_records import AlertStatus
from flyball.history.outbox import Outbox


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The agent's state folder, which is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLYBALL_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("FLYBALL_DB", "sqlite:///not-this-one.db")
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables, made once: that takes longer than a test."""
    path = tmp_path_factory.mktemp("empty") / "agent.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def database(state: Path, empty: Path) -> Iterator[Database]:
    """The agent's, which has just evaluated its policies."""
    shutil.copy(empty, state)
    with open_database(f"sqlite:///{state / 'agent.db'}") as opened:
        AlertLog(opened).heartbeat(NOW - 5)
        yield opened


@pytest.fixture
def outbox(database: Database) -> Outbox:
    """Of that database."""
    return Outbox(database, clock=FakeClock(now=NOW))


@pytest.fixture
def six(database: Database, outbox: Outbox) -> None:
    """1 fires, told; 2 is critical; 3 pending; 4 resolved; 5 never fired; 6 fires anew, hostile."""
    alerts = AlertLog(database, clock=FakeClock(now=NOW))
    record(alerts, HOT_ALERT, told(HOT_ALERT, "ops", NOW - 3600), told(HOT_ALERT, "chat", NOW - 3600))
    record(alerts, raised(LOST, "GpuLost", ago=1800, gpu="5", uuid="GPU-0"))
    record(alerts, raised(STALLED, "RunStalled", AlertStatus.PENDING, ago=20, run=RUN, rank="0"))
    record(alerts, OVER)
    record(alerts, raised(GONE, "LossNaN", AlertStatus.DROPPED, ago=10_800, run="nightly"), ago=10_800)
    record(alerts, raised("f" * 16, HOSTILE, ago=30, run=HOSTILE))
    (to_ops,) = outbox.due("ops", NOW, 9)
    outbox.finish(
        [
            done(
                to_ops, time=NOW - 3600, outcome="retry", status=503, detail=f"busy {HOSTILE}", next_time=NOW
            ),
            done(to_ops, time=NOW - 3590),
        ]
    )


@pytest.fixture
def told_twice(database: Database, outbox: Outbox) -> None:
    """Alert 1 was told to ops and chat that it fires, and is over; alert 2 waits for ops."""
    over = replace(HOT_ALERT, status=AlertStatus.RESOLVED, resolved_time=NOW - 60)
    sent = [told(one, name, NOW) for one in (HOT_ALERT, over) for name in ("ops", "chat")]
    waits = told(raised(LOST, "GpuLost", ago=60), "ops", NOW)
    AlertLog(database).record([change(each.alert, NOW) for each in (*sent, waits)], [*sent, waits])
    for name in ("ops", "chat"):
        for _ in range(2):
            due = outbox.due(name, NOW, 9)
            outbox.finish([done(each) for each in due if each.alert.fingerprint == HOT])
