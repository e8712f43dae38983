"""Every metric that flyball exports, declared once.

Exposition, the checks of policy files, the dashboards and ``docs/metrics.md`` are made from this. Names and
units follow Prometheus' naming conventions (https://prometheus.io/docs/practices/naming/).
"""

import math
from collections.abc import Mapping

from flyball.collectors.base import Kind, Metric

_METRICS: dict[str, Metric] = {}

GPU_LABELS = ("host", "gpu", "uuid")
RUN_LABELS = ("run", "rank")

STEP_BOUNDS = (
    *(0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0),
)
LATENCY_BOUNDS = (
    *(2e-6, 5e-6, 10e-6, 15e-6, 20e-6, 30e-6, 40e-6, 50e-6, 75e-6, 100e-6, 150e-6, 200e-6, 300e-6, 500e-6),
    *(1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3, 200e-3, 500e-3, 1.0, 5.0),
)
"""50 microseconds is a bound of its own: it is the alarm threshold for small messages."""

SIZE_CLASSES = ("8KiB", "64KiB", "1MiB", "16MiB", "larger")
"""Values of ``size_class``: the largest message that belongs to it."""

PHASES = ("starting", "stepping", "evaluating", "checkpointing", "finished")
"""Values of ``phase``: what a rank does."""


def _declare(
    name: str,
    kind: Kind,
    unit: str,
    labels: tuple[str, ...],
    help_text: str,
    *,
    bounds: tuple[float, ...] = (),
    finite: bool = True,
    least: float = 0.0,
    most: float = math.inf,
) -> Metric:
    if name in _METRICS:
        raise ValueError(f"{name} is declared twice")
    metric = Metric(
        name=name,
        kind=kind,
        unit=unit,
        help=help_text,
        labels=labels,
        bounds=bounds,
        finite=finite,
        least=least,
        most=most,
    )
    _METRICS[name] = metric
    return metric


def _gauge(
    name: str,
    unit: str,
    labels: tuple[str, ...],
    help_text: str,
    *,
    finite: bool = True,
    least: float = 0.0,
    most: float | None = None,
) -> Metric:
    """``most`` is 1 for a ratio, and nothing else's end, where it is not given."""
    end = most if most is not None else 1.0 if unit == "ratio" else math.inf
    return _declare(name, Kind.GAUGE, unit, labels, help_text, finite=finite, least=least, most=end)


def _counter(name: str, unit: str, labels: tuple[str, ...], help_text: str) -> Metric:
    return _declare(name, Kind.COUNTER, unit, labels, help_text)


def _histogram(
    name: str, unit: str, labels: tuple[str, ...], help_text: str, bounds: tuple[float, ...]
) -> Metric:
    return _declare(name, Kind.HISTOGRAM, unit, labels, help_text, bounds=bounds)


# GPUs

