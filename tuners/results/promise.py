"""What a recommendation promises the runs that use it: samples a second, from the runs it rests on."""

import math
from collections.abc import Mapping
from typing import Any

from flyball.tuners.base import Interval
from flyball.tuners.objective import Objective
from flyball.tuners.verification.statistics import next_value_interval


def promise_json(experiment: str, document: Mapping[str, Any], *, samples_from: str) -> dict[str, Any] | None:
    """Return ``promise.json`` of a run that uses a study's recommendation; None where nothing is promised.

    Args:
        experiment: name of the study.
        document: its ``recommendation.json``.
        samples_from: of the study; a rate in samples that the config counts is not what a run's batches show.
    """
    interval = promised(document) if samples_from == "batch" else None
    return {"experiment": experiment, "low": interval.low, "high": interval.high} if interval else None


def promised(document: Mapping[str, Any]) -> Interval | None:
    """Return the rate that the next run of a recommended configuration has, with 95% confidence.

    It is wider than the interval of the mean in the document: a run differs from the next one, and that
    difference is in the runs that verified it. None where nothing is recommended, by fewer than two runs, or
    by another objective than throughput.

    Args:
        document: ``recommendation.json``.
    """
    verification = document.get("verification") or {}
    objective = document.get("objective") or {}
    if document.get("verdict") != "recommended" or not verification:
        return None
    if objective.get("compared", Objective.THROUGHPUT.terms.merit_unit) != Objective.THROUGHPUT.terms.unit:
        return None  # its pairs are not in samples a second
    winner = verification.get("winner")
    logs = [
        math.log(pair["candidate"])
        for candidate in verification.get("candidates", ())
        if candidate["key"] == winner
        for pair in candidate["pairs"]
    ]
    found = next_value_interval(logs)
    if found is None:
        return None
    low, high = found
    return Interval(point=math.exp((low + high) / 2), low=math.exp(low), high=math.exp(high))
