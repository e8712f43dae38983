"""From the search's best to a verdict: verification, the JSON's own share, a cold confirmation."""

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from flyball.tuners.base import Configuration, Interval, Measurement, Phase, TrialReport
from flyball.tuners.interruption import Interruption
from flyball.tuners.knobs.knob import Applied
from flyball.tuners.measurement.witness import idle_knobs
from flyball.tuners.results.recommendation import Confirmation, objection
from flyball.tuners.space.space import Space
from flyball.tuners.trials.spending import JSON_ALONE_ROUNDS, Spending
from flyball.tuners.verification.loss_guard import (
    Guard,
    LossVerdict,
    compare_losses,
    known_loss_share,
    samples_to_judge,
)
from flyball.tuners.verification.statistics import standard_error
from flyball.tuners.verification.tally import BASELINE, BASELINE_AGAIN, CandidateResult
from flyball.tuners.verification.throughput_guard import too_slow
from flyball.tuners.verification.verification import (
    FASTER,
    Decision,
    VerificationResult,
    measure_gain,
    verify,
)

JSON_ALONE = "json alone"
CONFIRMATION = "confirmation"
CONFIRMATION_PAIRS = 3
"""Cold pairs at most: more than one only where the first does not agree, and the budget holds them."""

LOSS_ERRORS = 1.28
"""Cold pairs contradict a gain when they lie below none by so many standard errors: one-sided, 90%."""

LabelledRun = Callable[[Phase, Configuration, str, bool], TrialReport]
"""Makes one recorded run, or answers from the record: phase, configuration, label, cold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the final runs came to."""

    decision: Decision
    winner: str | None
    verification: VerificationResult
    json_alone: CandidateResult | None = None
    loss: LossVerdict | None = None
    confirmation: Confirmation | None = None
    notes: tuple[str, ...] = ()
    """Why the decision is what it is, beyond the verification's own reasons."""
    remarks: tuple[str, ...] = ()
    """What the user should know beside the decision."""