GPU_SM_UTILIZATION = _gauge(
    "gpu_sm_utilization_ratio",
    "ratio",
    (*GPU_LABELS, "source"),
    "Fraction of SM cycles with at least one warp resident, from NVML's GPM counters or from DCGM.",
)
GPU_SM_OCCUPANCY = _gauge(
    "gpu_sm_occupancy_ratio",
    "ratio",
    (*GPU_LABELS, "source"),
    "Resident warps over the most that the SMs can hold.",
)
GPU_TENSOR_ACTIVE = _gauge(
    "gpu_tensor_active_ratio",
    "ratio",
    (*GPU_LABELS, "source"),
    "Fraction of cycles in which a tensor core was active.",
)
GPU_DRAM_BANDWIDTH = _gauge(
    "gpu_dram_bandwidth_ratio",
    "ratio",
    (*GPU_LABELS, "source"),
    "Device memory bandwidth in use over the most there is.",
)
GPU_BUSY = _gauge(
    "gpu_busy_ratio",
    "ratio",
    (*GPU_LABELS, "source"),
    "Fraction of time in which any kernel ran (NVML's utilization.gpu); says nothing of how many SMs worked.",
)
GPU_MEMORY_USED = _gauge("gpu_memory_used_bytes", "bytes", GPU_LABELS, "Device memory in use.")
GPU_MEMORY_TOTAL = _gauge("gpu_memory_total_bytes", "bytes", GPU_LABELS, "Device memory in all.")
GPU_POWER = _gauge("gpu_power_watts", "watts", GPU_LABELS, "Power drawn.")
GPU_ENERGY = _counter(
    "gpu_energy_joules_total", "joules", GPU_LABELS, "Energy drawn since the driver was loaded."
)
GPU_TEMPERATURE = _gauge(
    "gpu_temperature_celsius", "celsius", GPU_LABELS, "Temperature of the GPU's die.", least=-math.inf
)
GPU_SM_CLOCK = _gauge("gpu_sm_clock_hertz", "hertz", GPU_LABELS, "Clock of the SMs.")
GPU_THROTTLED = _gauge(
    "gpu_throttled",
    "",
    (*GPU_LABELS, "reason"),
    "1 while the driver holds the clocks down for this reason, else 0.",
    most=1.0,
)
GPU_PCIE_RECEIVED = _gauge(
    "gpu_pcie_rx_bytes_per_second", "bytes_per_second", GPU_LABELS, "Received over PCIe."
)
GPU_PCIE_SENT = _gauge("gpu_pcie_tx_bytes_per_second", "bytes_per_second", GPU_LABELS, "Sent over PCIe.")
GPU_NVLINK_RECEIVED = _gauge(
    "gpu_nvlink_rx_bytes_per_second", "bytes_per_second", GPU_LABELS, "Received over all NVLinks."
)
GPU_NVLINK_SENT = _gauge(
    "gpu_nvlink_tx_bytes_per_second", "bytes_per_second", GPU_LABELS, "Sent over all NVLinks."
)
GPU_XID_ERRORS = _counter(
    "gpu_xid_errors_total", "", (*GPU_LABELS, "xid"), "XID events since the agent started, by code."
)
GPU_ECC_ERRORS = _counter(
    "gpu_ecc_errors_total",
    "",
    (*GPU_LABELS, "kind"),
    "ECC errors of device memory since the driver was loaded: corrected, uncorrected.",
)
GPU_LOST = _gauge(
    "gpu_lost",
    "",
    GPU_LABELS,
    "1 while a GPU that the driver lists does not answer, or wants a reset; else 0.",
    most=1.0,
)
GPU_ROW_REMAPPING = _gauge(
    "gpu_row_remapping",
    "",
    (*GPU_LABELS, "state"),
    "Rows of device memory. pending: 1 while one waits for a reset to be remapped; failed: 1 where one could "
    "not be; else 0. uncorrectable: rows remapped for uncorrectable errors.",
)

# Runs

RUN_INFO = _gauge(
    "run_info",
    "",
    ("run", "rank", "host", "gpu", "uuid", "phase", "reason"),
    "1; joins a rank to its GPU. A process that trains unwatched has reason not_probed.",
    most=1.0,
)

RUN_SILENT = _gauge(
    "run_silent_seconds",
    "seconds",
    RUN_LABELS,
    "Since the last step, or since the evaluation or checkpoint after it ended; only while stepping.",
)
PROMISED = _gauge(
    "run_promised_samples_per_second",
    "",
    (*RUN_LABELS, "bound"),
    "Of a run that uses a recommendation: samples a second of the whole run that it promised with 95% "
    "confidence, from bound low to bound high.",
)
PROMISE_KEPT = _gauge(
    "run_promise_kept_ratio",
    "ratio",
    RUN_LABELS,
    "Samples a second of the run, by this rank's recent steps, over the low bound of what was promised.",
    most=math.inf,
)

# Allocator

ALLOCATOR_ALLOCATED = _gauge(
    "allocator_allocated_bytes", "bytes", RUN_LABELS, "Bytes in tensors (torch's caching allocator)."
)
ALLOCATOR_RESERVED = _gauge(
    "allocator_reserved_bytes", "bytes", RUN_LABELS, "Bytes that the allocator holds of the device."
)
ALLOCATOR_ACTIVE = _gauge(
    "allocator_active_bytes", "bytes", RUN_LABELS, "Bytes in tensors or waiting for their stream."
)
ALLOCATOR_INACTIVE_SPLIT = _gauge(
    "allocator_inactive_split_bytes",
    "bytes",
    RUN_LABELS,
    "Free bytes in split blocks, which cannot go back to the device; absent under expandable segments.",
)
ALLOCATOR_FRAGMENTATION = _gauge(
    "allocator_fragmentation_ratio",
    "ratio",
    (*RUN_LABELS, "method"),
    "peak: 1 - peak active / peak reserved; slack: 1 - active / reserved; inactive_split: inactive split / "
    "reserved; external: 1 - largest free block / free bytes.",
)
ALLOCATOR_RETRIES = _counter(
    "allocator_retries_total", "", RUN_LABELS, "Allocations that succeeded only after the cache was flushed."
)
ALLOCATOR_OOMS = _counter(
    "allocator_ooms_total",
    "",
    RUN_LABELS,
    "Allocations that failed: torch's own count on a GPU, else out-of-memory errors that left the script.",
)

