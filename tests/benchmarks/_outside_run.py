"""One run of a command, timed from outside of it: the wall clock when each of its printed steps arrives."""

import itertools
import os
import queue
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from flyball.runner.kept_process import KeptProcess, LaunchError
from flyball.runner.leftovers import Leftovers
from flyball.runner.process_tree import MARKER, own_marker
from flyball.runner.signatures import is_memory, last_exception, tail

STEP = r"^step (\d+)\b"
"""How the scripts here begin the line of a finished step."""
GRACE_SECONDS = 3.0
_LOOK_SECONDS = 0.5
# Launchers of the same process count theirs from zero.
_serial = itertools.count(1_000_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Marks:
    """The two steps between which a run is timed; it is ended at the second."""

    first: int
    last: int
    pattern: str = STEP
    """Whose first group is the number of the step that a line ends."""

    def __post_init__(self) -> None:
        if not 1 <= self.first < self.last:
            raise ValueError(f"steps {self.first}:{self.last}: the second must be greater than the first")


@dataclass(frozen=True, kw_only=True, slots=True)
class OutsideRun:
    """What could be seen of a run without looking into it."""

    steps_per_second: float | None = None
    """Between the marks; None where the last one was not reached."""
    reason: str = ""
    """Why there is no rate."""
    out_of_memory: bool = False
    timed_out: bool = False
    seconds: float = 0.0
    """From the start of the process to its end."""
    first_step_seconds: float | None = None
    """From the start of the process to its first printed step."""
    times: Mapping[int, float] = field(default_factory=dict)
    """Step to when its line arrived, on the monotonic clock."""


def run_outside(
    tokens: Sequence[str],
    *,
    cwd: Path,
    folder: Path,
    marks: Marks | None,
    limit_seconds: float,
    environment: Mapping[str, str] | None = None,
    rendezvous: Mapping[str, str] | None = None,
) -> OutsideRun:
    """Run a command to the second mark, to its own end, or to the limit, whichever comes first.

    Args:
        tokens: the command.
        cwd: where it runs.
        folder: takes ``stdout.log`` and ``stderr.log``.
        marks: None for a command that is to end by itself.
        limit_seconds: after which it is ended.
        environment: on top of this process's.
        rendezvous: MASTER_ADDR, MASTER_PORT and WORLD_SIZE, where known: names the shared memory to remove.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {}), MARKER: own_marker(next(_serial))}
    reading, writing = os.pipe()
    with (folder / "stderr.log").open("wb") as errors:
        kept = KeptProcess(writing, errors.fileno())
    os.close(writing)
    lines: queue.SimpleQueue[tuple[float, str] | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(reading, folder / "stdout.log", lines), daemon=True)
    reader.start()
    leftovers = Leftovers(started=time.time() - 1.0)
    began = time.monotonic()
    try:
        kept.register(rendezvous or {})
        leftovers.observe_environment(rendezvous or {})
        kept.spawn(tokens, whole, cwd)
        times, timed_out = _watch(kept, lines, leftovers, marks, began + limit_seconds)
    except LaunchError as error:
        return OutsideRun(reason=str(error))
    finally:
        pids = [process.pid for process in kept.tree()]
        leftovers.observe(pids)
        leftovers.observe_files(pids)
        kept.end(grace_seconds=GRACE_SECONDS)
        kept.close()
        reader.join(timeout=GRACE_SECONDS)
        leftovers.clean()
    return _seen(times, marks, folder, kept.status, timed_out, began)


def _read(descriptor: int, log: Path, lines: "queue.SimpleQueue[tuple[float, str] | None]") -> None:
    """Stamp each line when it arrives, keep it in the log, and end with None."""
    stream: BinaryIO
    with os.fdopen(descriptor, "rb") as stream, log.open("wb") as file:
        for line in iter(stream.readline, b""):
            lines.put((time.monotonic(), line.decode("utf-8", "replace")))
            file.write(line)
    lines.put(None)


def _watch(
    kept: KeptProcess,
    lines: "queue.SimpleQueue[tuple[float, str] | None]",
    leftovers: Leftovers,
    marks: Marks | None,
    deadline: float,
) -> tuple[dict[int, float], bool]:
    """Collect the steps; return them and whether the time was up."""
    times: dict[int, float] = {}
    pattern = re.compile(marks.pattern) if marks else None
    last = marks.last if marks else None
    while last not in times:
        left = deadline - time.monotonic()
        if left <= 0:
            return times, True
        try:
            entry = lines.get(timeout=min(_LOOK_SECONDS, left))
        except queue.Empty:
            leftovers.observe(process.pid for process in kept.tree())
            if kept.poll() is not None:
                break
            continue
        if entry is None:
            break
        found = pattern.match(entry[1]) if pattern else None
        if found:
            times.setdefault(int(found.group(1)), entry[0])
    return times, False


def _seen(
    times: Mapping[int, float],
    marks: Marks | None,
    folder: Path,
    status: int | None,
    timed_out: bool,
    began: float,
) -> OutsideRun:
    seconds = time.monotonic() - began
    first = min(times.values(), default=None)
    start = None if first is None else first - began
    if marks and marks.first in times and marks.last in times:
        rate = (marks.last - marks.first) / (times[marks.last] - times[marks.first])
        return OutsideRun(steps_per_second=rate, seconds=seconds, first_step_seconds=start, times=times)
    text = tail(folder / "stderr.log") + tail(folder / "stdout.log")
    failed = last_exception(text)
    memory = failed is not None and is_memory(failed[0], failed[1])
    reason = ""
    if marks or (status or 0) != 0 or timed_out:
        reason = (
            f"stopped after {seconds:.0f} s at step {max(times, default=0)}"
            if timed_out
            else f"{failed[0]}: {failed[1]}"
            if failed
            else f"ended with status {status} at step {max(times, default=0)}"
        )
    return OutsideRun(
        reason=reason,
        out_of_memory=memory,
        timed_out=timed_out,
        seconds=seconds,
        first_step_seconds=start,
        times=times,
    )
