from collections.abc import Callable
from pathlib import Path

import pytest
from tests.runner.fakes import FakeClock, FakeProcesses, JournalWriter

from flyball.runner.base import Limits, Placement, TrialRequest, TrialResult
from flyball.runner.outcome import OutcomeKind
from flyball.runner.supervise import Supervision

LIMITS = Limits(startup_seconds=20, hang_factor=4, hang_floor_seconds=6, pause_seconds=20, total_seconds=50)


class Trial:
    """A supervised trial whose events happen at set times after its start."""

    def __init__(self, directory: Path, *, ranks: int = 1) -> None:
        self.clock = FakeClock(self._pass)
        self.processes = FakeProcesses()
        self.journals = [JournalWriter(directory, self.clock, rank) for rank in range(ranks)]
        self._events: list[tuple[float, Callable[[], object]]] = []
        request = TrialRequest(
            directory=directory, command=[], ds_config={}, limits=LIMITS, placement=Placement(ranks=ranks)
        )
        self.started = self.clock.now
        self.supervision = Supervision(
            request, self.processes, self.clock, launcher="cold", called=self.clock.now
        )

    def at(self, seconds: float, event: Callable[[], object]) -> None:
        self._events.append((self.started + seconds, event))

    def trains(self, *, until: float, rank: int = 0) -> None:
        """A header at once and a step every half second."""
        self.at(0.1, self.journals[rank].header)
        for tick in range(1, int(until * 2) + 1):
            self.at(tick / 2, self.journals[rank].step)

    def exits(self, seconds: float, status: int) -> None:
        self.at(seconds, lambda: setattr(self.processes, "status", status))

    def wait(self, enough: int = 10**9) -> TrialResult:
        result = self.supervision.wait(
            lambda journals: "enough" if len(journals[0].steps()) >= enough else None
        )
        assert self.processes.ended == 1
        return result

    def _pass(self, now: float) -> None:
        due = [event for event in self._events if event[0] <= now]
        self._events = [event for event in self._events if event[0] > now]
        for _, event in due:
            event()


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def test_a_trial_ends_when_its_measurement_is_good_enough(trial: Trial) -> None:
    trial.trains(until=100)
    result = trial.wait(enough=7)
    assert (result.outcome.kind, result.outcome.reason) == (OutcomeKind.COMPLETED, "enough")
    assert result.startup_seconds == pytest.approx(0.5, abs=0.1)
    assert result.total_seconds == pytest.approx(3.5, abs=0.2)


def test_startup_counts_to_the_slowest_rank(tmp_path: Path) -> None:
    trial = Trial(tmp_path, ranks=2)
    trial.trains(until=20)
    trial.at(5, trial.journals[1].header)
    trial.at(9, trial.journals[1].step)
    trial.at(12, trial.journals[1].step)
    trial.exits(21, 0)
    assert trial.wait().startup_seconds == pytest.approx(9, abs=0.1)


def test_no_first_step_on_every_rank_is_a_time_out(tmp_path: Path) -> None:
    trial = Trial(tmp_path, ranks=2)
    trial.trains(until=45)
    result = trial.wait()
    assert result.outcome.kind is OutcomeKind.TIMED_OUT
    assert "only ranks [0]" in result.outcome.reason
    assert 20 <= result.total_seconds < 21


def test_a_script_that_never_reaches_deepspeed_says_so_when_time_is_up(trial: Trial) -> None:
    assert "deepspeed.initialize was not reached" in trial.wait().outcome.reason


def test_no_step_within_the_floor_is_a_hang(trial: Trial) -> None:
    trial.trains(until=10)
    result = trial.wait()
    assert result.outcome.kind is OutcomeKind.HUNG
    assert "after step 20" in result.outcome.reason
    assert 16 <= result.total_seconds < 17


def test_slow_steps_are_given_a_multiple_of_their_median(trial: Trial) -> None:
    trial.at(0, trial.journals[0].header)
    for tick in range(1, 6):
        trial.at(tick * 3, lambda: trial.journals[0].step(seconds=3.0))
    assert 27 <= trial.wait().total_seconds < 28


@pytest.mark.parametrize("phase", ["evaluating", "checkpointing"])
def test_a_known_pause_is_no_hang(trial: Trial, phase: str) -> None:
    trial.trains(until=10)
    trial.at(11, lambda: trial.journals[0].write("pause", phase=phase, edge="begin"))
    trial.at(30, lambda: trial.journals[0].write("pause", phase=phase, edge="end", seconds=19))
    trial.at(31, trial.journals[0].step)
    trial.exits(32, 0)
    assert trial.wait().outcome.kind is OutcomeKind.COMPLETED


def test_a_checkpoint_inside_an_evaluation_does_not_end_it(trial: Trial) -> None:
    trial.trains(until=10)
    write = trial.journals[0].write
    trial.at(11, lambda: write("pause", phase="evaluating", edge="begin"))
    trial.at(12, lambda: write("pause", phase="checkpointing", edge="begin"))
    trial.at(13, lambda: write("pause", phase="checkpointing", edge="end", seconds=1))
    trial.at(30, lambda: write("pause", phase="evaluating", edge="end", seconds=19))
    trial.at(31, trial.journals[0].step)
    trial.exits(32, 0)
    assert trial.wait().outcome.kind is OutcomeKind.COMPLETED


