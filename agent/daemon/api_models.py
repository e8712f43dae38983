"""What ``/api/v1`` answers with; the OpenAPI page is made from these."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    # Built when the first of a kind is answered: an agent that is only scraped needs none of them.
    model_config = ConfigDict(frozen=True, defer_build=True)


class Refusal(_Answer):
    """Why a request is not answered."""

    detail: str


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


class AlertAnswer(_Answer):
    """One alert; all times are seconds since the epoch."""

    fingerprint: str = Field(description="As Prometheus and Alertmanager work it out of the labels.")
    rule: str
    status: str = Field(description="pending, firing, resolved or dropped (it never fired).")
    severity: str
    labels: dict[str, str]
    annotations: dict[str, str]
    suggests: tuple[str, ...] = Field(description="Knobs that the tuner should try first.")
    value: float | None = Field(description="When the condition was last true; null for NaN.")
    active_time: float
    fired_time: float | None
    resolved_time: float | None


class DeliveryAnswer(_Answer):
    """One try to deliver a notification."""

    time: float
    seconds: float
    outcome: str
    status: int | None = Field(description="HTTP's, where there was an answer.")
    detail: str


class NotificationAnswer(_Answer):
    """One change of an alert on its way to one receiver."""

    receiver: str
    webhook_id: str = Field(description="The same on every try.")
    status: str
    outcome: str
    created_time: float
    finished_time: float | None
    next_time: float | None = Field(description="Not tried before; null unless it waits.")
    attempts: int
    deliveries: tuple[DeliveryAnswer, ...]


class AlertHistoryAnswer(_Answer):
    """An alert with everything that was told of it."""

    id: int
    alert: AlertAnswer
    notifications: tuple[NotificationAnswer, ...]


class TuningRequestAnswer(_Answer):
    """A run that an alert says should be tuned, for ``autotune --from-alert``."""

    id: int
    created_time: float
    rule: str
    run: str
    fingerprint: str = Field(description="Of the alert.")
    taken_time: float | None = Field(description="When a tuning began with it; null while it is open.")
    document: dict[str, Any] = Field(
        description="command, working_directory, config, host, world_size, alert and telemetry."
    )


class BatchSizeAnswer(_Answer):
    """What one serving run is advised."""

    run: str
    batch_size: int
    queue_length: int
    time: float = Field(description="Of the observation, seconds since the epoch.")


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
