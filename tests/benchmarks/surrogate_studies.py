"""What a whole study is worth on recorded noise: simulated ones, by flyball's own search and rule.

python tests/benchmarks surrogate_studies [CONDITION...] [--studies 200] [--noise cpu h100] [--first-seed 0]
    [--budget-minutes 30]

Conditions: ``same`` (no knob matters: false recommendations), ``gain-5`` and ``gain-10`` (one value of one
knob is faster by so much: how often it is found and recommended), ``fitted`` (surfaces of a recorded family:
regret at 25 trials beside random search and Optuna's default TPE, and whether the printed interval holds the
true gain), ``length`` (the time of the search over that of runs of fixed length, and both regrets), ``drift``
(the machine loses 15% of its speed over the search: regret with the correction and without), ``families`` (a
space of 32 families: regret with screening and by the surrogate alone). Noises: ``cpu``,
``cpu-busy`` and ``h100`` as recorded, ``heavy`` made up. A study has 25 search trials and half an hour unless
told otherwise. The clock is simulated, and the same seeds give the same figures.
"""

import argparse
import sys
import time

from tests.benchmarks.surrogate.noise import names
from tests.benchmarks.surrogate.scores import CONDITIONS
from tests.benchmarks.surrogate.studies import BUDGET_SECONDS


def main() -> int:
    """Print asked and got; return 1 on a miss."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("conditions", nargs="*", metavar="CONDITION", choices=[*CONDITIONS, []])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--noise", nargs="+", choices=names(), default=["cpu", "h100"])
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budget-minutes", type=float, default=BUDGET_SECONDS / 60)
    arguments = parser.parse_args()
    missed = 0
    for noise in arguments.noise:
        for condition in arguments.conditions or CONDITIONS:
            began = time.monotonic()
            seeds = range(arguments.first_seed, arguments.first_seed + arguments.studies)
            for figure in CONDITIONS[condition](noise, seeds, arguments.budget_minutes * 60):
                sys.stdout.write(figure.line() + "\n")
                missed += not figure.met
            spent = time.monotonic() - began
            sys.stdout.write(f"        {condition}: {arguments.studies} studies in {spent:.0f} s\n")
            sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
