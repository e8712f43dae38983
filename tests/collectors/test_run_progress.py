"""How far a run has got: since its last checkpoint, since it was started again, since its last step."""

from pathlib import Path

import pytest
from tests.collectors.journal_fakes import Host, header, line, only, step, steps
from tests.collectors.test_run_collectors import Series, collect, workload

from flyball.collectors.run_state_document import document_of
from flyball.collectors.workload import WorkloadCollector

AGAIN = {"pid": 200, "started": 4_500.0}
"""Another process that goes on with the journal."""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    found = Host(tmp_path)
    found.processes.living[200] = 4_500.0
    return found


def saving(at: float, edge: str, **fields: object) -> bytes:
    return line("pause", at, phase="checkpointing", edge=edge, engine=0, seconds=1.0, **fields)


def saved(at: float) -> bytes:
    return saving(at, "begin", path="/data/ckpt") + saving(at, "end")


def value(collector: WorkloadCollector, name: str, run: str = "job") -> object:
    found: Series = collect(collector)
    return found.get((name, run, "0"))


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (header(), 0.0),
        (header() + steps(range(1, 8)), 7.0),
        (header() + step(4, count=4), 4.0),
        (header() + steps(range(1, 8)) + saved(2.0) + step(8, 2.0), 1.0),
        # What a process that starts again loads is all that is left of the work.
        (
            header() + steps(range(1, 8)) + header(3.0, **AGAIN) + saving(3.5, "begin") + saving(4.0, "end"),
            0.0,
        ),
        # It loads nothing: the run has still saved nothing.
        (header() + steps(range(1, 8)) + header(3.0, **AGAIN) + step(1, 4.0), 8.0),
        # Steps of a second engine are not the run's.
        (header() + step(1) + header(engine=1) + step(1, engine=1), 1.0),
    ],
)
def test_steps_since_the_last_checkpoint(host: Host, records: bytes, expected: float) -> None:
    host.write(records)
    assert value(workload(host), "steps_since_checkpoint") == expected


def test_a_checkpoint_that_is_loaded_is_not_the_last_one_saved(host: Host) -> None:
    host.write(header() + steps(range(1, 8)) + saved(2.0) + step(8, 2.0))
    host.write(header(3.0, **AGAIN) + saving(3.5, "begin") + saving(4.0, "end"))
    collector = workload(host)
    assert value(collector, "last_checkpoint_step") == 7.0
    (state,) = host.runs().refresh()
    assert state.phase == "starting"


def test_recovery_lasts_from_the_last_record_to_the_first_step_and_is_told_for_ten_minutes(
    host: Host,
) -> None:
    host.write(header() + step(1, 1.0))
    collector = workload(host)
    assert value(collector, "recovery_seconds") is None
    host.clock.advance(60.0)
    host.write(header(60.0, **AGAIN))
    assert value(collector, "recovery_seconds") == 59.0
    host.clock.advance(40.0)
    assert value(collector, "recovery_seconds") == 99.0
    host.write(step(1, 101.0))
    host.clock.advance(601.0)
    assert value(collector, "recovery_seconds") == 100.0
    host.clock.advance(1.0)
    assert value(collector, "recovery_seconds") is None


def test_a_process_that_never_stepped_recovered_nothing(host: Host) -> None:
    host.write(header() + step(1, 1.0) + header(60.0, **AGAIN) + header(90.0, pid=300, started=4_600.0))
    host.processes.living[300] = 4_600.0
    host.clock.advance(100.0)
    assert value(workload(host), "recovery_seconds") == 99.0


@pytest.mark.parametrize("fault", ["exception", "out_of_memory"])
def test_who_failed_recovers_and_who_ended_in_good_order_does_not(host: Host, fault: str) -> None:
    ended = line("end", 2.0, steps=1, reason="exit")
    host.write(header() + step(1) + ended + header(60.0, **AGAIN), run="continued")
    host.write(header() + step(1) + line(fault, 2.0) + ended + header(60.0, **AGAIN), run="failed")
    host.clock.advance(60.0)
    collector = workload(host)
    assert value(collector, "recovery_seconds", "continued") is None
    assert value(collector, "recovery_seconds", "failed") == 58.0


