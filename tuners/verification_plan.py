"""When verification looks, and how much of its error it may spend each time: fixed before the first run."""

from dataclasses import dataclass, replace

from flyball.tuners.group_sequential import nominal_levels
from flyball.tuners.statistics import attainable_level

FEWEST_PAIRS = 6
"""With fewer pairs no one-sided signed-rank test passes 0.05 / 3 (1/64 is the least at six)."""
ROUNDS_BETWEEN_LOOKS = 5
MARGIN = 0.96
"""Of the error: what the looks may spend, since the law that they are planned by is an approximation."""
SPENDING_POWER = 1.5
"""How the error left after the first look is spent: by the rounds made since, to this power. Above one, later
looks get more, which is where a small gain shows."""
SHARE_FOR_FIRST_LOOK = 2 / 3
"""At most so much of the error is spent on the first look, so that later ones can still find something."""

PAIRED_TEST = "one-sided Wilcoxon signed-rank on paired log ratios, Holm over the candidates"


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One planned test."""

    pairs: int
    """Rounds after which it is made."""
    level: float
    """Family-wise level of Holm's procedure at this look.

    The levels add up to more than the error rate: looks at the same pairs mostly agree.
    """


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The sequential rule of a verification, declared beforehand."""

    error_rate: float = 0.05
    """Chance of recommending anything when no candidate is faster: all looks and candidates together."""
    max_rounds: int = 46
    """Six at least; five more for each look after the first."""
    least_gain: float = 0.01
    """A smaller gain is not worth a change, however sure."""
    aa_rounds: int = 1
    """Rounds in which the baseline runs twice, as the A/A pair of the noise floor."""
    futility_confidence: float = 0.95
    """A candidate is dropped when its gain lies below the least gain with this confidence."""
    futility_chance: float = 0.1
    """At a look, a candidate is dropped whose chance to pass the last one is smaller."""
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
        """Return the planned looks for a number of candidates; together they keep to the error rate.

        The first look gets exactly what a clean sweep needs (every pair in favour), so that a clear win ends
        at the earliest legal moment. The rest is spent along the later looks by ``SPENDING_POWER``, at the
        levels that the joint law of looks at the same growing pairs allows (``group_sequential``), each
        rounded down to what so few pairs can reach. Over the candidates it is shared evenly (Bonferroni).
        """
        first = self.first_look(candidates)
        planned = [Look(pairs=first, level=candidates / 2**first)]
        later = range(first + ROUNDS_BETWEEN_LOOKS, self.max_rounds + 1, ROUNDS_BETWEEN_LOOKS)
        if not later:
            return tuple(planned)
        mine, length = MARGIN * self.error_rate / candidates, later[-1] - first
        spent = [1 / 2**first]
        spent += [
            spent[0] + max(0.0, mine - spent[0]) * ((pairs - first) / length) ** SPENDING_POWER
            for pairs in later
        ]
        for pairs, level in zip(later, nominal_levels((first, *later), tuple(spent))[1:], strict=True):
            usable = candidates * attainable_level(pairs, level)
            if usable > 0:
                planned.append(Look(pairs=pairs, level=usable))
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
