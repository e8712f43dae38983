"""Reads a file that tests policies; whatever is wrong with it is said at once."""

import math
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from flyball.errors import FlyballError, PolicyError
from flyball.policies.expectation_keys import AlertsKeys, ExpectedKeys, FileKeys, ScenarioKeys, SeriesKeys
from flyball.policies.expectations import Expectation, ExpectedAlert, Scenario, Scenarios
from flyball.policies.faults import Faults, did_you_mean
from flyball.policies.keys import Read, read_keys
from flyball.policies.replay import PlayedSeries
from flyball.policies.rule import Rule
from flyball.policies.rule_file import read_rules
from flyball.policies.written_series import read_series
from flyball.yaml_file import read_with_faults

SEE = "docs/policy_tests.md"
MOST_EVALUATIONS = 100_000


def read_scenarios(path: Path, *, known_knobs: Collection[str]) -> Scenarios:
    """Read a file of tests and the policies that it names, whose paths begin at its folder.

    Raises:
        PolicyError: all faults, by file and line; also those of the policies.
    """
    file, found = read_with_faults(path, mend=f"name a file of tests, see {SEE}")
    if file is None:
        raise PolicyError(found)
    faults = Faults(file=file, found=list(found))
    read = read_keys(FileKeys, file.document, [], faults, noun="file of tests")
    assert read is not None, "a file's document is a mapping"
    rules = _rules(read, path.parent, known_knobs)
    scenarios = tuple(_scenarios(read, rules))
    if faults.found:
        raise PolicyError(sorted(faults.found, key=_place))
    return Scenarios(rules=rules or (), interval_seconds=read.keys.interval, scenarios=scenarios)


def _place(fault: FlyballError) -> tuple[str, int]:
    found = re.fullmatch(r"(.*?):(\d+)(?:: .*)?", fault.where or "", re.DOTALL)
    return (found[1], int(found[2])) if found else (fault.where or "", 0)


def _rules(read: Read[FileKeys], folder: Path, known_knobs: Collection[str]) -> tuple[Rule, ...] | None:
    """None where they cannot be read: the names of alerts are not known then."""
    if not read.keys.policies:
        if "policies" not in read.wrong:
            read.add("", "names no policies", mend="write 'policies: [default]' or the names of files")
        return None
    paths = [name if name == "default" else folder / name for name in read.keys.policies]
    try:
        return read_rules(paths, known_knobs=known_knobs)
    except PolicyError as error:
        read.faults.found.extend(error.faults)
        return None


def _scenarios(read: Read[FileKeys], rules: tuple[Rule, ...] | None) -> Iterator[Scenario]:
    if not read.keys.tests and "tests" not in read.wrong:
        read.add("tests" if read.has("tests") else "", "has no tests", mend=f"write some, see {SEE}")
    for number, item in enumerate(read.keys.tests):
        keys = read_keys(ScenarioKeys, item, ["tests", number], read.faults, noun="test")
        if keys is not None:
            yield _scenario(keys, rules, read.keys.interval)


def _scenario(read: Read[ScenarioKeys], rules: tuple[Rule, ...] | None, interval_seconds: float) -> Scenario:
    keys = read.keys
    if not keys.alerts and keys.quiet is None and read.wrong.isdisjoint(("alerts", "quiet")):
        read.add("", "expects nothing", mend="write 'alerts:', or 'quiet: 30m' where nothing may fire")
    if keys.quiet is not None:
        _check_length(read, "quiet", keys.quiet, interval_seconds)
    expectations = []
    for number, item in enumerate(keys.alerts):
        found = read_keys(AlertsKeys, item, [*read.at, "alerts", number], read.faults, noun="expectation")
        if found is not None:
            expectations.append(_expectation(found, rules, interval_seconds))
    return Scenario(
        name=keys.name or f"test {int(read.at[-1]) + 1}",
        series=tuple(_all_series(read)),
        expectations=tuple(expectations),
        quiet_seconds=keys.quiet,
        place=_line(read),
    )


def _all_series(read: Read[ScenarioKeys]) -> Iterator[PlayedSeries]:
    known = set()
    for number, item in enumerate(read.keys.series):
        found = read_keys(SeriesKeys, item, [*read.at, "series", number], read.faults, noun="series")
        series = read_series(found) if found is not None else None
        if found is None or series is None:
            continue
        if series.identity in known:
            found.add("series", "stands there twice", mend="write all its values in one line")
        known.add(series.identity)
        yield series


def _expectation(
    read: Read[AlertsKeys], rules: tuple[Rule, ...] | None, interval_seconds: float
) -> Expectation:
    keys = read.keys
    if keys.at is None:
        if "at" not in read.wrong:
            read.add("", "at is missing", mend="write when, as in 'at: 10m'")
    else:
        _check_length(read, "at", keys.at, interval_seconds)
    names = [rule.alert for rule in rules or ()]
    if rules is not None and keys.alert and keys.alert not in names:
        mend = did_you_mean(keys.alert, names, otherwise="name one of the policies' alerts")
        read.add("alert", f"there is no policy '{keys.alert}'", mend=mend)
    if not read.has("expect") and "expect" not in read.wrong:
        read.add("", "expect is missing", mend="write the alerts, or 'expect: []' where there are none")
    return Expectation(
        time=keys.at or 0.0, alert=keys.alert, alerts=tuple(_expected(read)), place=_line(read)
    )


def _expected(read: Read[AlertsKeys]) -> Iterator[ExpectedAlert]:
    for number, item in enumerate(read.keys.expect):
        found = read_keys(ExpectedKeys, item, [*read.at, "expect", number], read.faults, noun="alert")
        if found is None:
            continue
        name = {"alertname": read.keys.alert} if read.keys.alert else {}
        labels = {label: value for label, value in found.keys.labels.items() if value}
        yield ExpectedAlert(labels={**labels, **name}, annotations=found.keys.annotations)


def _check_length(read: Read[Any], key: str, seconds: float, interval_seconds: float) -> None:
    if math.ceil(seconds / interval_seconds) > MOST_EVALUATIONS:
        most = f"{MOST_EVALUATIONS:,} evaluations"
        read.add(key, f"takes more than {most}", mend="write a shorter time or a longer interval")


def _line(read: Read[Any]) -> str:
    at: Sequence[str | int] = read.at
    return read.faults.file.place(at).partition(": ")[0]