def test_a_second_engine_is_no_new_process(host: Host) -> None:
    host.write(header() + step(1) + header(5.0, engine=1))
    assert value(workload(host), "recovery_seconds") is None


@pytest.mark.parametrize(
    ("before", "after"),
    [("boot-a/pid:[1]", "boot-b/pid:[1]"), ("", "")],
    ids=["another boot", "the clock went back"],
)
def test_over_a_start_of_the_machine_the_wall_clock_tells(host: Host, before: str, after: str) -> None:
    host.write(header(pid_namespace=before) + step(1, 1.0))
    clock = 9_000.0 if before else 10.0
    host.write(header(61.0, clock=clock, pid_namespace=after, **AGAIN))
    host.clock.now = clock + 5.0
    host.clock.wall += 66.0
    assert value(workload(host), "recovery_seconds") == 65.0


def test_a_probe_that_is_off_cannot_see_the_first_step(host: Host) -> None:
    host.write(header() + step(1, 1.0) + header(60.0, **AGAIN) + line("probe_off", 61.0, reason="cost"))
    host.clock.advance(100.0)
    collector = workload(host)
    assert value(collector, "recovery_seconds") is None
    assert value(collector, "run_silent_seconds") is None


def test_silence_grows_while_stepping_and_is_absent_in_any_other_phase(host: Host) -> None:
    host.write(header())
    collector = workload(host)
    assert value(collector, "run_silent_seconds") is None
    host.write(step(1, 1.0))
    host.clock.advance(31.0)
    assert value(collector, "run_silent_seconds") == 30.0
    host.write(saving(31.0, "begin"))
    host.clock.advance(600.0)
    assert value(collector, "run_silent_seconds") is None
    host.write(saving(631.0, "end"))
    host.clock.advance(2.0)
    # Ten minutes of saving were no silence.
    assert value(collector, "run_silent_seconds") == 2.0
    host.write(line("end", 633.0, steps=1, reason="exit"))
    host.clock.advance(1.0)
    assert value(collector, "run_silent_seconds") is None


def test_engines_that_step_in_turns_break_one_anothers_silence(host: Host) -> None:
    host.write(header() + step(1, 1.0) + header(2.0, engine=1) + step(1, 30.0, engine=1))
    host.clock.advance(31.0)
    assert value(workload(host), "run_silent_seconds") == 1.0


def test_the_loss_scale_is_kept_until_it_changes_and_dies_with_its_process(host: Host) -> None:
    host.write(header() + step(1, loss_scale=65536.0) + step(2))
    collector = workload(host)
    assert value(collector, "loss_scale") == 65536.0
    host.write(step(3, 1.0, loss_scale=1))
    host.clock.advance(1.0)
    assert value(collector, "loss_scale") == 1.0
    host.write(header(2.0, **AGAIN))
    host.clock.advance(1.0)
    assert value(collector, "loss_scale") is None


def test_all_of_it_goes_on_after_a_restart_of_the_agent(host: Host) -> None:
    host.write(
        header() + step(1, 1.0) + header(60.0, **AGAIN) + step(1, 61.0, loss_scale=2.0) + step(2, 62.0)
    )
    first = host.runs()
    before = document_of(only(first))
    first.save()
    assert document_of(only(host.runs())) == before
    host.clock.advance(70.0)
    collector = workload(host)
    assert value(collector, "recovery_seconds") == 60.0
    assert value(collector, "steps_since_checkpoint") == 3.0


@pytest.mark.parametrize(
    "damage", [('"boundary_clock":', '"boundary_clock":"x",""'), ('"progress":', '"other":')]
)
def test_positions_whose_progress_was_damaged_mean_reading_anew(host: Host, damage: tuple[str, str]) -> None:
    host.write(header() + steps(range(1, 8)))
    first = host.runs()
    only(first)
    first.save()
    text = host.positions.read_text()
    assert damage[0] in text
    host.positions.write_text(text.replace(*damage))
    assert only(host.runs()).progress.steps_since_checkpoint == 7
