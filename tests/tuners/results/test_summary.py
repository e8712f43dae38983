import math
from dataclasses import replace

import pytest
from tests.tuners.recommendation_fakes import fired, kept, recommended
from tests.tuners.statistics_fakes import measurement

from flyball.tuners.base import Interval
from flyball.tuners.results.recommendation import Change
from flyball.tuners.results.summary import duration, render_summary
from flyball.tuners.verification.verification import Decision

USE = "sh flyball_results/gpt/cmd_optimal.txt"
MANY = tuple(
    Change(place="ds_config", path=f"key_{index}", before=None, after="x" * 60, reason="because " * 20)
    for index in range(30)
)


@pytest.mark.parametrize(
    "recommendation",
    [
        recommended(),
        kept(),
        recommended(verdict=Decision.UNVERIFIED, speedup=None),
        recommended(changes=MANY),
        recommended(changes=MANY, alerts=tuple(fired(f"LongNameOfAnAlert{n}") for n in range(9))),
    ],
    ids=["recommended", "keep", "unverified", "many changes", "many alerts"],
)
def test_it_fits_one_screen(recommendation):
    lines = render_summary(recommendation, use=USE).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_a_recommendation_says_all_that_is_asked_for():
    text = render_summary(recommended(), use=USE)
    for words in (
        "RECOMMENDED",
        "baseline    100 samples/s  (95%: 98 to 102)",
        "recommended 120 samples/s",
        "whole command",
        "1.100x  (95%: 1.078 to 1.122)  DeepSpeed JSON alone",
        "train_micro_batch_size_per_gpu: 1 -> 8 (fewer, larger kernels)",
        "zero_optimization.stage: 3 -> 1",
        "20 completed, 2 out of memory",
        "2 min 31 s",
        USE,
    ):
        assert words in text


def test_keep_neither_shows_a_gain_nor_a_change():
    text = render_summary(kept(), use=USE)
    assert "KEEP" in text
    assert "gain  " not in text
    assert "what changes" not in text


def test_alerts_that_said_where_to_look_stand_in_one_line_each_rule_once():
    alerts = (fired(), fired(labels={"gpu": "1"}), fired("FragmentationHigh"))
    text = render_summary(recommended(alerts=alerts), use=USE)
    assert "  alerts      SmUtilizationLow, FragmentationHigh fired in your own run\n" in text
    assert "alerts  " not in render_summary(recommended(), use=USE)


def test_what_was_not_measured_says_so():
    assert "not measured  DeepSpeed JSON alone" in render_summary(recommended(speedup_json=None), use=USE)
    of_one_pair = Interval(point=1.3, low=0.0, high=math.inf)
    assert "1.300x  (by one pair of runs: no interval)  DeepSpeed JSON alone" in render_summary(
        recommended(speedup_json=of_one_pair), use=USE
    )


def test_changes_that_do_not_fit_are_counted():
    text = render_summary(recommended(changes=MANY), use=USE)
    shown = text.count("  key_")
    assert shown >= 3
    assert f"and {len(MANY) - shown} more in recommendation.json" in text


def test_a_reason_is_there_as_a_whole_or_not_at_all():
    reason = "larger forward passes use the processor better and start fewer of them a step"
    few = tuple(
        Change(place="ds_config", path=f"train_micro_{index}", before=2, after=4, reason=reason)
        for index in range(7)
    )
    text = render_summary(recommended(changes=few), use=USE)
    assert " ".join(text.split()).count(f"2 -> 4 ({reason})") >= 1
    assert text.count(": 2 -> 4\n") >= 1
    assert "..." not in text


def test_large_rates_have_all_their_digits():
    own = replace(kept().baseline, measurement=measurement(12345.6))
    text = render_summary(kept(baseline=own), use=USE)
    assert "baseline    12,346 samples/s  (95%: 12,099 to 12,593)" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (61, "1 min 01 s"), (3660, "1 h 01 min")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text
