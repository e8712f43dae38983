"""Gives what was measured before a run to the agent, in a journal as ranks write them."""

import os
import time
from pathlib import Path

from flyball.collectors.processes import pid_namespace, process_started
from flyball.runner.p2p.links import SOURCE, Links
from flyball.runner.probe.journal import Journal
from flyball.runner.probe.latency import BOUNDS, size_class

PURPOSE = "preflight"
"""Of the journal: it is no run, and only its latencies are exported."""


def write_journal(runs: Path, found: Links) -> Path:
    """Write one journal with every link's histogram into a new folder of ``runs``, and return the folder.

    Raises:
        OSError: the folder cannot be made or written.
    """
    moment = time.strftime("%Y%m%d-%H%M%S", time.localtime(found.started))
    folder = runs / f"p2p-{moment}-{os.getpid()}"
    folder.mkdir(parents=True)
    journal = Journal(str(folder))
    journal.open(0)
    journal.record(
        "header",
        schema=1,
        run=folder.name,
        purpose=PURPOSE,
        rank=0,
        world_size=len(found.hosts),
        host=os.uname().nodename,
        pid=os.getpid(),
        started=process_started(os.getpid()) or 0.0,
        pid_namespace=pid_namespace(),
        engine=0,
        device="cuda:0" if found.backend == "nccl" else "cpu",
        gpu_uuid=None,
    )
    links = [
        {
            "src": link.src,
            "dst": link.dst,
            "size_class": size_class(link.size_bytes),
            "source": SOURCE,
            "counts": list(link.counts),
            "sum": link.sum,
        }
        for link in found.links
    ]
    journal.record("communication", engine=0, bounds=BOUNDS, collectives=[], p2p=links)
    journal.record("end", reason="exit")
    broken = journal.broken
    journal.close()
    if broken:
        raise OSError(f"{folder} cannot be written")
    return folder
