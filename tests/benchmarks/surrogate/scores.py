"""What many simulated studies come to, with exact intervals."""

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy import stats
from tests.benchmarks.surrogate.jobs import job_of
from tests.benchmarks.surrogate.many_families import lost as lost_of
from tests.benchmarks.surrogate.noise import between_runs, load
from tests.benchmarks.surrogate.rivals import RIVALS, pick
from tests.benchmarks.surrogate.studies import Outcome, simulate
from tests.benchmarks.surrogate.surfaces import alike, best, fitted, planted

from flyball.tuners.search.remeasuring import SHARE
from flyball.tuners.verification.verification import Decision

Seeds = Sequence[int]

MOST_FALSE, FEWEST_OF_FIVE, FEWEST_OF_TEN = 0.05, 0.60, 0.90
FEWEST_INSIDE = 0.93
MOST_OF_RANDOM = 0.5
MOST_OF_FIXED = 0.6
SLOWED, SLOWED_SECONDS = 0.15, 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """So many of so many."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """Return the share, NaN of nothing."""
        return self.count / self.total if self.total else float("nan")

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return Clopper and Pearson's exact two-sided interval."""
        tail = (1 - confidence) / 2
        low = stats.beta.ppf(tail, self.count, self.total - self.count + 1) if self.count else 0.0
        full = self.count == self.total
        high = 1.0 if full else stats.beta.ppf(1 - tail, self.count + 1, self.total - self.count)
        return float(low), float(high)

    def __str__(self) -> str:
        low, high = self.interval()
        return f"{self.value:.1%} ({low:.1%} to {high:.1%}; {self.count} of {self.total})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One figure, asked and got."""

    what: str
    asked: str
    got: str
    met: bool

    def line(self) -> str:
        """Return it as a line."""
        return f"{'met   ' if self.met else 'MISSED'}  {self.what:<44} asked {self.asked:<22} got {self.got}"


def inside(outcomes: Sequence[Outcome]) -> Share:
    """Return how often the true gain lies in the printed interval, of what was recommended."""
    told = [(each.promised, each.gain) for each in outcomes if each.promised is not None]
    held = sum(promised.low <= gain <= promised.high for promised, gain in told)
    return Share(count=held, total=len(told))


def cost(outcomes: Sequence[Outcome]) -> str:
    """Return what studies spent, in words."""
    runs = [each.verification_runs for each in outcomes]
    seconds = statistics.median(each.seconds for each in outcomes)
    play_off = statistics.fmean(each.play_off_runs for each in outcomes)
    kept = [each for each in outcomes if each.decision is Decision.KEEP]
    unverified = sum(each.decision is Decision.UNVERIFIED for each in outcomes)
    most = max((each.verification_runs + each.play_off_runs for each in kept), default=0)
    return (
        f"        {statistics.fmean(runs):.1f} runs of verification on average, {play_off:.1f} of play-off; "
        f"keep took {most} at most; {len(kept)} kept, {unverified} unverified; median study {seconds:.0f} s"
    )


def same(noise: str, seeds: Seeds, budget_seconds: float) -> list[Figure]:
    """A/A: no knob matters."""
    job, recording = job_of(noise), load(noise)
    truth = alike(job)
    outcomes = [simulate(job, recording, truth, seed, budget_seconds=budget_seconds) for seed in seeds]
    false = Share(count=sum(each.decision is Decision.RECOMMENDED for each in outcomes), total=len(seeds))
    say(cost(outcomes))
    return [
        Figure(
            what=f"{noise}: recommended though nothing matters",
            asked="at most 5%, aim 1%",
            got=str(false),
            met=false.value <= MOST_FALSE,
        )
    ]


def gain(noise: str, seeds: Seeds, budget_seconds: float, percent: int) -> list[Figure]:
    """One value of one knob is faster."""
    job, recording = job_of(noise), load(noise)
    space = job.space()
    least = FEWEST_OF_FIVE if percent <= 5 else FEWEST_OF_TEN
    outcomes, found, entered = [], 0, 0
    for seed in seeds:
        truth = planted(job, space, percent / 100, seed)
        outcomes.append(simulate(job, recording, truth.speed, seed, budget_seconds=budget_seconds))
        found += outcomes[-1].assignment is not None and truth.holds(outcomes[-1].assignment)
        entered += outcomes[-1].entered is not None and truth.holds(outcomes[-1].entered)
    say(f"        what was planted entered verification in {entered} of {len(seeds)}")
    say(cost(outcomes))
    share, held = Share(count=found, total=len(seeds)), inside(outcomes)
    return [
        Figure(
            what=f"{noise}: planted +{percent}% found and recommended",
            asked=f"at least {least:.0%}",
            got=str(share),
            met=share.value >= least,
        ),
        interval_figure(f"{noise}: true gain in the printed interval", held),
    ]


def interval_figure(what: str, held: Share) -> Figure:
    """Return the figure of a printed interval."""
    return Figure(what=what, asked="at least 93%", got=str(held), met=held.value >= FEWEST_INSIDE)


