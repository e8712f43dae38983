"""Starts the ranks that measure links, under torchrun or the user's own launcher, and hears what they say."""

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from flyball.clock import Clock, SystemClock
from flyball.errors import FlyballError, OptionError
from flyball.runner.kept_process import KeptProcess
from flyball.runner.p2p.links import Links
from flyball.runner.p2p.worker import MARK

WORKER = Path(__file__).with_name("worker.py")
_POLL_SECONDS = 0.05
_GRACE_SECONDS = 3.0
_LONGEST_REASON = 300


class NotMeasured(FlyballError):
    """The ranks did not come to an end: one of them died, or it took too long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to measure."""

    sizes: tuple[int, ...]
    """Bytes."""
    backend: str = "auto"
    """``nccl``, ``gloo`` or ``auto``."""
    concurrent: bool = False
    timeout_seconds: float = 600.0

    def arguments(self) -> list[str]:
        """The worker and its arguments, to stand behind a launcher."""
        sizes = ",".join(map(str, self.sizes))
        words = [str(WORKER), "--backend", self.backend, "--sizes", sizes]
        words += ["--timeout", f"{self.timeout_seconds:g}"]
        return [*words, "--concurrent"] if self.concurrent else words


def local_launcher(ranks: int) -> list[str]:
    """torchrun of this environment, for ranks on this host.

    Raises:
        OptionError: there is no torch here.
    """
    if importlib.util.find_spec("torch") is None:
        mend = "give the launcher of the environment that has it: flyball p2p -- torchrun --nproc-per-node 2"
        raise OptionError("torch is not installed beside flyball", mend=mend)
    module = [sys.executable, "-m", "torch.distributed.run"]
    return [*module, "--standalone", "--nnodes=1", f"--nproc-per-node={ranks}"]


def measure(request: Request, launcher: Sequence[str], *, clock: Clock | None = None) -> Links:
    """Run the worker under ``launcher`` and return what it found.

    Raises:
        LaunchError: the launcher cannot be executed.
        OptionError: the ranks cannot measure what was asked for.
        NotMeasured: a rank died, or the time was up.
    """
    clock = clock or SystemClock()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        kept = KeptProcess(out.fileno(), errors.fileno())
        try:
            environment = {"OMP_NUM_THREADS": "1", **os.environ}
            kept.spawn([*launcher, *request.arguments()], environment, Path.cwd())
            status = _wait(kept, clock, request.timeout_seconds)
        finally:
            kept.end(grace_seconds=_GRACE_SECONDS)
            kept.close()
        return _outcome(status, _read(out), _read(errors), request)


def _wait(kept: KeptProcess, clock: Clock, limit: float) -> int | None:
    deadline = clock.monotonic() + limit
    while (status := kept.poll()) is None:
        if clock.monotonic() >= deadline:
            return None
        clock.sleep(_POLL_SECONDS)
    return status


def _read(file: IO[bytes]) -> list[str]:
    file.seek(0)
    return file.read().decode(errors="replace").splitlines()


def _outcome(status: int | None, out: Sequence[str], errors: Sequence[str], request: Request) -> Links:
    said = heard(out)
    for document in said:
        if "links" in document:
            return Links.read(document)
    for document in said:
        if "refused" in document:
            raise OptionError(document["refused"][:_LONGEST_REASON])
    for document in said:
        if "failed" in document:
            raise NotMeasured(document["failed"][:_LONGEST_REASON])
    if status is None:
        mend = "give it more with --timeout, or measure fewer or smaller sizes"
        raise NotMeasured(f"the ranks did not end within {request.timeout_seconds:g} s", mend=mend)
    if status == 0:
        mend = (
            "on every host the command has to reach rank 0; the rank that leads each host prints the result"
        )
        raise NotMeasured("the launcher ended, and no rank said what it found", mend=mend)
    last = next((line.strip() for line in reversed(errors) if any(map(str.isalpha, line))), "it said nothing")
    raise NotMeasured(f"the launcher ended with status {status}: {last[:_LONGEST_REASON]}")


def heard(lines: Iterable[str]) -> list[dict[str, Any]]:
    """The documents in marked lines, whatever a launcher puts in front; unfinished ones are left out."""
    parts: dict[str, dict[int, str]] = {}
    counts: dict[str, int] = {}
    for line in lines:
        _, mark, rest = line.partition(f"{MARK} ")
        words = rest.split(" ", 2)
        if not mark or len(words) != 3:
            continue
        rank, place, text = words
        number, _, count = place.partition("/")
        if number.isdigit() and count.isdigit():
            parts.setdefault(rank, {})[int(number)] = text
            counts[rank] = int(count)
    documents = []
    for rank, found in parts.items():
        try:
            documents.append(json.loads("".join(found[number] for number in range(1, counts[rank] + 1))))
        except (KeyError, ValueError):
            continue
    return documents
