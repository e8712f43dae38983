"""Runs and measurements of links, on both databases."""

import math

from tests.history.fakes import FakeClock, FakeFingerprint, new_experiment

from flyball.database import Database
from flyball.history.run_log import RunLog
from flyball.history.store import History


def start(log: RunLog, name: str = "job", **changes: object) -> int:
    given = {
        "name": name,
        "host": "node-1",
        "folder": f"/runs/{name}",
        "command": ["deepspeed", "train.py"],
        "started_time": 100.0,
        "fingerprint": FakeFingerprint(),
    }
    return log.start_run(**(given | changes))  # type: ignore[arg-type]


def test_a_run_is_there_while_it_runs_and_tells_its_end_when_it_has_ended(database: Database) -> None:
    log = RunLog(database)
    number = start(log)
    (running,) = log.runs()
    assert (running.finished_time, running.exit_status, running.summary) == (None, None, None)
    log.finish_run(
        number, finished_time=160.5, exit_status=3, signal=None, summary={"loss": math.nan, "steps": 4}
    )
    (ended,) = log.runs()
    assert (ended.name, ended.host, ended.command) == ("job", "node-1", ("deepspeed", "train.py"))
    assert (ended.started_time, ended.finished_time, ended.exit_status) == (100.0, 160.5, 3)
    assert ended.summary == {"loss": None, "steps": 4}
    assert ended.fingerprint == {"cpu_model": "test"}


def test_a_signal_is_no_exit_status(database: Database) -> None:
    log = RunLog(database)
    log.finish_run(start(log), finished_time=1.0, exit_status=None, signal=9, summary=None)
    assert [(run.exit_status, run.signal) for run in log.runs()] == [(None, 9)]


def test_the_newest_run_comes_first_and_a_name_may_be_used_by_several_hosts(database: Database) -> None:
    log = RunLog(database)
    start(log, host="node-1", started_time=10.0)
    start(log, host="node-2", started_time=11.0)
    start(log, "other", started_time=12.0, fingerprint=None)
    assert [run.name for run in log.runs()] == ["other", "job", "job"]
    assert [run.host for run in log.runs(name="job")] == ["node-2", "node-1"]
    assert [run.name for run in log.runs(limit=1)] == ["other"]
    assert log.runs(name="none") == []


def test_runs_and_experiments_of_one_machine_share_its_fingerprint(database: Database) -> None:
    start(RunLog(database))
    experiment = History(database).find_experiment(new_experiment(History(database)))
    assert experiment.fingerprint == RunLog(database).runs()[0].fingerprint


def test_a_command_that_no_database_can_hold_is_kept_readable(database: Database) -> None:
    log = RunLog(database)
    start(log, command=["echo", "a\0b", "\ud800"])
    assert log.runs()[0].command == ("echo", "a\ufffdb", "\ufffd")


def test_measured_links_are_kept_the_newest_first(database: Database, clock: FakeClock) -> None:
    log = RunLog(database, clock=clock)
    log.add_p2p(host="node-1", command=[], backend="gloo", document={"pairs": [1]})
    clock.sleep(5)
    log.add_p2p(host="node-1", command=["torchrun", "-"], backend="nccl", document={"pairs": [2]})
    newest, oldest = log.p2p()
    assert (newest.backend, newest.command, newest.document) == ("nccl", ("torchrun", "-"), {"pairs": [2]})
    assert newest.created_time - oldest.created_time == 5
    assert [each.id for each in log.p2p(limit=1)] == [newest.id]