def regret(noise: str, seeds: Seeds, budget_seconds: float) -> list[Figure]:
    """Surfaces of the recorded family: regret at 25 trials, and what the printed interval is worth."""
    job, recording = job_of(noise), load(noise)
    space = job.space()
    own: list[float] = []
    outcomes: list[Outcome] = []
    final: list[float] = []
    of_rivals: dict[str, list[float]] = {rival: [] for rival in RIVALS}
    for seed in seeds:
        speed = fitted(job, space, seed)
        top = best(space, speed)
        outcomes.append(simulate(job, recording, speed, seed, budget_seconds=budget_seconds))
        own.append(1 - outcomes[-1].picked / top)
        final.append(1 - outcomes[-1].gain * (speed(space.baseline_assignment()) or 0.0) / top)
        for rival, lost in of_rivals.items():
            lost.append(1 - pick(rival, job, recording, speed, seed) / top)
    say(cost(outcomes))
    say(f"        regret of what stands at the end of a study: {quartiles(final)}")
    at_random, by_tpe = (statistics.median(of_rivals[rival]) for rival in RIVALS)
    middle = statistics.median(own)
    return [
        Figure(
            what=f"{noise}: median regret at 25 trials",
            asked=f"half of random's {at_random:.3f}",
            got=quartiles(own),
            met=middle <= MOST_OF_RANDOM * at_random,
        ),
        Figure(
            what=f"{noise}: the same",
            asked=f"default TPE's {by_tpe:.3f}",
            got=f"{middle:.3f}",
            met=middle <= by_tpe,
        ),
        interval_figure(f"{noise}: true gain in the printed interval", inside(outcomes)),
    ]


def length(noise: str, seeds: Seeds, budget_seconds: float) -> list[Figure]:
    """The same searches with runs of fixed length."""
    job, recording = job_of(noise), load(noise)
    space = job.space()
    seconds: dict[bool, list[float]] = {False: [], True: []}
    lost: dict[bool, list[float]] = {False: [], True: []}
    for seed in seeds:
        speed = fitted(job, space, seed)
        top = best(space, speed)
        for fixed in (False, True):
            found = simulate(
                job, recording, speed, seed, fixed_length=fixed, verified=False, budget_seconds=budget_seconds
            )
            seconds[fixed].append(found.search_seconds)
            lost[fixed].append(1 - found.picked / top)
    ratio = statistics.median(a / b for a, b in zip(seconds[False], seconds[True], strict=True))
    racing, fixed_lost = statistics.median(lost[False]), statistics.median(lost[True])
    return [
        Figure(
            what=f"{noise}: search time over that of fixed length",
            asked="at most 0.6",
            got=f"{ratio:.2f} (median regret {racing:.3f} against {fixed_lost:.3f})",
            met=ratio <= MOST_OF_FIXED,
        )
    ]


def drift(noise: str, seeds: Seeds, budget_seconds: float) -> list[Figure]:
    """The machine loses 15% of its speed over the search: with the correction, and taken for steady."""
    job, recording = job_of(noise), load(noise)
    space = job.space()
    lost: dict[float, list[float]] = {SHARE: [], 0.0: []}
    noticed, share = 0, []
    for seed in seeds:
        speed = fitted(job, space, seed)
        top = best(space, speed)
        for allowed in lost:
            found = simulate(
                job,
                recording,
                speed,
                seed,
                verified=False,
                budget_seconds=budget_seconds,
                pace=slowing,
                drift_share=allowed,
            )
            lost[allowed].append(1 - found.picked / top)
            if allowed:
                noticed += found.noticed
                share.append(found.remeasured_seconds / found.search_seconds)
    say(f"        regret taken for steady {quartiles(lost[0.0])}; noticed in {noticed} of {len(seeds)}")
    say(f"        re-measurements took {statistics.fmean(share):.1%} of the search on average")
    means = {allowed: statistics.fmean(each) for allowed, each in lost.items()}
    return [
        Figure(
            what=f"{noise}: mean regret while the machine slows by 15%",
            asked=f"as steady's {means[0.0]:.3f}",
            got=f"{means[SHARE]:.3f}; {quartiles(lost[SHARE])}",
            met=means[SHARE] <= means[0.0],
        ),
    ]


def families(noise: str, seeds: Seeds, budget_seconds: float) -> list[Figure]:
    """A space of 32 families: regret at 25 trials with screening, and with the surrogate alone."""
    luck = between_runs(load(noise).factors)
    screened, alone = (
        [lost_of(seed, screens=screens, noise=luck) for seed in seeds] for screens in (True, False)
    )
    say(f"        regret of the surrogate alone {quartiles(alone)}, mean {statistics.fmean(alone):.3f}")
    return [
        Figure(
            what=f"{noise}: mean regret at 25 trials, 32 families",
            asked=f"as without screening {statistics.fmean(alone):.3f}",
            got=f"{statistics.fmean(screened):.3f}; {quartiles(screened)}",
            met=statistics.fmean(screened) <= statistics.fmean(alone),
        )
    ]


def slowing(seconds: float) -> float:
    """Return the speed of a machine that loses 15% evenly over the time that most searches take."""
    return 1 - SLOWED * min(1.0, seconds / SLOWED_SECONDS)


def quartiles(values: Sequence[float]) -> str:
    """Return median and quartiles in words."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.3f} (quartiles {low:.3f} to {high:.3f})"


def say(text: str) -> None:
    """Print what stands beside the figures."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


CONDITIONS: dict[str, Callable[[str, Seeds, float], list[Figure]]] = {
    "same": same,
    "gain-5": lambda noise, seeds, budget: gain(noise, seeds, budget, 5),
    "gain-10": lambda noise, seeds, budget: gain(noise, seeds, budget, 10),
    "fitted": regret,
    "length": length,
    "drift": drift,
    "families": families,
}
"""Name to what is simulated: noise, seeds, budget in seconds."""
