"""Is the best of the search really faster? Fresh runs against the baseline, in pairs, by a declared rule.

Search picks the luckiest of many noisy trials, so nothing that it measured is used here: neither for the
decision nor for the stated gain.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from flyball.tuners.base import Interval, Measurement
from flyball.tuners.verification.group_sequential import chance_to_pass
from flyball.tuners.verification.group_sequential_interval import Stopped
from flyball.tuners.verification.plan import FEWEST_PAIRS, Look, Rules
from flyball.tuners.verification.statistics import best_case_p_value, holm, upper_mean
from flyball.tuners.verification.tally import BASELINE, BASELINE_AGAIN, CandidateResult, Pair, Tally

__all__ = [
    "BASELINE",
    "BASELINE_AGAIN",
    "CandidateResult",
    "Decision",
    "Pair",
    "Rules",
    "VerificationResult",
    "finalists",
    "measure_gain",
    "verify",
]

FUTILITY_PAIRS = 4
FUTILITY_OPTIMISM = 1.0
"""Standard errors above its mean at which a candidate's chance is worked out."""
DOMINANCE_PAIRS = 4
BASELINE_FAILURES = 2
"""So many failed baseline runs end a verification: what the gain is held against does not stand."""

FASTER = "faster"
"""What a winner is, where the study's objective has no other word for it."""

RunOnce = Callable[[str, int], Measurement | None]
"""Makes a fresh run of a candidate's key, ``BASELINE`` or ``BASELINE_AGAIN`` in a round; None: it failed."""
Veto = Callable[[str, Sequence[Measurement], Sequence[Measurement]], str | None]
"""Given a key, the baseline's and its own runs, pair by pair: why it cannot be recommended, or None."""
MayContinue = Callable[[int], bool]
"""Whether the budget holds that many more runs."""


class Decision(StrEnum):
    """What a verification came to."""

    RECOMMENDED = "recommended"
    KEEP = "keep"
    UNVERIFIED = "unverified"


@dataclass(frozen=True, kw_only=True, slots=True)
class VerificationResult:
    """The decision with everything it stands on."""

    decision: Decision
    winner: str | None
    """The candidate recommended; when unverified, the one that leads."""
    speedup: Interval | None
    """Of the winner."""
    noise_floor: float | None
    """Gain that the same configuration shows against itself over as many pairs; 0.01 is one percent.

    None where it did not run twice.
    """
    minimum_gain: float
    """Below this a gain is not worth a change: the larger of the rules' least gain and the noise floor."""
    rounds: int
    runs: int
    looks: tuple[Look, ...]
    candidates: tuple[CandidateResult, ...]
    aa_pairs: tuple[Pair, ...]
    reasons: tuple[str, ...]


def verify(
    candidates: Sequence[str],
    run_once: RunOnce,
    *,
    rules: Rules | None = None,
    may_continue: MayContinue = lambda runs: True,
    stopped: Callable[[], bool] = lambda: False,
    veto: Veto = lambda key, baseline, own: None,
    better: str = FASTER,
) -> VerificationResult:
    """Run the candidates and the baseline in rounds until the declared rule decides.

    Each round runs the baseline and every candidate still in, in an order drawn from the rules' seed: a study
    that is resumed makes the same rounds, and ``run_once`` may answer from what was recorded.

    Args:
        candidates: keys of the best of the search, the most promising first; none gives ``keep``.
        run_once: makes one run; what it raises passes through.
        rules: the sequential rule.
        may_continue: asked before each round; False ends the verification where it stands.
        stopped: asked before each run; True ends it there, and the round that was begun does not count.
        veto: asked before a candidate is recommended (loss guard, memory limit, witness).
        better: what a winner is, in words.
    """
    rules = rules or Rules()
    tally = Tally(keys=tuple(candidates), rules=rules, better=better)
    looks = rules.looks(len(tally.keys)) if tally.keys else ()
    if not looks:
        return _result(
            tally, looks, Decision.KEEP, None, f"no trial of the search was {better} than the baseline"
        )
    number, failures = 0, 0
    while len(tally.baseline) < looks[-1].pairs:
        if not may_continue(1 + len(tally.active) + int(number < rules.aa_rounds)):
            if stopped():
                return _cut_short(tally, looks, "stopped by the user")
            return _out_of_time(tally, looks, veto)
        complete = _round(tally, number, run_once, stopped)
        if complete is None:
            return _cut_short(tally, looks, "stopped by the user")
        failures += not complete
        number += 1
        if failures >= BASELINE_FAILURES:
            reason = "the baseline itself failed in verification"
            return _result(tally, looks, Decision.UNVERIFIED, None, reason)
        _drop_hopeless(tally, looks, veto)
        look = next((look for look in looks if look.pairs == len(tally.baseline)), None)
        winner = _winner(tally, look, veto, last=look == looks[-1]) if look else None
        if winner:
            return _recommended(tally, looks, winner)
        if not tally.active:
            break
    return _result(
        tally, looks, Decision.KEEP, None, f"no candidate is {better} than the baseline for certain"
    )


