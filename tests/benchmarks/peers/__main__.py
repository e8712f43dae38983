"""flyball beside DeepSpeed's autotuner, random search, TPE and a grid: same script, same wall budget.

    python tests/benchmarks peers --peers flyball,random,tpe,grid,deepspeed-fast,deepspeed-full --budget 4m
        --script reference|gpt|deepseek|PATH --seeds 1 --out FOLDER

Each peer searches with the whole machine to itself, one after another. Then every pick and the user's own
are run again in interleaved rounds, timed from outside by when their lines ``step N`` arrive: at their own
global batch and at the user's. FOLDER takes results.json, results.md, best_so_far.svg and all logs; called
again with the same FOLDER, searches and runs that are in it are not repeated. ``--peers
flyball=3m,deepspeed-fast=8m`` gives peers budgets of their own, ``--rounds 0`` leaves the rest for later.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks._outside_run import STEP, Marks
from tests.benchmarks._runs import with_binaries
from tests.benchmarks.peers.comparing import Wanted, compare
from tests.benchmarks.peers.registry import PEERS
from tests.benchmarks.peers.workloads import NAMED, BadInput, workload

from flyball.agent.durations import parse_duration
from flyball.errors import FlyballError


def parser() -> argparse.ArgumentParser:
    """Every option."""
    found = argparse.ArgumentParser(
        prog="peers", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    found.add_argument("--peers", default="flyball,random,tpe,deepspeed-fast", help=f"of {', '.join(PEERS)}")
    found.add_argument("--budget", default="4m", help="wall time of each peer's search")
    found.add_argument("--script", default="reference", help=f"{', '.join(NAMED)}, or a path")
    found.add_argument("--config", type=Path, help="DeepSpeed config of the script")
    found.add_argument("--arguments", default="", help="more arguments of the script, in one string")
    found.add_argument("--ranks", type=int, help="by default every GPU, or 2 on a CPU")
    found.add_argument("--seeds", type=int, default=1)
    found.add_argument("--space", type=Path, help="space file; by default flyball's own space")
    found.add_argument("--trials", type=int, help="the most trials of a peer that takes such a number")
    found.add_argument(
        "--allow-global-batch", action="store_true", help="for the peers that keep it otherwise"
    )
    found.add_argument("--memory-limit-ratio", type=float, default=0.90)
    found.add_argument("--steps", default="5:15", help="steps between which single runs are timed")
    found.add_argument("--final-steps", default="10:60", help="the same for the rounds at the end")
    found.add_argument("--mark", default=STEP, help="regular expression of a step's line, its number a group")
    found.add_argument("--rounds", type=int, default=6)
    found.add_argument("--run-limit", default="5m", help="after which a run of the rounds is given up")
    found.add_argument("--out", type=Path, required=True)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; the exit status is 2 for bad input."""
    options = parser().parse_args(arguments)
    try:
        wanted = wanted_by(options)
        with_binaries()
        compare(wanted)
    except (FlyballError, BadInput) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def wanted_by(options: argparse.Namespace) -> Wanted:
    """Return what the command line asks for.

    Raises:
        BadInput, OptionError: it cannot be done; one line with the mend.
    """
    return Wanted(
        workload=workload(options.script, options.config, shlex.split(options.arguments)),
        ranks=options.ranks,
        budgets=budgets_of(options.peers, options.budget),
        seeds=options.seeds,
        single=marks(options.steps, options.mark),
        final=marks(options.final_steps, options.mark),
        rounds=options.rounds,
        run_limit_seconds=parse_duration(options.run_limit, where="--run-limit"),
        folder=options.out.absolute(),
        space_file=options.space.absolute() if options.space else None,
        most_trials=options.trials,
        allow_global_batch=options.allow_global_batch,
        memory_limit_ratio=options.memory_limit_ratio,
    )


def budgets_of(peers: str, budget: str) -> dict[str, float]:
    """Return each peer's wall budget in seconds, from ``NAME[=TIME],...``.

    Raises:
        BadInput: there is no such peer.
        OptionError: a budget is no duration.
    """
    found: dict[str, float] = {}
    for entry in filter(None, (part.strip() for part in peers.split(","))):
        name, _, own = entry.partition("=")
        if name not in PEERS:
            raise BadInput(f"--peers: there is no {name!r}; there are {', '.join(PEERS)}")
        found[name] = parse_duration(own or budget, where="--peers" if own else "--budget")
    if not found:
        raise BadInput(f"--peers: name at least one of {', '.join(PEERS)}")
    return found


def marks(text: str, pattern: str) -> Marks:
    """Return the marks that ``FIRST:LAST`` means.

    Raises:
        BadInput: it is not two rising whole numbers from 1 on.
    """
    first, _, last = text.partition(":")
    if not (first.isdigit() and last.isdigit() and 0 < int(first) < int(last)):
        raise BadInput(f"steps {text!r}: write two rising numbers from 1 on, as in 5:15")
    return Marks(first=int(first), last=int(last), pattern=pattern)


if __name__ == "__main__":
    sys.exit(main())
