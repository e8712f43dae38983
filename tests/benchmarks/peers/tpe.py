"""Optuna's default sampler (TPE), as its users call it: one value a trial, 0 for a run that failed."""

import warnings

import optuna
from optuna.trial import TrialState

from flyball.tuners.base import Assignment
from flyball.tuners.space.space import Space

TRIES = 100
"""Proposals in a row that DeepSpeed would refuse, after which it counts as done."""


class TpeProposer:
    """``TPESampler(seed=...)`` with nothing else set, over the same parameters as flyball's own search."""

    def __init__(self, space: Space, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        self._asked: optuna.trial.Trial | None = None

    def ask(self) -> Assignment | None:
        """Return the next proposal that is legal; the others fail without a launch."""
        for _ in range(TRIES):
            trial = self._study.ask()
            with warnings.catch_warnings():
                # Optuna warns of choices that some of its storages could not keep.
                warnings.simplefilter("ignore", UserWarning)
                point = self._space.suggest(trial)
            if not self._space.findings(point):
                self._asked = trial
                return point
            self._study.tell(trial, state=TrialState.FAIL)
        return None

    def tell(self, rate: float | None) -> None:
        """A failed run is worth nothing, which TPE can learn from: it ranks values."""
        assert self._asked is not None, "ask before tell"
        self._study.tell(self._asked, rate or 0.0)
