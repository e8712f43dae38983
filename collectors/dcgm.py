"""NVIDIA GPUs before Hopper by DCGM: their profiling counters, from the page of a dcgm-exporter that runs.

NVML has such counters from Hopper on only. DCGM's need rights that the agent does not have, dcgm-exporter
(https://github.com/NVIDIA/dcgm-exporter) does. Fields: DCGM API reference, dcgm_fields.h, 1002 to 1012.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Final

from prometheus_client.parser import text_string_to_metric_families
from pydantic import AfterValidator, Field, HttpUrl

from flyball.collectors import catalog
from flyball.collectors.base import CollectorFailed, Metric, Sample, Unavailable
from flyball.collectors.exporter_page import BAD_ANSWER, read_page
from flyball.collectors.nvml_identity import LocalGpu, local_gpus
from flyball.collectors.registry import CollectorSettings, CollectorType, Surroundings

LOOK_AGAIN_SECONDS = 60.0
"""From one look at this host's GPUs to the next: MIG instances are made and removed."""

FIELDS: Final[Mapping[str, Metric]] = {
    "DCGM_FI_PROF_SM_ACTIVE": catalog.GPU_SM_UTILIZATION,
    "DCGM_FI_PROF_SM_OCCUPANCY": catalog.GPU_SM_OCCUPANCY,
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": catalog.GPU_TENSOR_ACTIVE,
    "DCGM_FI_PROF_DRAM_ACTIVE": catalog.GPU_DRAM_BANDWIDTH,
    "DCGM_FI_PROF_PCIE_RX_BYTES": catalog.GPU_PCIE_RECEIVED,
    "DCGM_FI_PROF_PCIE_TX_BYTES": catalog.GPU_PCIE_SENT,
    "DCGM_FI_PROF_NVLINK_RX_BYTES": catalog.GPU_NVLINK_RECEIVED,
    "DCGM_FI_PROF_NVLINK_TX_BYTES": catalog.GPU_NVLINK_SENT,
}
"""Ratios from 0 to 1, and bytes per second whatever type the page gives them."""

LEAST_BLANK = float(1 << 47)
"""From here on a number is one of DCGM's blanks (DCGM_FP64_BLANK, DCGM_INT64_BLANK and their neighbours)."""

MEND = (
    "start dcgm-exporter with -f and a counters file that has the DCGM_FI_PROF_ lines of docs/agent.md; "
    "its own dcp-metrics-included.csv has SM_ACTIVE and SM_OCCUPANCY commented out"
)

Key = tuple[str, str, str]
"""UUID of the whole GPU, id of the GPU instance or empty, field."""


class DcgmCollector:
    """Reads one page; only lines of this host's GPUs count, by their UUID.

    GPUs whose counters NVML has are left to the collector ``nvml``, so that no series comes twice.

    Args:
        surroundings: host and clock.
        interval_seconds: from one reading to the next.
        url: of the page.
        timeout_seconds: for its answer.
        gpus: this host's GPUs; raises CollectorFailed.
    """

    name = "dcgm"

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        interval_seconds: float,
        url: str,
        timeout_seconds: float,
        gpus: Callable[[], Sequence[LocalGpu]] = local_gpus,
    ) -> None:
        self.interval_seconds = interval_seconds
        self._surroundings, self._url, self._timeout_seconds = surroundings, url, timeout_seconds
        self._gpus = gpus
        self._known: Sequence[LocalGpu] = ()
        self._looked_at = float("-inf")

    def collect(self) -> Iterable[Sample]:
        """The ratios and rates of each GPU without GPM. Raises CollectorFailed."""
        gpus = self._local_gpus()
        wanted = [gpu for gpu in gpus if not gpu.has_gpm]
        page = self._page(wanted) if wanted else {}
        now, host = self._surroundings.clock.time(), self._surroundings.host
        return [
            Sample(metric=metric, labels=(host, gpu.gpu, gpu.uuid, *more), value=value, time=now)
            for gpu in gpus
            for metric, more, value in _readings(gpu, page)
        ]

    def _local_gpus(self) -> Sequence[LocalGpu]:
        now = self._surroundings.clock.monotonic()
        if not self._known or now - self._looked_at >= LOOK_AGAIN_SECONDS:
            self._known = ()
            self._known, self._looked_at = self._gpus(), now
        return self._known

    def _page(self, wanted: Sequence[LocalGpu]) -> Mapping[Key, float]:
        monotonic = self._surroundings.clock.monotonic
        text = read_page(self._url, timeout_seconds=self._timeout_seconds, monotonic=monotonic)
        try:
            page = parse(text)
        except CollectorFailed as failed:
            raise CollectorFailed(failed.reason, f"{self._url}: {failed.detail}") from failed
        boards = {board for board, _, _ in page}
        if not boards & {gpu.board for gpu in wanted}:
            theirs, ours = sorted(boards)[0], wanted[0].board
            detail = f"{self._url} speaks of {theirs}, here is {ours}; name this host's own exporter in `url`"
            raise CollectorFailed("exporter_of_another_host", detail)
        return page

    def close(self) -> None:
        """Forget the GPUs; each page has its own connection."""
        self._known = ()


