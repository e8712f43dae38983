"""The machine's fingerprint: the same for machines that are alike, and no failure without a GPU."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from flyball.collectors.fingerprint import Fingerprint, cpu_model, fingerprint
from flyball.collectors.nvml_inventory import Gpu, list_gpus


class FakeNvmlError(Exception):
    pass


class FakeNvml:
    """The few calls of nvidia-ml-py that list GPUs; ``fails`` names the one that raises."""

    NVMLError = FakeNvmlError

    def __init__(self, *, count: int = 2, fails: str = "") -> None:
        self.count, self.fails, self.open = count, fails, 0

    def _call(self, name: str) -> None:
        if name == self.fails:
            raise FakeNvmlError(f"{name}: Unknown Error")

    def nvmlInit(self) -> None:  # noqa: N802
        self._call("nvmlInit")
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1
        self._call("nvmlShutdown")

    def nvmlSystemGetDriverVersion(self) -> bytes:  # noqa: N802
        self._call("nvmlSystemGetDriverVersion")
        return b"580.1"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        self._call("nvmlDeviceGetCount")
        return self.count

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        self._call("nvmlDeviceGetHandleByIndex")
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        self._call("nvmlDeviceGetName")
        return f"GPU of kind {handle}"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        self._call("nvmlDeviceGetMemoryInfo")
        return type("Memory", (), {"total": 80 * 2**30 + handle, "free": 1})

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        self._call("nvmlDeviceGetUUID")
        return f"GPU-{handle}"


def test_gpus_are_listed_by_index() -> None:
    nvml = FakeNvml()
    gpus, reason = list_gpus(nvml)
    assert reason is None
    assert gpus[1] == Gpu(name="GPU of kind 1", memory_bytes=80 * 2**30 + 1, uuid="GPU-1", driver="580.1")
    assert (len(gpus), nvml.open) == (2, 0)


@pytest.mark.parametrize(
    "fails", [name for name in vars(FakeNvml) if name.startswith("nvml") and name != "nvmlShutdown"]
)
def test_no_error_of_the_vendor_gets_out(fails: str) -> None:
    nvml = FakeNvml(fails=fails)
    assert list_gpus(nvml) == ((), f"{fails}: Unknown Error")
    assert nvml.open == 0


def test_a_shutdown_that_fails_loses_no_gpu() -> None:
    assert len(list_gpus(FakeNvml(fails="nvmlShutdown"))[0]) == 2


def test_a_driver_without_a_gpu_is_a_reason() -> None:
    assert list_gpus(FakeNvml(count=0)) == ((), "the driver lists no GPU")


def test_this_machine_has_a_fingerprint() -> None:
    own = fingerprint()
    assert own.cores >= 1
    assert own.memory_bytes % 2**30 == 0
    assert own.packages["torch"] == metadata.version("torch")
    assert bool(own.gpus) is (own.gpus_missing is None)
    assert json.loads(json.dumps(own.document())) == own.document()
    assert fingerprint().digest == own.digest


def test_reading_it_imports_no_torch() -> None:
    code = "import sys, flyball.collectors.fingerprint as f; f.fingerprint(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


GPU = Gpu(name="H", memory_bytes=2**37, uuid="GPU-1", driver="580.1")
MACHINE = Fingerprint(
    cpu_model="C",
    cores=8,
    memory_bytes=2**36,
    gpus=(GPU,),
    python="3.11.2",
    packages={"torch": "2"},
    kernel="6.1",
)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"gpus": (replace(GPU, uuid="GPU-2"),)}, True),
        ({"kernel": "6.2"}, True),
        ({"gpus": (replace(GPU, driver="590"),)}, False),
        ({"gpus": (GPU, GPU)}, False),
        ({"packages": {"torch": "3"}}, False),
        ({"python": "3.12.0"}, False),
        ({"cores": 4}, False),
        ({"memory_bytes": 2**35}, False),
        ({"cpu_model": "D"}, False),
    ],
)
def test_the_digest_is_that_of_a_kind_of_machine(change: dict[str, Any], same: bool) -> None:
    assert (replace(MACHINE, **change).digest == MACHINE.digest) is same


def test_a_processor_that_does_not_say_its_name(tmp_path: Path) -> None:
    arm = tmp_path / "cpuinfo"
    arm.write_text("processor\t: 0\nBogoMIPS\t: 50.00\n")
    assert cpu_model(cpuinfo=arm) == cpu_model(cpuinfo=tmp_path / "missing") != ""
    arm.write_text("processor\t: 0\nmodel name\t: Fast: 9000\n")
    assert cpu_model(cpuinfo=arm) == "Fast: 9000"
