"""The page of a dcgm-exporter, over a real connection: what is taken from it, and what is not."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.collectors.exporter_fake import PLAIN, RATES, RATIOS, Exporter, gpu_lines, page, serving
from tests.collectors.journal_fakes import FakeClock
from tests.collectors.nvml_fake import FakeGpu, FakeNvml

from flyball.collectors.base import CollectorFailed, Unavailable
from flyball.collectors.dcgm import FIELDS, DcgmCollector, DcgmSettings
from flyball.collectors.exporter_page import MOST_BYTES, read_page
from flyball.collectors.nvml_identity import local_gpus
from flyball.collectors.registry import Surroundings, collector_types
from flyball.collectors.runs import Runs

Found = dict[tuple[str, ...], object]


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    with serving() as one:
        yield one


class Bench:
    """A collector that reads the exporter on a host with these GPUs."""

    def __init__(self, exporter: Exporter, *gpus: FakeGpu, timeout_seconds: float = 20.0) -> None:
        self.clock, self.nvml = FakeClock(), FakeNvml(*gpus)
        self.collector = DcgmCollector(
            Surroundings(host="here", clock=self.clock, runs=Runs([], clock=self.clock, host="here")),
            interval_seconds=5.0,
            url=exporter.url,
            timeout_seconds=timeout_seconds,
            gpus=lambda: local_gpus(self.nvml),
        )

    def collect(self) -> Found:
        self.clock.advance(5.0)
        samples = list(self.collector.collect())
        found: Found = {(each.metric.name, *each.labels[1:]): each.value for each in samples}
        assert len(found) == len(samples), "a series stands twice"
        return found

    def failure(self) -> CollectorFailed:
        with pytest.raises(CollectorFailed) as caught:
            self.collect()
        return caught.value


def ampere(uuid: str = "GPU-a", **options: object) -> FakeGpu:
    return FakeGpu(uuid=uuid, gpm_supported=False, **options)  # type: ignore[arg-type]


def reasons(found: Found) -> dict[str, str]:
    return {key[0]: each.reason for key, each in found.items() if isinstance(each, Unavailable)}


def test_every_field_of_a_gpu_in_base_units(exporter: Exporter) -> None:
    assert Bench(exporter, ampere()).collect() == {
        ("gpu_sm_utilization_ratio", "0", "GPU-a", "dcgm"): 0.75,
        ("gpu_sm_occupancy_ratio", "0", "GPU-a", "dcgm"): 0.5,
        ("gpu_tensor_active_ratio", "0", "GPU-a", "dcgm"): 0.25,
        ("gpu_dram_bandwidth_ratio", "0", "GPU-a", "dcgm"): 0.125,
        ("gpu_pcie_rx_bytes_per_second", "0", "GPU-a"): 1000.0,
        ("gpu_pcie_tx_bytes_per_second", "0", "GPU-a"): 2000.0,
        ("gpu_nvlink_rx_bytes_per_second", "0", "GPU-a"): 3000.0,
        ("gpu_nvlink_tx_bytes_per_second", "0", "GPU-a"): 4000.0,
    }
    assert exporter.asked == ["/metrics"]


def test_gpus_are_told_apart_by_uuid_whatever_index_the_exporter_gives(exporter: Exporter) -> None:
    exporter.body = page(
        gpu_lines("GPU-b", {**RATIOS, **RATES, "DCGM_FI_PROF_SM_ACTIVE": "0.1"}, index=0),
        gpu_lines("GPU-a", index=1),
        gpu_lines("GPU-far", index=2, host="node-8"),
    )
    found = Bench(exporter, ampere("GPU-a"), ampere("GPU-b")).collect()
    assert found["gpu_sm_utilization_ratio", "0", "GPU-a", "dcgm"] == 0.75
    assert found["gpu_sm_utilization_ratio", "1", "GPU-b", "dcgm"] == 0.1
    assert not any("GPU-far" in key for key in found)


def test_a_line_for_each_pod_is_one_series(exporter: Exporter) -> None:
    exporter.body = page(
        *(gpu_lines("GPU-a", more=f',namespace="ml",pod="job-{number}"') for number in range(2))
    )
    assert len(Bench(exporter, ampere()).collect()) == len(FIELDS)


def test_mig_instances_have_their_own_ratios_and_no_links(exporter: Exporter) -> None:
    parts = {0: FakeGpu(uuid="MIG-x", instance_id=7), 2: FakeGpu(uuid="MIG-y", instance_id=9)}
    small = {**RATIOS, "DCGM_FI_PROF_SM_ACTIVE": "0.1"}
    exporter.body = page(
        gpu_lines("GPU-a", more=',GPU_I_PROFILE="1g.10gb",GPU_I_ID="7"'),
        gpu_lines("GPU-a", small, more=',GPU_I_PROFILE="1g.10gb",GPU_I_ID="9"'),
    )
    found = Bench(exporter, ampere(instances=parts)).collect()
    assert found["gpu_sm_utilization_ratio", "0/0", "MIG-x", "dcgm"] == 0.75
    assert found["gpu_sm_utilization_ratio", "0/2", "MIG-y", "dcgm"] == 0.1
    assert {key[0] for key in found} == {FIELDS[field].name for field in RATIOS}
    assert {key[1] for key in found} == {"0/0", "0/2"}


def test_what_nvml_has_itself_is_left_to_it(exporter: Exporter) -> None:
    found = Bench(exporter, FakeGpu(uuid="GPU-h100"), ampere("GPU-a")).collect()
    assert {key[2] for key, value in found.items() if isinstance(value, float)} == {"GPU-a"}
    assert reasons(found) == {"gpu_sm_utilization_ratio": "given_by_nvml"}


def test_where_nvml_has_them_all_the_exporter_is_not_asked(exporter: Exporter) -> None:
    assert reasons(Bench(exporter, FakeGpu(uuid="GPU-h100")).collect()) == {
        "gpu_sm_utilization_ratio": "given_by_nvml"
    }
    assert exporter.asked == []


@pytest.mark.parametrize(
    "value", ["NaN", "+Inf", "-1", "140737488355328", "140737488355330", "9223372036854775794"]
)
@pytest.mark.parametrize("field", ["DCGM_FI_PROF_SM_ACTIVE", "DCGM_FI_PROF_PCIE_RX_BYTES"])
def test_a_blank_is_a_reason_and_no_value(exporter: Exporter, field: str, value: str) -> None:
    exporter.body = page(gpu_lines("GPU-a", {**RATIOS, **RATES, field: value}))
    assert reasons(Bench(exporter, ampere()).collect()) == {FIELDS[field].name: "no_data"}


def test_a_ratio_a_hair_above_one_is_one_and_a_percentage_is_none(exporter: Exporter) -> None:
    values = {**RATIOS, **RATES, "DCGM_FI_PROF_SM_ACTIVE": "1.0004", "DCGM_FI_PROF_DRAM_ACTIVE": "57"}
    exporter.body = page(gpu_lines("GPU-a", values))
    found = Bench(exporter, ampere()).collect()
    assert found["gpu_sm_utilization_ratio", "0", "GPU-a", "dcgm"] == 1.0
    assert reasons(found) == {"gpu_dram_bandwidth_ratio": "no_data"}


def test_fields_that_the_counters_file_lacks_are_a_reason_with_the_mend(exporter: Exporter) -> None:
    # What dcp-metrics-included.csv of dcgm-exporter 3 and 4 has.
    kept = ("PIPE_TENSOR_ACTIVE", "DRAM_ACTIVE", "PCIE_RX_BYTES", "PCIE_TX_BYTES")
    values = {name: value for name, value in (PLAIN | RATIOS | RATES).items() if name.endswith(kept)}
    exporter.body = page(gpu_lines("GPU-a", values))
    found = Bench(exporter, ampere()).collect()
    assert reasons(found) == dict.fromkeys(
        (
            "gpu_sm_utilization_ratio",
            "gpu_sm_occupancy_ratio",
            "gpu_nvlink_rx_bytes_per_second",
            "gpu_nvlink_tx_bytes_per_second",
        ),
        "field_not_exported",
    )
    missing = found["gpu_sm_utilization_ratio", "0", "GPU-a", "dcgm"]
    assert isinstance(missing, Unavailable)
    assert "counters file" in missing.detail


def test_a_gpu_that_the_exporter_leaves_out_takes_no_other_down(exporter: Exporter) -> None:
    found = Bench(exporter, ampere("GPU-a"), ampere("GPU-b")).collect()
    assert found["gpu_sm_utilization_ratio", "0", "GPU-a", "dcgm"] == 0.75
    missing = {key[2] for key, value in found.items() if isinstance(value, Unavailable)}
    assert missing == {"GPU-b"}


def test_without_profiling_metrics_it_says_how_to_switch_them_on(exporter: Exporter) -> None:
    exporter.body = page(gpu_lines("GPU-a", PLAIN))
    failed = Bench(exporter, ampere()).failure()
    assert failed.reason == "no_profiling_metrics"
    assert "counters file" in failed.detail


def test_another_hosts_exporter_gives_nothing(exporter: Exporter) -> None:
    exporter.body = page(gpu_lines("GPU-far", host="node-8"))
    failed = Bench(exporter, ampere()).failure()
    assert failed.reason == "exporter_of_another_host"
    assert "GPU-far" in failed.detail


TORN = gpu_lines("GPU-a")[:90]
GARBAGE = {
    "empty": b"",
    "html": b"<html>log in</html>",
    "another_exporter": b"node_load1 0.5\n",
    "binary": bytes(range(256)),
    "torn_line": TORN.replace("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_PROF_SM_ACTIVE").encode(),
    "no_number": b'DCGM_FI_PROF_SM_ACTIVE{UUID="GPU-a"} lots\n',
}


@pytest.mark.parametrize("fault", sorted(GARBAGE))
def test_garbage_is_a_bad_answer(exporter: Exporter, fault: str) -> None:
    exporter.body = GARBAGE[fault]
    failed = Bench(exporter, ampere()).failure()
    assert failed.reason == "exporter_bad_answer"
    assert exporter.url in failed.detail


@pytest.mark.parametrize("status", [204, 301, 401, 404, 500, 503])
def test_another_status_is_a_bad_answer_and_no_redirect_is_followed(exporter: Exporter, status: int) -> None:
    exporter.status, exporter.headers = status, {"Location": "http://elsewhere.test/metrics"}
    failed = Bench(exporter, ampere()).failure()
    assert failed.reason == "exporter_bad_answer"
    assert f"status {status}" in failed.detail
    assert len(exporter.asked) == 1


@pytest.mark.parametrize("length", [None, -1])
def test_a_huge_page_is_not_read_to_its_end(exporter: Exporter, length: int | None) -> None:
    exporter.body, exporter.length = page(gpu_lines("GPU-a")) + b"#" * (MOST_BYTES + (1 << 20)), length
    failed = Bench(exporter, ampere()).failure()
    assert failed.reason == "exporter_bad_answer"
    assert str(MOST_BYTES) in failed.detail


def test_a_page_that_breaks_off_is_not_taken_for_a_whole_one(exporter: Exporter) -> None:
    exporter.length = len(exporter.body) + 100
    assert Bench(exporter, ampere()).failure().reason == "exporter_bad_answer"


def test_a_server_that_hangs_is_given_up(exporter: Exporter) -> None:
    exporter.gate.shut()
    bench = Bench(exporter, ampere(), timeout_seconds=0.05)
    assert bench.failure().reason == "exporter_unreachable"


def test_a_server_that_trickles_is_given_up(exporter: Exporter) -> None:
    times = iter([0.0, *(4.0 * step for step in range(1000))])
    exporter.body = page(gpu_lines("GPU-a")) + b"#" * (1 << 20)
    with pytest.raises(CollectorFailed, match="no whole answer in time") as caught:
        read_page(exporter.url, timeout_seconds=3.0, monotonic=lambda: next(times))
    assert caught.value.reason == "exporter_unreachable"


def test_nobody_at_the_address(exporter: Exporter) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        exporter.url = f"http://127.0.0.1:{taken.getsockname()[1]}/metrics"
        assert Bench(exporter, ampere()).failure().reason == "exporter_unreachable"


@pytest.mark.parametrize(("code", "expected"), [(9, "driver_not_loaded"), (12, "library_not_found")])
def test_without_nvml_no_gpu_can_be_called_local(exporter: Exporter, code: int, expected: str) -> None:
    bench = Bench(exporter, ampere())
    bench.nvml.faults["nvmlInit"] = code
    assert bench.failure().reason == expected
    bench.nvml.faults.clear()
    assert bench.collect()
    assert bench.nvml.initialized == 0


def test_new_mig_instances_are_found(exporter: Exporter) -> None:
    gpu = ampere()
    bench = Bench(exporter, gpu)
    bench.collect()
    gpu.instances[0] = FakeGpu(uuid="MIG-x", instance_id=7)
    exporter.body = page(gpu_lines("GPU-a", RATIOS, more=',GPU_I_ID="7"'))
    bench.clock.advance(60.0)
    assert {key[2] for key in bench.collect()} == {"MIG-x"}


def test_it_recovers_by_itself_and_after_it_was_closed(exporter: Exporter) -> None:
    bench = Bench(exporter, ampere())
    whole = bench.collect()
    exporter.status = 500
    bench.failure()
    exporter.status = 200
    assert bench.collect() == whole
    bench.collector.close()
    bench.collector.close()
    assert bench.collect() == whole


def test_it_is_off_until_it_is_switched_on() -> None:
    kind = collector_types()["dcgm"]
    settings = kind.settings()
    assert (settings.enabled, settings.interval_seconds) == (False, 5.0)
    assert settings.model_dump(mode="json")["url"] == "http://localhost:9400/metrics"
    made = kind.make(
        settings, Surroundings(host="here", clock=FakeClock(), runs=Runs([], clock=FakeClock(), host="here"))
    )
    assert made.name == "dcgm"


@pytest.mark.parametrize(
    "url", ["localhost:9400", "file:///etc/passwd", "http://me:secret@localhost:9400/metrics", ""]
)
def test_an_address_that_cannot_be_read_is_refused_in_the_file(url: str) -> None:
    with pytest.raises(ValidationError):
        DcgmSettings.model_validate({"url": url})


def test_the_counters_file_of_the_documentation_has_every_field_and_setting() -> None:
    text = (Path(__file__).parents[2] / "docs" / "agent.md").read_text("utf-8")
    assert re.findall(r"^(DCGM_FI_PROF_\w+),", text, flags=re.MULTILINE) == list(FIELDS)
    for name in DcgmSettings.model_fields:
        assert f"| `{name}` |" in text