# Communication

P2P_LATENCY = _histogram(
    "p2p_latency_seconds",
    "seconds",
    ("run", "src", "dst", "size_class", "source", "backend"),
    "One-way time of a message between two ranks; source: in_band, preflight, flight_recorder or timed; "
    "backend: nccl between GPUs, else gloo.",
    LATENCY_BOUNDS,
)
COLLECTIVE_LATENCY = _histogram(
    "collective_latency_seconds",
    "seconds",
    ("run", "rank", "op", "size_class", "source"),
    "Time of a collective operation on one rank, waiting for late peers included where the source is timed.",
    LATENCY_BOUNDS,
)
COMMUNICATED_BYTES = _counter(
    "communicated_bytes_total", "bytes", (*RUN_LABELS, "op"), "Payload handed to collectives by this rank."
)
COLLECTIVES = _counter(
    "collectives_total",
    "",
    (*RUN_LABELS, "op"),
    "Operations that the flight recorder saw begin, by kind.",
)
COLLECTIVE_PENDING = _gauge(
    "collective_pending_seconds",
    "seconds",
    RUN_LABELS,
    "Age of the oldest operation that has begun and not ended; grows without end where a peer is lost.",
)

# Workload

STEP_SECONDS = _histogram(
    "step_seconds",
    "seconds",
    RUN_LABELS,
    "Wall-clock time of an optimizer step, evaluation and checkpoints left out.",
    STEP_BOUNDS,
)
SAMPLES = _counter("samples_total", "", RUN_LABELS, "Samples that entered the engine's forward.")
TOKENS = _counter(
    "tokens_total",
    "",
    RUN_LABELS,
    "Tokens that entered the engine's forward; absent where none did, as with images.",
)
SKIPPED_STEPS = _counter(
    "skipped_steps_total", "", RUN_LABELS, "Steps that the optimizer skipped because gradients overflowed."
)
LOSS = _gauge(
    "loss", "", RUN_LABELS, "Last known training loss; NaN where it is.", finite=False, least=-math.inf
)
GRAD_NORM = _gauge(
    "grad_norm", "", RUN_LABELS, "Last known norm of the gradients before clipping.", finite=False
)
LOSS_SCALE = _gauge("loss_scale", "", RUN_LABELS, "Loss scale, of an engine that trains in fp16.")
STRAGGLER = _gauge(
    "straggler_ratio",
    "ratio",
    RUN_LABELS,
    "Median time of this rank's recent steps over the median of the run's ranks on this host.",
    most=math.inf,
)
LAST_CHECKPOINT_STEP = _gauge(
    "last_checkpoint_step", "", RUN_LABELS, "Step after which the last checkpoint was saved."
)
STEPS_SINCE_CHECKPOINT = _gauge(
    "steps_since_checkpoint",
    "",
    RUN_LABELS,
    "Steps since a checkpoint was saved or loaded; else since the run's journal began.",
)
RECOVERY = _gauge(
    "recovery_seconds",
    "seconds",
    RUN_LABELS,
    "Of a run that was started again after a fault: from the old process's last record to the new one's "
    "first step, or to now while there is none; absent from ten minutes after that step on.",
)
QUEUE_LENGTH = _gauge("queue_length", "", RUN_LABELS, "Requests that wait, of a serving run.")
RUNNING_REQUESTS = _gauge("running_requests", "", RUN_LABELS, "Requests being answered, of a serving run.")
BATCH_SIZE_ADVICE = _gauge(
    "batch_size_advice",
    "",
    ("run",),
    "Batch size that fits a serving run's queue (docs/elastic_batching.md).",
)
TIME_TO_FIRST_TOKEN = _histogram(
    "time_to_first_token_seconds",
    "seconds",
    RUN_LABELS,
    "From a request's arrival to its first token, of a serving run.",
    STEP_BOUNDS,
)
JOURNAL_TORN_LINES = _counter(
    "journal_torn_lines_total",
    "",
    RUN_LABELS,
    "Lines of the journal that could not be read and were skipped.",
)

# Host

