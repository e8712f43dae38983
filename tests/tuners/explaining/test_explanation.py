"""What explains a verdict, on the screen, on the page and in the document."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from tests.tuners.explanation_fakes import EFFECTS, effect, explained
from tests.tuners.recommendation_fakes import fired, kept, recommended
from tests.tuners.results.test_report import Balance
from tests.tuners.results.test_summary import MANY, USE

from flyball import tuners
from flyball.tuners.base import Interval
from flyball.tuners.explaining.explanation import EffectKind, Importance, KnobShare
from flyball.tuners.explaining.explanation_text import effect_text, payback_text
from flyball.tuners.explaining.study_cost import Payback
from flyball.tuners.results.recommendation import Recommendation
from flyball.tuners.results.recommendation_json import document
from flyball.tuners.results.report import render_report
from flyball.tuners.results.summary import render_summary

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(tuners.__file__).parent / "schema" / "recommendation.schema.json").read_text())
)
TOO_FEW = Importance(points=7, reason="not enough trials: 7 configurations were measured, 12 are needed")


def summary(recommendation: Recommendation) -> str:
    return render_summary(recommendation, use=USE)


def page(recommendation: Recommendation) -> str:
    return render_report(recommendation, [], use=USE, command="x")


@pytest.mark.parametrize(
    "recommendation",
    [
        recommended(explanation=explained()),
        recommended(explanation=explained(), changes=MANY),
        recommended(
            explanation=explained(effects=(*EFFECTS, effect("threads", EffectKind.SLOWER, 0.9))),
            changes=MANY,
            alerts=tuple(fired(f"LongNameOfAnAlert{n}") for n in range(9)),
        ),
        kept(explanation=explained(effects=(), payback=None, speed=TOO_FEW)),
    ],
    ids=["recommended", "many changes", "many changes and alerts", "keep"],
)
def test_the_screen_holds_it_too(recommendation: Recommendation) -> None:
    lines = summary(recommendation).splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("  cost        2 GPU hours") for line in lines)


def test_the_screen_says_what_each_change_brings_beside_it() -> None:
    text = summary(recommended(explanation=explained()))
    for words in (
        "train_micro_batch_size_per_gpu: 1 -> 8 (1.120x; fewer, larger kernels)",
        "zero_optimization.stage: 3 -> 1 (1.001x; the model fits",
        "compile: (unset) -> true (needed; ",
        "  matters     micro_batch 71% (52% to 83%), zero_stage 20% (9% to 35%)\n",
        "  cost        2 GPU hours; paid back in 1.25 h of use (1.1 h to no bound)\n",
        "  may go      zero_stage: without it nothing measurable is lost\n",
    ):
        assert words in text
    assert "12 s were left" not in text, "the report says it"


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        ((0.02, 0.01, 0.03), "after 1.2 min of production (0.6 to 1.8 min)"),
        ((0.9, 0.5, 1.5), "after 54 min of production (30 min to 1.5 h)"),
        ((100.0, 50.0, None), "after 4.17 days of production (2.08 days to no bound)"),
    ],
)
def test_payback_is_said_in_the_unit_that_fits(hours: tuple[float, float, float | None], text: str) -> None:
    point, low, high = hours
    assert payback_text(Payback(point=point, low=low, high=high)) == text


def test_a_change_that_stands_in_the_way_is_said() -> None:
    slower = effect("threads", EffectKind.SLOWER, 0.9)
    text = summary(recommended(explanation=explained(effects=(slower,))))
    assert "  look at     threads: measured better without it\n" in text
    assert effect_text(slower) == "better without it: 0.900x (0.891 to 0.909)"


def test_too_few_trials_are_said_on_the_screen_and_on_the_page() -> None:
    found = recommended(explanation=explained(speed=TOO_FEW))
    assert "  matters     not enough trials: 7 configurations were measured" in summary(found)
    assert TOO_FEW.reason in page(found)


def test_a_knob_that_stands_out_by_chance_is_not_said_to_matter() -> None:
    shares = (("threads", 0.58, 0.99), ("zero_stage", 0.02, 0.83))
    knobs = tuple(
        KnobShare(knob=knob, share=Interval(point=point, low=0.0, high=high)) for knob, point, high in shares
    )
    text = summary(recommended(explanation=explained(speed=Importance(knobs=knobs, points=13))))
    assert "  matters     not certain which knob, most likely threads 58% (0% to 99%)\n" in text


@pytest.mark.parametrize(
    "recommendation",
    [
        recommended(explanation=explained()),
        recommended(explanation=explained(memory=explained().speed)),
        kept(explanation=explained(effects=(), payback=None, speed=TOO_FEW, not_tried=())),
        recommended(),
    ],
    ids=["all of it", "memory too", "keep", "a study over production runs"],
)
def test_the_page_is_well_formed_and_the_document_follows_the_schema(
    recommendation: Recommendation,
) -> None:
    balance = Balance()
    balance.feed(page(recommendation))
    assert balance.open == []
    SCHEMA.validate(json.loads(json.dumps(document(recommendation), allow_nan=False)))


def test_the_page_has_all_of_it_with_what_came_from_runs_escaped() -> None:
    text = page(recommended(explanation=explained(memory=explained().speed)))
    for words in (
        "1.120x (1.109 to 1.131)",
        "without it nothing measurable is lost (0.991 to 1.011)",
        "needed: without it trial 31 ended as out of memory: &lt;b&gt;",
        "not measured: 12 s were left",
        "52 to 83%",
        "Of what fits into memory:",
        "8 ranks for 15 min 00 s",
        "after 1.25 h of production (1.1 h to no bound)",
        "the job is not a &lt;i&gt;pipeline&lt;/i&gt;",
        "<td>72</td><td>of 96 combinations</td>",
    ):
        assert words in text
    assert "<i>" not in text


def test_the_document_says_numbers_and_words() -> None:
    found = document(recommended(explanation=explained()))["explanation"]
    first, *_, last = found["effects"]
    assert first["ratio"] == {"point": 1.12, "low": pytest.approx(1.1088), "high": pytest.approx(1.1312)}
    assert (first["effect"], first["measured_by"], first["text"]) == (
        "faster",
        "ablation",
        "1.120x (1.109 to 1.131)",
    )
    assert (last["effect"], last["ratio"], last["reason"]) == ("not_measured", None, "12 s were left")
    assert found["cost"]["device_hours"] == pytest.approx(2.0)
    assert found["payback"]["production_hours"] == {"point": 1.25, "low": 1.1, "high": None}
    assert found["not_tried"][1]["text"] == "72 of 96 combinations"
    assert document(replace(recommended(), explanation=None))["explanation"] is None
