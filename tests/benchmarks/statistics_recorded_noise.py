"""What the statistics of a study are worth on recorded noise: false recommendations, and wins that are found.

Each simulated study searches over noisy trials and verifies the best of them. The noise is replayed in the
order in which it was recorded (``statistics_record_noise.py``), so slow drift between runs stays in it; what
is drawn is where a study begins, in which direction it goes through the record, and where a run's steps
begin.

    python tests/benchmarks/statistics_recorded_noise.py --studies 1000
"""

import argparse
import itertools
import json
import math
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flyball.collectors.journal import RankJournal
from flyball.tuners.base import Measurement
from flyball.tuners.measurement.measurement import measure
from flyball.tuners.verification.plan import Rules
from flyball.tuners.verification.playoff import play_off, ranked_by_own_runs
from flyball.tuners.verification.tally import BASELINE
from flyball.tuners.verification.verification import Decision, VerificationResult, verify

SEARCH_TRIALS = 15
"""The baseline's trial included."""
SAMPLES = 16
WARMUP = 2
DATA = Path(__file__).parent / "data"
PLANTED = {"planted": 1.10}
"""True speed of the one configuration that is faster."""
MOST_FALSE = 0.05
FEWEST_FOUND = 0.80


def load(path: Path) -> list[list[float]]:
    """Return the recorded step times, a run each, in seconds."""
    return [[each / 1e6 for each in run] for run in json.loads(path.read_text())["runs"]]


def run_noise(recorded: list[list[float]]) -> float:
    """Return the standard deviation of a run's log rate, from successive runs: slow drift is left out."""
    rates = [math.log(len(run) - WARMUP) - math.log(sum(run[WARMUP:])) for run in recorded]
    squares = [(after - before) ** 2 for before, after in itertools.pairwise(rates)]
    return math.sqrt(sum(squares) / len(squares) / 2)


@dataclass(kw_only=True, slots=True)
class Replay:
    """Makes runs whose noise is the record's."""

    recorded: list[list[float]]
    draw: random.Random
    speed: Mapping[str, float]
    """True speed of each key over the baseline's."""
    _position: int = field(init=False)
    _direction: int = field(init=False)

    def __post_init__(self) -> None:
        self._position = self.draw.randrange(len(self.recorded))
        self._direction = self.draw.choice((-1, 1))

    def run(self, key: str) -> Measurement:
        """Return the measurement of the next run."""
        first, *steady = self.recorded[self._position]
        self._position = (self._position + self._direction) % len(self.recorded)
        turn = self.draw.randrange(len(steady))
        seconds = [each / self.speed.get(key, 1.0) for each in [first, *steady[turn:], *steady[:turn]]]
        measured = measure({0: journal(seconds)})
        if not isinstance(measured, Measurement):
            raise TypeError(measured.reason)
        return measured


def journal(seconds: list[float]) -> RankJournal:
    """Return a one-rank journal with these step times."""
    header = {"kind": "header", "world_size": 1, "data_parallel_size": 1, "micro_batch": SAMPLES, "engine": 0}
    records: list[Mapping[str, object]] = [header]
    clock = 0.0
    for step, each in enumerate(seconds, start=1):
        clock += each
        fed = {"samples": SAMPLES, "tokens": SAMPLES, "forwards": 1}
        records.append({"kind": "step", "step": step, "seconds": each, "clock": clock, **fed})
    return RankJournal(path=Path("rank-0.jsonl"), records=list(records))


def study(recorded: list[list[float]], speed: Mapping[str, float], seed: int) -> VerificationResult:
    """Search over the keys of ``speed`` and baseline clones, play off and verify the best."""
    replay = Replay(recorded=recorded, draw=random.Random(seed), speed=speed)
    clones = [f"clone-{index}" for index in range(SEARCH_TRIALS - 1 - len(speed))]
    keys = [*speed, *clones]
    replay.draw.shuffle(keys)
    baseline = replay.run(BASELINE).samples_per_second
    rates = {key: replay.run(key).samples_per_second for key in keys}
    own = math.log(baseline.point)
    ranked = play_off(
        rates,
        lambda key, number: replay.run(key),
        lambda logs: ranked_by_own_runs(logs, own),
        most=1,
        seed=seed,
    )
    return verify(ranked[:1], lambda key, number: replay.run(key), rules=Rules(seed=seed))


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Shares of the studies."""

    recommended: float
    found: float
    """Recommended, and what was planted."""
    covered: float
    """Of those found: the printed interval holds the true gain."""
    runs: float
    """Of verification, mean."""


def score(path: Path, speed: Mapping[str, float], studies: int) -> Score:
    """Return what came of many studies on one record."""
    recorded = load(path)
    results = [study(recorded, speed, seed) for seed in range(studies)]
    recommended = [result for result in results if result.decision is Decision.RECOMMENDED]
    found = [result for result in recommended if result.winner in speed]
    gains = [(result.speedup, speed[str(result.winner)]) for result in found]
    covered = sum(gain is not None and gain.low <= true <= gain.high for gain, true in gains)
    return Score(
        recommended=len(recommended) / studies,
        found=len(found) / studies,
        covered=covered / max(1, len(found)),
        runs=sum(result.runs for result in results) / studies,
    )


def main() -> int:
    """Print asked and got; return 1 on a miss."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=1000)
    studies = parser.parse_args().studies
    lines = []
    for name in ("step_noise", "step_noise_busy"):
        same = score(DATA / f"{name}.json", {}, studies)
        lines.append((f"A/A recommended, {name}", "<=", MOST_FALSE, same.recommended))
    planted = score(DATA / "step_noise.json", PLANTED, studies)
    lines.append(("planted +10% recommended, step_noise", ">=", FEWEST_FOUND, planted.found))
    for what, side, asked, got in lines:
        sys.stdout.write(f"{what:<40} asked {side} {asked:.3f}  got {got:.3f}\n")
    noise = run_noise(load(DATA / "step_noise.json"))
    sys.stdout.write(
        f"{studies} studies each; noise between runs {noise:.3f}; planted: {planted.runs:.1f} runs of "
        f"verification, true gain inside the printed interval {planted.covered:.3f}\n"
    )
    missed = [what for what, side, asked, got in lines if (got > asked if side == "<=" else got < asked)]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
