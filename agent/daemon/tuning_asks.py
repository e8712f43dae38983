"""Alerts that persist and name knobs ask for a tuning: held for ``autotune --from-alert``, never acted on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flyball.agent.daemon.readings import Reading
from flyball.collectors import catalog
from flyball.collectors.base import Distribution, Sample
from flyball.collectors.run_state import RankState
from flyball.history.alert_records import Alert, AlertStatus

_MOST_ASKED = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """A request that should be held."""

    alert: Alert
    run: str
    document: Mapping[str, Any]


class TuningAsks:
    """Which alerts ask, once for each time that they fire.

    Args:
        after_seconds: how long an alert must have fired.
    """

    def __init__(self, after_seconds: float) -> None:
        self.after_seconds = after_seconds
        self._asked: dict[tuple[str, float], None] = {}

    def due(self, active: Iterable[Alert], now: float) -> list[Alert]:
        """The alerts that have persisted and have not asked yet."""
        return [
            alert
            for alert in active
            if alert.status is AlertStatus.FIRING
            and alert.suggests
            and alert.fired_time is not None
            and now - alert.fired_time >= self.after_seconds
            and (alert.fingerprint, alert.active_time) not in self._asked
        ]

    def asked(self, alert: Alert) -> None:
        """Remember that this one has asked."""
        self._asked[alert.fingerprint, alert.active_time] = None
        if len(self._asked) > _MOST_ASKED:
            del self._asked[next(iter(self._asked))]


def asks(
    alerts: Iterable[Alert], ranks: Sequence[RankState], readings: Iterable[Reading], *, host: str
) -> Iterator[Ask]:
    """Make a request of each alert whose run is known here, with all that is known of the run."""
    samples = [sample for reading in readings for sample in reading.samples]
    for alert in alerts:
        run = run_of(alert, samples)
        state = first_rank(run, ranks)
        if state is None or state.origin is None:
            continue
        origin = state.origin
        document = {
            "command": list(origin.starts),
            "working_directory": origin.working_directory,
            "config": None if origin.config is None else dict(origin.config),
            "host": host,
            "world_size": state.world_size,
            "alert": {
                "labels": dict(alert.labels),
                "annotations": dict(alert.annotations),
                "suggests": list(alert.suggests),
                "value": alert.value,
                "active_time": alert.active_time,
            },
            "telemetry": telemetry(run, samples),
        }
        yield Ask(alert=alert, run=run, document=document)


def run_of(alert: Alert, samples: Iterable[Sample]) -> str:
    """The run that an alert is about: by its label, or that of a rank on its GPU; else empty."""
    run = alert.labels.get("run", "")
    uuid = alert.labels.get("uuid", "")
    if run or not uuid:
        return run
    infos = (sample for sample in samples if sample.metric is catalog.RUN_INFO)
    return next(
        (one.label("run") for one in infos if one.label("uuid") == uuid and not one.label("reason")), ""
    )


def first_rank(run: str, ranks: Iterable[RankState]) -> RankState | None:
    """The lowest rank of a run on this host; trials are none."""
    own = (rank for rank in ranks if rank.run == run and rank.purpose == "run")
    return min(own, key=lambda rank: rank.rank, default=None)


def telemetry(run: str, samples: Iterable[Sample]) -> dict[str, float]:
    """The last values of a run's and its GPUs' series, as Prometheus names them; of a histogram its mean."""
    found = list(samples)
    infos = [sample for sample in found if sample.metric is catalog.RUN_INFO and sample.label("run") == run]
    uuids = {info.label("uuid") for info in infos} - {""}
    values = {}
    for sample in found:
        names = sample.metric.labels
        if "run" in names and sample.label("run") != run:
            continue
        if "run" not in names and not ("uuid" in names and sample.label("uuid") in uuids):
            continue
        value = _number(sample)
        if value is not None and sample.metric is not catalog.RUN_INFO:
            pairs = ",".join(f'{name}="{text}"' for name, text in zip(names, sample.labels, strict=True))
            values[f"{sample.metric.full_name}{{{pairs}}}"] = value
    return values


def _number(sample: Sample) -> float | None:
    value = sample.value
    if isinstance(value, Distribution):
        return value.sum / value.count if value.count else None
    return float(value) if isinstance(value, int | float) else None
