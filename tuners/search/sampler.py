"""Chooses the next point of a study: Optuna's ask and tell over a finite space.

The order of proposals: what was enqueued (the user's own config first), what fired alerts suggest, a few
first guesses, then in turn the point of greatest expected improvement under the surrogate and one of Optuna's
TPE, so that a wrong surrogate cannot hold the search. Points already tried, illegal points, points that
cannot fit and points at least as heavy as one that ran out of memory are never proposed; points that most
likely pass the memory limit come after all others.
"""

import itertools
import math
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from flyball.tuners.base import Assignment
from flyball.tuners.memory.ran_out import ran_out_before
from flyball.tuners.memory.screen import MemoryScreen
from flyball.tuners.search.priors import first_guesses, suggested_guesses
from flyball.tuners.search.screening import Screening
from flyball.tuners.search.surrogate import OUT_OF_MEMORY, Observation, Surrogate
from flyball.tuners.space.families import Families
from flyball.tuners.space.space import Space

__all__ = ["OUT_OF_MEMORY", "Proposal", "Search", "tpe"]

FEASIBLE = 0.0
STARTUP_TRIALS = 8
TPE_EVERY = 4
"""Every this many proposals comes from TPE."""
MOST_ATTEMPTS = 8
MOST_CANDIDATES = 4096
KIND = "flyball:kind"
ASSIGNMENT = "flyball:assignment"
CONSTRAINT = "flyball:constraint"
WARM = "warm_start"


class Proposal(NamedTuple):
    """A trial that Optuna waits for, and the point to run."""

    trial: Trial
    assignment: Assignment


