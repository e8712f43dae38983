"""What a sample cost in joules: the GPUs' energy counters, read between the same steps as the throughput.

The counters (``nvmlDeviceGetTotalEnergyConsumption``) hold all that a GPU drew, whoever drew it: start-up and
warm-up lie before the window and are left out, another process's share cannot be. So a GPU on which somebody
else still computes once the run has ended tells nothing of the run.
"""

import math
from collections.abc import Collection, Mapping

import numpy as np

from flyball.collectors.gpu_recorder import GpuRecorder
from flyball.collectors.journal import Record
from flyball.tuners.measurement.interval import FEWEST_STEPS, Rate, rate
from flyball.tuners.measurement.journal_facts import gpu_uuids
from flyball.tuners.measurement.series import Array, RankSeries, TimeLine, number

NO_GPUS = "the GPUs of the ranks are not known, or were not sampled"


def joules_by_step(line: TimeLine, first: RankSeries, gpus: GpuRecorder, uuids: Collection[str]) -> Array:
    """Return the joules of each step of a line, all GPUs together; NaN where a counter was not read.

    Args:
        line: steps of all ranks.
        first: the rank whose clock tells when a step began and ended.
        gpus: what was sampled beside the run.
        uuids: of the GPUs that the ranks use.
    """
    ends = [number(record.get("time")) for record in first.records]
    begins = [end - seconds for end, seconds in zip(ends, first.seconds, strict=True)]
    before, after = gpus.joules_at(begins, uuids), gpus.joules_at(ends, uuids)
    drawn = [
        math.nan if begin is None or end is None or end < begin else end - begin
        for begin, end in zip(before, after, strict=True)
    ]
    # A step that was not read must not spoil those beside it: it is taken out before the sum, and put back.
    unread = [float(math.isnan(each)) for each in drawn]
    grid = np.concatenate(([line.boundary[0] - line.count[0]], line.boundary))
    known = first.on(grid, [0.0 if math.isnan(each) else each for each in drawn])
    return np.where(first.on(grid, unread) > 0, math.nan, known)


def energy_so_far(
    line: TimeLine,
    first: RankSeries,
    headers: Mapping[int, Record],
    gpus: GpuRecorder,
    *,
    start: int,
) -> Rate | None:
    """Return the samples a joule of a run under way, up to the last step that was read; None for too few."""
    joules = joules_by_step(line, first, gpus, gpu_uuids(headers))[start:]
    unread = np.flatnonzero(np.isnan(joules))
    until = int(unread[0]) if len(unread) else len(joules)
    return rate(line.samples[start : start + until], joules[:until])


def energy(
    line: TimeLine,
    first: RankSeries,
    headers: Mapping[int, Record],
    gpus: GpuRecorder | None,
    *,
    start: int,
) -> Rate | str:
    """Return the samples a joule of a run that has ended, or why they are not known.

    Args:
        line: steps of all ranks.
        first: the rank whose clock tells when a step began and ended.
        headers: of the ranks.
        gpus: what was sampled beside the run; None where nothing was.
        start: leading steps of the line that belong to warm-up.
    """
    uuids = gpu_uuids(headers)
    silent = [rank for rank, header in headers.items() if not header.get("gpu_uuid")]
    if gpus is None or not uuids or silent:
        return NO_GPUS
    gpus.catch_up(number(first.records[-1].get("time")))
    others = gpus.sharers(uuids)
    if others:
        return f"another process computes on the job's GPUs (pid {', '.join(map(str, others))})"
    joules = joules_by_step(line, first, gpus, uuids)[start:]
    if np.isnan(joules).any():
        return f"a GPU's energy counter was not read: {gpus.energy_reason()}"
    found = rate(line.samples[start:], joules)
    return found or f"fewer than {FEWEST_STEPS} steps, or no energy, were counted"
