import math
import random
from collections import Counter
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tuners.statistics_fakes import interval, measurement

from flyball.tuners.verification.plan import Rules
from flyball.tuners.verification.playoff import play_off, ranked_by_own_runs
from flyball.tuners.verification.statistics import attainable_level
from flyball.tuners.verification.tally import BASELINE, BASELINE_AGAIN
from flyball.tuners.verification.verification import Decision, finalists, measure_gain, verify


class Bench:
    """Runs whose rates are known: the true speed of each key and noise from a seed."""

    def __init__(self, noise=0.01, seed=0, fails=(), **speeds):
        self.draw, self.noise, self.fails, self.speeds = random.Random(seed), noise, set(fails), speeds
        self.made = []

    def __call__(self, key, number):
        self.made.append((number, key))
        if (key, number) in self.fails or (key, None) in self.fails:
            return None
        return measurement(100 * self.speeds.get(key, 1.0) * math.exp(self.draw.gauss(0, self.noise)))


def test_a_clear_win_ends_at_the_earliest_legal_look():
    bench = Bench(fast=1.2)
    result = verify(["fast"], bench)
    assert (result.decision, result.winner, result.rounds) == (Decision.RECOMMENDED, "fast", 6)
    assert result.candidates[0].p_value == 1 / 64
    assert result.speedup.low < 1.2 < result.speedup.high
    assert result.runs == len(bench.made) == 6 * 2 + 1


@pytest.mark.parametrize("slower", [0.5, 0.9, 0.97])
def test_what_is_slower_is_not_recommended_and_soon_dropped(slower):
    result = verify(["same"], Bench(same=slower, seed=3))
    assert result.decision is Decision.KEEP
    assert result.speedup is None
    assert result.rounds < 6
    assert "same: " in result.reasons[1]


def test_a_gain_below_the_least_one_is_kept_however_sure():
    result = verify(["tiny"], Bench(tiny=1.008, noise=0.0005), rules=Rules(least_gain=0.01))
    assert result.decision is Decision.KEEP


def test_the_noise_floor_raises_the_least_gain():
    quiet = verify(["fast"], Bench(fast=1.2, noise=0.001))
    loud = verify(["fast"], Bench(fast=1.5, noise=0.08))
    assert quiet.minimum_gain == 0.01
    assert loud.minimum_gain == loud.noise_floor > 0.01


def test_the_fastest_of_several_wins_and_the_others_are_dropped_on_the_way():
    result = verify(["good", "best", "bad"], Bench(good=1.1, best=1.3, bad=0.8))
    assert result.winner == "best"
    dropped = {candidate.key: candidate.dropped for candidate in result.candidates}
    assert dropped["best"] is None
    assert "best is faster" in dropped["good"]
    assert "below 1%" in dropped["bad"]


@pytest.mark.parametrize(
    ("fails", "decision", "winner"),
    [
        ({("best", 4)}, Decision.RECOMMENDED, "good"),
        ({("best", 1), ("good", 2)}, Decision.KEEP, None),
        ({(BASELINE, 2)}, Decision.RECOMMENDED, "best"),
        ({(BASELINE, None)}, Decision.UNVERIFIED, None),
        ({(BASELINE_AGAIN, None)}, Decision.RECOMMENDED, "best"),
    ],
)
def test_runs_that_fail(fails, decision, winner):
    result = verify(["good", "best"], Bench(good=1.28, best=1.3, noise=0.02, fails=fails))
    assert (result.decision, result.winner) == (decision, winner)


def test_a_vetoed_winner_gives_way_to_the_next():
    def veto(key, baseline, own):
        assert len(baseline) == len(own)
        return "it costs loss" if key == "best" else None

    result = verify(["good", "best"], Bench(good=1.28, best=1.3, noise=0.02), veto=veto)
    assert result.winner == "good"
    assert "best: it costs loss" in result.reasons


@pytest.mark.parametrize(
    ("runs", "speed", "decision", "winner"),
    [
        (0, 1.2, Decision.UNVERIFIED, "one"),
        (9, 1.2, Decision.UNVERIFIED, "one"),
        (9, 1.0, Decision.KEEP, None),
        (13, 1.2, Decision.RECOMMENDED, "one"),
    ],
)
def test_a_budget_that_ends_too_early_leaves_it_unverified(runs, speed, decision, winner):
    bench = Bench(one=speed, noise=0.002)
    result = verify(["one"], bench, may_continue=lambda more: len(bench.made) + more <= runs)
    assert len(bench.made) <= runs
    assert (result.decision, result.winner) == (decision, winner)


