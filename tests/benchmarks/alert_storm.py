"""kill -9 of a process that raises and resolves alerts, its receiver down a third of the time: what is lost.

python tests/benchmarks alert_storm [--alerts 1000] [--kills 100] [--life 0.5] [--seed 0] [--db URL]
"""

import argparse
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from _runs import verdict
from tests.live.alert_storm import storm


def main() -> int:
    """Run one storm; the exit status says whether anything was lost, out of order or under a second id."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--life", type=float, default=0.5, help="mean seconds from a start to a kill")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--db", default="", help="URL of an empty database; by default a SQLite file")
    arguments = parser.parse_args()
    began = time.monotonic()
    outcome = storm(
        Path(tempfile.mkdtemp(prefix="flyball-storm-")),
        alerts=arguments.alerts,
        kills=arguments.kills,
        life_seconds=arguments.life,
        seed=arguments.seed,
        url=arguments.db,
    )
    for name, count in asdict(outcome).items():
        print(f"{name:<16} {count}")
    print(f"{'seconds':<16} {time.monotonic() - began:.0f}")
    lost = outcome.never_fired + outcome.never_resolved + outcome.waiting
    met = verdict("nothing lost", f"{lost} lost", met=lost == 0)
    met &= verdict("in order per alert", f"{outcome.out_of_order} not", met=outcome.out_of_order == 0)
    met &= verdict("one webhook-id a change", f"{outcome.ids} with more", met=outcome.ids == 0)
    others = outcome.raised_twice + outcome.not_recorded
    met &= verdict("nothing raised twice, nothing made up", f"{others}", met=others == 0)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
