"""Series in one line each, as in Prometheus' unit tests: ``gpu_power_watts{gpu="0"}``, ``1+2x5 _x3 stale``.

The notation is Prometheus'
(https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#series), so that series can be
taken from there: ``axn`` is the value and n more of the same, ``a+bxn`` the value and n more, each larger by
b, ``_`` and ``_xn`` are one and n collections without a word of the series, and after ``stale`` it is gone.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from flyball.collectors.base import PREFIX, Metric
from flyball.collectors.catalog import METRICS

MOST_VALUES = 100_000
_SHOWN = 60
_UNSIGNED = r"(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|(?i:inf|nan))"
_GAPS = re.compile(r"_(?:x(?P<times>\d{1,9}))?")
_VALUES = re.compile(
    rf"(?P<first>[-+]?{_UNSIGNED})(?:(?P<step>[-+]{_UNSIGNED})(?=x))?(?:x(?P<times>\d{{1,9}}))?"
)
_SERIES = re.compile(r"\s*(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{(?P<labels>.*)\})?\s*", re.DOTALL)
_LABEL = re.compile(r'\s*(?P<name>[a-zA-Z_]\w*)\s*=\s*(?P<value>"(?:[^"\\]|\\.)*")\s*(?:,|$)')


class Mark(Enum):
    """What stands in the place of a value."""

    GAP = "_"
    """The source was not read."""
    STALE = "stale"
    """The source was read, and the series was gone."""


class NotationError(ValueError):
    """Why a series or its values cannot be read; ``what; mend``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Which series."""

    metric: Metric
    labels: tuple[str, ...]
    """Values, in the order of ``metric.labels``."""


def read_identity(text: str, metrics: Mapping[str, Metric] = METRICS) -> Identity:
    """Return the series that ``text`` names; a label that is left out is empty.

    Raises:
        NotationError: it cannot be read, or names a metric or a label that does not exist.
    """
    found = _SERIES.fullmatch(text)
    if found is None:
        raise NotationError(f"'{_short(text)}' is no series; write it as in gpu_power_watts{{gpu=\"0\"}}")
    name = found["name"].removeprefix(PREFIX)
    metric = metrics.get(name)
    if metric is None:
        raise NotationError(
            f"unknown metric '{_short(name)}'; {_nearest(name, metrics, 'see docs/metrics.md')}"
        )
    given = _labels(found["labels"] or "")
    for label in given:
        if label not in metric.labels:
            known = f"it has {', '.join(metric.labels)}" if metric.labels else "it has none"
            raise NotationError(
                f"'{name}' has no label '{_short(label)}'; {_nearest(label, metric.labels, known)}"
            )
    return Identity(metric=metric, labels=tuple(given.get(label, "") for label in metric.labels))


def read_values(text: str) -> tuple[float | Mark, ...]:
    """Return a value or mark for each collection, the first at time 0.

    Raises:
        NotationError: a part cannot be read, there is none, or they stand for more than 100,000 values.
    """
    values: list[float | Mark] = []
    for part in text.split():
        length, more = _part(part)
        if len(values) + length > MOST_VALUES:
            raise NotationError(
                f"'{_short(part)}' makes more than {MOST_VALUES} values; write a smaller number"
            )
        values.extend(more)
    if not values:
        raise NotationError("there are no values; write some, as in '1 2 3', '0.9x10' or '1+2x5'")
    return tuple(values)


def _part(part: str) -> tuple[int, Iterator[float | Mark]]:
    """How many values, and the values: nothing long is made before its length is known."""
    if part == Mark.STALE.value:
        return 1, iter([Mark.STALE])
    if gaps := _GAPS.fullmatch(part):
        times = int(gaps["times"] or 1)
        return times, (Mark.GAP for _ in range(times))
    if written := _VALUES.fullmatch(part):
        times = int(written["times"] or 0)
        return times + 1, _rising(float(written["first"]), float(written["step"] or 0), times)
    mend = "write a number, '0.9x10', '1+2x5', '_', '_x3' or 'stale'"
    raise NotationError(f"'{_short(part)}' is no value; {mend}")


def _rising(value: float, step: float, times: int) -> Iterator[float]:
    yield value
    for _ in range(times):
        value += step  # as Prometheus does: a product would round differently
        yield value


def _labels(text: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    place = 0
    while text[place:].strip():
        found = _LABEL.match(text, place)
        if found is None:
            mend = 'write them as in {gpu="0",uuid="u"}'
            raise NotationError(f"labels cannot be read at '{_short(text[place:])}'; {mend}")
        if found["name"] in labels:
            raise NotationError(f"the label '{_short(found['name'])}' is there twice; take one out")
        try:
            labels[found["name"]] = str(json.loads(found["value"], strict=False))
        except ValueError as error:
            mend = 'only \\", \\\\, \\n and the like are known'
            raise NotationError(f"the value {_short(found['value'])} has a wrong escape; {mend}") from error
        place = found.end()
    return labels


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _nearest(name: str, known: Mapping[str, object] | tuple[str, ...], otherwise: str) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else otherwise