def test_a_budget_that_ends_between_looks_is_followed_by_a_last_look_at_what_there_is():
    rules, draws = Rules().within(46, 1), range(12)

    def decided(seed, runs):
        bench = Bench(one=1.12, noise=0.09, seed=seed)
        return verify(["one"], bench, rules=rules, may_continue=lambda more: len(bench.made) + more <= runs)

    results = [decided(seed, 2 * 17 + 1) for seed in draws]
    late = [each for each in results if each.rounds == 17]
    assert any(each.decision is Decision.RECOMMENDED for each in late)
    assert all(each.looks[-1].pairs == 17 for each in late if each.decision is Decision.RECOMMENDED)
    assert not any(decided(seed, 2 * 5 + 1).decision is Decision.RECOMMENDED for seed in draws)


@pytest.mark.parametrize("runs", [1, 4, 6, 7])
def test_a_stop_lets_the_running_run_finish_and_starts_no_other(runs):
    bench = Bench(one=1.2, noise=0.002)
    result = verify(
        ["one"],
        bench,
        stopped=lambda: len(bench.made) >= runs,
        may_continue=lambda more: len(bench.made) < runs,
    )
    assert len(bench.made) == result.runs == runs
    assert (result.decision, result.winner) == (Decision.UNVERIFIED, "one")
    assert result.rounds == (runs - 1) // 2
    assert result.reasons[0].startswith(f"stopped by the user after {result.rounds} of at least 6 rounds")


def test_without_candidates_nothing_is_run():
    bench = Bench()
    assert verify([], bench).decision is Decision.KEEP
    assert bench.made == []


def test_each_round_runs_everyone_once_in_an_order_of_its_own_that_a_resumed_study_repeats():
    first, again = Bench(a=1.05, b=1.05, noise=0.1), Bench(a=1.05, b=1.05, noise=0.1)
    verify(["a", "b"], first, rules=Rules(seed=7))
    verify(["a", "b"], again, rules=Rules(seed=7))
    assert first.made == again.made
    rounds = [[key for number, key in first.made if number == each] for each in range(3)]
    assert all(
        Counter(order) - Counter([BASELINE_AGAIN]) == Counter([BASELINE, "a", "b"]) for order in rounds
    )
    starts = set()
    for seed in range(10):
        bench = Bench(a=1.0)
        verify(["a"], bench, rules=Rules(seed=seed))
        starts.add(bench.made[0][1])
    assert len(starts) > 1


@settings(max_examples=50)
@given(st.integers(1, 4), st.integers(6, 20), st.sampled_from((0.01, 0.05, 0.1)))
def test_the_looks_grow_and_each_can_be_passed(candidates, rounds, error_rate):
    rules = Rules(max_rounds=rounds, error_rate=error_rate)
    looks = rules.looks(candidates)
    assert looks[0].level <= error_rate
    assert all(attainable_level(look.pairs, look.level / candidates) > 0 for look in looks)
    assert [look.pairs for look in looks] == sorted({look.pairs for look in looks})