@dataclass(kw_only=True, slots=True)
class FinalRuns:
    """Makes the final runs of one study.

    Args:
        candidates: key to configuration of the search's best, the fastest first.
        make_run: makes one run; a resumed study answers from what was recorded under the same label.
    """

    space: Space
    baseline: Configuration
    candidates: Mapping[str, Configuration]
    make_run: LabelledRun
    spending: Spending
    interruption: Interruption
    memory_limit_ratio: float
    throughput_floor: float | None = None
    """Share of the baseline's throughput that a candidate must reach; None is no limit."""
    better: str = FASTER
    """What a candidate is that wins, in the words of the study's objective."""
    recorded: Callable[[str, Configuration], bool] = lambda label, configuration: False
    """Whether an earlier part of the study made a run: it is answered from the record and costs nothing."""
    give_up: Callable[[int], bool] = lambda rounds: False
    """Asked before every round, with the number of those made: whether to leave off here."""
    gave_up: bool = False
    series: int = 0
    """Counts the fields of candidates of one study: each has runs of its own, the user's own included."""
    mapped_options: frozenset[str] = frozenset()
    """Options of the command that carry a value of the JSON and must move with it."""
    losses: dict[str, LossVerdict] = field(default_factory=dict)
    unjudged: set[str] = field(default_factory=set)
    """Keys against which nothing speaks but a loss guard that had too little to go by."""
    measured: dict[str, list[Measurement]] = field(default_factory=dict)
    """Key to its verification runs."""

    def decide(self) -> Verdict:
        """Verify the candidates, then state what the winner's JSON alone gains, then confirm it cold."""
        result = verify(
            tuple(self.candidates),
            self._run_once,
            rules=self.spending.rules,
            may_continue=self._in_budget(
                lambda number: (round_label(BASELINE, number, self.series), self.baseline), self.give_up
            ),
            stopped=self._stopped,
            veto=self._veto,
            better=self.better,
        )
        if result.decision is Decision.KEEP:
            result = self._unless_unjudged(result)
        if result.decision is not Decision.RECOMMENDED or result.winner is None:
            loss = self.losses.get(result.winner or "")
            return Verdict(decision=result.decision, winner=result.winner, verification=result, loss=loss)
        alone = self._json_alone(result)
        full = next(each for each in result.candidates if each.key == result.winner)
        confirmation, objections = self._confirm(full)
        return Verdict(
            decision=Decision.UNVERIFIED if objections else result.decision,
            winner=result.winner,
            verification=result,
            json_alone=alone,
            loss=self.losses.get(result.winner),
            confirmation=confirmation,
            notes=objections,
        )

    def _unless_unjudged(self, result: VerificationResult) -> VerificationResult:
        """Return ``keep`` as it is, unless it rests on a loss that could not be judged: nobody knows then."""
        unjudged = [each for each in result.candidates if each.passed and each.key in self.unjudged]
        if not unjudged:
            return result
        first = unjudged[0]
        reason = f"{first.key} is {self.better} in fresh runs, but whether it costs loss could not be judged"
        return replace(
            result,
            decision=Decision.UNVERIFIED,
            winner=first.key,
            speedup=first.speedup,
            reasons=(reason, *result.reasons[1:]),
        )

    def configuration(self, key: str) -> Configuration:
        """Return what a key of the verification stands for."""
        if key in (BASELINE, BASELINE_AGAIN):
            return self.baseline
        if key.startswith(JSON_ALONE):
            return self._alone(key.removeprefix(JSON_ALONE + " of "))
        return self.candidates[key]

    def _alone(self, winner: str) -> Configuration:
        alone = json_alone(self.candidates[winner], self.baseline, self.mapped_options)
        # What the JSON does not carry is as the user has it: a run must not be said to have tried it.
        own = self.space.baseline_assignment()
        beside = {entry.knob.name for entry in self.space.entries if entry.knob.applied is not Applied.CONFIG}
        kept = {name: value for name, value in alone.assignment.items() if name not in beside}
        theirs = {name: value for name, value in own.items() if name in beside}
        return replace(alone, assignment={**kept, **theirs})

    def _run_once(self, key: str, round_number: int) -> Measurement | None:
        label = round_label(key, round_number, self.series)
        report = self.make_run(Phase.VERIFICATION, self.configuration(key), label, False)
        if report.measurement is not None:
            self.measured.setdefault(key, []).append(report.measurement)
        return report.measurement

    def _in_budget(
        self,
        first_run: Callable[[int], tuple[str, Configuration]],
        give_up: Callable[[int], bool] = lambda rounds: False,
    ) -> Callable[[int], bool]:
        """Return what is asked before each round: rounds that were recorded are free."""
        rounds = itertools.count()

        def may_continue(runs: int) -> bool:
            number = next(rounds)
            if self._stopped():
                return False
            self.gave_up = give_up(number)
            if self.gave_up:
                return False
            return self.recorded(*first_run(number)) or self.spending.may_continue(runs)

        return may_continue

    def _stopped(self) -> bool:
        return self.interruption.finish_requested

    def _veto(self, key: str, baseline: Sequence[Measurement], own: Sequence[Measurement]) -> str | None:
        configuration = self.candidates[key]
        numerics = changes_numerics(self.space, configuration)
        loss = compare_losses(baseline, own)
        if numerics:
            self.losses[key] = loss
        against = partial(
            objection,
            own,
            memory_limit_ratio=self.memory_limit_ratio,
            too_slow=too_slow(baseline, own, self.throughput_floor),
            idle_knobs=idle_knobs(configuration, own, baseline, self.space.baseline_assignment()),
        )
        if numerics and loss.guard is Guard.NOT_JUDGED and against() is None:
            self.unjudged.add(key)
        return against(changes_numerics=numerics, loss=loss)

    def _json_alone(self, result: VerificationResult) -> CandidateResult | None:
        """Measure the winner's JSON with everything else as the user has it."""
        winner = result.winner or ""
        full = next(each for each in result.candidates if each.key == winner)
        alone = self._alone(winner)
        if alone.digest == self.candidates[winner].digest:
            return full
        if alone.digest == self.baseline.digest:
            return replace(full, key=JSON_ALONE, pairs=(), speedup=Interval(point=1.0, low=1.0, high=1.0))
        return measure_gain(
            f"{JSON_ALONE} of {winner}",
            self._run_json_alone,
            rounds=JSON_ALONE_ROUNDS,
            seed=self.spending.rules.seed,
            may_continue=self._in_budget(lambda number: (json_label(BASELINE, number), self.baseline)),
            stopped=self._stopped,
        )

    def _run_json_alone(self, key: str, round_number: int) -> Measurement | None:
        label = json_label(key, round_number)
        return self.make_run(Phase.VERIFICATION, self.configuration(key), label, False).measurement

    def _confirm(self, won: CandidateResult) -> tuple[Confirmation | None, tuple[str, ...]]:
        """Run both from a cold start; say what speaks against the winner."""
        winner, speedup = won.key, won.speedup
        pairs: list[tuple[Interval, Interval]] = []
        while len(pairs) < CONFIRMATION_PAIRS:
            if self._stopped() or (pairs and not self.spending.may_confirm_again()):
                break
            pair = self._cold_pair(winner, len(pairs) + 1)
            if pair is None and self._stopped():
                break
            if pair is None:
                return None, ("the recommended command did not complete from a cold start",)
            pairs.append(pair)
            if agrees(pairs, speedup):
                break
        if not pairs:
            return None, ("not confirmed from a cold start: stopped by the user",)
        last = Confirmation(
            baseline=over([own for own, _ in pairs]), recommended=over([best for _, best in pairs])
        )
        if contradicts(pairs, [pair.log_ratio for pair in won.pairs]):
            return last, (
                f"cold runs do not confirm it: {math.exp(mean_log_ratio(pairs)):.3f}x, {len(pairs)} pairs",
            )
        return last, ()

    def _cold_pair(self, winner: str, number: int) -> tuple[Interval, Interval] | None:
        both: list[Interval] = []
        for name, own in (("baseline", self.baseline), (winner, self.candidates[winner])):
            label = f"{CONFIRMATION} {number}: {name}"
            if both and self._stopped():
                return None
            run = self.make_run(Phase.CONFIRMATION, own, label, True).measurement
            if run is None:
                return None
            both.append(run.merit)
        return both[0], both[1]


