"""What one run did, from its journals and from what was seen of its GPUs; what is not known says why."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flyball.collectors.gpu_recorder import GpuRecorder
from flyball.collectors.journal import RankJournal, read_folder
from flyball.tuners.measurement.energy import energy
from flyball.tuners.measurement.measurement import Reading
from flyball.tuners.measurement.series import Replicas, TimeLine, line_up
from flyball.tuners.measurement.telemetry import telemetry

NO_JOURNAL = "no DeepSpeed engine was made where the probe could see it (python -I keeps it out)"
LARGEST_JOURNALS_BYTES = 1 << 30


def summarize_run(folder: Path, gpus: GpuRecorder | None) -> dict[str, Any]:
    """Return what is known of a run that has ended, as JSON.

    Args:
        folder: of the run, with its journals.
        gpus: what was sampled meanwhile; None where nothing was.

    Returns:
        ``ranks``, ``world_size``, ``steps``, ``skipped_steps``, ``samples``, ``tokens``,
        ``samples_per_second`` (``point``, and ``low`` and ``high`` where there were steps enough),
        ``tokens_per_second``, ``samples_per_joule`` (likewise over the steps after warm-up, or
        ``unavailable``: why it is not known), ``notes`` and all of ``telemetry``; and ``unavailable``: name
        to reason, for what is not there.
    """
    size_bytes = sum(path.stat().st_size for path in folder.glob("rank-*.jsonl"))
    if size_bytes > LARGEST_JOURNALS_BYTES:
        return _nothing(f"the journals are too large to be read at once ({size_bytes >> 20} MiB)")
    journals = read_folder(folder)
    reading = Reading(ended=True)
    reading.read(journals)
    if not reading.headers:
        return _nothing(_why_none(journals))
    return _summary(reading, journals, gpus)


def _why_none(journals: Mapping[int, RankJournal]) -> str:
    off = (journal.last("probe_off") for journal in journals.values())
    reason = next((str(record.get("reason")) for record in off if record), None)
    return f"the probe switched itself off: {reason}" if reason else NO_JOURNAL


def _nothing(reason: str) -> dict[str, Any]:
    names = ("throughput", "steps", "gpu", "fragmentation_peak", "p2p", "stalls")
    return {"ranks": [], "notes": [], "unavailable": dict.fromkeys(names, reason)}


def _summary(
    reading: Reading, journals: Mapping[int, RankJournal], gpus: GpuRecorder | None
) -> dict[str, Any]:
    world = reading.replicas.world_size
    found: dict[str, Any] = {
        "ranks": sorted(reading.headers),
        "world_size": world,
        "notes": [],
        "unavailable": {},
    }
    if len(reading.headers) < world:
        found["notes"].append(f"{len(reading.headers)} of {world} ranks were watched: those of this host")
    _add_probe_off(found, journals)
    _add_rate(found, reading)
    _add_energy(found, reading, gpus)
    seen = telemetry(
        reading.series, journals, reading.headers, gpus, world_size=world, samples=found.get("samples")
    )
    found["unavailable"] |= seen.pop("unavailable")
    return found | seen


def _add_probe_off(found: dict[str, Any], journals: Mapping[int, RankJournal]) -> None:
    for rank, journal in journals.items():
        record = journal.last("probe_off")
        if record is not None:
            found["notes"].append(f"the probe of rank {rank} switched itself off: {record.get('reason')}")
            return


def _line(reading: Reading) -> TimeLine | None:
    """All ranks that were seen, on one line; where a host holds only some, they are taken as all."""
    if reading.missing() is None:
        return reading.line()
    here = len(reading.series)
    return line_up(reading.series, Replicas(world_size=here, data_parallel_size=here))


def _add_energy(found: dict[str, Any], reading: Reading, gpus: GpuRecorder | None) -> None:
    line = reading.line() if reading.missing() is None else None
    if line is None:
        found["samples_per_joule"] = {"unavailable": "not all ranks made steps on this host"}
        return
    first = reading.series[min(reading.series)]
    spent = energy(line, first, reading.headers, gpus, start=reading.warmup(line))
    if isinstance(spent, str):
        found["samples_per_joule"] = {"unavailable": spent}
        return
    interval = spent.interval()
    found["samples_per_joule"] = {"point": interval.point, "low": interval.low, "high": interval.high}


def _add_rate(found: dict[str, Any], reading: Reading) -> None:
    line = _line(reading)
    if line is None:
        found["unavailable"] |= dict.fromkeys(("throughput", "steps"), "a rank made no step")
        return
    found["steps"] = round(float(line.count.sum()))
    found["skipped_steps"] = round(float(line.skipped.sum()))
    found["samples"], found["tokens"] = float(line.samples.sum()), float(line.tokens.sum())
    steady = reading.steady_rate(line)
    start = reading.warmup(line) if steady else 0
    seconds = float(line.seconds[start:].sum())
    if found["samples"] <= 0 or seconds <= 0:
        found["unavailable"]["throughput"] = "no tensor was seen entering the engine's forward"
        return
    if steady is not None:
        interval = steady.interval()
        rate = {"point": interval.point, "low": interval.low, "high": interval.high}
    else:
        rate = {"point": float(line.samples.sum()) / seconds}
        found["notes"].append("too few steps to leave the warm-up out: the rates hold it")
    found["samples_per_second"] = rate
    if found["tokens"]:
        found["tokens_per_second"] = float(line.tokens[start:].sum()) / seconds
    else:
        found["unavailable"]["tokens_per_second"] = "nothing that enters forward is a token"
