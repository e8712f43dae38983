"""Why a run went as fast as it did: what its GPUs, its allocator and its links did meanwhile."""

from collections.abc import Mapping
from typing import Any

from flyball.collectors.gpu_recorder import RATIOS, GpuRecorder
from flyball.collectors.journal import RankJournal
from flyball.tuners.base import Measurement
from flyball.tuners.measurement.bubble import pipeline
from flyball.tuners.measurement.journal_facts import (
    ON_CPU,
    communication_seconds,
    fragmentation_peak,
    gpu_uuids,
    latencies,
    on_cpu,
    stalls,
    startup,
    stepping_spans,
)
from flyball.tuners.measurement.series import RankSeries, number

_GPU_KEYS = (*RATIOS, "energy_joules_per_sample")
_NOT_TIMED = "no collective was timed; on NCCL set TORCH_NCCL_ENABLE_TIMING=1"


def telemetry(
    series: Mapping[int, RankSeries],
    journals: Mapping[int, RankJournal],
    headers: Mapping[int, Mapping[str, Any]],
    gpus: GpuRecorder | None,
    *,
    world_size: int,
    samples: float | None,
    after_record: int = 0,
) -> dict[str, Any]:
    """Return what was seen beside a run's steps; what is not known says why.

    Args:
        series: of the engine that trains, by rank; at least one.
        journals: of all ranks that were seen.
        headers: the ranks' headers.
        gpus: what was sampled meanwhile; None where nothing was.
        world_size: ranks in all.
        samples: trained on after ``after_record``, by all replicas, for the energy of one.
        after_record: leading step records that do not count (warm-up).

    Returns:
        ``gpu`` (see ``GpuRecorder.summary``), ``fragmentation_peak`` (ratio, of the worst rank), ``p2p``
        (see ``latencies``), ``startup`` (see there), ``communication_ratio`` (seconds in collectives over
        seconds of stepping, mean over the ranks; above 1 where several ran at once), ``stalls``,
        ``pipeline`` (see there); and ``unavailable``, name to reason.
    """
    first = series[min(series)]
    before = number(first.records[after_record - 1].get("step")) if after_record else 0.0
    spans = stepping_spans(first.journal, first.engine, after_step=before)
    found: dict[str, Any] = {"stalls": stalls(journals), "p2p": latencies(journals), "unavailable": {}}
    missing = found["unavailable"]
    parts = startup(journals)
    if parts:
        found["startup"] = parts
    peak = fragmentation_peak(journals)
    if peak is not None:
        found["fragmentation_peak"] = peak
    else:
        missing["fragmentation_peak"] = ON_CPU if on_cpu(headers) else "no step told of the allocator's state"
    if not found["p2p"]:
        untimed = "no message between ranks was timed; flyball run --ping-every-steps times some"
        missing["p2p"] = "there is one rank" if world_size == 1 else untimed
    stepping = sum(end - begin for begin, end in spans)
    communicating = communication_seconds(journals, spans)
    if communicating is not None and stepping > 0:
        found["communication_ratio"] = communicating / stepping
    else:
        missing["communication_ratio"] = "there is one rank" if world_size == 1 else _NOT_TIMED
    bubble = pipeline(journals, headers, after_record=after_record)
    if isinstance(bubble, str):
        missing["pipeline"] = bubble
    else:
        found["pipeline"] = bubble
    uuids = gpu_uuids(headers)
    if uuids and gpus is not None:
        found["gpu"] = gpus.summary(spans, uuids, samples=samples)
    else:
        why = ON_CPU if on_cpu(headers) else "the ranks' GPUs are not known"
        found["gpu"] = {"unavailable": dict.fromkeys(_GPU_KEYS, why)}
    return found


def described(measurement: Measurement | None) -> dict[str, str]:
    """Return what is known of a run's telemetry in words, by name; what is not known is left out."""
    return in_words(measurement.telemetry if measurement else {})


def in_words(found: Mapping[str, Any]) -> dict[str, str]:
    """The same of ``telemetry``'s own result."""
    gpu = found.get("gpu") or {}
    texts = {
        "SM utilization": _share((gpu.get("sm_utilization") or {}).get("mean")),
        "J/sample": _plain(gpu.get("energy_joules_per_sample")),
        "fragmentation": _share(found.get("fragmentation_peak")),
        "communication": _share(found.get("communication_ratio")),
        "bubble": _bubble(found.get("pipeline")),
    }
    return {name: text for name, text in texts.items() if text}


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _bubble(found: Mapping[str, float] | None) -> str:
    if not found:
        return ""
    return f"{found['measured_bubble']:.0%} ({found['predicted_bubble']:.0%} by the schedule)"


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
