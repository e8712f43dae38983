"""What a study may still spend: wall-clock budget, seconds a run, what verification will want."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from flyball.clock import Clock
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Phase, TrialReport
from flyball.tuners.measurement.startup_costs import startup_parts
from flyball.tuners.trials.later_starts import FirstStart
from flyball.tuners.trials.run_length import SHORTEST_RUN_SECONDS
from flyball.tuners.verification.plan import Rules

FINALISTS = 2
"""The most candidates that are verified: each costs as many runs as the baseline, and a stricter test.

The second is there for when the first changes numerics and the loss guard objects.
"""
CONFIRMATION_RUNS = 2
"""Cold runs after verification: the user's own and the recommended."""
JSON_ALONE_ROUNDS = 4
"""Pairs of runs that state what the winner's JSON gains by itself, where that is another experiment."""
PLAY_OFF_RUNS = 8
"""Set aside for telling the search's best apart, where the budget holds that."""
RUNS_THAT_TEACH = 4
"""Fewer runs after the first one forecast badly: until then search goes on where the shortest would fit."""
RUNS_TO_LEARN = 3
"""The first run, which is cold, says little of later ones: where this many like it fit, one more is made."""
FORECAST_MARGIN = 1.15
"""Runs of a verification that is planned to fit take so much longer than forecast, at worst on average."""
PLAY_OFF_SHARE = 2.0
"""Of the time that the search took: the most that telling its best apart may take."""
ROUNDS_FOR_SMALL_GAIN = 46
"""Of verification: what a play-off that takes longer than the search must leave."""
LOST_SHARE = 0.5
"""Of the rounds of the shortest verification: where the budget holds fewer, none is set aside for it."""
OVERDRAFT = 0.05
"""Of the budget: what a verification under way may take beyond it rather than be thrown away."""
ENDING_SHARE = 0.5
"""Of the budget: what play-off, verification and confirmation may take before they are cut down."""
RECENT = 5
"""Runs that the expected length of the next one is taken from."""