def measure_gain(
    key: str,
    run_once: RunOnce,
    *,
    rounds: int = 6,
    seed: int = 0,
    may_continue: MayContinue = lambda runs: True,
    stopped: Callable[[], bool] = lambda: False,
) -> CandidateResult:
    """Return the gain of one configuration without a decision, for example of the winner's JSON alone."""
    tally = Tally(keys=(key,), rules=Rules(aa_rounds=0, seed=seed))
    for number in range(rounds):
        if tally.dropped or not may_continue(2) or _round(tally, number, run_once, stopped) is None:
            break
    return tally.result(key)


def _round(tally: Tally, number: int, run_once: RunOnce, stopped: Callable[[], bool]) -> bool | None:
    """Make one round; False when the baseline failed, which voids it, None when it was broken off."""
    again = [BASELINE_AGAIN] if number < tally.rules.aa_rounds else []
    # Sorted, so that the order drawn does not hang on who leads: a resumed study draws the same.
    entrants = [BASELINE, *again, *sorted(tally.active)]
    random.Random(f"{tally.rules.seed}:{number}").shuffle(entrants)
    made: dict[str, Measurement | None] = {}
    for key in entrants:
        made[key] = run_once(key, number)
        tally.runs += 1
        if stopped() and len(made) < len(entrants):
            return None
    for key, run in made.items():
        if run is None and key not in (BASELINE, BASELINE_AGAIN):
            tally.dropped[key] = f"a fresh run of it failed in round {number + 1}"
    baseline = made.pop(BASELINE)
    if baseline is None:
        return False
    tally.baseline.append(baseline)
    for key, run in made.items():
        if run is not None:
            tally.pair(key, number, baseline, run)
    return True


def _drop_hopeless(tally: Tally, looks: Sequence[Look], veto: Veto) -> None:
    """Take out whoever cannot win any more: it only ever lowers the chance of a wrong recommendation."""
    least = math.log1p(tally.rules.least_gain)
    for key in tally.active:
        ratios = tally.ratios(key)
        looked = any(look.pairs == len(ratios) for look in looks)
        asked = looked or (tally.rules.futility_between_looks and len(ratios) >= FEWEST_PAIRS)
        ahead = [look for look in looks if look.pairs >= len(ratios)]
        if len(ratios) >= FUTILITY_PAIRS and upper_mean(ratios, tally.rules.futility_confidence) < least:
            tally.dropped[key] = f"its gain is below {tally.rules.least_gain:.0%} after {len(ratios)} pairs"
        elif asked and key not in tally.passed and _chance(tally, key, looks) < tally.rules.futility_chance:
            tally.dropped[key] = f"no gain that could be made certain was seen in {len(ratios)} pairs"
        elif key not in tally.passed and not any(
            best_case_p_value(ratios, look.pairs) <= look.level for look in ahead
        ):
            tally.dropped[key] = f"it cannot pass any more after {len(ratios)} pairs"
    _drop_dominated(tally, veto)


def _chance(tally: Tally, key: str, looks: Sequence[Look]) -> float:
    """Return how likely a candidate is to pass the last look yet."""
    last = looks[-1]
    return chance_to_pass(
        tally.ratios(key), last.pairs, last.level / len(tally.keys), optimism=FUTILITY_OPTIMISM
    )


def _vetoed(tally: Tally, key: str, veto: Veto) -> str | None:
    return veto(key, tuple(tally.baseline), tuple(tally.runs_of[key]))