def test_a_pause_without_end_is_a_hang(trial: Trial) -> None:
    trial.trains(until=10)
    trial.at(11, lambda: trial.journals[0].write("pause", phase="evaluating", edge="begin"))
    result = trial.wait()
    assert result.outcome.kind is OutcomeKind.HUNG
    assert "evaluating for more than 20 s" in result.outcome.reason


def test_the_total_is_a_limit_of_its_own(trial: Trial) -> None:
    trial.trains(until=60)
    result = trial.wait()
    assert result.outcome.kind is OutcomeKind.TIMED_OUT
    assert 50 <= result.total_seconds < 51


def test_known_pauses_do_not_count_against_the_total(trial: Trial) -> None:
    trial.trains(until=10)
    journal = trial.journals[0]
    for begun in (10, 28):
        trial.at(begun + 0.1, lambda: journal.write("pause", phase="evaluating", edge="begin"))
        trial.at(begun + 5, lambda: journal.write("pause", phase="checkpointing", edge="begin"))
        trial.at(begun + 10, lambda: journal.write("pause", phase="checkpointing", edge="end", seconds=5))
        trial.at(begun + 16.1, lambda: journal.write("pause", phase="evaluating", edge="end", seconds=16))
        trial.at(begun + 17, journal.step)
    for tick in range(46, 200):
        trial.at(tick, journal.step)
    result = trial.wait()
    assert result.outcome.kind is OutcomeKind.TIMED_OUT
    assert 82 <= result.total_seconds < 83


def test_pauses_without_end_or_step_are_ended_by_the_total(trial: Trial) -> None:
    trial.trains(until=10)
    for tick in range(20, 400):
        edge = "end" if tick % 2 else "begin"
        trial.at(tick / 2, lambda edge=edge: trial.journals[0].write("pause", phase="evaluating", edge=edge))
    assert 70 <= trial.wait().total_seconds < 71


def test_ranks_that_said_goodbye_and_stay_are_ended_and_count(trial: Trial) -> None:
    trial.trains(until=10)
    trial.at(10.2, lambda: trial.journals[0].write("end", steps=20, reason="exit"))
    result = trial.wait()
    assert result.outcome.kind is OutcomeKind.COMPLETED
    assert "still there" in result.notes[0]


def test_a_rank_that_ended_may_wait_for_the_others(tmp_path: Path) -> None:
    trial = Trial(tmp_path, ranks=2)
    trial.trains(until=2, rank=0)
    trial.at(3, lambda: trial.journals[0].write("end", steps=4, reason="exit"))
    trial.trains(until=30, rank=1)
    trial.exits(31, 0)
    assert trial.wait().total_seconds > 30


def test_a_write_outside_the_trial_ends_it_at_once(trial: Trial) -> None:
    trial.trains(until=100)
    trial.at(2.2, lambda: trial.journals[0].write("foreign_write", path="/data/ckpt", operation="open"))
    result = trial.wait()
    assert result.outcome.kind is OutcomeKind.CRASHED
    assert "/data/ckpt" in result.outcome.reason
    assert result.journals[0].last("foreign_write") is not None
    assert result.total_seconds < 3


def test_kill_interrupts_with_its_reason(trial: Trial) -> None:
    trial.trains(until=100)
    trial.at(5, lambda: trial.supervision.kill("second SIGINT"))
    result = trial.wait()
    assert (result.outcome.kind, result.outcome.reason) == (OutcomeKind.INTERRUPTED, "second SIGINT")


def test_a_failing_stop_rule_leaves_nothing_running(trial: Trial) -> None:
    trial.trains(until=5)

    def broken(journals: object) -> str | None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trial.supervision.wait(broken)
    assert trial.processes.ended == 1


def test_last_records_of_a_dead_process_are_read(trial: Trial) -> None:
    trial.trains(until=5)

    def die() -> None:
        trial.journals[0].step()
        trial.processes.status = 0

    trial.at(5.3, die)
    assert "after 11 steps" in trial.wait().outcome.reason


def test_ranks_that_the_script_starts_itself_are_waited_for_and_read(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    other = JournalWriter(tmp_path, trial.clock, 1)
    trial.at(0.1, lambda: trial.journals[0].header(world_size=2))
    trial.at(3.0, lambda: other.header(world_size=2))
    for tick in range(4, 12):
        trial.at(float(tick), trial.journals[0].step)
        trial.at(float(tick), other.step)
    trial.exits(13.0, 0)
    result = trial.wait()
    assert sorted(result.journals) == [0, 1]
    assert result.startup_seconds is not None
    assert result.startup_seconds >= 4.0


def test_an_evaluation_that_never_ended_is_over_once_there_is_a_step(trial: Trial) -> None:
    trial.trains(until=2.0)
    trial.at(2.1, lambda: trial.journals[0].write("pause", phase="evaluating", edge="begin"))
    for tick in range(3, 40):
        trial.at(float(tick), trial.journals[0].step)
    trial.exits(41.0, 0)
    assert trial.wait().outcome.kind is OutcomeKind.COMPLETED
