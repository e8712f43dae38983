"""A pipeline's bubble: as the schedule has it, and as the stages' journals tell."""

from pathlib import Path

import pytest

from flyball.collectors.journal import RankJournal
from flyball.tuners.measurement.bubble import pipeline, predicted_bubble


@pytest.mark.parametrize(
    ("stages", "chunks", "bubble"), [(2, 1, 1 / 2), (2, 8, 1 / 9), (4, 4, 3 / 7), (1, 3, 0.0)]
)
def test_the_schedules_bubble(stages: int, chunks: int, bubble: float) -> None:
    assert predicted_bubble(stages, chunks) == pytest.approx(bubble)


def rank(number: int, *, busy: float | None, span: float = 1.0, stages: int = 2) -> RankJournal:
    """Three steps, of which the first is slow; a stage's header in front."""
    header = {"kind": "header", "engine": 0, "accumulation": 4, "pipeline_stage": number}
    records: list[dict[str, object]] = [{**header, "pipeline_stages": stages} if stages else header]
    for step in range(3):
        record: dict[str, object] = {"kind": "step", "engine": 0, "step": step + 1}
        if busy is not None:
            late = 10.0 if not step else 0.0
            record |= {"pipeline_busy": busy, "pipeline_span": span + late}
        records.append(record)
    return RankJournal(path=Path(f"rank-{number}.jsonl"), records=records)


def found(*ranks: RankJournal) -> dict[str, float] | str:
    journals = dict(enumerate(ranks))
    headers = {number: journal.records[0] for number, journal in journals.items()}
    return pipeline(journals, headers, after_record=1)


def test_what_the_stages_do_not_compute_in_the_first_ones_span_is_the_bubble() -> None:
    # The last stage's own span is shorter: it begins later and ends earlier.
    assert found(rank(0, busy=0.7), rank(1, busy=0.8, span=0.9)) == {
        "stages": 2,
        "chunks": 4,
        "predicted_bubble": pytest.approx(0.2),
        "measured_bubble": pytest.approx(0.25),
    }


def test_what_cannot_be_told_has_its_reason() -> None:
    assert found(rank(0, busy=0.7, stages=0)) == "the job is not a pipeline"
    assert found(rank(0, busy=0.7), rank(1, busy=None)) == "the passes of rank 1 were not timed"
    last_only = {1: rank(1, busy=0.7)}
    assert pipeline(last_only, {1: last_only[1].records[0]}) == "no rank of the first stage was seen"