@pytest.mark.parametrize(
    ("looks", "rate", "candidates"),
    [
        (Rules(max_rounds=16).looks(1), 0.05, 1),
        (Rules(max_rounds=46).looks(1), 0.05, 1),
        (Rules(max_rounds=46).looks(2), 0.05, 2),
        (Rules().within(29, 1).looks(1), 0.05, 1),
        (Rules().within(75, 1).looks(1), 0.01, 1),
        (Rules().within(46, 1).looks_of_ended(21, 1), 0.05, 1),
        (Rules().within(46, 1).looks_of_ended(44, 1), 0.05, 1),
    ],
)
@pytest.mark.parametrize("tails", [1, 30])
def test_all_looks_together_keep_to_the_error_rate(looks, rate, candidates, tails):
    """Without a gain and without futility, in noise with heavy and light tails."""
    studies = 40_000
    pairs = np.random.default_rng(looks[-1].pairs + candidates).standard_t(tails, (studies, looks[-1].pairs))
    passed = np.zeros(studies, dtype=bool)
    for look in looks:
        seen = pairs[:, : look.pairs]
        ranks = np.abs(seen).argsort(axis=1).argsort(axis=1) + 1
        least = next(
            total
            for total in range(look.pairs * (look.pairs + 1) // 2 + 1)
            if rank_sum_reaches(look.pairs, total) <= look.level / candidates + 1e-12
        )
        passed |= (ranks * (seen > 0)).sum(axis=1) >= least
    chance = rate / candidates
    assert passed.mean() <= chance + 3 * math.sqrt(chance / studies)
    # No look is there for nothing: without the joint law they could only spend two thirds of it.
    assert passed.mean() >= 0.85 * chance - 3 * math.sqrt(chance / studies)


def test_the_more_rounds_a_budget_holds_the_stricter_the_rule_and_the_later_its_first_look():
    few, some, many = (Rules().within(rounds, 1) for rounds in (9, 30, 200))
    assert (few.error_rate, some.error_rate, many.error_rate) == (0.05, 0.05, 0.01)
    assert few.first_look(1) < some.first_look(1) < many.first_look(1)
    assert [each.looks(1)[-1].pairs for each in (few, some, many)] == [6, 30, Rules().max_rounds]
    assert Rules().within(2, 1).max_rounds == 6


def test_hopeless_rounds_are_left_off_between_looks_where_the_rule_says_so():
    def rounds(seed, rules):
        return verify(["same"], Bench(seed=seed, noise=0.05), rules=rules).rounds

    patient, strict = Rules(max_rounds=60), Rules().within(60, 1)
    assert sum(rounds(seed, strict) for seed in range(20)) < sum(rounds(seed, patient) for seed in range(20))


@cache
def rank_sum_reaches(pairs, total):
    """Chance that the signed-rank sum of so many pairs without a gain reaches a total."""
    counts = np.zeros(pairs * (pairs + 1) // 2 + 1)
    counts[0] = 1.0
    for rank in range(1, pairs + 1):
        counts[rank:] = counts[rank:] + counts[:-rank]
    return counts[total:].sum() / 2.0**pairs


@pytest.mark.parametrize(("candidates", "noise"), [(1, 0.05), (2, 0.05), (3, 0.02)])
def test_same_against_same_is_recommended_in_one_of_twenty_at_most(candidates, noise):
    keys = [f"c{index}" for index in range(candidates)]
    studies = 150
    wrong = sum(
        verify(keys, Bench(seed=seed, noise=noise), rules=Rules(seed=seed, least_gain=0.0)).decision
        is Decision.RECOMMENDED
        for seed in range(studies)
    )
    # Three standard errors above what is promised; the benchmark holds the promise itself.
    assert wrong / studies <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)


def test_a_gain_is_measured_without_a_decision():
    found = measure_gain("json", Bench(json=1.1), rounds=6)
    assert len(found.pairs) == 6
    assert found.speedup.low < 1.1 < found.speedup.high
    assert measure_gain("json", Bench(fails={("json", 0)})).speedup is None


def test_finalists_are_the_fastest_that_beat_the_baseline():
    rates = {"a": interval(105), "b": interval(120), "c": interval(90), "d": interval(110)}
    assert finalists(rates, interval(100), most=2) == ("b", "d")
    assert finalists({"c": interval(90)}, interval(100), most=2) == ()


def played(rates, baseline, bench, **options):
    """A play-off in which nothing is known of a contender but its own runs."""
    return play_off(rates, bench, lambda logs: ranked_by_own_runs(logs, math.log(baseline.point)), **options)


def test_of_two_alike_the_one_whose_runs_are_much_shorter_is_verified():
    rates = {"slow to start": interval(105.1), "quick": interval(105), "far": interval(101)}
    seconds = {"slow to start": 20.0, "quick": 8.0, "far": 1.0}

    def first(**options):
        never = {"may_continue": lambda keys: False}
        return played(rates, interval(100), Bench(), most=1, **never, **options)[0]

    assert first() == "slow to start"
    assert first(seconds=seconds.__getitem__) == "quick"
    assert first(seconds={**seconds, "quick": 19.0, "far": 19.0}.__getitem__) == "slow to start"


def test_contenders_that_search_cannot_tell_apart_play_off():
    rates = {"lucky": interval(112), "b": interval(105), "true": interval(104), "far": interval(60)}
    bench = Bench(lucky=1.0, b=1.0, true=1.2, far=2.0, noise=0.03)
    chosen = played(rates, interval(100), bench, most=1)
    assert chosen[0] == "true"
    assert {key for _, key in bench.made} == {"lucky", "b", "true"}


def test_a_play_off_ends_as_soon_as_the_noise_that_it_sees_allows():
    def runs(noise, seed):
        bench = Bench(noise=noise, seed=seed, a=1.1)
        rates = {key: bench(key, 0).samples_per_second for key in "abcdef"}
        bench.made.clear()
        played(rates, interval(100), bench, most=2)
        return len(bench.made)

    assert {runs(0.001, seed) for seed in range(10)} == {6}
    assert sum(runs(0.05, seed) for seed in range(10)) > 10 * 6


@pytest.mark.parametrize(
    ("rates", "options", "chosen"),
    [
        ({}, {}, ()),
        ({"a": interval(150), "b": interval(100)}, {}, ("a",)),
        ({"slow": interval(80)}, {}, ()),
        ({"a": interval(105), "b": interval(104)}, {}, ("a", "b")),
        (
            {"a": interval(105), "b": interval(104), "c": interval(103)},
            {"may_continue": lambda runs: False},
            ("a", "b"),
        ),
    ],
)
def test_without_doubt_or_budget_nothing_is_played_off(rates, options, chosen):
    bench = Bench()
    assert played(rates, interval(100), bench, most=2, **options)[:2] == chosen
    assert bench.made == []


def test_a_contender_that_fails_is_out():
    rates = {"a": interval(105), "b": interval(104), "c": interval(103)}
    assert set(played(rates, interval(100), Bench(fails={("a", -1)}), most=2)) == {"b", "c"}
