"""Makes a view of snapshots."""

from collections.abc import Iterable

from flyball.agent.top.gpu_view import gpu_views
from flyball.agent.top.reasons import Reasons, missing_of
from flyball.agent.top.run_view import run_views, unwatched
from flyball.agent.top.snapshot import EVERYTHING, RUNS, Snapshot
from flyball.agent.top.view import HostView, Missing, View
from flyball.collectors import catalog
from flyball.collectors.base import Metric, Sample

_GPUS = "nvml"
_IDLE = ("idle", "iowait")


def build(snapshot: Snapshot, earlier: Iterable[Snapshot] = ()) -> View:
    """The view of a moment.

    Args:
        snapshot: what is known now.
        earlier: what was known for the views before, the last first; without them the use of the
            processors is not known. The first that has another reading of them counts.
    """
    reasons = Reasons()
    gpus = gpu_views(snapshot.samples, reasons)
    runs = run_views(snapshot.ranks, snapshot.samples, reasons)
    host = _host(snapshot, earlier, reasons)
    for source, why in snapshot.silent:
        if source != _GPUS:
            reasons.note(why.reason, what=source, detail=why.detail)
    return View(
        time=snapshot.time,
        host=host,
        no_gpus=None if gpus else _no_gpus(snapshot),
        runs_known=not {RUNS, EVERYTHING} & dict(snapshot.silent).keys(),
        gpus=gpus,
        runs=runs,
        unwatched=unwatched(snapshot.samples),
        missing=reasons.missing(),
    )


def _no_gpus(snapshot: Snapshot) -> Missing | None:
    silent = dict(snapshot.silent)
    if EVERYTHING in silent:
        return None
    why = silent.get(_GPUS)
    if why is None:
        return missing_of("no_gpu", what="GPUs", detail="none was named")
    return missing_of(why.reason, what="GPUs", detail=why.detail)


def _host(snapshot: Snapshot, earlier: Iterable[Snapshot], reasons: Reasons) -> HostView:
    total = _one(snapshot.samples, catalog.HOST_MEMORY_TOTAL)
    available = _one(snapshot.samples, catalog.HOST_MEMORY_AVAILABLE)
    ratios = (_cpu_ratio(snapshot.samples, before.samples) for before in earlier)
    cpu = next((ratio for ratio in ratios if ratio is not None), None)
    if cpu is None and not {"host", EVERYTHING} & dict(snapshot.silent).keys():
        reasons.note("being_read", what="cpu", detail="a rate needs two readings")
    return HostView(
        name=snapshot.host,
        driver=snapshot.driver,
        cpu_ratio=cpu,
        memory_used_bytes=None if total is None or available is None else total - available,
        memory_total_bytes=total,
        load=_one(snapshot.samples, catalog.HOST_LOAD),
    )


def _one(samples: Iterable[Sample], metric: Metric) -> float | None:
    found = (each.value for each in samples if each.metric is metric)
    value = next(found, None)
    return float(value) if isinstance(value, int | float) else None


def _cpu_ratio(now: Iterable[Sample], before: Iterable[Sample]) -> float | None:
    after, earlier = _cpu_seconds(now), _cpu_seconds(before)
    spent = {mode: seconds - earlier.get(mode, 0.0) for mode, seconds in after.items()}
    total = sum(spent.values())
    if not earlier or total <= 0:
        return None
    return min(1.0, max(0.0, 1 - sum(spent.get(mode, 0.0) for mode in _IDLE) / total))


def _cpu_seconds(samples: Iterable[Sample]) -> dict[str, float]:
    return {
        each.label("mode"): float(each.value)
        for each in samples
        if each.metric is catalog.HOST_CPU and isinstance(each.value, int | float)
    }
