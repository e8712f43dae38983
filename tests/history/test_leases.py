"""One process works on an experiment; a dead one's trials are taken over, a live one's are not."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.history.fakes import FakeClock, complete, dead, elsewhere, living, new_experiment, new_trial

from flyball.database import Database
from flyball.errors import DatabaseError
from flyball.history.owner import LEASE_SECONDS, Life, Owner, start_ticks
from flyball.history.store import History


def rebooted() -> Owner:
    """A process of this machine before it was started again."""
    return Owner(host=living().host, pid=living().pid, started="another-boot/pid:[4026531836]/1")


@pytest.mark.parametrize(
    ("owner", "one_machine", "life"),
    [
        (living, True, Life.ALIVE),
        (living, False, Life.ALIVE),
        (dead, True, Life.DEAD),
        (elsewhere, True, Life.UNKNOWN),
        (rebooted, True, Life.DEAD),
        (rebooted, False, Life.UNKNOWN),
    ],
)
def test_what_can_be_said_of_an_owner(owner: Callable[[], Owner], one_machine: bool, life: Life) -> None:
    assert owner().life(one_machine=one_machine) is life


def test_a_zombie_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert start_ticks(child.pid) is not None
        child.kill()
        # WNOWAIT leaves the zombie in place.
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert start_ticks(child.pid) is None


def test_a_command_name_with_blanks_and_parentheses_is_read_past(tmp_path: Path) -> None:
    folder = tmp_path / "7"
    folder.mkdir()
    numbers = " ".join(str(each) for each in range(4, 53))
    (folder / "stat").write_text(f"7 (a) Z (b)) S {numbers}\n")
    assert start_ticks(7, proc=tmp_path) == "22"


def test_recover_takes_over_what_the_dead_left(history: History, clock: FakeClock) -> None:
    experiment = new_experiment(history)
    complete(history, new_trial(history, experiment, 0, owner=dead()), 5.0)
    new_trial(history, experiment, 1, owner=dead())
    new_trial(history, experiment, 2, owner=living())
    new_trial(history, experiment, 3, owner=elsewhere())
    clock.now += 30
    assert [each.number for each in history.recover(experiment)] == [1]
    outcomes = {each.number: each.outcome for each in history.trials(experiment)}
    assert outcomes == {0: "completed", 1: "interrupted", 2: None, 3: None}
    assert "is gone" in (history.trials(experiment)[1].reason or "")
    assert history.recover(experiment) == []


def test_an_owner_out_of_sight_is_gone_when_it_stops_renewing(history: History, clock: FakeClock) -> None:
    experiment = new_experiment(history, owner=elsewhere())
    new_trial(history, experiment, 0, owner=elsewhere())
    clock.now += LEASE_SECONDS
    history.renew(experiment, elsewhere())
    clock.now += LEASE_SECONDS
    assert history.recover(experiment) == []
    with pytest.raises(
        DatabaseError, match=r"process 1 on another; .* nothing heard for 15 minutes frees it"
    ):
        history.claim(experiment, living())
    clock.now += 1
    (trial,) = history.recover(experiment)
    # What it spent until it was last heard of counts against the budget.
    assert trial.total_seconds == LEASE_SECONDS == history.spend(experiment)
    history.claim(experiment, living())
    assert history.find_experiment(experiment).owner == living()


def test_renewing_writes_once_a_minute(history: History, clock: FakeClock) -> None:
    experiment = new_experiment(history, owner=elsewhere())
    history.renew(experiment, elsewhere())
    clock.now += 59
    history.renew(experiment, elsewhere())
    clock.now += LEASE_SECONDS - 58
    history.claim(experiment, living())


def test_a_second_process_cannot_claim_what_a_living_one_holds(history: History) -> None:
    experiment = new_experiment(history, owner=living())
    history.claim(experiment, living())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        ticks = start_ticks(child.pid)
        own = living()
        other = Owner(host=own.host, pid=child.pid, started=f"{own.started.rpartition('/')[0]}/{ticks}")
        with pytest.raises(DatabaseError, match="experiment first: is being worked on by process"):
            history.claim(experiment, other)
        history.set_experiment_status(experiment, "interrupted")
        history.claim(experiment, other)
        with pytest.raises(DatabaseError, match=f"process {child.pid} on"):
            history.claim(experiment, own)
        child.kill()
        child.wait()
    history.claim(experiment, own)


def test_the_end_of_an_experiment_gives_the_claim_back(history: History, clock: FakeClock) -> None:
    experiment = new_experiment(history, owner=living())
    clock.now += 60
    history.set_experiment_status(experiment, "finished")
    record = history.find_experiment(experiment)
    assert (record.status, record.finished_time, record.owner) == ("finished", clock.now, None)
    history.set_experiment_status(experiment, "running")
    assert history.find_experiment(experiment).finished_time is None


def test_the_newest_that_can_be_resumed(history: History) -> None:
    assert history.latest_resumable() is None
    for name, owner in (("interrupted", None), ("died", dead()), ("done", None), ("held", living())):
        new_experiment(history, name, owner=owner)
    history.set_experiment_status(history.find_experiment("interrupted").id, "interrupted")
    history.set_experiment_status(history.find_experiment("done").id, "finished")
    found = history.latest_resumable()
    assert found is not None
    assert found.name == "died"


def test_the_database_that_a_history_keeps_is_known(history: History, database: Database) -> None:
    assert history.database is database
