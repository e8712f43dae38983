"""Runs found, followed, and ended."""

import os
from pathlib import Path

import pytest
from tests.collectors.journal_fakes import CLOCK, WALL, Host, header, line, only, step, steps


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_rank_is_known_by_its_journal(host: Host) -> None:
    memory = {"allocated": 5, "reserved": 8}
    host.write(header(device="cuda:1", gpu_uuid="GPU-1"))
    host.write(steps(range(1, 5), memory=memory, communicated={"all_reduce": 100}, grad_norm=2.5, skipped=1))
    state = only(host.runs())
    known = {
        name: getattr(state, name)
        for name in ("run", "rank", "purpose", "host", "pid", "gpu_uuid", "device", "world_size", "phase")
    }
    assert known == {
        "run": "job", "rank": 0, "purpose": "run", "host": "here", "pid": 100, "gpu_uuid": "GPU-1",
        "device": "cuda:1", "world_size": 2, "phase": "stepping",
    }  # fmt: skip
    assert (state.step, state.samples, state.tokens, state.skipped) == (4, 16, 256, 4)
    assert (state.loss, state.grad_norm, state.memory) == (0.25, 2.5, memory)
    assert state.communicated == {"all_reduce": 400}
    assert (state.step_seconds.distribution().count, state.step_seconds.sum) == (4, 1.0)
    assert list(state.recent_step_seconds) == [0.25] * 4
    assert list(state.recent_fed) == [(0.25, 1, 4, 64)] * 4
    assert (state.phase_clock, state.step_clock) == (CLOCK + 0.25, CLOCK + 1.0)
    assert state.folder == host.root / "job"


@pytest.mark.parametrize(
    ("records", "phase"),
    [
        ([], "starting"),
        ([step(1)], "stepping"),
        ([step(1), line("pause", phase="evaluating", edge="begin", engine=0)], "evaluating"),
        (
            [
                step(1),
                line("pause", phase="evaluating", edge="begin"),
                line("pause", phase="checkpointing", edge="begin"),
            ],
            "checkpointing",
        ),
        (
            [
                step(1),
                line("pause", phase="evaluating", edge="begin"),
                line("pause", phase="checkpointing", edge="begin"),
                line("pause", phase="checkpointing", edge="end", seconds=1),
            ],
            "evaluating",
        ),
        ([step(1), line("pause", phase="evaluating", edge="begin"), step(2)], "stepping"),
        ([step(1), line("end", steps=1, reason="exit")], "finished"),
        ([line("pause", phase="checkpointing", edge="end", seconds=1)], "starting"),
    ],
)
def test_the_phase_follows_the_records(host: Host, records: list[bytes], phase: str) -> None:
    host.write(header() + b"".join(records))
    assert only(host.runs()).phase == phase


def test_the_step_of_the_last_saved_checkpoint_is_kept(host: Host) -> None:
    saved = line("pause", phase="checkpointing", edge="end", seconds=1)
    host.write(header() + saved)
    runs = host.runs()
    assert only(runs).last_checkpoint_step is None
    host.write(step(1) + step(2) + saved + step(3))
    assert only(runs).last_checkpoint_step == 2


def test_a_new_run_is_seen_at_the_next_scan(host: Host) -> None:
    runs = host.runs()
    assert runs.refresh(0) == ()
    host.write(header())
    host.clock.advance(2.0)
    assert only(runs).run == "job"
    host.write(header(), rank=1)
    host.clock.advance(2.0)
    assert [state.rank for state in runs.refresh(0)] == [0, 1]


def test_a_reading_is_shared_while_it_is_young(host: Host) -> None:
    host.write(header() + step(1))
    runs = host.runs()
    assert only(runs).step == 1
    host.write(step(2))
    assert runs.refresh(0.5)[0].step == 1
    host.clock.advance(0.5)
    assert runs.refresh(0.5)[0].step == 2


def test_what_was_given_out_changes_no_more(host: Host) -> None:
    host.write(header() + step(1))
    runs = host.runs()
    before = only(runs)
    host.write(step(2))
    assert only(runs).step == 2
    assert (before.step, before.step_seconds.distribution().count) == (1, 1)


def test_a_finished_rank_is_given_out_for_a_while(host: Host) -> None:
    host.write(header() + step(1))
    runs = host.runs(finished_seconds=60.0)
    only(runs)
    host.write(line("end", steps=1, reason="exit"))
    state = only(runs)
    assert (state.phase, state.outcome, state.finished_time) == ("finished", "exit", host.clock.wall)
    host.clock.advance(59.0)
    assert only(runs).samples == 4
    host.clock.advance(2.0)
    assert runs.refresh(0) == ()


