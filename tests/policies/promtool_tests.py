"""Cases as unit tests of Prometheus' rules, and what promtool says of them.

https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/
"""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from tests.policies.parity_cases import Case

from flyball.collectors.base import Distribution, Kind
from flyball.history.alert_records import Alert, AlertStatus
from flyball.policies.export import prometheus_rules
from flyball.policies.promql import duration, number, quoted
from flyball.policies.replay import PlayedSeries, Point
from flyball.policies.rule import Rule
from flyball.policies.series_notation import Mark

Timeline = Sequence[tuple[float, Sequence[Alert]]]
"""At each evaluation, the alerts that are pending or firing after it."""


def write(case: Case, timeline: Timeline, folder: Path, name: str) -> Path:
    """Write the exported rules and a test that expects this timeline; returns the test's file."""
    rules = folder / f"{name}.rules.yml"
    rules.write_text(prometheus_rules(case.rules), encoding="utf-8")
    test = {
        "interval": duration(case.interval_seconds),
        "input_series": [entry for series in case.series for entry in _input(series)],
        "alert_rule_test": [
            {
                "eval_time": duration(time),
                "alertname": rule.alert,
                "exp_alerts": [_expected(alert) for alert in alerts if _fires(alert, rule)],
            }
            for time, alerts in timeline
            for rule in case.rules
        ],
        # Prometheus' own record of its states: pending alerts too, and since when.
        "promql_expr_test": [
            {
                "eval_time": duration(time),
                "expr": "ALERTS_FOR_STATE or ALERTS",
                "exp_samples": [sample for alert in alerts for sample in _states(alert)],
            }
            for time, alerts in timeline
        ],
    }
    document = {
        "rule_files": [rules.name],
        "evaluation_interval": duration(case.evaluation_seconds),
        "tests": [test],
    }
    path = folder / f"{name}.test.yml"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def faults(promtool: str, files: Sequence[Path]) -> dict[Path, str]:
    """What promtool says of those files of which it thinks otherwise."""
    done = subprocess.run(
        [promtool, "test", "rules", *map(str, files)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    told = dict(_told(done.stdout))
    assert told.keys() == set(map(str, files)), done.stdout[-2000:]
    return {path: told[str(path)] for path in files if "SUCCESS" not in told[str(path)]}


def _told(output: str) -> Iterator[tuple[str, str]]:
    for part in re.split(r"^Unit Testing:  ", output, flags=re.MULTILINE)[1:]:
        name, _, text = part.partition("\n")
        yield name, text


def _input(series: PlayedSeries) -> Iterator[Mapping[str, str]]:
    metric = series.identity.metric
    labels = dict(zip(metric.labels, series.identity.labels, strict=True))
    name = metric.full_name
    if metric.kind is not Kind.HISTOGRAM:
        yield {"series": _selector(name, labels), "values": " ".join(map(_value, series.points))}
        return
    for place, bound in enumerate((*map(number, metric.bounds), "+Inf")):
        counts = (_part(point, lambda state, n=place: _cumulative(state)[n]) for point in series.points)  # type: ignore[misc]
        yield {"series": _selector(f"{name}_bucket", {**labels, "le": bound}), "values": " ".join(counts)}
    for suffix, part in (("sum", lambda state: state.sum), ("count", lambda state: state.count)):
        values = (_part(point, part) for point in series.points)
        yield {"series": _selector(f"{name}_{suffix}", labels), "values": " ".join(values)}


def _cumulative(state: Distribution) -> list[int]:
    return list(accumulate(state.counts))


def _part(point: Point, part: Any) -> str:
    return _value(part(point) if isinstance(point, Distribution) else point)


def _value(point: Any) -> str:
    return str(point.value) if isinstance(point, Mark) else number(float(point)).replace("+Inf", "Inf")


def _selector(name: str, labels: Mapping[str, str]) -> str:
    return f"{name}{{{', '.join(f'{label}={quoted(value)}' for label, value in labels.items())}}}"


def _fires(alert: Alert, rule: Rule) -> bool:
    return alert.rule == rule.alert and alert.status is AlertStatus.FIRING


def _expected(alert: Alert) -> Mapping[str, Any]:
    labels = {name: value for name, value in alert.labels.items() if name != "alertname"}
    return {"exp_labels": labels, "exp_annotations": dict(alert.annotations)}


def _states(alert: Alert) -> Iterator[Mapping[str, Any]]:
    state = "firing" if alert.status is AlertStatus.FIRING else "pending"
    yield {"labels": _selector("ALERTS", {**alert.labels, "alertstate": state}), "value": 1}
    yield {"labels": _selector("ALERTS_FOR_STATE", alert.labels), "value": alert.active_time}
