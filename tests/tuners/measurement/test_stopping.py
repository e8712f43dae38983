import random
import re

import pytest
from tests.tuners.statistics_fakes import job, steps

from flyball.tuners.measurement.stopping import Precision, PrecisionRule

STEADY = [0.1, 0.1001] * 100
NOISY = [0.1 * random.Random(index).uniform(0.5, 1.5) for index in range(200)]


def after(rule, seconds, *, ranks=1, **options):
    """Feed a run a step at a time; return (steps made, reason) at which the rule stopped, or (None, None)."""
    journals = job(*[[] for _ in range(ranks)], **options)
    for made, record in enumerate(steps(seconds), start=1):
        for journal in journals.values():
            journal.records.append(record)
        reason = rule(journals)
        if reason:
            return made, reason
    return None, None


@pytest.mark.parametrize(
    ("precision", "seconds", "made", "words"),
    [
        (Precision(), STEADY, range(11, 20), "is known to"),
        (Precision(min_steps=50), STEADY, range(50, 60), "is known to"),
        (Precision(min_seconds=3.0), STEADY, range(30, 40), "is known to"),
        (Precision(min_samples=200), STEADY, range(50, 52), "is known to"),
        (Precision(max_steps=40), NOISY, range(40, 42), "the most for one run"),
        (Precision(max_seconds=3), NOISY, range(25, 36), "it stepped for 3.1 s, the most for one run"),
        (Precision(max_seconds=3), [60.0] * 30, range(12, 13), "it stepped for 720.0 s"),
        (Precision(max_seconds=3, patience_seconds=120), [60.0] * 30, range(7, 8), "it stepped for 420.0 s"),
    ],
)
def test_stops_when_precise_or_at_a_limit(precision, seconds, made, words):
    stopped, reason = after(PrecisionRule(precision=precision), seconds)
    assert stopped in made
    assert words in reason


@pytest.mark.parametrize("limit", [Precision(max_seconds=5, min_steps=4), Precision(max_steps=14)])
def test_a_run_at_a_limit_says_what_of_it_counted(limit):
    warming_up, steady = (
        [2.0, 1.5, 0.4],
        [0.1 * random.Random(index).uniform(0.5, 1.5) for index in range(40)],
    )
    _, reason = after(PrecisionRule(precision=limit), [*warming_up, *steady])
    steps, seconds = re.search(r"the most for one run: (\d+) steps in ([\d.]+) s counted", reason).groups()
    assert 4 <= int(steps) <= 12
    assert float(seconds) == pytest.approx(0.1 * int(steps), rel=0.25)


def test_noise_keeps_it_measuring():
    quiet, _ = after(PrecisionRule(), STEADY)
    loud, _ = after(PrecisionRule(), NOISY)
    assert loud is None or loud > 3 * quiet


def test_a_lost_race_ends_early_and_a_won_one_does_not():
    precision = Precision(min_steps=100)
    lost, reason = after(PrecisionRule(precision=precision, incumbent_low=60.0), STEADY)
    won, _ = after(PrecisionRule(precision=precision, incumbent_low=30.0), STEADY)
    assert "slower than the best" in reason
    assert lost < 12 <= 100 <= won


def test_a_batch_that_is_not_the_configs_ends_the_run():
    stopped, reason = after(PrecisionRule(), STEADY, micro_batch=32)
    assert stopped < 10
    assert "feeds 4 samples" in reason


def test_waits_for_every_rank():
    journals = job(steps(STEADY), [])
    assert PrecisionRule()(journals) is None
    assert PrecisionRule()(job(steps(STEADY), world_size=2)) is None


def test_shows_how_far_the_run_is():
    rule = PrecisionRule(precision=Precision(min_steps=1000))
    after(rule, STEADY[:40], ranks=2)
    assert rule.progress.steps == 40
    assert rule.progress.samples_per_second == pytest.approx(80, rel=0.01)


class Watched(list):
    """Counts the records that are read out of it."""

    read = 0

    def __getitem__(self, index):
        found = super().__getitem__(index)
        self.read += len(found) if isinstance(index, slice) else 1
        return found

    def __iter__(self):
        self.read += len(self)
        return super().__iter__()


def test_each_record_is_read_once_however_often_it_is_asked():
    journals = job(*[steps([0.1] * 100)] * 2)
    rule = PrecisionRule(precision=Precision(relative_half_width=0, max_steps=10_000))
    rule(journals)
    for journal in journals.values():
        journal.records = Watched(journal.records)
    for more in range(1, 50):
        for journal in journals.values():
            journal.records.extend(steps([0.1] * more))
        for _ in range(20):
            rule(journals)
    for journal in journals.values():
        assert journal.records.read == sum(range(1, 50))
