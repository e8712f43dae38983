from pathlib import Path
from typing import Any

import pytest
from tests.runner.fakes import FakeClock, JournalWriter

from flyball.collectors.journal import RankJournal
from flyball.runner.classify import Ended, Evidence, classify
from flyball.runner.limits import Overrun, Passed
from flyball.runner.outcome import OutcomeKind

CUDA = "CUDA out of memory. Tried to allocate 20.00 GiB."
CPU = "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
LOST = (
    "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:525] Connection closed by peer [127.0.0.1]:54321"
)
TRACEBACK = 'Traceback (most recent call last):\n  File "/home/u/train.py", line 12, in <module>\n    f()\n'
Event = tuple[str, dict[str, Any]]


def exception(kind: str, message: str, **fields: Any) -> Event:
    return "exception", {"type": kind, "message": message, "where": "train.py:7", **fields}


def journals(
    tmp_path: Path, *ranks: list[Event], steps: int = 3, header: bool = True
) -> dict[int, RankJournal]:
    clock = FakeClock()
    found = {}
    for rank, events in enumerate(ranks or ([],)):
        writer = JournalWriter(tmp_path, clock, rank)
        if header:
            writer.header()
        for _ in range(steps):
            clock.sleep(1)
            writer.step()
        for kind, fields in events:
            clock.sleep(1)
            writer.write(kind, **fields)
        found[rank] = RankJournal(path=tmp_path / f"rank-{rank}.jsonl")
        found[rank].refresh()
    return found


@pytest.mark.parametrize(
    ("events", "status", "output", "kind", "says"),
    [
        ([exception("OutOfMemoryError", CUDA)], 1, "", OutcomeKind.OUT_OF_MEMORY, "20.00 GiB"),
        ([exception("RuntimeError", CPU)], 1, "", OutcomeKind.OUT_OF_MEMORY, "DefaultCPUAllocator"),
        ([exception("MemoryError", "")], 1, "", OutcomeKind.OUT_OF_MEMORY, "MemoryError"),
        ([], 1, TRACEBACK + "torch.OutOfMemoryError: " + CUDA, OutcomeKind.OUT_OF_MEMORY, "train.py:12"),
        ([("out_of_memory", {"message": CUDA, "device": "cuda:0"})], -6, "", OutcomeKind.OUT_OF_MEMORY, "20"),
        ([], -11, "", OutcomeKind.CRASHED, "SIGSEGV"),
        ([], 139, "", OutcomeKind.CRASHED, "SIGSEGV"),
        ([], 247, "", OutcomeKind.CRASHED, "SIGKILL"),
        ([], 1, "launch.py:1: exits with return code = -11", OutcomeKind.CRASHED, "SIGSEGV"),
        ([], 1, "exitcode  : -15 (pid: 3)\nexitcode  : -9 (pid: 2)", OutcomeKind.CRASHED, "SIGKILL"),
        ([], -7, "", OutcomeKind.CRASHED, "/dev/shm may be full"),
        ([], 3, "", OutcomeKind.CRASHED, "exit status 3 after 3 steps"),
        ([], 1, "exitcode  : 3 (pid: 2)", OutcomeKind.CRASHED, "exit status 3 after 3 steps"),
        ([exception("KeyError", "'x'")], 1, "", OutcomeKind.CRASHED, "KeyError: 'x' (train.py:7)"),
        ([], 1, TRACEBACK + "ValueError: no", OutcomeKind.CRASHED, "ValueError: no (/home/u/train.py:12)"),
        (
            [exception("AssertionError", "train_batch_size is wrong", in_deepspeed_config=True)],
            1,
            "",
            OutcomeKind.INVALID_CONFIG,
            "train_batch_size is wrong",
        ),
        ([], 0, "Error: CUDA out of memory, said a log line", OutcomeKind.COMPLETED, "after 3 steps"),
        ([("out_of_memory", {"message": CUDA}), ("end", {})], 0, "", OutcomeKind.COMPLETED, "3 steps"),
        ([("end", {})], -6, "", OutcomeKind.COMPLETED, "(SIGABRT) while Python closed"),
        ([("end", {})], 1, "exitcode  : -6 (pid: 3)", OutcomeKind.COMPLETED, "3 steps"),
        ([("end", {})], -9, "", OutcomeKind.CRASHED, "SIGKILL"),
        ([exception("KeyError", "'x'"), ("end", {})], -6, "", OutcomeKind.CRASHED, "KeyError"),
    ],
)
def test_names_every_way_of_ending(
    tmp_path: Path, events: list[Event], status: int, output: str, kind: OutcomeKind, says: str
) -> None:
    evidence = Evidence(ended=Ended.ITSELF, status=status, output=output, journals=journals(tmp_path, events))
    outcome = classify(evidence)
    assert (outcome.kind, says in outcome.reason) == (kind, True), outcome


