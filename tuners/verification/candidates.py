"""Who goes into verification: the fastest of the search, those near the top run again."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from flyball.tuners.base import Configuration, Measurement, TrialReport
from flyball.tuners.measurement.witness import idle_knobs
from flyball.tuners.search.loop import rate_of
from flyball.tuners.search.surrogate import Observation, Surrogate
from flyball.tuners.space.space import Space
from flyball.tuners.trials.spending import FINALISTS, Spending
from flyball.tuners.verification.final_runs import Verdict, changes_numerics
from flyball.tuners.verification.playoff import Rank, Ranking, play_off
from flyball.tuners.verification.verification import finalists


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateChoice:
    """Chooses the candidates of one study.

    Args:
        run_once: makes one play-off run of a configuration under a label; None: it failed.
        seed: of the order of the runs.
        stopped: whether the user asked to finish: nothing more is run then.
    """

    space: Space
    spending: Spending
    run_once: Callable[[Configuration, str], Measurement | None]
    seed: int
    stopped: Callable[[], bool]

    def choose(self, baseline: TrialReport, reports: Sequence[TrialReport]) -> dict[str, Configuration]:
        """Return the candidates by key, the most promising first."""
        best: dict[str, TrialReport] = {}
        for report in sorted(filter(acted, reports), key=rate_of):
            if report.configuration.digest != baseline.configuration.digest:
                best[report.configuration.digest] = report
        by_key = {f"trial {report.number}": report for report in best.values()}
        rates = {key: report.measurement.merit for key, report in by_key.items() if report.measurement}
        own = baseline.measurement
        if own is None or not rates:
            return {}
        if self.stopped():
            keys: Sequence[str] = finalists(rates, own.merit, most=FINALISTS)
            return {key: by_key[key].configuration for key in keys}
        ranked = play_off(
            rates,
            lambda key, number: self.run_once(by_key[key].configuration, f"play-off: {key}, round {-number}"),
            self._rank_of(by_key, baseline),
            most=1,
            seed=self.seed,
            may_continue=lambda keys: (
                not self.stopped()
                and self.spending.may_play_off([by_key[key].configuration.digest for key in keys])
            ),
            seconds=lambda key: self.spending.seconds_of(by_key[key].configuration.digest),
        )
        return {key: by_key[key].configuration for key in self._entered(ranked, by_key)}

    def _rank_of(self, by_key: Mapping[str, TrialReport], baseline: TrialReport) -> Rank:
        """Return the judge of contenders: the surrogate, which takes what the like of one did for its own."""
        surrogate = Surrogate(entries=self.space.entries)
        points = {key: self.space.completed(each.configuration.assignment) for key, each in by_key.items()}
        own = self.space.completed(baseline.configuration.assignment)

        def rank(logs: Mapping[str, Sequence[float]]) -> Ranking:
            seen = [Observation(assignment=own, value=rate_of(baseline))]
            seen += [
                Observation(assignment=points[key], value=math.exp(log)) for key in logs for log in logs[key]
            ]
            places: dict[str | None, int] = {key: place for place, key in enumerate(logs)}
            places[None] = len(logs)
            belief = surrogate.belief(seen, [*(points[key] for key in logs), own])
            return Ranking(
                speeds={key: float(belief.means[places[key]]) for key in logs},
                baseline=float(belief.means[-1]),
                error=lambda first, second: belief.error(places[first], places[second]),
            )

        return rank

    def _entered(self, ranked: Sequence[str], by_key: Mapping[str, TrialReport]) -> Sequence[str]:
        """The fastest alone; beside one that the loss guard may refuse, the fastest that it has no say in."""
        if not ranked or not changes_numerics(self.space, by_key[ranked[0]].configuration):
            return ranked[:1]
        safe = [key for key in ranked if not changes_numerics(self.space, by_key[key].configuration)]
        return [ranked[0], *safe[:1]][: max(1, self.spending.affordable(FINALISTS))]


def acted(report: TrialReport) -> bool:
    """Whether every knob that a run switched on was seen acting in it: what did nothing is no candidate."""
    runs = [report.measurement] if report.measurement else []
    return not idle_knobs(report.configuration, runs)


def without_slower(
    verdict: Verdict, leader: Configuration, baseline: TrialReport, reports: Sequence[TrialReport]
) -> Verdict:
    """Return a verdict without its leader where no run of the search found that one faster than the baseline.

    For a verification that made no round: the leader may be within the noise of the baseline and yet below
    it, which is enough for a fresh run and no ground to hand it out.
    """
    own = [each for each in reports if each.configuration.digest == leader.digest]
    if any(rate_of(each) > rate_of(baseline) for each in own):
        return verdict
    return replace(verdict, winner=None)
