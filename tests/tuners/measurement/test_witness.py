"""Whether a knob is seen acting, or only set."""

from typing import Any

import pytest
from tests.tuners.statistics_fakes import configuration, header, job, measurement, steps

from flyball.tuners.base import Measurement
from flyball.tuners.measurement.measurement import measure
from flyball.tuners.measurement.witness import idle_knobs

OWN = {"communication_data_type": "fp32", "zero_stage": 2, "threads": 2}


def run(reduced: float = 1000.0, **other: Any) -> Measurement:
    sent = {"reduce_scatter_tensor": reduced, "all_gather_into_tensor": 500.0}
    return measurement(communicated_bytes_per_step=sent, forwards_a_step=4.0, **other)


@pytest.mark.parametrize(
    ("case", "reduced", "moved", "idle"),
    [
        ("half the bytes", 500.0, {}, ()),
        ("all of the bytes", 1000.0, {}, ("communication_data_type",)),
        ("wider, more bytes", 1000.0, {"communication_data_type": "fp32"}, ()),
        ("another stage reduces otherwise", 1000.0, {"zero_stage": 0}, ()),
    ],
)
def test_a_narrow_type_on_the_wire_must_show_in_the_bytes(
    case: str, reduced: float, moved: dict[str, Any], idle: tuple[str, ...]
) -> None:
    assignment = {**OWN, "communication_data_type": "bf16", **moved}
    own = configuration(assignment=assignment)
    assert idle_knobs(own, [run(reduced)], [run()], OWN) == idle
    assert idle_knobs(own, [run(reduced)]) == ()


def test_more_micro_batches_a_step_reduce_more_often() -> None:
    own = configuration(assignment={**OWN, "communication_data_type": "bf16"})
    before = measurement(communicated_bytes_per_step={"all_reduce": 1000.0}, forwards_a_step=1.0)
    assert idle_knobs(own, [run(2000.0)], [before], OWN) == ()


@pytest.mark.parametrize(("name", "value"), [("threads", 8), ("zero_stage", 1)])
def test_what_the_engine_says_of_itself_is_believed(name: str, value: int) -> None:
    """A script that calls torch.set_num_threads, a launcher that overrides the config."""
    journals = job(steps([0.1] * 20), **header(threads=8, zero_stage=1))
    seen = measure(journals)
    assert isinstance(seen, Measurement)
    assert idle_knobs(configuration(assignment={name: value}), [seen]) == ()
    assert idle_knobs(configuration(assignment={name: 0}), [seen]) == (name,)
    assert idle_knobs(configuration(assignment={name: 0}), [measurement()]) == ()


ALLOCATOR = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
SEGMENTS = {"reserved": 2, "allocated": 1}


def remembering(*ranks: dict[str, Any]) -> Measurement:
    """A run whose ranks told this of their memory."""
    seen = measure(job(*(steps([0.1] * 20, memory=memory) for memory in ranks)))
    assert isinstance(seen, Measurement)
    return seen


FIXED, GROWING = remembering(SEGMENTS), remembering({**SEGMENTS, "expandable": True})
PARTLY = remembering({**SEGMENTS, "expandable": True}, SEGMENTS)
ON_CPU = remembering({"rss": 1})


@pytest.mark.parametrize(
    ("case", "wanted", "run", "baseline", "acts"),
    [
        ("seen", True, GROWING, [FIXED], True),
        ("seen, the baseline not looked at", True, GROWING, [], True),
        ("not seen", True, FIXED, [FIXED], False),
        ("seen on one rank of two", True, PARTLY, [FIXED], False),
        ("no allocator told of itself", True, ON_CPU, [], False),
        ("so without it too", True, GROWING, [GROWING], False),
        ("taken back", False, FIXED, [GROWING], True),
        ("not taken back", False, GROWING, [GROWING], False),
    ],
)
def test_expandable_segments_act_where_every_rank_says_so(
    case: str, wanted: bool, run: Measurement, baseline: list[Measurement], acts: bool
) -> None:
    own = configuration(assignment={"expandable_segments": wanted}, environment=ALLOCATOR)
    assert idle_knobs(own, [run], baseline) == (() if acts else ("expandable_segments",))


def test_segments_that_nobody_moved_are_not_judged() -> None:
    assert idle_knobs(configuration(assignment={"expandable_segments": False}), [GROWING]) == ()


def network(**told: Any) -> Measurement:
    return measurement(witnesses={"network": told} if told else {})


@pytest.mark.parametrize(
    ("case", "seen", "idle"),
    [
        ("NCCL took it", {"told": {"NCCL_ALGO": "Ring"}}, ()),
        ("NCCL took another", {"told": {"NCCL_ALGO": "Tree"}}, ("nccl_algo",)),
        ("NCCL said nothing of it", {"told": {}}, ("nccl_algo",)),
        ("NCCL logs for the user", {"told": None}, ()),
        ("no witness", {}, ("nccl_algo",)),
    ],
)
def test_nccl_must_say_that_it_took_a_variable(
    case: str, seen: dict[str, Any], idle: tuple[str, ...]
) -> None:
    own = configuration(assignment={"nccl_algo": "Ring"}, environment={"NCCL_ALGO": "Ring"})
    assert idle_knobs(own, [network(**seen)]) == idle
