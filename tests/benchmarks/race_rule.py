"""What the rule of a race between production runs is worth: simulated races with normal noise between runs.

python tests/benchmarks race_rule [--races 1000]
"""

import argparse
import sys
from statistics import fmean

from tests.tuners.between_runs.test_between_runs_race import came_to, noisy

from flyball.tuners.verification.verification import Decision

CASES = ((1.0, 0.05, 0.05), (1.05, 0.02, 0.60), (1.10, 0.05, 0.90))
"""True gain, noise between runs, and the share of races that may (no gain) or must be recommended."""


def main() -> int:
    """Print asked and got; return 1 on a miss."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--races", type=int, default=1000)
    races = parser.parse_args().races
    missed = 0
    for gain, noise, asked in CASES:
        results = [came_to(noisy(gain, noise, seed)) for seed in range(races)]
        found = [result for result in results if result.decision is Decision.RECOMMENDED]
        share, rounds = len(found) / races, fmean(result.rounds for result in results)
        inside = [result.speedup.low <= gain <= result.speedup.high for result in found if result.speedup]
        # Of alike configurations only those are found whose interval left the truth out.
        held = f", its interval held the gain in {fmean(inside):.1%}" if inside and gain > 1 else ""
        missed += share < asked if gain > 1 else share > asked
        sys.stdout.write(
            f"{gain - 1:+.0%} at {noise:.0%} noise: asked {'>=' if gain > 1 else '<='} {asked:.1%}, "
            f"recommended {share:.1%} after {rounds:.1f} runs of the candidate on average{held}\n"
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
