"""Plays tests of policies and says, for each expectation that is not met, what came instead."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from flyball.history.alert_records import Alert, AlertStatus
from flyball.policies.expectations import Expectation, ExpectedAlert, Scenario, Scenarios
from flyball.policies.promql import duration, quoted
from flyball.policies.replay import replay


def failures(scenario: Scenario, scenarios: Scenarios) -> Iterator[str]:
    """Yield a text of some lines for each expectation of a test that is not met, in the order of time."""
    waiting = sorted(scenario.expectations, key=lambda each: each.time)
    quiet, interval = scenario.quiet_seconds, scenarios.interval_seconds
    end = max([each.time for each in waiting] + [quiet or 0.0])
    times = [number * interval for number in range(_milliseconds(end) // _milliseconds(interval) + 1)]
    for time, alerts in replay(scenarios.rules, scenario.series, interval_seconds=interval, times=times):
        firing = [alert for alert in alerts if alert.status is AlertStatus.FIRING]
        if quiet is not None and _milliseconds(time) <= _milliseconds(quiet) and firing:
            quiet = None  # one such text is enough: most alerts stay
            head = f"{scenario.place}: {scenario.name}: at {duration(time)}, where all must be quiet"
            yield _report(head, [], firing)
        # An expectation between two evaluations is of the one before it.
        while waiting and _milliseconds(waiting[0].time) < _milliseconds(time + interval):
            yield from _unmet(waiting.pop(0), scenario, firing)


def _milliseconds(seconds: float) -> int:
    """Times of files are whole ones; three times 0.1 s are no 0.3 s."""
    return round(seconds * 1000)


def _unmet(expectation: Expectation, scenario: Scenario, firing: Sequence[Alert]) -> Iterator[str]:
    got = [alert for alert in firing if expectation.alert in ("", alert.rule)]
    missing = list(expectation.alerts)
    for alert in list(got):
        met = next((each for each in missing if _is(each, alert)), None)
        if met is not None:
            missing.remove(met)
            got.remove(alert)
    if missing or got:
        subject = expectation.alert or "all alerts"
        yield _report(
            f"{expectation.place}: {scenario.name}: {subject} at {duration(expectation.time)}", missing, got
        )


def _is(expected: ExpectedAlert, alert: Alert) -> bool:
    texts = expected.annotations
    return expected.labels == alert.labels and (texts is None or texts == alert.annotations)


def _report(head: str, missing: Iterable[ExpectedAlert], got: Iterable[Alert]) -> str:
    missing, got = list(missing), list(got)
    with_texts = any(each.annotations is not None for each in missing)
    lines = [head]
    for expected in missing:
        lines += _block("expected", expected.labels, expected.annotations)
    for alert in got:
        lines += _block("got", alert.labels, alert.annotations if with_texts else None)
    for name, which in (("expected", missing), ("got", got)):
        if not which:
            lines.append(f"  {name}: nothing{' else' if name == 'got' else ''}")
    return "\n".join(lines)


def _block(word: str, labels: Mapping[str, str], texts: Mapping[str, str] | None) -> Iterator[str]:
    pairs = ", ".join(f"{name}={quoted(value)}" for name, value in sorted(labels.items()))
    yield f"  {word}: {{{pairs}}}"
    for name, text in sorted((texts or {}).items()):
        yield f"    {name}: {quoted(text)}"