class Search:
    """One study in Optuna's storage. Not safe for several threads; one process at a time owns it.

    Args:
        study_name: Optuna's name of the study; an existing one is continued.
        storage: URL or storage of Optuna's.
        seed: of every random choice; a continued study goes on from what it has seen.
        space: the points to choose from.
        suggested: knobs that are guessed first, in this order.
        tpe_every: every this many proposals comes from TPE; 1 leaves the surrogate out.
        memory: what is known of the memory that points need; by default of the space's own context.
        trials: that are expected, by which families are screened; 0 screens none.
    """

    def __init__(
        self,
        study_name: str,
        storage: str | BaseStorage,
        seed: int,
        space: Space,
        *,
        suggested: Sequence[str] = (),
        tpe_every: int = TPE_EVERY,
        memory: MemoryScreen | None = None,
        trials: int = 0,
    ) -> None:
        self.space = space
        self.memory = memory or MemoryScreen.of(space.situation.context)
        self._suggested = suggested_guesses(space, suggested)
        self._tpe_every = tpe_every
        self._surrogate = Surrogate(entries=space.entries)
        families = Families(space=space)
        self.screening = Screening(
            families=families, surrogate=self._surrogate, wanted=families.to_screen(trials)
        )
        self.study = _open(study_name, storage)
        finished = len(self.study.get_trials(deepcopy=False))
        self.study.sampler = tpe(seed + finished)
        self._random = np.random.default_rng([seed, finished])
        self._listed: list[Assignment] | None = None
        self.measured: Sequence[Observation] | None = None
        """What the runs of this study measured, where that is known better than when it was told."""

    def recover(self, *, keep: Collection[int] = ()) -> int:
        """Mark trials that an ended process left running as failed; return how many. Call before asking.

        Args:
            keep: Optuna's numbers of those that still run.
        """
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        left = [trial for trial in running if trial.number not in keep]
        for trial in left:
            self.study.tell(trial.number, state=TrialState.FAIL)
        return len(left)

    def enqueue(self, assignment: Assignment) -> None:
        """Have a point proposed before anything else; a point already tried or waiting is left out."""
        # Optuna's own skip_if_exists would also skip a point whose only trial failed by chance.
        if assignment not in self._tried():
            self.study.enqueue_trial(self.space.parameters(assignment), {KIND: "enqueued"})

    def warm_start(self, seen: Iterable[Observation]) -> int:
        """Teach the search with what another study measured at the same fingerprint; return how many fitted.

        A point of another study counts in guesses, and can still be proposed: it was another day.
        """
        known = [
            trial.user_attrs.get(ASSIGNMENT) for trial in self._trials() if trial.user_attrs.get(KIND) == WARM
        ]
        added = 0
        for observation in seen:
            point = self.space.completed(observation.assignment)
            if dict(point) != dict(observation.assignment) or dict(point) in known:
                continue
            self.study.add_trial(self._past(point, observation))
            added += 1
        return added

    def ask(self) -> Proposal | None:
        """Return the next point to run, or None when every legal point has been tried."""
        enqueued = self.ask_enqueued()
        if enqueued is not None:
            return enqueued
        tried = self._tried()
        if len(tried) <= STARTUP_TRIALS and (guess := self._guess(tried)):
            return self._propose(*guess)
        seen = self.observations()
        self.screening.learn(seen)
        for member in self.screening.members(seen, tried):
            if self._good_point(member, tried):
                return self._propose(member, "family")
        proposals = sum(trial.user_attrs.get(KIND) in ("surrogate", "tpe") for trial in self._trials())
        if proposals % self._tpe_every == self._tpe_every - 1:
            return self._by_tpe(tried) or self._by_surrogate(tried)
        return self._by_surrogate(tried)

    def _guess(self, tried: list[Assignment]) -> tuple[Assignment, str] | None:
        exhausted = self._exhausted()
        too_heavy = False
        for either in self._suggested:
            if not any(guess in tried for guess in either):
                # On top of what ran out of memory, most things run out too.
                for guess in reversed(either) if too_heavy else either:
                    if self._good_point(guess, tried):
                        return guess, "suggested"
            too_heavy = too_heavy or any(guess in exhausted for guess in either)
        for guess in first_guesses(self.space):
            if self._good_point(guess, tried):
                return guess, "first_guess"
        return None

    def ask_enqueued(self) -> Proposal | None:
        """Return the next point that waits to be run first, or None where none waits."""
        tried = self._tried()
        while self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            trial = self.study.ask()
            assignment = self.space.suggest(trial)
            if assignment not in tried:
                return self._marked(trial, assignment, "enqueued")
            self.study.tell(trial, state=TrialState.FAIL)
        return None

    def tell_completed(self, trial: Trial, value: float) -> None:
        """Report what was measured, as the study compares it; larger is better."""
        if not math.isfinite(value) or value <= 0:
            self.tell_failed(trial)
            return
        trial.set_constraint(OUT_OF_MEMORY, FEASIBLE)
        self.study.tell(trial, value)

    def tell_infeasible(self, trial: Trial, constraint: str, violation: float = 1.0) -> None:
        """Report a point that cannot run: samplers learn to stay away from its like."""
        if violation <= 0:
            raise ValueError("a violated constraint is above zero")
        trial.set_user_attr(CONSTRAINT, constraint)
        trial.set_constraint(constraint, violation)
        self.study.tell(trial, state=TrialState.PRUNED)

    def settle(self, number: int, value: float | None, outcome: str) -> None:
        """Tell what came of a trial that was recorded elsewhere and never told here; one that was told stays.

        Args:
            number: Optuna's number of the trial.
            value: what the run is compared by, or None where the point could not run.
            outcome: how the run ended, where it could not.
        """
        waiting = {trial.number: trial for trial in self._trials() if trial.state is TrialState.RUNNING}
        if number not in waiting:
            return
        trial = Trial(self.study, waiting[number]._trial_id)
        if value is not None:
            self.tell_completed(trial, value)
        else:
            self.tell_infeasible(trial, outcome)

    def tell_failed(self, trial: Trial) -> None:
        """Report a trial that says nothing about its point: interrupted, or failed by chance."""
        self.study.tell(trial, state=TrialState.FAIL)

    def noise(self) -> float | None:
        """Return the relative error of one run as the runs so far show it, or None while they are too few."""
        ran = [seen for seen in self.observations() if seen.value]
        if len(ran) < STARTUP_TRIALS:
            return None
        return self._surrogate.belief(ran, [ran[0].assignment]).noise

    def observations(self) -> list[Observation]:
        """Return every point that ran or could not run, those of a warm start included."""
        told = [
            trial
            for trial in self._trials()
            if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and ASSIGNMENT in trial.user_attrs
        ]
        if self.measured is not None:
            told = [
                each for each in told if each.state is TrialState.PRUNED or each.user_attrs.get(KIND) == WARM
            ]
        return [
            *(self.measured or ()),
            *map(_observed, told),
        ]

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _tried(self) -> list[Assignment]:
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        return [
            trial.user_attrs[ASSIGNMENT]
            for trial in self._trials()
            if trial.state in states and ASSIGNMENT in trial.user_attrs and trial.user_attrs.get(KIND) != WARM
        ]

    def _propose(self, assignment: Assignment, kind: str) -> Proposal:
        self.study.enqueue_trial(self.space.parameters(assignment), {KIND: kind})
        trial = self.study.ask()
        return self._marked(trial, self.space.suggest(trial), kind)

    def _marked(self, trial: Trial, assignment: Assignment, kind: str) -> Proposal:
        trial.set_user_attr(KIND, kind)
        trial.set_user_attr(ASSIGNMENT, dict(assignment))
        return Proposal(trial, assignment)

    def _by_tpe(self, tried: list[Assignment]) -> Proposal | None:
        for _ in range(MOST_ATTEMPTS):
            trial = self.study.ask()
            assignment = self.space.suggest(trial)
            if not self.screening.is_left(assignment) and self._good_point(assignment, tried):
                return self._marked(trial, assignment, "tpe")
            # FAIL is what samplers do not see: a repeated point must not count twice.
            self.study.tell(trial, state=TrialState.FAIL)
        return None

    def _by_surrogate(self, tried: list[Assignment]) -> Proposal | None:
        points = self._candidates(tried)
        if not points:
            return None
        seen = self.observations()
        if any(observation.value for observation in seen):
            order = np.argsort(-self._surrogate.expected_improvement(seen, points), kind="stable")
        else:
            order = self._random.permutation(len(points))
        ordered = [points[int(index)] for index in order]
        doubtful: list[Assignment] = []
        for point in ordered:
            if self._is_doubtful(point):
                doubtful.append(point)
            elif self._open_point(point, tried):
                return self._propose(point, "surrogate")
        for point in doubtful:
            if self._open_point(point, tried):
                return self._propose(point, "surrogate")
        return None

    def _candidates(self, tried: list[Assignment]) -> list[Assignment]:
        """Return points not tried: all of a small space, else a random draw and the best ones' neighbours."""
        if self.space.size() <= MOST_CANDIDATES:
            if self._listed is None:
                self._listed = list(self.space.enumerate())
            points: Iterable[Assignment] = self._listed
        else:
            drawn = (self.space.draw(self._random) for _ in range(MOST_CANDIDATES // 2))
            points = itertools.chain(drawn, self._neighbours())
        keys: set[frozenset[tuple[str, Any]]] = {frozenset(point.items()) for point in tried}
        fresh: list[Assignment] = []
        for point in points:
            key = frozenset(point.items())
            if key not in keys:
                keys.add(key)
                fresh.append(point)
        left = [point for point in fresh if not self.screening.is_left(point)]
        return left or fresh

    def _neighbours(self) -> Iterable[Assignment]:
        ran = [seen for seen in self.observations() if seen.value is not None]
        for seen in sorted(ran, key=lambda seen: -(seen.value or 0.0))[:8]:
            yield from self.space.neighbours(seen.assignment)

    def _open_point(self, point: Assignment, tried: list[Assignment]) -> bool:
        if point in tried or ran_out_before(point, self._exhausted()):
            return False
        if self.space.findings(point):
            return False
        return not self.memory.cannot_fit(self.space.render(point), called=self._named(point))

    def _good_point(self, point: Assignment, tried: list[Assignment]) -> bool:
        return not self._is_doubtful(point) and self._open_point(point, tried)

    def _is_doubtful(self, point: Assignment) -> bool:
        return self.memory.device_bytes is not None and self.memory.is_doubtful(self.space.render(point))

    def _named(self, point: Assignment) -> str:
        own = self.space.baseline_assignment()
        return ", ".join(f"{name} {value}" for name, value in point.items() if own.get(name) != value)

    def _exhausted(self) -> list[Assignment]:
        """Points that ran out of memory in this study: in an earlier one the device may have been shared."""
        return [
            trial.user_attrs[ASSIGNMENT]
            for trial in self._trials()
            if trial.user_attrs.get(CONSTRAINT) == OUT_OF_MEMORY
            and ASSIGNMENT in trial.user_attrs
            and trial.user_attrs.get(KIND) != WARM
        ]

    def _past(self, point: Assignment, seen: Observation) -> FrozenTrial:
        value = seen.value
        attributes: Mapping[str, Any] = {KIND: WARM, ASSIGNMENT: dict(point)}
        trial = create_trial(
            state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
            value=value,
            params=self.space.parameters(point),
            distributions=self.space.distributions(point),
            user_attrs={**attributes, **({CONSTRAINT: seen.constraint} if value is None else {})},
        )
        trial.set_constraint(seen.constraint, 1.0 if value is None else FEASIBLE)
        return trial


def _observed(trial: FrozenTrial) -> Observation:
    return Observation(
        assignment=trial.user_attrs[ASSIGNMENT],
        value=trial.value if trial.state is TrialState.COMPLETE else None,
        constraint=trial.user_attrs.get(CONSTRAINT, OUT_OF_MEMORY),
    )


def tpe(seed: int) -> TPESampler:
    """Return Optuna's TPE as this search uses it: jointly over knobs, grouped where knobs are conditional.

    It takes the best quarter of the trials for good. With Optuna's own tenth, a study of a few dozen trials
    has two or three points to learn from, and asks three times as often for what runs out of memory.
    """
    with warnings.catch_warnings():
        # "group" is experimental and "gamma" deprecated (without a replacement, until Optuna 6).
        warnings.simplefilter("ignore")
        return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS, group=True, gamma=best_quarter)


def best_quarter(finished: int) -> int:
    """How many of the finished trials TPE takes for good."""
    return math.ceil(finished / 4)


def _open(study_name: str, storage: str | BaseStorage) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=study_name, storage=storage, direction="maximize", load_if_exists=True
    )