def round_label(key: str, number: int, series: int = 0) -> str:
    """Name a run of verification in the record."""
    return f"{key}, round {number + 1}" + (f", series {series + 1}" if series else "")


def json_label(key: str, number: int) -> str:
    """Name a run in the record that states what the JSON alone gains."""
    return f"{JSON_ALONE}: {key}, round {number + 1}"


def over(runs: Sequence[Interval]) -> Interval:
    """Return several cold runs as one: the geometric mean, from the least to the largest that any allows."""
    point = math.exp(sum(math.log(run.point) for run in runs) / len(runs))
    return Interval(point=point, low=min(run.low for run in runs), high=max(run.high for run in runs))


def mean_log_ratio(pairs: Sequence[tuple[Interval, Interval]]) -> float:
    """Return the mean log of recommended over baseline."""
    return sum(math.log(after.point / before.point) for before, after in pairs) / len(pairs)


def contradicts(pairs: Sequence[tuple[Interval, Interval]], log_ratios: Sequence[float]) -> bool:
    """Whether the cold pairs show a loss that is larger than their noise, as the warm pairs show it.

    A few pairs of a noisy machine often lie below no gain by chance; against a gain that many pairs showed
    they count for what they are worth.

    Args:
        pairs: cold runs of baseline and winner.
        log_ratios: of the winner's pairs in verification.
    """
    error = standard_error(log_ratios) * math.sqrt(len(log_ratios) / len(pairs)) if len(log_ratios) > 1 else 0
    return mean_log_ratio(pairs) + LOSS_ERRORS * error <= 0


def agrees(pairs: Sequence[tuple[Interval, Interval]], speedup: Interval | None) -> bool:
    """Whether the cold pairs so far say the same as verification: a gain, within its interval or above."""
    ratio = math.exp(mean_log_ratio(pairs))
    return ratio > 1.0 and (speedup is None or ratio >= speedup.low)


def json_alone(
    winner: Configuration, baseline: Configuration, mapped_options: frozenset[str] = frozenset()
) -> Configuration:
    """Return the winner's DeepSpeed JSON with everything else as the user has it.

    An option in ``mapped_options`` carries a value of the JSON too; the two must agree, so it moves along.
    """
    mapped = {option: value for option, value in winner.arguments.items() if option in mapped_options}
    return Configuration(
        assignment=winner.assignment,
        ds_config=winner.ds_config,
        arguments={**baseline.arguments, **mapped},
        environment=baseline.environment,
        probe=baseline.probe,
    )


def changes_numerics(space: Space, configuration: Configuration) -> bool:
    """Whether any knob that was moved changes numerics by more than the order of sums."""
    own = space.baseline_assignment()
    moved = {name for name, value in configuration.assignment.items() if own.get(name) != value}
    return any(entry.knob.name in moved and entry.knob.changes_numerics for entry in space.entries)


def samples_for_guard(
    space: Space,
    candidates: Collection[Configuration],
    reports: Iterable[TrialReport],
    *,
    global_batch: int,
) -> float:
    """Return the samples that each final run must see for the loss guard; 0 where nothing changes numerics.

    Args:
        space: that the candidates are points of.
        candidates: to be verified.
        reports: the user's own run, and those of the search.
        global_batch: the user's own, samples a step; 0 where it is not known.
    """
    if not global_batch or not any(changes_numerics(space, each) for each in candidates):
        return 0.0
    largest = max(int(each.assignment.get("global_batch", 0)) for each in candidates)
    digests = {each.digest for each in candidates}
    like = (
        report.measurement
        for report in reports
        if report.measurement and (report.phase is Phase.BASELINE or report.configuration.digest in digests)
    )
    return samples_to_judge(max(global_batch, largest), known_share=known_loss_share(like))
