"""Runs found, followed, ended and taken up again after a restart."""

import os
from pathlib import Path
from typing import Any

import pytest
from tests.collectors.journal_fakes import CLOCK, WALL, Host, header, line, step, steps

from flyball.collectors.run_state import RankState
from flyball.collectors.runs import Runs


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def only(runs: Runs) -> RankState:
    (state,) = runs.refresh(0)
    return state


def reasons(runs: Runs) -> list[tuple[str, str]]:
    runs.refresh(0)
    return [(fault.run, fault.reason) for fault in runs.faults()]


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


def same(state: RankState) -> dict[str, Any]:
    return state.document()


def test_a_restart_goes_on_where_the_positions_were_saved_and_counts_nothing_twice(host: Host) -> None:
    host.write(header() + steps(range(1, 11)))
    first = host.runs()
    only(first)
    first.save()
    host.write(steps(range(11, 21)))
    # What was read after the save dies with the process.
    assert only(first).samples == 80
    second = host.runs()
    assert only(second).samples == 80
    assert only(second).step_seconds.distribution().count == 20
    whole = only(Runs([host.root], clock=host.clock, host="here", started=host.processes))
    assert same(only(second)) == same(whole)


def test_a_restart_in_the_middle_of_a_line_loses_nothing(host: Host) -> None:
    host.write(header() + step(1) + step(2)[:40])
    first = host.runs()
    only(first)
    first.save()
    host.write(step(2)[40:] + step(3))
    state = only(host.runs())
    assert (state.samples, state.torn_lines) == (12, 0)


def test_a_restart_finds_a_journal_that_was_rotated_meanwhile(host: Host) -> None:
    path = host.write(header() + step(1))
    first = host.runs()
    only(first)
    first.save()
    first.close()
    host.write(step(2))
    path.rename(path.with_name("rank-0.jsonl.1"))
    host.write(step(3))
    assert only(host.runs()).samples == 12


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"null", b'{"schema":99,"ranks":[]}', b'{"schema":1,"ranks":[{"folder":1}]}', b"\xff\xfe"],
)
def test_positions_that_cannot_be_read_mean_reading_anew(host: Host, damage: bytes) -> None:
    host.write(header() + step(1))
    host.positions.write_bytes(damage)
    assert only(host.runs()).samples == 4


def test_a_tally_that_was_damaged_means_reading_its_journal_anew(host: Host) -> None:
    host.write(header() + step(1))
    first = host.runs()
    only(first)
    first.save()
    host.positions.write_text(host.positions.read_text().replace('"samples":4', '"samples":"4"'))
    assert only(host.runs()).samples == 4


def test_a_journal_of_the_same_name_in_a_new_folder_is_read_from_its_begin(host: Host) -> None:
    path = host.write(header() + steps(range(1, 4)))
    first = host.runs()
    only(first)
    first.save()
    path.rename(path.with_name("kept"))
    host.write(header(at=1.0) + step(1))
    assert only(host.runs()).step == 1


def test_a_position_of_a_root_that_is_not_there_is_kept(host: Host, tmp_path: Path) -> None:
    host.write(header() + step(1))
    first = host.runs()
    only(first)
    first.save()
    host.root.rename(tmp_path / "elsewhere")
    without = host.runs()
    assert without.refresh(0) == ()
    without.save()
    (tmp_path / "elsewhere").rename(host.root)
    again = host.runs()
    host.write(step(2))
    assert only(again).samples == 8


# Faults


def test_a_link_in_place_of_a_run_or_a_journal_is_refused(host: Host, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "rank-0.jsonl").write_bytes(header() + step(1))
    (host.root / "planted").symlink_to(outside)
    (host.root / "job").mkdir()
    host.path().symlink_to(outside / "rank-0.jsonl")
    runs = host.runs()
    assert runs.refresh(0) == ()
    assert sorted(reasons(runs)) == [("job", "journal_is_a_link"), ("planted", "run_folder_is_a_link")]


def test_a_fifo_blocks_nobody(host: Host) -> None:
    (host.root / "job").mkdir()
    os.mkfifo(host.path())
    runs = host.runs()
    assert runs.refresh(0) == ()
    assert reasons(runs) == [("job", "journal_not_a_file")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize(("mode", "read"), [(0o1777, False), (0o755, True)])
def test_in_a_shared_folder_a_journal_belongs_to_whom_its_folder_does(
    host: Host, mode: int, read: bool
) -> None:
    path = host.write(header() + step(1))
    host.root.chmod(mode)
    os.chown(path, 12345, 12345)
    runs = host.runs()
    assert bool(runs.refresh(0)) is read
    assert reasons(runs) == ([] if read else [("job", "journal_of_another_user")])


def test_a_refused_journal_is_followed_once_it_is_a_file(host: Host) -> None:
    (host.root / "job").mkdir()
    os.mkfifo(host.path())
    runs = host.runs()
    runs.refresh(0)
    host.path().unlink()
    host.write(header())
    host.clock.advance(2.0)
    assert only(runs).phase == "starting"
    assert reasons(runs) == []


def test_of_too_many_ranks_the_rest_is_said_to_be_left_out(host: Host) -> None:
    for rank in range(4):
        host.write(header(), rank=rank)
    runs = host.runs(most_ranks=3)
    assert len(runs.refresh(0)) == 3
    assert reasons(runs) == [("", "too_many_ranks")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_in_a_shared_folder_one_users_runs_leave_room_for_others(host: Host) -> None:
    host.root.chmod(0o3773)
    for number in range(8):
        path = host.write(b"not even a header\n", run=f"many-{number}")
        os.chown(path.parent, 12345, 12345)
        os.chown(path, 12345, 12345)
    runs = host.runs(most_ranks=6)
    runs.refresh(0)
    host.write(header(), run="mine")
    host.clock.advance(2.0)
    assert [state.run for state in runs.refresh(0)] == ["mine"]
    assert ("", "too_many_ranks") in reasons(runs)


def test_two_roots_with_a_run_of_the_same_name_give_one(host: Host, tmp_path: Path) -> None:
    host.write(header() + step(1))
    other = tmp_path / "other"
    (other / "job").mkdir(parents=True)
    (other / "job" / "rank-0.jsonl").write_bytes(header())
    runs = Runs([host.root, other], clock=host.clock, host="here", started=host.processes)
    assert only(runs).folder == host.root / "job"
    assert reasons(runs) == [("job", "run_name_taken")]


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
