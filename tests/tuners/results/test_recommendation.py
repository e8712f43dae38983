import json
import math
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from tests.tuners.recommendation_fakes import AFTER, BEFORE, REASONS, fired, kept, recommended
from tests.tuners.statistics_fakes import configuration, measurement

from flyball.tuners.job.lead import Lead
from flyball.tuners.results import recommendation as module
from flyball.tuners.results.recommendation import changes, objection
from flyball.tuners.results.recommendation_json import document
from flyball.tuners.verification.loss_guard import Guard, LossVerdict
from flyball.tuners.verification.verification import Decision, verify

SCHEMA = json.loads((Path(module.__file__).parents[1] / "schema" / "recommendation.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


LEAD = Lead(url="http://agent/api/v1/tuning_requests/1", run="gpt", alert=fired().alert)


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "recommendation",
    [
        recommended(),
        kept(),
        recommended(
            verdict=Decision.UNVERIFIED, speedup=None, verification=None, loss=None, confirmation=None
        ),
        recommended(alerts=(fired(), fired(lead=LEAD, value=math.nan))),
        kept(
            verdict=Decision.UNVERIFIED, verification=verify(["one"], None, may_continue=lambda runs: False)
        ),
    ],
    ids=["recommended", "keep", "unverified", "led by alerts", "no round was made"],
)
def test_what_is_written_follows_the_schema(recommendation):
    VALIDATOR.validate(json.loads(json.dumps(document(recommendation), allow_nan=False)))


def test_a_noise_that_was_not_measured_is_null():
    nothing = verify(["one"], None, may_continue=lambda runs: False)
    found = document(kept(verdict=Decision.UNVERIFIED, verification=nothing))["verification"]
    assert (found["rounds"], found["noise_floor"], found["minimum_gain"]) == (0, None, 0.01)


@pytest.mark.parametrize(
    "contradiction",
    [
        {"verdict": "perhaps"},
        {"changes": []},
        {"speedup": None},
        {"verification": None},
        {"loss_guard": {**document(recommended())["loss_guard"], "guard": "not_judged"}},
        {"more": 1},
    ],
    ids=lambda value: next(iter(value)),
)
def test_the_schema_refuses_a_recommendation_that_contradicts_itself(contradiction):
    assert not VALIDATOR.is_valid({**document(recommended()), **contradiction})


def test_every_key_that_differs_is_a_change_with_its_reason():
    before = configuration(BEFORE)
    after = configuration(AFTER, environment={"NCCL_ALGO": "Ring"}, arguments={"--batch": "8"})
    found = {change.path: change for change in changes(before, after, REASONS)}
    assert found.keys() == {
        "train_micro_batch_size_per_gpu",
        "zero_optimization.stage",
        "NCCL_ALGO",
        "--batch",
    }
    stage = found["zero_optimization.stage"]
    assert (stage.before, stage.after, stage.reason) == (3, 1, "the model fits without partitioning")
    assert (found["NCCL_ALGO"].place, found["NCCL_ALGO"].before) == ("environment", None)
    assert found["--batch"].reason == "follows from the other changes"
    assert changes(before, before, REASONS) == ()


def test_a_change_that_an_alert_suggested_begins_with_it():
    before, after = configuration(BEFORE), configuration(AFTER)
    found = {
        change.path: change
        for change in changes(before, after, REASONS, {"zero_optimization": fired("P2pLatencyHigh", LEAD)})
    }
    stage, micro = found["zero_optimization.stage"], found["train_micro_batch_size_per_gpu"]
    assert stage.reason == "P2pLatencyHigh fired in the run gpt: the model fits without partitioning"
    assert (stage.alert, micro.alert, micro.reason) == ("P2pLatencyHigh", None, "fewer, larger kernels")


def test_a_key_set_to_null_differs_from_none_at_all():
    assert len(changes(configuration({"fp16": None}), configuration({}), {})) == 1


PASSED = LossVerdict(guard=Guard.PASSED, reason="fine")
NOT_JUDGED = LossVerdict(guard=Guard.NOT_JUDGED, reason="too few pairs")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, None),
        ({"idle_knobs": ["powersgd"]}, "no effect of powersgd was seen"),
        ({"changes_numerics": True}, "its loss was not judged"),
        ({"changes_numerics": True, "loss": NOT_JUDGED}, "too few pairs"),
        ({"changes_numerics": True, "loss": PASSED}, None),
        ({"loss": NOT_JUDGED}, None),
        ({"loss": replace(PASSED, guard=Guard.FAILED, excess_least=0.004)}, None),
        ({"loss": replace(PASSED, guard=Guard.FAILED, excess_least=0.03)}, "it costs loss, at least +3.00%"),
        ({"memory_limit_ratio": 0.5}, "it reserved 80% of the device"),
    ],
)
def test_what_must_not_be_recommended(options, words):
    run = measurement(peak_reserved_bytes=80, device_memory_bytes=100)
    found = objection([run], **options)
    assert (found is None) if words is None else (words in found)


def test_unknown_memory_is_no_objection():
    assert objection([measurement(peak_reserved_bytes=80)]) is None