@dataclass(kw_only=True, slots=True)
class Spending:
    """Time spent and time left, in seconds.

    Args:
        budget_seconds: of the whole study, verification included; None is no limit.
        spent_before: by earlier parts of a resumed study.
    """

    clock: Clock
    budget_seconds: float | None
    spent_before: float = 0.0
    rules: Rules = field(default_factory=Rules)
    json_alone: bool = False
    """Whether the space has knobs beside the JSON, so that its own share must be measured."""
    deciding_seconds: float | None = None
    """How long the runs of play-off and verification step, once that is fixed; a search's may step longer."""
    _began: float | None = None
    _phases: dict[Phase, float] = field(default_factory=dict)
    _own: str = ""
    _own_stepping: float = 0.0
    _first_start: FirstStart | None = None
    _own_warm: list[float] = field(default_factory=list)
    _startups: list[float] = field(default_factory=list)
    _warm: list[float] = field(default_factory=list)
    _cold: list[float] = field(default_factory=list)
    _searched: list[float] = field(default_factory=list)
    _runs_of: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Digest to start-up and length of its warm runs."""

    def resume(self, spent: float, reports: Sequence[TrialReport]) -> None:
        """Take in what earlier parts of the study took; their play-off counts again once it is replayed."""
        self.spent_before = spent
        for report in reports:
            if report.outcome.kind is not OutcomeKind.INTERRUPTED:
                self.note(report)
        self._phases.pop(Phase.PLAY_OFF, None)

    def replayed(self, report: TrialReport) -> None:
        """Take in a run that was answered from the record."""
        self._count(report)

    def begin(self) -> None:
        """Start counting."""
        self._began = self.clock.monotonic()

    def spent(self) -> float:
        """Seconds spent so far, earlier parts included."""
        running = self.clock.monotonic() - self._began if self._began is not None else 0.0
        return self.spent_before + running

    def left(self) -> float | None:
        """Seconds of the budget that are left, or None without a budget."""
        return None if self.budget_seconds is None else self.budget_seconds - self.spent()

    def note(self, report: TrialReport) -> None:
        """Take in how long a run took."""
        startup = report.startup_seconds or 0.0
        self._count(report)
        if self._first_start is None:
            self._own, self._own_stepping = report.configuration.digest, report.total_seconds - startup
            ended = self.clock.monotonic()
            self._first_start = FirstStart(seconds=startup, parts=startup_parts(report), ended=ended)
        else:
            seconds = report.total_seconds - report.waited_seconds
            (self._cold if report.launcher == "cold" else self._warm).append(seconds)
            if report.phase is Phase.SEARCH:
                self._searched.append(seconds)
            if report.launcher != "cold":
                began = self.clock.monotonic() - report.total_seconds
                self._first_start.imported_again(began=began, waited=report.waited_seconds)
                self._startups.append(startup)
                self._runs_of.setdefault(report.configuration.digest, []).append((startup, seconds))
                if report.configuration.digest == self._own:
                    self._own_warm.append(seconds)

    def _count(self, report: TrialReport) -> None:
        self._phases[report.phase] = self._phases.get(report.phase, 0.0) + report.total_seconds

    def run_seconds(self) -> float:
        """Expected length of the next run: the median of the recent ones, warm where there are any."""
        known = (self._warm or self._cold)[-RECENT:]
        return statistics.median_low(known) if known else self._first_again(warm=True)

    def _first_again(self, *, warm: bool) -> float:
        """Expected length of the first run, were it made again from a warm server or cold."""
        first = self._first_start
        if first is None:
            return 0.0
        return self._own_stepping + (first.later_warm() if warm else first.later_cold())

    def own_seconds(self) -> float:
        """Expected length of a run of the user's own configuration, which is mostly the slowest."""
        if self._own_warm:
            return statistics.median(self._own_warm[-RECENT:])
        if self._startups:
            # The shortest start: others may have compiled, which the user's own does not.
            stepping = self._own_stepping
            if self.deciding_seconds is not None:
                return min(self._startups) + min(stepping, self.deciding_seconds)
            return max(min(self._warm), min(self._startups) + stepping)
        return self.run_seconds()

    def search_seconds(self) -> float:
        """Expected length of the next search run, which may compile where recent ones did not: the mean."""
        return statistics.fmean(self._searched) if self._searched else self.run_seconds()

    def seconds_of(self, digest: str) -> float:
        """Expected length of a run of one configuration: its shortest so far, which compiled least."""
        known = self._runs_of.get(digest)
        if known is None:
            return self.run_seconds()
        shortest = min(seconds for _, seconds in known)
        if self.deciding_seconds is None:
            return shortest
        return min(shortest, min(startup for startup, _ in known) + self.deciding_seconds)

    def knows(self, digests: Sequence[str]) -> bool:
        """Whether the length of their runs is known: the first run of each may have compiled for the next."""
        return all(len(self._runs_of.get(digest, ())) > 1 for digest in digests)

    def seconds_to_verify(self, digests: Sequence[str], *, rounds_made: int = 0) -> float:
        """Expected length of what these candidates need up to the first look, and of the confirmation.

        Args:
            digests: of the candidates' configurations.
            rounds_made: rounds that they have behind them.
        """
        rounds = max(0, self.rules.first_look(max(1, len(digests))) - rounds_made)
        a_round = self.own_seconds() + sum(map(self.seconds_of, digests))
        return rounds * a_round + CONFIRMATION_RUNS * self.cold_seconds()

    def holds_verification(self, digests: Sequence[str], *, rounds_made: int) -> bool:
        """Whether what is left holds that (see :meth:`seconds_to_verify`)."""
        left = self.left()
        if left is None or self.budget_seconds is None:
            return True
        return left + OVERDRAFT * self.budget_seconds > self.seconds_to_verify(
            digests, rounds_made=rounds_made
        )

    def rounds_seconds(self, rounds: int, candidates: int, run_seconds: float | None = None) -> float:
        """Expected length of that many rounds of verification, A/A rounds included.

        Args:
            rounds: of all of them.
            candidates: their number.
            run_seconds: expected length of a candidate's run, where the candidates are known.
        """
        return self._rounds_seconds(rounds, candidates, run_seconds or self.run_seconds())

    def _rounds_seconds(self, rounds: int, candidates: int, run_seconds: float) -> float:
        aa_runs = min(self.rules.aa_rounds, rounds)
        return (rounds + aa_runs) * self.own_seconds() + rounds * candidates * run_seconds

    def cold_seconds(self) -> float:
        """Expected length of a cold run."""
        known = self._cold[-RECENT:]
        if known:
            return statistics.median(known)
        return max(self._first_again(warm=False), self.run_seconds())

    def affordable(self, wanted: int) -> int:
        """How many of ``wanted`` candidates the time left can verify and confirm."""
        left = self.left()
        if left is None:
            return wanted
        return next(
            (
                candidates
                for candidates in range(wanted, 0, -1)
                if self.rounds_seconds(self.rules.first_look(candidates), candidates)
                <= left - CONFIRMATION_RUNS * self.cold_seconds()
            ),
            0,
        )

    def declare(self, digests: Sequence[str], *, json_alone: bool = True) -> Rules:
        """Return the rule of a verification that ends within what is left, its confirmation included.

        Args:
            digests: of the candidates' configurations.
            json_alone: whether the share of a winner's JSON may have to be measured by itself.
        """
        left = self.left()
        if not digests:
            return self.rules
        if left is None:
            return self.rules.within(self.rules.max_rounds, len(digests))
        run_seconds = statistics.fmean(map(self.seconds_of, digests))
        rounds = self.rules.max_rounds
        spared = 0.0 if json_alone else self._json_alone_seconds(run_seconds)
        while rounds:
            needed = self._ending_seconds(rounds, len(digests), run_seconds) - spared
            if needed * FORECAST_MARGIN <= left:
                break
            rounds -= 1
        return self.rules.within(rounds, len(digests))

    def _json_alone_seconds(self, run_seconds: float | None = None) -> float:
        pair = self.own_seconds() + (run_seconds or self.run_seconds())
        return JSON_ALONE_ROUNDS * pair if self.json_alone else 0.0

    def _ending_seconds(self, rounds: int, candidates: int, run_seconds: float | None = None) -> float:
        after = self._json_alone_seconds(run_seconds) + CONFIRMATION_RUNS * self.cold_seconds()
        return self.rounds_seconds(rounds, candidates, run_seconds) + after

    def verification_seconds(self, candidates: int) -> float:
        """What verifying ``candidates`` at the earliest look and confirming is expected to take."""
        rounds = self.rules.first_look(candidates) if candidates else 0
        return FORECAST_MARGIN * self._ending_seconds(rounds, candidates)

    def may_search(self) -> bool:
        """Whether another search trial leaves enough for verification."""
        left = self.left()
        if left is None:
            return True
        known = self._warm or self._cold
        if not known:
            return left > RUNS_TO_LEARN * self.run_seconds()
        if self.verification_is_lost():
            return left > max(self._searched[-RECENT:], default=self.run_seconds())
        if len(known) < RUNS_THAT_TEACH:
            return left > self.search_seconds() + self._least_verification()
        return left > self.search_seconds() + self._set_aside()

    def verification_is_lost(self) -> bool:
        """Whether what is left holds less than half of the rounds up to the first look at one candidate.

        What would be set aside for them is then better searched with: later studies of the job learn from it.
        More of them say more of the best so far than further runs of others.
        """
        left, known = self.left(), self._warm or self._cold
        return left is not None and bool(known) and left < self._least_verification(share=LOST_SHARE)

    def _least_verification(self, *, share: float = 1.0) -> float:
        """Seconds of a share of the rounds up to the first look, at their shortest, and of both cold runs."""
        shortest = min(self._warm or self._cold)
        if self._startups:
            # A run of the search that lost or was precise early is shorter than any that decides.
            shortest = max(shortest, min(self._startups) + SHORTEST_RUN_SECONDS)
        rounds = self._rounds_seconds(self.rules.first_look(1), 1, shortest)
        return share * rounds + CONFIRMATION_RUNS * self.cold_seconds()

    def _set_aside(self) -> float:
        """Seconds that search must leave: for the richest ending that takes no more than its share."""
        endings = [
            PLAY_OFF_RUNS * self.run_seconds() + self.verification_seconds(FINALISTS),
            self.verification_seconds(FINALISTS),
            PLAY_OFF_RUNS * self.run_seconds() + self.verification_seconds(1),
            self.verification_seconds(1),
            self.verification_seconds(1) - self._json_alone_seconds() / 2,
        ]
        share = ENDING_SHARE * (self.budget_seconds or 0.0)
        return next((seconds for seconds in endings if seconds <= share), endings[-1])

    def may_play_off(self, digests: Sequence[str]) -> bool:
        """Whether a run of each is in proportion, and the budget holds them and the ending.

        Args:
            digests: of the configurations that would meet once more.
        """
        seconds = sum(map(self.seconds_of, digests))
        left, searched = self.left(), self._phases.get(Phase.SEARCH, 0.0)
        made = self._phases.get(Phase.PLAY_OFF, 0.0)
        if made + seconds > PLAY_OFF_SHARE * searched:
            return False
        ending = self.verification_seconds(1)
        if made + seconds > searched:
            # Telling apart for longer than was searched must not cost a small gain its later looks.
            ending = FORECAST_MARGIN * self._ending_seconds(ROUNDS_FOR_SMALL_GAIN, 1)
        return left is None or left > seconds + ending

    def may_confirm_again(self) -> bool:
        """Whether the budget holds another cold pair."""
        left = self.left()
        return left is None or left > CONFIRMATION_RUNS * self.cold_seconds()

    def may_continue(self, runs: int) -> bool:
        """Whether the budget holds that many more runs and the confirmation."""
        left = self.left()
        if left is None or self.budget_seconds is None:
            return True
        needed = runs * self.run_seconds() + CONFIRMATION_RUNS * self.cold_seconds()
        return left + OVERDRAFT * self.budget_seconds > needed
