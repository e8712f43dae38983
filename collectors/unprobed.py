"""Finds processes that train without the probe, so that a silent job is not taken for no job."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flyball.clock import Clock
from flyball.collectors.nvml_inventory import GpuProcess, list_gpu_processes, list_gpus
from flyball.collectors.processes import all_pids, environment, maps_library, read_stat
from flyball.collectors.run_state import RankState

NOT_PROBED = "not_probed"
MEND = "start it under `flyball run --`, or set the PYTHONPATH that `flyball probe install DIR` prints"
LOOK_SECONDS = 30.0
_PER_RANK = ("RANK", "LOCAL_RANK", "WORLD_SIZE")


@dataclass(frozen=True, kw_only=True, slots=True)
class Unprobed:
    """One process that trains and has no journal."""

    pid: int
    rank: str
    """Its RANK, or empty where it has none or may not be asked."""
    gpu: str = ""
    uuid: str = ""


class UnprobedProcesses:
    """Looks at the GPUs' processes, and at those that a launcher gave a rank, once in ``LOOK_SECONDS``.

    A process is unprobed when neither it nor a parent or child of it has a journal.

    Args:
        clock: time.
        gpu_processes: the compute processes of the GPUs.
        gpus: UUID to index.
        proc: proc(5).
    """

    def __init__(
        self,
        *,
        clock: Clock,
        gpu_processes: Callable[[], Sequence[GpuProcess]] = list_gpu_processes,
        gpus: Callable[[], Mapping[str, str]] | None = None,
        proc: Path = Path("/proc"),
    ) -> None:
        self._clock, self._gpu_processes, self._proc = clock, gpu_processes, proc
        self._gpus = gpus or _gpu_indices
        self._looked_at = float("-inf")
        self._found: list[tuple[Unprobed, int]] = []
        """With the parent's process id; what has the probe is left out."""
        self._indices: Mapping[str, str] = {}

    def gpu_indices(self) -> Mapping[str, str]:
        """UUID of each GPU to its index, as of the last look."""
        return self._indices

    def find(self, ranks: Sequence[RankState]) -> Sequence[Unprobed]:
        """The processes that train unwatched, by process id."""
        now = self._clock.monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            self._indices = self._gpus()
            self._found = [(each, self._parent(each.pid)) for each in self._look()]
        known = {state.pid for state in ranks}
        return [
            each
            for each, parent in self._found
            if each.pid not in known and parent not in known and self._is_there(each.pid)
        ]

    def _look(self) -> Iterator[Unprobed]:
        on_gpu = {process.pid: process for process in self._gpu_processes()}
        for pid, process in sorted(on_gpu.items()):
            started_with = environment(pid, proc=self._proc)
            if not _has_probe(started_with):
                rank = started_with.get("RANK", "")
                yield Unprobed(pid=pid, rank=rank, gpu=process.gpu, uuid=process.uuid)
        for pid in sorted(all_pids(self._proc)):
            if pid not in on_gpu:
                known = self._of_rank(pid)
                # To read what is mapped costs most, and is needed of few.
                if all(name in known for name in _PER_RANK) and not _has_probe(known) and self._computes(pid):
                    yield Unprobed(pid=pid, rank=known["RANK"])

    def _of_rank(self, pid: int) -> Mapping[str, str]:
        """The environment of a process that a launcher gave a rank; of any other nothing."""
        return environment(pid, proc=self._proc, with_name=_PER_RANK[0])

    def _computes(self, pid: int) -> bool:
        """Whether torch is loaded, and this is no helper (a DataLoader's worker) of another such process."""
        if not maps_library(pid, b"libtorch", proc=self._proc):
            return False
        return self._of_rank(self._parent(pid)).get("RANK") is None

    def _parent(self, pid: int) -> int:
        found = read_stat(pid, proc=self._proc)
        return found.parent if found is not None else 0

    def _is_there(self, pid: int) -> bool:
        """False where it ended since the last look."""
        return (self._proc / str(pid)).exists()


def _has_probe(known: Mapping[str, str]) -> bool:
    """Whether a process was started under the probe, which opens a journal at the first engine."""
    return any(
        Path(path, "sitecustomize.py").is_file() and Path(path).with_name("settings.json").is_file()
        for path in known.get("PYTHONPATH", "").split(os.pathsep)
        if os.path.isabs(path)  # noqa: PTH117 - a string from another process
    )


def _gpu_indices() -> Mapping[str, str]:
    return {gpu.uuid: str(index) for index, gpu in enumerate(list_gpus()[0])}