def _drop_dominated(tally: Tally, veto: Veto) -> None:
    leader, *others = tally.active or [""]
    # A leader that may yet be vetoed must not have cleared the field of whoever could take its place.
    if not others or len(tally.ratios(leader)) < DOMINANCE_PAIRS or _vetoed(tally, leader, veto):
        return
    for key in others:
        behind = [a - b for a, b in zip(tally.ratios(key), tally.ratios(leader), strict=True)]
        if upper_mean(behind, tally.rules.futility_confidence) < 0:
            tally.dropped[key] = f"{leader} is {tally.better}, after {len(behind)} pairs"


def _winner(tally: Tally, look: Look, veto: Veto, *, last: bool) -> str | None:
    """Test at one look; return who is recommended, if the fastest has passed (at the last look: anyone)."""
    tally.passed |= holm({key: tally.p_value(key) for key in tally.keys}, look.level) & set(tally.active)
    for key in tally.active:
        if key not in tally.passed and not last:
            return None
        if key not in tally.passed:
            continue
        if not tally.worth_it(key):
            tally.dropped[key] = f"its gain is below the least worth a change, {tally.minimum_gain():.1%}"
            continue
        objection = _vetoed(tally, key, veto)
        if objection is None:
            return key
        tally.dropped[key] = objection
    return None


def _out_of_time(tally: Tally, looks: tuple[Look, ...], veto: Veto) -> VerificationResult:
    """Test what there is, since no round is to come."""
    ended = tally.rules.looks_of_ended(len(tally.baseline), len(tally.keys))
    if ended and ended[-1].pairs == len(tally.baseline):
        winner = _winner(tally, ended[-1], veto, last=True)
        if winner:
            return _recommended(tally, ended, winner)
    return _cut_short(tally, looks, "the budget ended")


def _recommended(tally: Tally, looks: tuple[Look, ...], winner: str) -> VerificationResult:
    reason = (
        f"{tally.better} in fresh runs, p = {tally.p_value(winner):.2g} after {len(tally.baseline)} pairs"
    )
    return _result(tally, looks, Decision.RECOMMENDED, winner, reason)


def _cut_short(tally: Tally, looks: tuple[Look, ...], why: str) -> VerificationResult:
    leader = tally.active[0] if tally.active else None
    if leader and tally.pairs.get(leader) and not tally.worth_it(leader):
        reason = f"{why}; no candidate had shown a gain worth a change"
        return _result(tally, looks, Decision.KEEP, None, reason)
    reason = f"{why} after {len(tally.baseline)} of at least {looks[0].pairs} rounds of verification"
    if len(tally.baseline) >= looks[0].pairs:
        reason = f"{why} before the gain was certain, after {len(tally.baseline)} rounds"
    return _result(tally, looks, Decision.UNVERIFIED, leader, reason)


def _result(
    tally: Tally, looks: tuple[Look, ...], decision: Decision, winner: str | None, reason: str
) -> VerificationResult:
    details = [f"{key}: {why}" for key, why in tally.dropped.items()]
    results = {key: tally.result(key) for key in tally.keys}
    if winner and decision is Decision.RECOMMENDED:
        gain = tally.gain_when_stopped(winner, _stopped(tally, looks))
        results[winner] = replace(results[winner], speedup=gain)
    return VerificationResult(
        decision=decision,
        winner=winner,
        speedup=results[winner].speedup if winner else None,
        noise_floor=tally.noise_floor(),
        minimum_gain=tally.minimum_gain(),
        rounds=len(tally.baseline),
        runs=tally.runs,
        looks=looks,
        candidates=tuple(results.values()),
        aa_pairs=tuple(tally.aa_pairs),
        reasons=(reason, *details),
    )


def _stopped(tally: Tally, looks: Sequence[Look]) -> Stopped:
    """Return where the test ended, for one of the candidates."""
    made = [look for look in looks if look.pairs <= len(tally.baseline)]
    return Stopped(
        pairs=tuple(look.pairs for look in made),
        levels=tuple(look.level / len(tally.keys) for look in made),
    )


def finalists(rates: Mapping[str, Interval], baseline: Interval, *, most: int) -> tuple[str, ...]:
    """Return the keys of the search's best, fastest first: at most ``most``, none slower than the baseline.

    Args:
        rates: what is compared, more being better, of the completed search trials, by key, the baseline's own
            left out.
        baseline: the same of the baseline.
        most: how many the budget can verify.
    """
    faster = [key for key, rate in rates.items() if rate.point > baseline.point]
    return tuple(sorted(faster, key=lambda key: -rates[key].point)[:most])
