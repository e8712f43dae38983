import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from tests.tuners.recommendation_fakes import BEFORE, fired, kept, recommended
from tests.tuners.statistics_fakes import configuration, trial

from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Phase
from flyball.tuners.results.report import failures, render_report
from flyball.tuners.results.report_chart import best_so_far
from flyball.tuners.results.summary import NOTHING_VERIFIED
from flyball.tuners.verification.plan import Rules
from flyball.tuners.verification.verification import Decision

TRIALS = [
    trial(0, phase=Phase.BASELINE, rate=100),
    trial(1, rate=90, stage=3),
    trial(2, rate=None, outcome=OutcomeKind.OUT_OF_MEMORY, reason="<script>alert(1)</script>"),
    trial(3, rate=120, stage="<i>"),
    trial(4, rate=None, outcome=OutcomeKind.OUT_OF_MEMORY, reason="again"),
    trial(5, phase=Phase.VERIFICATION, rate=500),
]


class Balance(HTMLParser):
    """Complains about tags that do not close in order."""

    VOID = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """What closes itself is balanced, unless it holds something as a circle holds its title."""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def render(recommendation=None, trials=TRIALS) -> str:
    page = recommendation or recommended()
    return render_report(page, trials, use="sh cmd_optimal.txt", command="env A='<x>' deepspeed train.py")


@pytest.mark.parametrize(
    ("recommendation", "trials"),
    [
        (recommended(), TRIALS),
        (kept(), TRIALS),
        (
            recommended(verdict=Decision.UNVERIFIED, verification=None, speedup=None, speedup_json=None),
            TRIALS[:1],
        ),
        (kept(verification=None), []),
    ],
    ids=["recommended", "keep", "unverified", "nothing measured"],
)
def test_the_page_is_well_formed_and_its_verdict_comes_first(recommendation, trials):
    page = render(recommendation, trials)
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    body = page.split("<body>")[1]
    assert body.lstrip().startswith(f'<h1 class="{recommendation.verdict.value}">')


def test_the_page_needs_nothing_from_elsewhere():
    page = render()
    assert not re.search(r"(?:src|href|url\()\s*=?\s*[\"']?(?:https?:)?//", page)
    assert len(page) < 30_000


def test_what_comes_from_the_run_is_escaped():
    page = render()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;rings&lt;/b&gt; &amp; trees" in page
    assert "<i>" not in page


def test_alerts_stand_with_what_they_suggest_and_with_their_trials():
    led = fired("FragmentationHigh", suggests=("contiguous_gradients",))
    trials = [replace(TRIALS[0], alerts=(led.alert, led.alert)), *TRIALS[1:]]
    page = render_report(recommended(alerts=(led,)), trials, use="sh x", command="x")
    assert "GPU 0 &lt;waits&gt; &amp; waits</td><td>contiguous_gradients" in page
    assert "<td>FragmentationHigh</td><td class" in page, "once in the trial's row"
    assert "said where to look" not in render_report(recommended(), TRIALS, use="sh x", command="x")


def test_where_nothing_was_verified_the_page_says_what_the_summary_says():
    nothing = replace(kept().verification, rounds=0, candidates=())
    page = render(kept(verdict=Decision.UNVERIFIED, verification=nothing))
    assert NOTHING_VERIFIED in page
    assert "candidate</th>" not in page, "there is none, and the baseline is not one"
    assert "Noise floor" not in page, "which no run has shown"
    assert "Noise floor" in render(kept())
    unknown = render(kept(verification=replace(kept().verification, noise_floor=None)))
    assert "Noise floor not measured" in unknown


def test_the_test_is_the_one_that_was_declared():
    assert f"order; {Rules().test}, looks" in render()
    page = render(recommended(rules=Rules(test="exact one-sided rank-sum")))
    assert "exact one-sided rank-sum" in page
    assert "Wilcoxon" not in page


def test_failures_by_cause():
    (only,) = failures(TRIALS)
    assert (only.outcome, only.count, only.reason) == ("out_of_memory", 2, "<script>alert(1)</script>")


def test_best_so_far_knows_the_search_alone():
    chart = best_so_far(TRIALS)
    assert [mark.kind for mark in chart.marks] == ["good", "plain", "good"]
    heights = [float(point.split(",")[1]) for point in chart.line.split()]
    assert heights == sorted(heights, reverse=True)


def test_no_axis_goes_below_zero_and_large_rates_have_all_their_digits():
    chart = best_so_far([trial(0, phase=Phase.BASELINE, rate=100), trial(1, rate=12_345)])
    assert chart.y_ticks[0].label == "0"
    assert chart.y_ticks[-1].label == "13,325"
    assert "12,345 samples/s" in chart.marks[1].title


def test_of_a_trial_only_what_differs_from_the_users_own_is_shown():
    own = replace(recommended().baseline, configuration=configuration(BEFORE, {"stage": 3, "micro_batch": 1}))
    trials = [trial(0, phase=Phase.BASELINE), trial(1, stage=3, micro_batch=8)]
    page = render(recommended(baseline=own), trials)
    assert "<td>yours</td>" in page
    assert "<td><code>micro_batch=8</code> </td>" in page


def test_every_pair_of_the_verification_is_drawn():
    assert render().count(", round ") == 6