def test_a_wall_clock_that_jumps_neither_ends_nor_keeps_a_finished_rank(host: Host) -> None:
    host.write(header() + step(1))
    runs = host.runs(finished_seconds=60.0)
    only(runs)
    host.write(line("end", steps=1, reason="exit"))
    only(runs)
    host.clock.wall += 1e7
    host.clock.now += 10
    only(runs)
    host.clock.wall -= 2e7
    host.clock.now += 10
    only(runs)
    host.clock.now += 50
    assert runs.refresh(0) == ()


def test_a_rank_whose_process_went_is_finished_with_all_that_it_wrote(host: Host) -> None:
    host.write(header() + step(1))
    runs = host.runs()
    only(runs)
    host.write(step(2))
    host.processes.living.clear()
    host.clock.advance(2.0)
    state = only(runs)
    assert (state.phase, state.outcome, state.step) == ("finished", "gone", 2)


def test_a_pid_that_was_given_to_another_process_is_no_sign_of_life(host: Host) -> None:
    host.write(header() + step(1))
    runs = host.runs()
    only(runs)
    host.processes.living[100] = 4_500.0
    host.clock.advance(2.0)
    assert only(runs).outcome == "gone"


def test_of_a_process_that_was_never_seen_only_silence_tells(host: Host) -> None:
    host.processes.living.clear()
    host.write(header() + step(1))
    runs = host.runs(silence_seconds=900.0)
    only(runs)
    host.clock.advance(899.0)
    assert only(runs).phase == "stepping"
    host.clock.advance(3.0)
    host.write(step(2))
    assert only(runs).phase == "stepping"
    host.clock.advance(902.0)
    assert runs.refresh(0) == ()
    host.write(step(3))
    host.clock.advance(2.0)
    assert only(runs).samples == 12


def test_a_reader_that_comes_later_knows_a_process_of_its_own_namespace_to_be_gone(host: Host) -> None:
    host.processes.living.clear()
    host.write(header(pid_namespace="here") + step(1))
    asked = []

    def gone(namespace: str, pid: int, started: float) -> bool:
        asked.append((namespace, pid, started))
        return namespace == "here"

    host.clock.advance(5.0)
    state = only(host.runs(gone=gone))
    assert (state.phase, state.outcome, state.finished_time) == ("finished", "gone", WALL)
    assert asked == [("here", 100, 4_000.0)]
    host.clock.advance(70.0)
    assert host.runs(gone=gone).refresh(0) == (), "it ended more than a minute ago"


def test_of_a_process_in_another_namespace_only_silence_tells(host: Host) -> None:
    host.processes.living.clear()
    host.write(header(pid_namespace="elsewhere") + step(1))
    host.clock.advance(70.0)
    assert only(host.runs(silence_seconds=900.0)).phase == "stepping"


def test_a_rank_that_goes_on_after_its_end_is_taken_up_again(host: Host) -> None:
    host.write(header() + step(1) + line("end", steps=1, reason="exit"))
    runs = host.runs()
    assert only(runs).phase == "finished"
    host.processes.living[200] = 4_900.0
    host.write(header(pid=200, started=4_900.0))
    state = only(runs)
    assert (state.phase, state.pid, state.finished_time, state.outcome) == ("starting", 200, None, "")
    host.write(step(1))
    assert (only(runs).samples, only(runs).phase) == (8, "stepping")


def test_a_run_into_the_folder_of_one_that_was_let_go_counts_on(host: Host) -> None:
    host.write(header() + step(1) + line("end", steps=1, reason="exit"))
    runs = host.runs(finished_seconds=5.0)
    only(runs)
    host.clock.advance(10.0)
    assert runs.refresh(0) == ()
    host.processes.living[200] = 4_900.0
    host.write(header(pid=200, started=4_900.0) + step(1))
    host.clock.advance(2.0)
    assert only(runs).samples == 8


@pytest.mark.parametrize(
    ("records", "living"),
    [([step(1), line("end", steps=1, reason="exit")], True), ([step(1)], False)],
    ids=["with an end", "of a process that is gone"],
)
def test_a_journal_that_ended_long_ago_is_not_read(host: Host, records: list[bytes], living: bool) -> None:
    if not living:
        host.processes.living.clear()
    host.write(header() + b"".join(records))
    host.clock.advance(5_000.0)
    runs = host.runs()
    assert runs.refresh(0) == ()
    assert runs.faults() == ()


