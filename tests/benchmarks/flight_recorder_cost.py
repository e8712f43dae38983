"""What following NCCL's flight recorder costs, as a share of the time.

    python tests/benchmarks flight_recorder_cost

Fills the recorder's ring with real collectives of this GPU, times whole reads and looks as the probe makes
them, and says how much of the time they take at the rate that the probe then keeps. Then steps of products
and collectives run in turn with the probe's thread reading at that rate and without it: the ratio of their
times, a pair of blocks each. Asked is less than a thousandth.
"""

import argparse
import os
import statistics
import sys
import time
from typing import Any

ASKED = 0.001
RUNS = 30


def main() -> None:
    """Print the costs, the share and the ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=12.0, help="of each block of steps")
    parser.add_argument("--pairs", type=int, default=2)
    given = parser.parse_args()
    os.environ.setdefault("TORCH_FR_BUFFER_SIZE", "1024")
    os.environ.setdefault("TORCH_NCCL_ENABLE_TIMING", "1")
    import torch

    from flyball.runner.probe.flight_recorder import FlightRecorder

    address = "tcp://127.0.0.1:29743"
    torch.distributed.init_process_group("nccl", init_method=address, rank=0, world_size=1)
    left, right = (torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    gradient = torch.zeros(1 << 20, device="cuda")

    def step() -> None:
        for _ in range(10):
            left @ right
        torch.distributed.all_reduce(gradient)
        torch.cuda.synchronize()

    for _ in range(1100):
        torch.distributed.all_reduce(gradient)
    step()
    dump: Any = torch._C._distributed_c10d._dump_nccl_trace  # type: ignore[attr-defined]
    records: list[str] = []
    recorder = FlightRecorder(dump, lambda kind, **_: records.append(kind))
    read = timed(recorder.read)
    look = timed(recorder._looks_old)
    share = sum(
        cost / max(pace.interval, cost / pace.share)
        for cost, pace in ((read, recorder.reads), (look, recorder.looks))
    )
    print(f"a read of the whole ring {read * 1e3:.2f} ms, a look {look * 1e3:.2f} ms ({RUNS} each, medians)")
    print(f"share of the time at the probe's rate: {share:.6f} (asked below {ASKED})")
    ratios = []
    for _ in range(given.pairs):
        with_reads, without = steps(step, recorder, given.seconds), steps(step, None, given.seconds)
        ratios.append(with_reads / without)
    print(f"step with reads over without: {[round(ratio, 5) for ratio in ratios]}, {len(records)} records")
    torch.distributed.destroy_process_group()
    sys.exit(0 if share < ASKED else 1)


def timed(action: Any) -> float:
    """Median seconds of one call."""
    taken = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        action()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def steps(step: Any, recorder: Any, seconds: float) -> float:
    """Mean seconds of a step; the recorder's turns fall between and within them, as in its thread."""
    import threading

    stop = threading.Event()

    def follow() -> None:
        while not stop.wait(1.0):
            recorder.tick()

    thread = threading.Thread(target=follow) if recorder is not None else None
    if thread is not None:
        thread.start()
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        step()
        count += 1
    spent = time.perf_counter() - begun
    stop.set()
    if thread is not None:
        thread.join()
    return spent / count


if __name__ == "__main__":
    main()