HOST_CPU = _counter(
    "host_cpu_seconds_total", "seconds", ("host", "mode"), "Processor time of all CPUs, by mode."
)
HOST_LOAD = _gauge("host_load1", "", ("host",), "Load average of the last minute.")
HOST_MEMORY_TOTAL = _gauge("host_memory_total_bytes", "bytes", ("host",), "Memory in all.")
HOST_MEMORY_AVAILABLE = _gauge(
    "host_memory_available_bytes", "bytes", ("host",), "Memory that can be had without swapping."
)
HOST_SWAP_USED = _gauge("host_swap_used_bytes", "bytes", ("host",), "Swap space in use.")
HOST_DISK_READ = _counter("host_disk_read_bytes_total", "bytes", ("host", "device"), "Read from a disk.")
HOST_DISK_WRITTEN = _counter(
    "host_disk_written_bytes_total", "bytes", ("host", "device"), "Written to a disk."
)
HOST_FILESYSTEM_FREE = _gauge(
    "host_filesystem_free_bytes",
    "bytes",
    ("host", "path"),
    "Free to unprivileged users where runs save checkpoints.",
)
HOST_FILESYSTEM_SIZE = _gauge(
    "host_filesystem_size_bytes", "bytes", ("host", "path"), "Size of that file system."
)
HOST_NETWORK_RECEIVED = _counter(
    "host_network_received_bytes_total", "bytes", ("host", "device"), "Received by a network interface."
)
HOST_NETWORK_SENT = _counter(
    "host_network_sent_bytes_total", "bytes", ("host", "device"), "Sent by a network interface."
)
HOST_NETWORK_ERRORS = _counter(
    "host_network_errors_total",
    "",
    ("host", "device", "direction"),
    "Packets that a network interface could not receive or send, dropped ones included.",
)
RDMA_RECEIVED = _counter(
    "rdma_received_bytes_total", "bytes", ("host", "device", "port"), "Received by an RDMA port."
)
RDMA_SENT = _counter("rdma_sent_bytes_total", "bytes", ("host", "device", "port"), "Sent by an RDMA port.")
RDMA_ERRORS = _counter(
    "rdma_errors_total",
    "",
    ("host", "device", "port", "counter"),
    "Error counters of an RDMA port, by the kernel's name.",
)

# The agent itself

BUILD_INFO = _gauge("build_info", "", ("version", "python"), "1; the agent's version.", most=1.0)
COLLECTOR_UP = _gauge(
    "collector_up",
    "",
    ("collector", "reason"),
    "1 with an empty reason while a collector reads its source; 0 for each reason why something is unknown.",
    most=1.0,
)
COLLECTOR_DURATION = _gauge(
    "collector_duration_seconds", "seconds", ("collector",), "Time of the collector's last collection."
)
COLLECTOR_SERIES = _gauge(
    "collector_series", "", ("collector",), "Series of the collector's last collection."
)
COLLECTOR_FAILURES = _counter(
    "collector_failures_total", "", ("collector", "reason"), "Collections that failed, by reason."
)
POLICY_EVALUATION = _gauge(
    "policy_evaluation_seconds", "seconds", (), "Time of the last evaluation of all rules."
)
NOTIFICATIONS = _counter(
    "notifications_total", "", ("receiver", "outcome"), "Alert notifications, by receiver and outcome."
)
OUTBOX_DEPTH = _gauge("outbox_depth", "", (), "Notifications that wait to be delivered.")
ALERTS = _gauge(
    "alerts", "", ("severity", "status"), "Alerts now, by severity and status (pending or firing)."
)
ALERTS_UNRECORDED = _gauge(
    "alerts_unrecorded", "", (), "Changes of alerts in memory that the database has not taken yet."
)
ALERTS_LOST = _counter(
    "alerts_lost_total", "", (), "Changes of alerts that found no room in memory, or none in the outbox."
)
ALERT_DATABASE_UP = _gauge(
    "alert_database_up",
    "",
    (),
    "1; 0 while the database of alerts cannot be read or written: no alert is told meanwhile.",
    most=1.0,
)
ALERT_STORAGE_FAILURES = _counter(
    "alert_storage_failures_total", "", (), "Calls of the database of alerts that failed."
)
CONFIG_RELOAD_SUCCESSFUL = _gauge(
    "config_last_reload_successful",
    "",
    (),
    "1 if the last reload of the configuration was taken over, else 0.",
    most=1.0,
)

METRICS: Mapping[str, Metric] = _METRICS
"""All of them, by name without prefix, in the order of this file."""


def size_class(size_bytes: int) -> str:
    """The class that a message of this size belongs to."""
    for limit, name in ((8 << 10, "8KiB"), (64 << 10, "64KiB"), (1 << 20, "1MiB"), (16 << 20, "16MiB")):
        if size_bytes <= limit:
            return name
    return "larger"
