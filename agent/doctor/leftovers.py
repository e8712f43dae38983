"""What killed runs left on this machine."""

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from flyball.agent.doctor.base import Finding, Question, failing, ok, warning
from flyball.runner.leftovers import unheld_locks
from flyball.runner.process_tree import all_pids
from flyball.runner.shared_memory import SHARED_MEMORY, holders

_MIB = 1 << 20


def check(question: Question) -> Iterable[Finding]:
    """Build locks and shared memory that no process holds."""
    del question
    yield _locks(Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path.home() / ".cache" / "torch_extensions"))
    yield _memory()


def _locks(folder: Path) -> Finding:
    stale = unheld_locks([str(folder)])
    if stale:
        text = f"{len(stale)} stale: every run that builds waits for ever"
        return failing("build locks", text, f"rm {shlex.join(stale)}")
    return ok("build locks", f"none is stale in {folder}")


def _memory() -> Finding:
    buffers = {
        str(path): path.stat().st_size
        for path in SHARED_MEMORY.glob(f"deepspeed_allreduce_buffer_{os.getuid()}_*")
    }
    left = buffers.keys() - (holders(set(buffers), all_pids()) if buffers else set())
    if not left:
        return ok("shared memory", f"nothing is left in {SHARED_MEMORY}")
    size = sum(buffers[path] for path in left) // _MIB
    mend = (
        f"when none of your runs is starting: rm {SHARED_MEMORY}/deepspeed_allreduce_buffer_{os.getuid()}_*"
    )
    return warning("shared memory", f"{len(left)} buffers of ended runs hold {size} MiB", mend)
