"""kill -9 of the agent while it raises and resolves alerts, its receiver down a third of the time.

python tests/benchmarks agent_storm [--alerts 1000] [--kills 100] [--life 2] [--seed 0]
"""

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from _runs import verdict
from tests.live.agent_storm import storm


def main() -> int:
    """Run one storm; the exit status says whether anything was lost, out of order or under a second id."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alerts", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--life", type=float, default=2.0, help="mean seconds from serving to a kill")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    outcome = storm(
        Path(tempfile.mkdtemp(prefix="flyball-agent-storm-")),
        alerts=arguments.alerts,
        kills=arguments.kills,
        life_seconds=arguments.life,
        seed=arguments.seed,
    )
    for name, count in asdict(outcome).items():
        print(f"{name:<16} {count:.0f}")
    met = verdict("nothing lost", f"{outcome.lost} lost", met=outcome.lost + outcome.not_over == 0)
    met &= verdict("in order per alert", f"{outcome.out_of_order} not", met=outcome.out_of_order == 0)
    met &= verdict("one webhook-id a change", f"{outcome.ids} with more", met=outcome.ids == 0)
    met &= verdict("nothing made up", f"{outcome.not_recorded}", met=outcome.not_recorded == 0)
    met &= verdict("every alert raised", f"{outcome.unseen} not", met=outcome.unseen == 0)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
