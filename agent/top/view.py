"""What one screen of ``flyball top`` says. None is what is not known; its reason is in ``missing``."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class HostView:
    """The machine."""

    name: str
    driver: str
    """Version of the NVIDIA driver; empty where it is not known."""
    cpu_ratio: float | None
    """Busy share of all processors since the view before."""
    memory_used_bytes: float | None
    memory_total_bytes: float | None
    load: float | None
    """Load average of the last minute."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuView:
    """One GPU, or one MIG instance of it."""

    gpu: str
    uuid: str
    sm_utilization_ratio: float | None
    tensor_active_ratio: float | None
    busy_ratio: float | None
    memory_used_bytes: float | None
    memory_total_bytes: float | None
    power_watts: float | None
    temperature_celsius: float | None
    sm_clock_hertz: float | None
    throttled: tuple[str, ...] | None
    """What holds the clocks down now."""
    pcie_rx_bytes_per_second: float | None
    pcie_tx_bytes_per_second: float | None
    nvlink_rx_bytes_per_second: float | None
    nvlink_tx_bytes_per_second: float | None
    xid_errors: Mapping[str, int]
    """Since flyball began to look, by code."""
    ecc_errors: Mapping[str, int]
    """Since the driver was loaded, by kind; those that are 0 are left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RankView:
    """One rank of this machine."""

    rank: int
    gpu: str
    """Empty where it works on none."""
    phase: str
    step: int
    step_seconds: float | None
    """Median of its recent steps."""
    straggler_ratio: float | None
    """That over the median of the run's ranks on this machine."""
    reserved_bytes: float | None
    fragmentation_peak_ratio: float | None
    p2p_p50_seconds: Mapping[str, float]
    """Median one-way latency of its links, for its smallest messages, since the run began, by source."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """One run, from those of its ranks that are on this machine."""

    name: str
    phase: str
    """Of most of its ranks."""
    phase_seconds: float
    outcome: str
    """How it ended; empty while it lives."""
    world_size: int
    step: int
    """Of the rank that is furthest behind."""
    steps_per_second: float | None
    samples_per_second: float | None
    """Of the whole run at the pace of its slowest rank here, ranks elsewhere taken to be fed alike."""
    tokens_per_second: float | None
    loss: float | None
    """Mean over the ranks."""
    last_checkpoint_step: int | None
    """None before the first."""
    ranks: tuple[RankView, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unwatched:
    """A process that trains, or computes on a GPU, without the probe."""

    pid: int
    rank: str
    gpu: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """Why something is not known."""

    what: str
    reason: str
    """In snake case, as in ``flyball_collector_up``."""
    detail: str
    """In the source's own words; may be empty."""
    mend: str
    """What to do about it; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """All of it."""

    time: float
    """Seconds since the epoch."""
    host: HostView
    no_gpus: Missing | None
    """Why there is none; None also where nothing at all is known."""
    gpus: tuple[GpuView, ...]
    runs_known: bool
    """Whether a run would be listed."""
    runs: tuple[RunView, ...]
    """The living first, by name."""
    unwatched: tuple[Unwatched, ...]
    missing: tuple[Missing, ...]
    """One for each reason."""