def test_a_kill_by_the_kernel_for_memory_needs_evidence(tmp_path: Path) -> None:
    known = journals(tmp_path, [], [])
    killed = Evidence(ended=Ended.ITSELF, status=1, rank_statuses={1: -9}, journals=known)
    outcome = classify(killed)
    assert (outcome.kind, outcome.rank) == (OutcomeKind.CRASHED, 1)
    short = Evidence(ended=Ended.ITSELF, status=1, rank_statuses={1: -9}, journals=known, kernel_kills=1)
    assert classify(short).kind is OutcomeKind.OUT_OF_MEMORY


@pytest.mark.parametrize(("kills", "kind"), [(1, OutcomeKind.OUT_OF_MEMORY), (0, OutcomeKind.CRASHED)])
def test_a_data_loaders_worker_killed_by_the_kernel_is_about_memory(
    tmp_path: Path, kills: int, kind: OutcomeKind
) -> None:
    message = "DataLoader worker (pid 4711) is killed by signal: Killed. "
    known = journals(tmp_path, [exception("RuntimeError", message)])
    evidence = Evidence(ended=Ended.ITSELF, status=1, journals=known, kernel_kills=kills)
    assert classify(evidence).kind is kind


FULL = "[Errno 28] No space left on device"
QUOTA = "[Errno 122] Disk quota exceeded"
WRITER = "[enforce fail at inline_container.cc:668] . unexpected pos 64 vs 0"


@pytest.mark.parametrize(
    ("events", "output", "folder"),
    [
        ([exception("OSError", FULL)], "", "/out/trials/3"),
        ([exception("OSError", f"{FULL}: '/data/ckpt/model.pt'")], "", "/data/ckpt"),
        ([exception("OSError", QUOTA)], "", "/out/trials/3"),
        ([], f"{TRACEBACK}OSError: {FULL}", "/out/trials/3"),
        ([exception("RuntimeError", WRITER)], f"OSError: {FULL}", "/out/trials/3"),
        ([exception("RuntimeError", WRITER)], "", None),
        ([exception("KeyError", "'x'")], f"OSError: {FULL}", None),
        (
            [
                exception(
                    "RuntimeError", "unable to write to file </torch_1_2_0>: No space left on device (28)"
                )
            ],
            "",
            None,
        ),
        ([exception("OSError", FULL, where="/usr/lib/python3.11/multiprocessing/heap.py:1")], "", None),
    ],
)
def test_a_full_disk_is_told_from_a_configuration_that_fails(
    tmp_path: Path, events: list[Event], output: str, folder: str | None
) -> None:
    evidence = Evidence(
        ended=Ended.ITSELF,
        status=1,
        output=output,
        journals=journals(tmp_path, events),
        directory=Path("/out/trials/3"),
        room_bytes=1 << 30,
    )
    assert classify(evidence).full_folder == folder


def test_a_trial_that_fell_silent_on_a_full_disk_is_the_disks(tmp_path: Path) -> None:
    hang = Overrun(limit=Passed.HANG, text="no step for 30 s", rank=0)
    known = journals(tmp_path)
    full = Evidence(ended=Ended.OVERRUN, overrun=hang, journals=known, directory=tmp_path, room_bytes=4096)
    assert classify(full).full_folder == str(tmp_path)
    done = Evidence(ended=Ended.STOPPED, text="enough", journals=known, directory=tmp_path, room_bytes=4096)
    assert classify(done).full_folder is None


SIGNALLED = "torch.distributed.elastic.multiprocessing.api.SignalException: Process 7 got signal: 15"


@pytest.mark.parametrize(
    ("events", "status", "output", "outside"),
    [
        ([], -15, "", True),
        ([], -2, "", True),
        ([], -1, "", True),
        ([], 1, "exitcode  : -15 (pid: 3)", True),
        ([], 1, "", True),
        ([exception("KeyboardInterrupt", "")], 1, "", True),
        ([exception("RuntimeError", LOST)], 1, "", True),
        ([], 1, TRACEBACK + SIGNALLED, True),
        ([], -11, "", False),
        ([], -9, "", False),
        ([exception("KeyError", "'x'")], -15, "", False),
    ],
)
def test_what_ends_a_whole_job_is_told_from_what_a_script_does(
    tmp_path: Path, events: list[Event], status: int, output: str, outside: bool
) -> None:
    evidence = Evidence(ended=Ended.ITSELF, status=status, output=output, journals=journals(tmp_path, events))
    outcome = classify(evidence)
    assert (outcome.kind, outcome.from_outside) == (OutcomeKind.CRASHED, outside), outcome


def test_a_lost_peer_is_not_the_cause(tmp_path: Path) -> None:
    known = journals(tmp_path, [exception("RuntimeError", LOST)], [exception("KeyError", "'x'")])
    outcome = classify(Evidence(ended=Ended.ITSELF, status=1, journals=known))
    assert (outcome.rank, "KeyError" in outcome.reason) == (1, True)


