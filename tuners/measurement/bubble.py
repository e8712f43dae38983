"""How much of a pipeline's step its stages wait: as predicted from the schedule, and as measured."""

from collections.abc import Mapping
from statistics import fmean

from flyball.collectors.journal import RankJournal, Record
from flyball.tuners.measurement.series import number


def predicted_bubble(stages: int, chunks: int) -> float:
    """Return the share of a step that a stage idles where all passes take the same time: (p-1)/(m+p-1).

    Args:
        stages: p, of the pipeline.
        chunks: m, micro batches of a step.

    Source: Huang et al., GPipe, 2019 (https://arxiv.org/abs/1811.06965), section 2; one forward and one
    backward in turn idles as long (Narayanan et al., 2021, https://arxiv.org/abs/2104.04473, section 2.2).
    """
    return (stages - 1) / (chunks + stages - 1)


def pipeline(
    journals: Mapping[int, RankJournal], headers: Mapping[int, Record], *, after_record: int = 0
) -> dict[str, float] | str:
    """Return what is known of a run's pipeline, or why nothing is.

    Args:
        journals: of all ranks that were seen.
        headers: the ranks' headers.
        after_record: leading step records that do not count (warm-up).

    Returns:
        ``stages``, ``chunks``, ``predicted_bubble`` and ``measured_bubble``: 1 - the mean over the stages of
        the seconds in passes / the seconds from the first stage's first pass to its last one. Waiting for
        a neighbour's tensor counts, and so does a stage that has less to do than the others.
    """
    staged = {rank: header for rank, header in headers.items() if header.get("pipeline_stages")}
    if not staged:
        return "the job is not a pipeline"
    first = next(iter(staged.values()))
    stages, chunks = int(number(first["pipeline_stages"])), int(number(first.get("accumulation")))
    busy: list[float] = []
    spans: list[float] = []
    for rank, header in staged.items():
        steps = journals[rank].steps(int(number(header.get("engine"))))[after_record:]
        seconds = sum(number(step.get("pipeline_busy")) for step in steps)
        if not seconds:
            return f"the passes of rank {rank} were not timed"
        busy.append(seconds)
        if not number(header.get("pipeline_stage")):
            spans.append(sum(number(step.get("pipeline_span")) for step in steps))
    if not spans or chunks < 1:
        return "no rank of the first stage was seen"
    return {
        "stages": stages,
        "chunks": chunks,
        "predicted_bubble": predicted_bubble(stages, chunks),
        "measured_bubble": max(0.0, 1 - fmean(busy) / fmean(spans)),
    }
