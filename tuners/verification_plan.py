"""When verification looks, and how much of its error it may spend each time: fixed before the first run."""

from dataclasses import dataclass, replace

from flyball.tuners.statistics import attainable_level

FEWEST_PAIRS = 6
"""With fewer pairs no one-sided signed-rank test passes 0.05 / 3 (1/64 is the least at six)."""
ROUNDS_BETWEEN_LOOKS = 5
"""Few looks with much error each find more on a noisy machine than many with little."""
SHARE_FOR_FIRST_LOOK = 2 / 3
"""At most so much of the error is spent on the first look, so that later ones can still find something."""

PAIRED_TEST = "one-sided Wilcoxon signed-rank on paired log ratios, Holm over the candidates"


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One planned test."""

    pairs: int
    """Rounds after which it is made."""
    level: float
    """Family-wise level of Holm's procedure at this look."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The sequential rule of a verification, declared beforehand."""

    error_rate: float = 0.05
    """Chance of recommending anything when no candidate is faster: all looks and candidates together."""
    max_rounds: int = 36
    """Six at least; five more for each look after the first."""
    least_gain: float = 0.01
    """A smaller gain is not worth a change, however sure."""
    aa_rounds: int = 1
    """Rounds in which the baseline runs twice, as the A/A pair of the noise floor."""
    futility_confidence: float = 0.95
    """A candidate is dropped when its gain lies below the least gain with this confidence."""
    seed: int = 0
    """Of the order of the runs in each round."""
    test: str = PAIRED_TEST
    """What is tested, in words."""

    def first_look(self, candidates: int) -> int:
        """Return the earliest number of rounds at which ``candidates`` together can pass."""
        pairs = FEWEST_PAIRS
        while candidates / 2**pairs > self.error_rate * SHARE_FOR_FIRST_LOOK:
            pairs += 1
        return pairs

    def looks(self, candidates: int) -> tuple[Look, ...]:
        """Return the planned looks for a number of candidates; their levels add up to the error rate at most.

        The first look gets exactly what a clean sweep needs (every pair in favour), so that a clear win ends
        at the earliest legal moment. The rest is shared evenly among the later looks; what a look cannot use,
        since p-values of so few pairs are coarse, goes on to the next. By the union bound this holds the
        error rate whatever the dependence between looks.
        """
        first = self.first_look(candidates)
        planned = [Look(pairs=first, level=candidates / 2**first)]
        later = range(first + ROUNDS_BETWEEN_LOOKS, self.max_rounds + 1, ROUNDS_BETWEEN_LOOKS)
        left = self.error_rate - planned[0].level
        for index, pairs in enumerate(later):
            share = left / (len(later) - index)
            usable = candidates * attainable_level(pairs, share / candidates)
            if usable > 0:
                planned.append(Look(pairs=pairs, level=usable))
                left -= usable
        return tuple(planned)

    def within(self, rounds: int, candidates: int) -> "Rules":
        """Return the rule for a budget that holds ``rounds``: its last look is made before time is up."""
        fewest = self.first_look(candidates)
        return replace(self, max_rounds=max(fewest, min(self.max_rounds, rounds)))

    def most_runs(self, candidates: int) -> int:
        """Return how many runs a verification of ``candidates`` can take at most."""
        return self.looks(candidates)[-1].pairs * (candidates + 1) + self.aa_rounds

    def fewest_runs(self, candidates: int) -> int:
        """Return how many runs it takes to recommend at the earliest look."""
        return self.first_look(candidates) * (candidates + 1) + self.aa_rounds