def parse(text: str) -> Mapping[Key, float]:
    """The profiling fields of a page of dcgm-exporter; of a line for each pod the first counts.

    Raises:
        CollectorFailed: ``exporter_bad_answer`` for another page; ``no_profiling_metrics`` where it has none.
    """
    lines = [line for line in text.split("\n") if line.startswith("DCGM_FI_")]
    if not lines:
        raise CollectorFailed(BAD_ANSWER, "no line begins with DCGM_FI_: is it dcgm-exporter's page?")
    # Only what is read is parsed: a page may have hundreds of fields.
    wanted = "\n".join(line for line in lines if line.startswith(tuple(FIELDS)))
    found: dict[Key, float] = {}
    try:
        for family in text_string_to_metric_families(wanted + "\n"):
            for sample in family.samples:
                field = sample.name.removesuffix("_total")
                board, instance = sample.labels.get("UUID", ""), sample.labels.get("GPU_I_ID", "")
                if board and field in FIELDS:
                    found.setdefault((board, instance, field), float(sample.value))
    except ValueError as error:
        raise CollectorFailed(BAD_ANSWER, str(error)) from error
    if not found:
        raise CollectorFailed("no_profiling_metrics", MEND)
    return found


def _readings(
    gpu: LocalGpu, page: Mapping[Key, float]
) -> Iterator[tuple[Metric, tuple[str, ...], float | Unavailable]]:
    if gpu.has_gpm:
        detail = "GPUs from Hopper on are read by the collector nvml"
        yield catalog.GPU_SM_UTILIZATION, ("dcgm",), Unavailable(reason="given_by_nvml", detail=detail)
        return
    instance = "" if gpu.instance is None else str(gpu.instance)
    for field, metric in FIELDS.items():
        is_ratio = metric.unit == "ratio"
        if instance and not is_ratio:
            continue  # links are the whole GPU's
        value = _value(page.get((gpu.board, instance, field)), field, is_ratio=is_ratio)
        yield metric, ("dcgm",) if is_ratio else (), value


def _value(found: float | None, field: str, *, is_ratio: bool) -> float | Unavailable:
    if found is None:
        return Unavailable(reason="field_not_exported", detail=f"{field}: {MEND}")
    # A share of cycles may be a hair above 1; a comparison with NaN is false.
    if not 0 <= found < (1.01 if is_ratio else LEAST_BLANK):
        return Unavailable(reason="no_data", detail=f"{field} is {found:g}")
    return min(1.0, found) if is_ratio else found


def _plain(url: HttpUrl) -> HttpUrl:
    if url.username or url.password:
        raise ValueError("has a password in it; name a page that needs none")
    return url


class DcgmSettings(CollectorSettings):
    """Off unless a dcgm-exporter is there; it counts anew only every 30 s by default."""

    enabled: bool = Field(default=False, description="Whether the collector runs.")
    interval_seconds: float = Field(default=5.0, ge=0.1, le=3600, description="From one reading to the next.")
    url: Annotated[HttpUrl, AfterValidator(_plain)] = Field(
        default=HttpUrl("http://localhost:9400/metrics"),
        description="The page of the dcgm-exporter that runs on this host.",
    )
    timeout_seconds: float = Field(
        default=3.0, gt=0, le=60, description="How long the exporter may take for its answer."
    )


def _make(settings: DcgmSettings, surroundings: Surroundings) -> DcgmCollector:
    return DcgmCollector(
        surroundings,
        interval_seconds=settings.interval_seconds,
        url=str(settings.url),
        timeout_seconds=settings.timeout_seconds,
    )


TYPE = CollectorType(
    name="dcgm",
    help="NVIDIA GPUs before Hopper: SM, tensor and memory activity and links, from a dcgm-exporter",
    settings=DcgmSettings,
    make=_make,
)
