"""When verification looks, and how much of its error it may spend each time: fixed before the first run."""

from dataclasses import dataclass, replace

from flyball.tuners.verification.group_sequential import nominal_levels
from flyball.tuners.verification.statistics import attainable_level

FEWEST_PAIRS = 6
"""With fewer pairs no one-sided signed-rank test passes 0.05 / 3 (1/64 is the least at six)."""
ROUNDS_BETWEEN_LOOKS = 5
MARGIN = 0.96
"""Of the error: what the looks may spend, since the law that they are planned by is an approximation."""
SPENDING_POWER = 3.0
"""How the error left after the first look is spent: by the rounds made since, to this power. Above one, later
looks get more, which is where a small gain shows."""
MOST_FOR_FIRST_LOOK = 2 / 3
"""At most so much of the error is spent on the first look, so that later ones can still find something."""
MANY_ROUNDS = 16
LITTLE_FOR_FIRST_LOOK = 1 / 8
"""Of the error, where so many rounds are to come: a clear gain then ends two or more rounds later, and a
small one still finds nearly all of the error unspent."""
STRICT_ROUNDS = 60
STRICT_ERROR_RATE = 0.01
"""With so many rounds a gain of a few percent is found at this rate as often as with 40 at the usual one."""

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
    max_rounds: int = 75
    """Six at least; the last look is made after so many."""
    least_gain: float = 0.01
    """A smaller gain is not worth a change, however sure."""
    aa_rounds: int = 1
    """Rounds in which the baseline runs twice, as the A/A pair of the noise floor."""
    futility_confidence: float = 0.95
    """A candidate is dropped when its gain lies below the least gain with this confidence."""
    futility_chance: float = 0.1
    """A candidate is dropped whose chance to pass the last look is smaller."""
    futility_between_looks: bool = False
    """Whether it is asked after every round, and not only at looks."""
    first_share: float = MOST_FOR_FIRST_LOOK
    """Of the error: the most that the first look may spend."""
    seed: int = 0
    """Of the order of the runs in each round."""
    test: str = PAIRED_TEST
    """What is tested, in words."""

    def first_look(self, candidates: int) -> int:
        """Return the earliest number of rounds at which ``candidates`` together can pass."""
        pairs = FEWEST_PAIRS
        while candidates / 2**pairs > self.error_rate * self.first_share:
            pairs += 1
        return pairs

    def looks(self, candidates: int) -> tuple[Look, ...]:
        """Return the planned looks for a number of candidates; together they keep to the error rate.

        The first look gets exactly what a clean sweep needs (every pair in favour), so that a clear win ends
        at the earliest legal moment. The rest is spent along the later looks by ``SPENDING_POWER``, at the
        levels that the joint law of looks at the same growing pairs allows (``group_sequential``), each
        rounded down to what so few pairs can reach. Over the candidates it is shared evenly (Bonferroni).
        """
        pairs = self._looked_at(candidates)
        return self._tests(pairs, self._spent(pairs, candidates), candidates)

    def looks_of_ended(self, rounds: int, candidates: int) -> tuple[Look, ...]:
        """Return the looks where time was up after so many rounds, the last one at these.

        It spends what earlier looks left: that time was up says nothing of who is faster, so this keeps to
        the error rate as well (Lan and DeMets, 1983). None before the first look was due.
        """
        planned = self._looked_at(candidates)
        made = tuple(each for each in planned if each < rounds)
        if not made:
            return self.looks(candidates)[:1] if rounds == planned[0] else ()
        spent = self._spent(planned, candidates)[: len(made)]
        return self._tests((*made, rounds), (*spent, MARGIN * self.error_rate / candidates), candidates)

    def _looked_at(self, candidates: int) -> tuple[int, ...]:
        first, gap, last = self.first_look(candidates), ROUNDS_BETWEEN_LOOKS, self.max_rounds
        return (first, *range(first + gap, last - gap + 1, gap), last) if last >= first + gap else (first,)

    def _spent(self, pairs: tuple[int, ...], candidates: int) -> tuple[float, ...]:
        """Return what each candidate's tests have spent by each look."""
        first, length = pairs[0], max(1, pairs[-1] - pairs[0])
        begun = 1 / 2**first
        left = max(0.0, MARGIN * self.error_rate / candidates - begun)
        return tuple(begun + left * ((each - first) / length) ** SPENDING_POWER for each in pairs)

    def _tests(self, pairs: tuple[int, ...], spent: tuple[float, ...], candidates: int) -> tuple[Look, ...]:
        """Return the tests that spend so much; where so few pairs can pass none, it is left out."""
        planned = [Look(pairs=pairs[0], level=candidates * spent[0])]
        for each, level in zip(pairs[1:], nominal_levels(pairs, spent)[1:], strict=True):
            usable = candidates * attainable_level(each, level)
            if usable > 0:
                planned.append(Look(pairs=each, level=usable))
        return tuple(planned)

    def within(self, rounds: int, candidates: int) -> "Rules":
        """Return the rule for a budget that holds ``rounds``: its last look is made before time is up.

        The more rounds there are, the stricter it can be, and the less of its error it spends in a hurry.
        """
        most = min(self.max_rounds, rounds)
        if most >= STRICT_ROUNDS:
            return replace(
                self,
                max_rounds=most,
                error_rate=min(self.error_rate, STRICT_ERROR_RATE),
                first_share=LITTLE_FOR_FIRST_LOOK,
                futility_between_looks=True,
            )
        if most >= MANY_ROUNDS:
            return replace(self, max_rounds=most, first_share=LITTLE_FOR_FIRST_LOOK)
        return replace(self, max_rounds=max(self.first_look(candidates), most))

    def most_runs(self, candidates: int) -> int:
        """Return how many runs a verification of ``candidates`` can take at most."""
        return self.looks(candidates)[-1].pairs * (candidates + 1) + self.aa_rounds

    def fewest_runs(self, candidates: int) -> int:
        """Return how many runs it takes to recommend at the earliest look."""
        return self.first_look(candidates) * (candidates + 1) + self.aa_rounds