def test_a_rank_that_died_beside_a_lost_peer_is_the_cause(tmp_path: Path) -> None:
    known = journals(tmp_path, [exception("RuntimeError", LOST)], [])
    outcome = classify(Evidence(ended=Ended.ITSELF, status=1, rank_statuses={1: -11}, journals=known))
    assert (outcome.rank, "SIGSEGV" in outcome.reason) == (1, True)


def test_an_abort_in_a_closing_interpreter_ends_no_other_ranks_training(tmp_path: Path) -> None:
    known = journals(tmp_path, [("end", {})], [])
    late = classify(Evidence(ended=Ended.ITSELF, status=1, rank_statuses={0: -6, 1: -15}, journals=known))
    assert late.kind is OutcomeKind.COMPLETED
    early = classify(Evidence(ended=Ended.ITSELF, status=1, rank_statuses={1: -6, 0: -15}, journals=known))
    assert (early.kind, early.rank) == (OutcomeKind.CRASHED, 1)


def test_exits_before_the_first_step_are_told_apart(tmp_path: Path) -> None:
    never = classify(Evidence(ended=Ended.ITSELF, status=0))
    assert "without calling DeepSpeed; build the engine" in never.reason
    early = classify(Evidence(ended=Ended.ITSELF, status=3))
    assert early.reason == "exit status 3 before the first step"
    idle = classify(Evidence(ended=Ended.ITSELF, status=0, journals=journals(tmp_path, steps=0)))
    assert "without one training step" in idle.reason
    assert {never.kind, early.kind, idle.kind} == {OutcomeKind.CRASHED}


def test_ranks_that_wait_for_one_that_raised_are_not_hung(tmp_path: Path) -> None:
    known = journals(tmp_path, [], [exception("KeyError", "'x'")])
    hang = Overrun(limit=Passed.HANG, text="no step for 30 s", rank=0)
    outcome = classify(Evidence(ended=Ended.OVERRUN, overrun=hang, journals=known))
    assert outcome.kind is OutcomeKind.CRASHED
    quiet = Evidence(ended=Ended.OVERRUN, overrun=hang, journals=journals(tmp_path / "b", []))
    assert classify(quiet).kind is OutcomeKind.HUNG


def losses(tmp_path: Path, fp16: bool, *values: tuple[float, int]) -> dict[int, RankJournal]:
    writer = JournalWriter(tmp_path, FakeClock())
    writer.header(config={"fp16": {"enabled": fp16}})
    for loss, skipped in values:
        writer.step(loss=loss, skipped=skipped)
    journal = RankJournal(path=tmp_path / "rank-0.jsonl")
    journal.refresh()
    return {0: journal}


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("fp16", "values", "kind"),
    [
        (False, [(1.0, 0), (NAN, 0), (NAN, 0), (NAN, 0)], OutcomeKind.DIVERGED),
        (False, [(1.0, 0), (NAN, 1), (NAN, 1), (NAN, 1)], OutcomeKind.DIVERGED),
        (False, [(NAN, 0)], OutcomeKind.DIVERGED),
        (True, [(INF, 1), (INF, 1), (INF, 1), (2.0, 0)], OutcomeKind.COMPLETED),
        (True, [(INF, 1), (INF, 1), (INF, 1)], OutcomeKind.COMPLETED),
        (True, [(INF, 1)] * 12, OutcomeKind.DIVERGED),
        (True, [(INF, 1), (NAN, 0), (NAN, 0), (NAN, 0)], OutcomeKind.DIVERGED),
        (False, [(1.0, 0), (NAN, 0), (1.0, 0)], OutcomeKind.COMPLETED),
        (False, [(1.0, 0), (NAN, 0)], OutcomeKind.COMPLETED),
    ],
)
def test_a_loss_that_stays_non_finite_is_divergence(
    tmp_path: Path, fp16: bool, values: list[tuple[float, int]], kind: OutcomeKind
) -> None:
    known = losses(tmp_path, fp16, *values)
    assert classify(Evidence(ended=Ended.ITSELF, status=0, journals=known)).kind is kind


@pytest.mark.parametrize(
    ("fed", "kind"),
    [
        ([2, 2, 2, 2], OutcomeKind.INVALID_CONFIG),
        ([4, 4, 1, 4], OutcomeKind.COMPLETED),
        ([4, 4, 4, 4], OutcomeKind.COMPLETED),
        ([0, 0, 0, 0], OutcomeKind.COMPLETED),
    ],
)
def test_the_batch_that_is_fed_must_be_the_one_configured(
    tmp_path: Path, fed: list[int], kind: OutcomeKind
) -> None:
    writer = JournalWriter(tmp_path, FakeClock())
    writer.header(micro_batch=4)
    for samples in fed:
        writer.step(samples=samples * 2, forwards=2)
    journal = RankJournal(path=tmp_path / "rank-0.jsonl")
    journal.refresh()
    outcome = classify(Evidence(ended=Ended.STOPPED, text="enough", journals={0: journal}))
    assert outcome.kind is kind
    if kind is OutcomeKind.INVALID_CONFIG:
        assert "--map train_micro_batch_size_per_gpu=" in outcome.reason
