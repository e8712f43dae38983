"""What ``/api/v1`` answers with; the OpenAPI page is made from these."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Missing(_Answer):
    """Something that cannot be known now."""

    reason: str
    detail: str


class CollectorAnswer(_Answer):
    """One collector."""

    name: str
    state: Literal["starting", "up", "failing", "stalled"]
    reason: str = Field(description="Empty while up.")
    detail: str
    since: float = Field(description="Seconds since the epoch.")
    required: bool
    interval_seconds: float
    duration_seconds: float | None = Field(description="Of the last collection.")
    series: int
    unavailable: tuple[Missing, ...] = Field(description="What the source does not know, by reason.")
    failures: dict[str, int] = Field(description="Collections that failed, by reason.")


class GpuMetric(_Answer):
    """One series of a GPU."""

    metric: str
    labels: dict[str, str] = Field(description="Those besides host, gpu and uuid.")
    value: float | None = Field(description="null where it is not known.")
    reason: str = Field(description="Why it is not known; else empty.")


class GpuRank(_Answer):
    """A rank that runs on a GPU."""

    run: str
    rank: str
    phase: str
    reason: str


class GpuAnswer(_Answer):
    """One GPU."""

    host: str
    gpu: str
    uuid: str
    ranks: tuple[GpuRank, ...]
    metrics: tuple[GpuMetric, ...]


class RunAnswer(_Answer):
    """One rank of one run, as its journal says; trials included."""

    run: str
    rank: int
    purpose: str
    folder: str
    host: str
    pid: int
    gpu_uuid: str | None
    device: str
    world_size: int
    data_parallel_size: int = Field(description="Ranks of the run that are fed samples of their own.")
    phase: str
    phase_seconds: float = Field(description="Since the phase began.")
    outcome: str = Field(description="How it ended; empty while it lives.")
    step: int
    silent_seconds: float | None = Field(description="Since the last step; null before the first.")
    step_seconds: float | None = Field(description="Median of the recent steps.")
    steps_per_second: float | None = Field(description="Over the recent steps, pauses left out.")
    samples_per_second: float | None = Field(description="Of this rank, likewise.")
    tokens_per_second: float | None = Field(description="Of this rank, likewise.")
    samples: int
    tokens: int
    loss: float | None
    last_checkpoint_step: int | None
    last_time: float = Field(description="Seconds since the epoch of its journal's last line.")


class StatusAnswer(_Answer):
    """The agent itself."""

    version: str
    host: str
    pid: int
    started: float = Field(description="Seconds since the epoch.")
    config_file: str | None
    last_reload_successful: bool
    last_reload_error: str
    ready: bool
    unready: tuple[str, ...] = Field(description="Why it is not ready.")


class ReloadAnswer(_Answer):
    """What became of a reload."""

    successful: bool
    error: str
    needs_restart: tuple[str, ...] = Field(description="Changed keys that only a restart takes over.")
