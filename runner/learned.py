"""What the first, cold trial teaches about its workers, and how the next trial's workers follow from it.

Kept in memory only: a worker's environment is the user's.
"""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyball.collectors.journal import Record
from flyball.runner.base import TrialRequest
from flyball.runner.invocation import dissect
from flyball.runner.process_tree import MARKER, environment_of

_PYTHON = re.compile(r"(python|pypy)[\d.]*t?")
_VALUED = ("-W", "-X", "--check-hash-based-pycs")
_RANK_VARIABLES = frozenset(("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "TORCHELASTIC_ERROR_FILE"))
_RANK_NAMES = ("RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "PMI_RANK")
"""As launchers tell a process its rank."""
_RENDEZVOUS = re.compile(
    r"RANK|LOCAL_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|LOCAL_SIZE|CROSS_\w+|GROUP_\w+|ROLE_\w+|MASTER_\w+"
    r"|TORCHELASTIC_\w+|FLYBALL_\w+"
)
_AGENT_VARIABLES = ("TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_ERROR_FILE")
"""They point into torchrun's agent, which a warm trial does not have."""
_NEVER_IMPORTED = ("__main__", "__mp_main__", "sitecustomize", "usercustomize", "flyball.runner.probe")
THREADS = "OMP_NUM_THREADS"


class UnforkableError(Exception):
    """This trial cannot be forked; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """One rank of the first trial as /proc shows it."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: str
    affinity: tuple[int, ...]
    threads: int

    def __repr__(self) -> str:
        return f"Worker(argv={self.argv!r}, environment=<{len(self.environment)} variables>)"


def see_worker(header: Record) -> Worker | None:
    """Read a worker while it lives; None when it is gone already."""
    pid = header["pid"]
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
        return Worker(
            argv=tuple(os.fsdecode(part) for part in argv),
            environment=environment_of(pid),
            cwd=str(Path(f"/proc/{pid}/cwd").readlink()),
            affinity=tuple(sorted(os.sched_getaffinity(pid))),
            threads=int(header.get("threads") or 0),
        )
    except OSError:
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A Python command line by its parts."""

    interpreter: str
    options: tuple[str, ...]
    is_module: bool
    index: int
    """Of the script or module in the command line."""


def program_of(worker: Worker) -> Program:
    """Take a worker's command line apart.

    Raises:
        UnforkableError: it is not a Python running a script or a module.
    """
    argv = worker.argv
    interpreter = shutil.which(argv[0], path=worker.environment.get("PATH")) if argv else None
    if interpreter is None or not _PYTHON.fullmatch(Path(argv[0]).name):
        raise UnforkableError("the workers are not plain Python processes")
    index = 1
    while index < len(argv) and argv[index].startswith("-"):
        if re.fullmatch(r"-[A-Za-z]*m", argv[index]):
            flags = argv[index][:-1]
            options = (*argv[1:index], *([flags] if flags != "-" else []))
            return Program(interpreter=interpreter, options=options, is_module=True, index=index + 1)
        index += 2 if argv[index] in _VALUED else 1
    if index >= len(argv) or argv[index - 1] == "-c":
        raise UnforkableError("the workers run no script")
    return Program(interpreter=interpreter, options=argv[1:index], is_module=False, index=index)


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """The first trial's workers, and the request that started them."""

    request: TrialRequest
    workers: Mapping[int, Worker]
    modules: tuple[str, ...]
    late_modules: tuple[str, ...]
    """Imported by the first step only: worth as much, but the first to go where a fork would be unsafe."""
    module_paths: tuple[str, ...]
    startup_seconds: float | None
    program: Program

    def import_environment(self, request: TrialRequest) -> dict[str, str]:
        """The environment in which a fork server for ``request`` imports: a rank's, without its rank."""
        environment = _environment(self, self.workers[0], request)
        ours = {name: value for name, value in environment.items() if not _RENDEZVOUS.fullmatch(name)}
        paths = [path for path in ours.pop("PYTHONPATH", "").split(os.pathsep) if path]
        users = [path for path in paths if not Path(path).is_relative_to(request.directory)]
        if users:
            ours["PYTHONPATH"] = os.pathsep.join(users)
        # one thread: a fork of a process that has run a parallel region hangs in its first own one
        return {**ours, THREADS: "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}

    def import_key(self, request: TrialRequest) -> tuple[tuple[str, str], ...]:
        """Equal keys can share a fork server: the variables of the trial that an import may read."""
        own = {name: value for name, value in request.environment.items() if name != THREADS}
        return tuple(sorted(item for item in own.items() if str(request.directory) not in item[1]))

    def plan(self, request: TrialRequest, *, port: int, marker: str, cwd: Path) -> list[dict[str, Any]]:
        """One message a rank for the fork server.

        Raises:
            UnforkableError: what the trial changes cannot be carried over to the seen command lines.
        """
        swaps = _swaps(self.request.command, request.command, cwd)
        return [
            self._rank(worker, request, swaps, {"MASTER_PORT": str(port), MARKER: marker}, cwd)
            for _, worker in sorted(self.workers.items())
        ]

    def _rank(
        self,
        worker: Worker,
        request: TrialRequest,
        swaps: Mapping[str, str],
        own: Mapping[str, str],
        cwd: Path,
    ) -> dict[str, Any]:
        environment = _environment(self, worker, request)
        _check_swaps(swaps, environment)
        environment = {name: swaps.get(value, value) for name, value in environment.items()} | dict(own)
        arguments = _arguments(worker, self.program.index, self.request.command, request.command, cwd)
        script = worker.argv[self.program.index]
        first = worker.cwd if self.program.is_module else _folder(worker.cwd, script)
        return {
            "argv": [script, *arguments],
            "orig_argv": [*worker.argv[: self.program.index + 1], *arguments],
            "environment": environment,
            "cwd": worker.cwd,
            "affinity": list(worker.affinity),
            "threads": self.threads(worker, request),
            "path": [first, *[part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part]],
            "is_module": self.program.is_module,
            "probe": str(request.directory / "probe"),
        }

    def threads(self, worker: Worker, request: TrialRequest) -> int:
        """Intra-op threads that the rank would have cold.

        Raises:
            UnforkableError: the first trial set them, and this one leaves them to its launcher.
        """
        asked = request.environment.get(THREADS)
        if asked is not None:
            return int(asked) if asked.isdigit() else 0
        if THREADS in self.request.environment:
            raise UnforkableError(f"{THREADS} was set when the workers were learned and is not now")
        return worker.threads


def learn(
    request: TrialRequest,
    workers: Mapping[int, Worker],
    header: Record,
    startup_seconds: float | None,
    *,
    late_modules: Sequence[str] = (),
) -> Learned:
    """Put together what the first trial showed; ``header`` is rank 0's.

    Raises:
        UnforkableError: a rank was not seen, ranks differ in more than their rank, or the script starts
            them itself.
    """
    world = int(header.get("world_size") or 1)
    if sorted(workers) != list(range(world)):
        raise UnforkableError(f"only {len(workers)} of {world} ranks were seen while they ran")
    first = workers[0]
    for worker in workers.values():
        names = set(first.environment) | set(worker.environment)
        differing = {
            n for n in names if first.environment.get(n) != worker.environment.get(n)
        } - _RANK_VARIABLES
        if differing:
            raise UnforkableError("ranks differ in " + ", ".join(sorted(differing)))
    _check_started_one_by_one(workers)
    modules = header.get("modules")
    if not modules:
        raise UnforkableError("the journal does not say what the workers import")
    program = program_of(first)
    return Learned(
        request=request,
        workers=dict(workers),
        modules=_importable(modules, first, program),
        late_modules=_importable(late_modules, first, program),
        module_paths=tuple(
            path for path in header.get("module_paths") or () if _is_shared(path, request, first)
        ),
        startup_seconds=startup_seconds,
        program=program,
    )


def _check_started_one_by_one(workers: Mapping[int, Worker]) -> None:
    """Refuse ranks that a script forked itself: each shows its parent's command line, which starts all."""
    for rank, worker in workers.items():
        told = [worker.environment.get(name) for name in _RANK_NAMES]
        if len(workers) > 1 and str(rank) not in told:
            raise UnforkableError(f"no launcher told rank {rank} its rank: the script starts its own ranks")


def _importable(modules: Sequence[str], worker: Worker, program: Program) -> tuple[str, ...]:
    own = worker.argv[program.index].partition(".")[0] if program.is_module else None
    return tuple(
        name
        for name in modules
        if name.partition(".")[0] != own
        and not any(name == no or name.startswith(no + ".") for no in _NEVER_IMPORTED)
    )


def _is_shared(path: str, request: TrialRequest, worker: Worker) -> bool:
    return bool(path) and not Path(path).is_relative_to(request.directory) and path != worker.cwd


def _folder(cwd: str, script: str) -> str:
    return str((Path(cwd) / script).resolve().parent)


def _environment(learned: Learned, worker: Worker, request: TrialRequest) -> dict[str, str]:
    """The worker's environment as this trial changes it; what a launcher set over the trial's stays."""
    before, now = learned.request.environment, request.environment
    environment = dict(worker.environment)
    for name in _AGENT_VARIABLES:
        environment.pop(name, None)
    for name in set(before) - set(now):
        if environment.get(name) == before[name]:
            environment.pop(name)
            if name in os.environ:
                environment[name] = os.environ[name]
    for name, value in now.items():
        if name not in before or environment.get(name) == before[name]:
            environment[name] = value
    old, new = str(learned.request.directory), str(request.directory)
    pattern = re.compile(re.escape(old) + r"(?=/|:|$)")
    return {name: pattern.sub(lambda _: new, value) for name, value in environment.items()}


def _swaps(before: Sequence[str], now: Sequence[str], cwd: Path) -> dict[str, str]:
    """What changes in front of the script: values that a launcher hands on in some way of its own."""
    old, new = dissect(before, cwd=cwd), dissect(now, cwd=cwd)
    head, following = before[: old.script_index + 1], now[: new.script_index + 1]
    if len(head) != len(following):
        raise UnforkableError("the launcher's own options change")
    pairs = [(a, b) for a, b in zip(head, following, strict=True) if a != b]
    return {a.rpartition("=")[2]: b.rpartition("=")[2] for a, b in pairs}


def _check_swaps(swaps: Mapping[str, str], environment: Mapping[str, str]) -> None:
    values = set(environment.values())
    for old, new in swaps.items():
        if old not in values and new not in values:
            raise UnforkableError(
                f"the launcher's option {old} changes, and does not reach its workers as it is"
            )


def _arguments(worker: Worker, index: int, before: Sequence[str], now: Sequence[str], cwd: Path) -> list[str]:
    """The script's arguments as its launcher passed them on, this trial's in place of the first one's."""
    seen = list(worker.argv[index + 1 :])
    old, new = list(dissect(before, cwd=cwd).arguments), list(dissect(now, cwd=cwd).arguments)
    for start in range(len(seen) - len(old), -1, -1):
        if seen[start : start + len(old)] == old:
            return seen[:start] + new + seen[start + len(old) :]
    raise UnforkableError("the launcher does not pass the script's arguments on as they are")
