"""What is known of one rank of one run, from its journal. No record is kept; every mapping is bounded."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from flyball.collectors import catalog
from flyball.collectors.distribution import Tally
from flyball.collectors.journal import SCHEMA
from flyball.collectors.latencies import (
    MOST_OPERATIONS,
    CollectiveKey,
    Communication,
    PairKey,
    copy_tally,
)
from flyball.collectors.processes import SAME_START_SECONDS
from flyball.collectors.record_fields import (
    LONGEST_NAME,
    WrongField,
    count_of,
    counts_of,
    memory_of,
    optional_count,
    optional_real,
    real_of,
    text_of,
)
from flyball.collectors.run_origin import Origin, read_origin
from flyball.collectors.run_progress import Progress

RECENT_STEPS = 64
_LONGEST_STEP_SECONDS = 3.2e7
_MOST_PENDING = 16
_LONGEST_PATH = 4096
_PAUSES: Final = ("evaluating", "checkpointing")
_FAULTS: Final = ("exception", "out_of_memory", "gone")
"""Outcomes of a process that did not end in good order."""


@dataclass(kw_only=True, slots=True, eq=False)
class RankState:
    """One rank of one run, as far as its journal was read.

    Of a script with several engines, steps, samples, tokens, loss and step times are those of the engine that
    stepped first; bytes and memory are the process's.
    """

    run: str
    """Name of the run's folder."""
    rank: int
    folder: Path
    purpose: str = "run"
    """``run`` or ``trial``; trials are not exported."""
    pid_namespace: str = ""
    """Where ``pid`` means something; empty where the journal does not say."""
    host: str = ""
    """As the rank calls it; a container may have a name of its own."""
    pid: int = 0
    """As the rank sees it: in its own PID namespace."""
    started: float = 0.0
    """When its process started, on the machine's monotonic clock."""
    gpu_uuid: str | None = None
    device: str = ""
    world_size: int = 0
    data_parallel_size: int = 0
    """Ranks that are fed samples of their own; 0 where the header does not say."""
    phase: str = "starting"
    phase_clock: float = 0.0
    """When the phase began, on the machine's monotonic clock."""
    step: int = 0
    samples: int = 0
    tokens: int = 0
    skipped: int = 0
    loss: float | None = None
    grad_norm: float | None = None
    loss_scale: float | None = None
    """Of an engine that trains in fp16."""
    failed_allocations: int = 0
    """``out_of_memory`` records of this process."""
    queue_length: int | None = None
    """Requests that wait, of a serving run."""
    running_requests: int | None = None
    memory: Mapping[str, Any] | None = None
    peaks: tuple[float, float] | None = None
    """Greatest peak of the active and of the reserved bytes that this process has shown: DeepSpeed's
    see_memory_usage resets those of the allocator."""
    free: tuple[float, float] | None = None
    """Largest free block and all free bytes of the last snapshot of the allocator."""
    checkpoint_folder: str | None = None
    """Where the last checkpoint went."""
    step_seconds: Tally = field(default_factory=lambda: Tally(catalog.STEP_SECONDS))
    recent_step_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_STEPS))
    recent_fed: deque[tuple[float, int, int, int]] = field(default_factory=lambda: deque(maxlen=RECENT_STEPS))
    """Seconds, steps, samples and tokens of the last ``step`` records."""
    step_clock: float = 0.0
    """Of the last step, on the machine's monotonic clock."""
    communication: Communication = field(default_factory=Communication)
    last_checkpoint_step: int | None = None
    progress: Progress = field(default_factory=Progress)
    torn_lines: int = 0
    last_time: float = 0.0
    """Of the last record, seconds since the epoch by the rank's wall clock."""
    last_clock: float = 0.0
    """The same on the machine's monotonic clock."""
    now_clock: float = 0.0
    """The machine's monotonic clock when this state was given out."""
    finished_time: float | None = None
    outcome: str = ""
    """How it ended: the ``end`` record's reason, ``exception``, ``out_of_memory`` or ``gone``; else empty."""
    promised: tuple[float, float] | None = None
    """Samples a second of the whole run that its recommendation promised, from and to."""
    origin: Origin | None = None
    """How the run was started; rank 0 tells it."""
    newer_schema: int | None = None
    """The header's schema where it is newer than this reader; steps are read as far as they are known."""
    probe_off: str = ""
    """Why the probe switched itself off; empty while it watches."""
    engine: int | None = None
    """The engine that stepped first."""
    pauses: list[tuple[int, str]] = field(default_factory=list)
    """Open pauses as (engine, phase), oldest first."""
    pending: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Operations that have not ended: (age in seconds, monotonic clock when that was said), by name."""

    @property
    def reason(self) -> str:
        """Why something of this rank may be missing, in snake case; empty while nothing is."""
        if self.newer_schema is not None:
            return "journal_schema_newer"
        if self.probe_off:
            return "probe_off"
        return "journal_too_many_names" if self.communication.overflowed else ""

    @property
    def samples_per_second(self) -> float | None:
        """Of the whole run, by this rank's recent steps; None before there are some, or where the header does
        not say how many ranks are fed samples of their own."""
        seconds = sum(fed[0] for fed in self.recent_fed)
        samples = sum(fed[2] for fed in self.recent_fed)
        if seconds <= 0 or not samples or not self.data_parallel_size:
            return None
        return samples / seconds * self.data_parallel_size

    @property
    def communicated(self) -> Mapping[str, int]:
        """Bytes by operation."""
        return self.communication.communicated

    @property
    def collectives(self) -> Mapping[CollectiveKey, Tally]:
        """Latencies by (operation, size class, source)."""
        return self.communication.collectives

    @property
    def p2p(self) -> Mapping[PairKey, Tally]:
        """One-way latencies by (sender, receiver, size class, source)."""
        return self.communication.p2p

    @property
    def operations(self) -> Mapping[str, int]:
        """Operations begun, by name."""
        return self.communication.operations

    @property
    def pending_seconds(self) -> float | None:
        """Age of the oldest operation that has not ended; None while none is known to hang."""
        if not self.pending:
            return None
        return max(age + max(0.0, self.now_clock - said) for age, said in self.pending.values())

    def silent_seconds(self, now_clock: float) -> float | None:
        """Since the last step of any engine, or since the evaluation or checkpoint after it ended.

        None in any other phase than stepping, and where a step could not be seen.
        """
        if self.phase != "stepping" or self.probe_off:
            return None
        return max(0.0, now_clock - max(self.progress.boundary_clock, self.phase_clock))

    def feed(self, record: Mapping[str, Any]) -> bool:
        """Take one record in; False, and nothing of it is taken, where a field has a wrong type."""
        action, before = _ACTIONS.get(record["kind"]), self.phase
        try:
            time, clock = real_of(record, "time"), real_of(record, "clock")
            if action is not None:
                action(self, record)
        except WrongField:
            return False
        self.last_time, self.last_clock = time, clock
        if self.phase != before or not self.phase_clock:
            self.phase_clock = clock
        return True

    def copy(self, now_clock: float) -> "RankState":
        """As it is now, for other threads."""
        twin = object.__new__(RankState)
        for name in RankState.__slots__:  # ``replace`` takes several times as long, once a second for a rank
            setattr(twin, name, getattr(self, name))
        twin.step_seconds = copy_tally(self.step_seconds)
        twin.recent_step_seconds = self.recent_step_seconds.copy()
        twin.recent_fed = self.recent_fed.copy()
        twin.communication = self.communication.copy()
        twin.progress = replace(self.progress)
        twin.pauses = self.pauses.copy()
        twin.pending = self.pending.copy()
        twin.now_clock = now_clock
        return twin

    def _header(self, record: Mapping[str, Any]) -> None:
        schema, pid = count_of(record, "schema"), count_of(record, "pid")
        purpose, host = text_of(record, "purpose", 16), text_of(record, "host", 255)
        device, uuid = text_of(record, "device", LONGEST_NAME), text_of(record, "gpu_uuid", 96)
        namespace = text_of(record, "pid_namespace", LONGEST_NAME)
        world_size, started = count_of(record, "world_size", 0), real_of(record, "started")
        data_parallel_size = optional_count(record, "data_parallel_size") or 0
        promised = _promised(record)
        # Each engine's header works the start out anew, to within a clock tick.
        if pid != self.pid or abs(started - self.started) > SAME_START_SECONDS:
            # Another process goes on with this journal; totals go on, what one process holds does not.
            if self.pid:
                self._restart(record, namespace)
            self.engine, self.phase = None, "starting"
            self.pauses.clear()
            self.pending.clear()
            self.recent_step_seconds.clear()
            self.recent_fed.clear()
            self.memory = self.peaks = self.free = self.loss_scale = None
            self.queue_length = self.running_requests = None
            self.failed_allocations = 0
            self.probe_off, self.origin = "", None
        self.pid, self.started, self.host, self.world_size = pid, started, host, world_size
        self.data_parallel_size, self.promised = data_parallel_size, promised
        self.device, self.gpu_uuid = device, uuid or None
        self.purpose, self.pid_namespace = purpose or "run", namespace
        # A later engine's header tells none.
        self.origin = read_origin(record) or self.origin
        self.newer_schema = schema if schema > SCHEMA else None
        self._lives()

    def _restart(self, record: Mapping[str, Any], namespace: str) -> None:
        if self.finished_time is not None and self.outcome not in _FAULTS:
            self.progress.forget_recovery()
            return
        time, clock = real_of(record, "time"), real_of(record, "clock")
        gap = clock - self.last_clock
        if gap < 0 or _boot(namespace) != _boot(self.pid_namespace):
            # The machine was started anew: its monotonic clock too.
            gap = max(0.0, time - self.last_time)
        self.progress.restarted(clock - gap)

    def _step(self, record: Mapping[str, Any]) -> None:
        engine, step, count = record.get("engine", 0), count_of(record, "step"), count_of(record, "count", 1)
        seconds, clock = real_of(record, "seconds"), real_of(record, "clock")
        samples, tokens = count_of(record, "samples", 0), count_of(record, "tokens", 0)
        skipped = count_of(record, "skipped", 0)
        loss, grad_norm = optional_real(record, "loss"), optional_real(record, "grad_norm")
        loss_scale = optional_real(record, "loss_scale")
        communicated = counts_of(record, "communicated", MOST_OPERATIONS)
        if type(engine) is not int or not count or seconds > _LONGEST_STEP_SECONDS:
            raise WrongField("engine")
        if record.get("memory") is not None:
            self._remember(memory_of(record))
        if communicated:
            self.communication.add_bytes(communicated)
        if self.phase != "stepping":
            self._steps(engine)
        self.progress.stepped(clock)
        if self.engine is None:
            self.engine = engine
        if engine != self.engine:
            return
        self.step = step
        self.samples += samples
        self.tokens += tokens
        self.skipped += skipped
        if loss is not None:
            self.loss = loss
        if grad_norm is not None:
            self.grad_norm = grad_norm
        if loss_scale is not None:
            self.loss_scale = loss_scale
        self.progress.steps_since_checkpoint += count
        self.step_seconds.observe(seconds / count, count)
        self.recent_step_seconds.append(seconds / count)
        self.recent_fed.append((seconds, count, samples, tokens))
        self.step_clock = clock

    def _remember(self, memory: Mapping[str, Any]) -> None:
        self.memory = memory
        found = _two(memory, "peak_active", "peak_reserved")
        if found is not None:
            before = self.peaks or (0.0, 0.0)
            self.peaks = (max(before[0], found[0]), max(before[1], found[1]))
        self.free = _two(memory, "largest_free", "free") or self.free

    def _steps(self, engine: int) -> None:
        # Whoever steps is not evaluating, even where the end of the pause was never written.
        self.pauses = [pause for pause in self.pauses if pause[0] != engine]
        self._lives()
        self.phase = self.pauses[-1][1] if self.pauses else "stepping"

    def _lives(self) -> None:
        self.finished_time, self.outcome = None, ""
        if self.phase == "finished":
            self.phase = self._running_phase

    def _pause(self, record: Mapping[str, Any]) -> None:
        phase, edge, engine = record.get("phase"), record.get("edge"), record.get("engine", 0)
        if phase not in _PAUSES or edge not in ("begin", "end") or type(engine) is not int:
            raise WrongField("phase")
        path = record.get("path")
        if path is not None and (type(path) is not str or len(path) > _LONGEST_PATH):
            raise WrongField("path")
        if path and path.isprintable():  # it becomes a label
            self.checkpoint_folder = path
        pause = (engine, str(phase))
        if pause in self.pauses:
            self.pauses.remove(pause)
        if edge == "begin":
            self.pauses = [*self.pauses[-7:], pause]
        elif phase == "checkpointing":
            self.progress.steps_since_checkpoint = 0
            if self.engine is not None:
                # Before a process's first step a checkpoint is loaded, not saved.
                self.last_checkpoint_step = self.step
        self._lives()
        self.phase = self.pauses[-1][1] if self.pauses else self._running_phase

    @property
    def _running_phase(self) -> str:
        return "starting" if self.engine is None else "stepping"

    def _communication(self, record: Mapping[str, Any]) -> None:
        self.communication.add_record(record)

    def _pending(self, record: Mapping[str, Any]) -> None:
        op, age, edge = text_of(record, "op", LONGEST_NAME), real_of(record, "seconds"), record.get("edge")
        clock = real_of(record, "clock")
        if not op or edge not in ("begin", "end"):
            raise WrongField("op")
        if edge == "end":
            self.pending.pop(op, None)
        elif op in self.pending or len(self.pending) < _MOST_PENDING:
            self.pending[op] = (age, clock)

    def _queue(self, record: Mapping[str, Any]) -> None:
        length, running = count_of(record, "queue_length"), optional_count(record, "running")
        self.queue_length, self.running_requests = length, running
        self._lives()

    def _fault(self, record: Mapping[str, Any]) -> None:
        self.failed_allocations += record["kind"] == "out_of_memory"
        if self.outcome != "out_of_memory":
            self.outcome = record["kind"]

    def _probe_off(self, record: Mapping[str, Any]) -> None:
        self.probe_off = text_of(record, "reason", 500) or "unknown"
        self.progress.forget_recovery()

    def _end(self, record: Mapping[str, Any]) -> None:
        reason = text_of(record, "reason", LONGEST_NAME)
        self.finish(real_of(record, "time"), self.outcome or reason or "end")

    def finish(self, time: float, outcome: str) -> None:
        """It has ended.

        Args:
            time: when, seconds since the epoch.
            outcome: how, see :attr:`outcome`.
        """
        self.phase, self.finished_time, self.outcome = "finished", time, outcome
        self.pauses.clear()
        self.pending.clear()
        if outcome not in _FAULTS:
            self.progress.forget_recovery()


_ACTIONS: Final[Mapping[str, Callable[[RankState, Mapping[str, Any]], None]]] = {
    "step": RankState._step,
    "header": RankState._header,
    "pause": RankState._pause,
    "communication": RankState._communication,
    "pending": RankState._pending,
    "queue": RankState._queue,
    "out_of_memory": RankState._fault,
    "exception": RankState._fault,
    "probe_off": RankState._probe_off,
    "end": RankState._end,
}


def _promised(record: Mapping[str, Any]) -> tuple[float, float] | None:
    found = record.get("promised_samples_per_second")
    if found is None:
        return None
    if not isinstance(found, Mapping):
        raise WrongField("promised_samples_per_second")
    low, high = real_of(found, "low"), real_of(found, "high")
    if not 0 < low <= high:
        raise WrongField("promised_samples_per_second")
    return low, high


def _boot(pid_namespace: str) -> str:
    return pid_namespace.partition("/")[0]


def _two(memory: Mapping[str, Any], first: str, second: str) -> tuple[float, float] | None:
    one, other = memory.get(first), memory.get(second)
    return None if one is None or other is None else (float(one), float(other))