def test_a_silent_rank_whose_process_lives_is_found_however_long_it_hangs(host: Host) -> None:
    host.write(header() + step(1))
    host.clock.advance(50_000.0)
    assert only(host.runs()).phase == "stepping"


def test_a_journal_without_a_header_is_no_rank_yet(host: Host) -> None:
    host.write(line("redirect", what="tracker", path="x", to=None))
    runs = host.runs()
    assert runs.refresh(0) == ()
    host.write(header())
    assert only(runs).phase == "starting"


def test_names_that_are_no_journals_are_left_alone(host: Host) -> None:
    for name in ("rank-.jsonl", "rank-x.jsonl", "rank-0.jsonl.1", "rank-00.jsonl", "rank-9999999.jsonl", "a"):
        host.write(header()).rename(host.root / "job" / name)
    assert host.runs().refresh(0) == ()


@pytest.mark.parametrize(("networked", "seen"), [(False, 2), (True, 1)])
def test_on_a_network_file_system_only_this_hosts_ranks_are_followed(
    host: Host, networked: bool, seen: int
) -> None:
    host.networked = networked
    host.write(header() + step(1))
    host.write(header(host="there") + step(1), rank=1)
    runs = host.runs()
    assert len(runs.refresh(0)) == seen
    host.write(step(2), rank=1)
    host.clock.advance(2.0)
    assert len(runs.refresh(0)) == seen


def test_trials_are_marked(host: Host) -> None:
    host.write(header(purpose="trial"))
    assert only(host.runs()).purpose == "trial"


def test_a_newer_schema_is_a_state_and_its_steps_count(host: Host) -> None:
    host.write(header(schema=7) + line("flux", capacitor=1.21) + step(1))
    state = only(host.runs())
    assert (state.reason, state.samples, state.torn_lines) == ("journal_schema_newer", 4, 0)


def test_of_two_engines_the_one_that_steps_first_is_counted(host: Host) -> None:
    host.write(header() + header(engine=1, started=4_000.004))
    host.write(step(1, engine=1) + step(1, engine=0, samples=1000) + step(2, engine=1))
    state = only(host.runs())
    assert (state.engine, state.step, state.samples) == (1, 2, 8)


def test_an_operation_that_hangs_ages_until_it_is_over(host: Host) -> None:
    host.write(header() + step(1) + line("pending", at=10, op="all_reduce", seconds=30.0, edge="begin"))
    host.clock.now += 15
    runs = host.runs()
    assert only(runs).pending_seconds == 35.0
    host.clock.now += 100
    assert only(runs).pending_seconds == 135.0
    host.write(line("pending", op="all_reduce", seconds=140.0, edge="end"))
    assert only(runs).pending_seconds is None


def test_latencies_add_up(host: Host) -> None:
    entry = {"size_class": "8KiB", "source": "timed", "counts": [1, 2, 0], "sum": 0.5}
    record = line(
        "communication",
        bounds=[2e-6, 1.0],
        collectives=[{"op": "all_reduce", **entry}],
        p2p=[{"src": 0, "dst": 1, **entry}],
        operations={"send": 3},
    )
    host.write(header() + record + record)
    state = only(host.runs())
    for tally in (
        state.collectives["all_reduce", "8KiB", "timed"],
        state.p2p[0, 1, "8KiB", "timed"],
    ):
        found = tally.distribution()
        assert (found.count, found.counts[0], found.sum) == (6, 2, 1.0)
    assert state.operations == {"send": 6}


# Restarts


def test_a_name_that_is_no_text_is_escaped(host: Host) -> None:
    host.write(header(), run=os.fsdecode(b"job\xff"))
    assert only(host.runs()).run == "job\\xff"


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_is_left_behind(host: Host) -> None:
    before = descriptors()
    runs = host.runs(finished_seconds=1.0)
    for number in range(20):
        host.write(header() + step(1) + line("end", steps=1, reason="exit"), run=f"job-{number}")
        host.clock.advance(2.0)
        runs.refresh(0)
    host.clock.advance(4.0)
    assert runs.refresh(0) == ()
    assert descriptors() == before
    host.write(header(), run="last")
    host.clock.advance(2.0)
    only(runs)
    runs.close()
    assert descriptors() == before
