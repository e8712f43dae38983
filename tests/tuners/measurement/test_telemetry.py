"""What is told of a run beside its rate, and how it is shown."""

from pathlib import Path

import pytest
from tests.tuners.recommendation_fakes import kept, recommended
from tests.tuners.statistics_fakes import configuration, measurement

from flyball.collectors.journal import RankJournal
from flyball.tuners.measurement.series import RankSeries
from flyball.tuners.measurement.telemetry import described, telemetry
from flyball.tuners.results.recommendation import Side
from flyball.tuners.results.report import render_report
from flyball.tuners.results.summary import render_summary

SEEN = {
    "gpu": {"sm_utilization": {"mean": 0.41, "p10": 0.3, "p90": 0.5}, "energy_joules_per_sample": 0.8312},
    "fragmentation_peak": 0.125,
    "p2p": [],
    "unavailable": {"communication_ratio": "there is one rank"},
}
PIPELINE = {"stages": 2, "chunks": 8, "predicted_bubble": 1 / 9, "measured_bubble": 0.153}
BETTER = {"gpu": {"sm_utilization": {"mean": 0.78}, "energy_joules_per_sample": 0.51}}


class Gpus:
    """Stands in for the recorder: keeps what it was asked."""

    def summary(self, spans, uuids, *, samples):
        return {"spans": list(spans), "uuids": set(uuids), "samples": samples, "unavailable": {}}


def journal(*, collectives_seconds: float | None = None, memory: dict[str, int] | None = None) -> RankJournal:
    records = [{"kind": "header", "rank": 0, "engine": 0, "device": "cuda:0", "gpu_uuid": "a"}]
    for step in range(1, 11):
        end = 100.0 + step
        records.append(
            {"kind": "step", "engine": 0, "step": step, "time": end, "seconds": 1.0, "memory": memory}
        )
    if collectives_seconds is not None:
        entry = {"op": "all_reduce", "counts": [9, 0], "sum": collectives_seconds}
        records.append({"kind": "communication", "time": 110.5, "bounds": [1.0], "collectives": [entry]})
    return RankJournal(path=Path("rank-0.jsonl"), records=records)


def seen(*journals: RankJournal, warmup: int = 0):
    by_rank = dict(enumerate(journals))
    series = {rank: RankSeries(journal=each, engine=0) for rank, each in by_rank.items()}
    for one in series.values():
        one.read()
    headers = {rank: each.records[0] for rank, each in by_rank.items()}
    return telemetry(
        series,
        by_rank,
        headers,
        Gpus(),  # type: ignore[arg-type]
        world_size=len(journals),
        samples=64.0,
        after_record=warmup,
    )


def test_gpus_are_asked_for_the_steps_after_warm_up():
    found = seen(journal(), warmup=4)["gpu"]
    assert found["spans"] == [(104.0, 110.0)]
    assert found["uuids"] == {"a"}
    assert found["samples"] == 64.0


def test_communication_is_a_share_of_the_stepping_time_over_the_ranks():
    found = seen(journal(collectives_seconds=4.0), journal(collectives_seconds=2.0))
    assert found["communication_ratio"] == pytest.approx(0.3)


def test_operations_that_nothing_follows_are_not_said_to_be_none():
    assert seen(journal())["stalls"]["operations"] is None
    followed = journal()
    followed.records.append({"kind": "communication", "time": 110.5, "operations": {"all_reduce": 3}})
    assert seen(followed)["stalls"]["operations"] == 0


def test_fragmentation_is_that_of_the_worst_rank():
    calm = journal(memory={"reserved": 100, "active": 95})
    torn = journal(memory={"reserved": 100, "active": 60})
    assert seen(calm, torn)["fragmentation_peak"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("ranks", "reason"), [(1, "there is one rank"), (2, "no collective was timed; on NCCL set TORCH")]
)
def test_what_was_not_timed_says_why(ranks, reason):
    found = seen(*(journal() for _ in range(ranks)))
    assert found["unavailable"]["communication_ratio"].startswith(reason)
    assert "communication_ratio" not in found


def test_only_what_is_known_is_described():
    assert described(None) == {}
    assert described(measurement(100, telemetry={"pipeline": PIPELINE})) == {
        "bubble": "15% (11% by the schedule)"
    }
    assert described(measurement(100, telemetry=SEEN)) == {
        "SM utilization": "41%",
        "J/sample": "0.831",
        "fragmentation": "12%",
    }


def test_the_summary_shows_both_sides():
    before = Side(configuration=configuration({}), measurement=measurement(100, telemetry=SEEN))
    after = Side(configuration=configuration({}), measurement=measurement(120, telemetry=BETTER))
    text = " ".join(render_summary(recommended(baseline=before, recommended=after), use="sh x").split())
    assert "seen SM utilization 41% -> 78%, J/sample 0.831 -> 0.51, fragmentation 12%" in text
    assert "SM utilization 41%, J/sample" in render_summary(kept(baseline=before), use="sh x")
    assert "seen" not in render_summary(kept(), use="sh x")


def test_the_report_shows_both_sides():
    before = Side(configuration=configuration({}), measurement=measurement(100, telemetry=SEEN))
    after = Side(configuration=configuration({}), measurement=measurement(120, telemetry=BETTER))
    page = render_report(recommended(baseline=before, recommended=after), [], use="sh x", command="x")
    assert "41% &rarr; 78%" in page
    assert "12% &rarr; not known" in page
