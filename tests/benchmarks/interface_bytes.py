"""PowerSGD by the bytes at the interface: rank 1 and 2 against none, the reference workload on two hosts.

    python tests/benchmarks interface_bytes [--first 10] [--last 40] [--ranks 1 2] [--folder DIR] [-- SIZES]

One rank a host, ZeRO stage 0, fp32, gloo; the hosts are network namespaces (root only), and bytes are what
the kernel counts at the link between them, headers included, from one step to another: the broadcast of the
start and the dense first steps are left out. Asked: at most 1/16. Beside it stands what the probe counts at
the collective. ``SIZES`` are options of the workload, such as ``--hidden-size 128 --layers 4``.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from _runs import WORKLOAD, verdict
from tests.live.across_hosts import Marks, Moved, moved
from tests.live.hosts import missing, two_hosts

ASKED = 1 / 16
START_STEP = 2


def main() -> int:
    """Measure; the exit status says whether every rank met what was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--first", type=int, default=10)
    parser.add_argument("--last", type=int, default=40)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("sizes", nargs="*", help="of the workload, after --")
    options = parser.parse_args()
    reason = missing()
    if reason:
        print(f"no hosts: {reason}", file=sys.stderr)
        return 2
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="flyball-interface-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    script = workload(folder, options.sizes)
    marks = Marks(first=options.first, last=options.last)
    with two_hosts() as hosts:
        dense = moved(hosts, folder / "none", script, marks=marks, knobs={})
        print(f"none:   {dense.bytes_a_step:12,.0f} bytes a step, sent and received", flush=True)
        met = [
            show(
                rank, dense, moved(hosts, folder / f"rank-{rank}", script, marks=marks, knobs=powersgd(rank))
            )
            for rank in options.ranks
        ]
    return 0 if all(met) else 1


def workload(folder: Path, sizes: list[str]) -> list[str]:
    """The reference workload's own configuration at stage 0, where PowerSGD acts."""
    config: dict[str, Any] = json.loads((WORKLOAD / "ds_config.json").read_text())
    config["zero_optimization"] = {"stage": 0}
    (folder / "ds_config.json").write_text(json.dumps(config, indent=2))
    given = ["--deepspeed", "--deepspeed_config", str(folder / "ds_config.json"), "--steps", "100000"]
    return [str(WORKLOAD / "train.py"), *given, *sizes]


def powersgd(rank: int) -> dict[str, Any]:
    """As the knob ``powersgd`` asks the probe for it."""
    return {"powersgd": {"rank": rank, "start_step": START_STEP, "min_compression": 2.0}}


def show(rank: int, dense: Moved, compressed: Moved) -> bool:
    """Print one rank's ratios; whether it is as small as asked."""
    ratio = compressed.bytes_a_step / dense.bytes_a_step
    assert compressed.compressed_bytes is not None
    assert compressed.dense_bytes is not None
    counted = compressed.compressed_bytes / compressed.dense_bytes
    print(f"rank {rank}: {compressed.bytes_a_step:12,.0f} bytes a step")
    print(
        f"        at the collective {compressed.compressed_bytes:,} of {compressed.dense_bytes:,} bytes,"
        f" 1/{1 / counted:.1f}"
    )
    return verdict(
        f"rank {rank} at the interface at most 1/{1 / ASKED:.0f}", f"1/{1 / ratio:.1f}", met=ratio <= ASKED
    )


if __name__ == "__main__":
    sys.exit(main())
