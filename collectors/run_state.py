"""What is known of one rank of one run, from its journal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyball.collectors import catalog
from flyball.collectors.distribution import Tally


@dataclass(kw_only=True, slots=True, eq=False)
class RankState:
    """One rank of one run, as far as its journal was read."""

    run: str
    """Name of the run's folder."""
    rank: int
    folder: Path
    purpose: str = "run"
    """``run`` or ``trial``; trials are not exported."""
    host: str = ""
    pid: int = 0
    gpu_uuid: str | None = None
    device: str = ""
    world_size: int = 0
    phase: str = "starting"
    step: int = 0
    samples: int = 0
    tokens: int = 0
    skipped: int = 0
    loss: float | None = None
    grad_norm: float | None = None
    memory: Mapping[str, Any] | None = None
    step_seconds: Tally = field(default_factory=lambda: Tally(catalog.STEP_SECONDS))
    recent_step_seconds: list[float] = field(default_factory=list)
    communicated: dict[str, int] = field(default_factory=dict)
    collectives: dict[tuple[str, str, str], Tally] = field(default_factory=dict)
    p2p: dict[tuple[int, int, str, str], Tally] = field(default_factory=dict)
    operations: dict[str, int] = field(default_factory=dict)
    pending_seconds: float | None = None
    last_checkpoint_step: int | None = None
    torn_lines: int = 0
    last_time: float = 0.0
    finished_time: float | None = None
