"""A model of known sizes: its peaks are made by hand, as a device would show them."""

from dataclasses import replace
from typing import Any

import pytest
from tests.tuners.statistics_fakes import configuration, measurement

from flyball.tuners.legality.context import Context
from flyball.tuners.memory.activations import Kind
from flyball.tuners.memory.model import MemoryModel
from flyball.tuners.memory.subject import Subject

P = 10**8
GIB = 2**30
TOKENS, VOCABULARY, WIDTH, LAYERS = 1000, 10_000, 500, 10
CONTEXT = Context(
    world_size=1,
    device="cuda",
    parameters=P,
    largest_parameter=5 * 10**6,
    largest_module=5 * 10**6,
    layers=LAYERS,
    embedding=(VOCABULARY, WIDTH),
    deepspeed_version="0.19.8",
)
ADAMW = {"type": "AdamW", "params": {"torch_adam": True, "fused": True}}
LAYERS_BYTES = 600 * 10**6
"""What the layers keep of one sample in 16 bits."""
LOSS_BYTES = 12 * TOKENS * VOCABULARY
"""What the loss takes of one: 8 bytes of fp32 copies and 4 in 16 bits for each word of the vocabulary."""
KEPT_LOSS_BYTES = 4 * TOKENS * VOCABULARY
"""Those of them that the forward pass keeps."""


def config(micro: int, stage: int = 0, **other: Any) -> dict[str, Any]:
    return {
        "train_micro_batch_size_per_gpu": micro,
        "bf16": {"enabled": True},
        "optimizer": ADAMW,
        "zero_optimization": {"stage": stage, "reduce_bucket_size": 10**7},
        **other,
    }


def subject(
    micro: int,
    stage: int = 0,
    *,
    probe: Any = None,
    arguments: Any = None,
    context: Context = CONTEXT,
    **other: Any,
) -> Subject:
    applied = {"probe": probe or {}, "arguments": arguments or {}}
    found = Subject.of(configuration(config(micro, stage, **other), **applied), context)
    assert found is not None
    return found


def model(*micros: int, fixed: int = 0, always: int = 0) -> MemoryModel:
    """One that saw stage 0 at these micro batches, where nothing is wasted.

    Args:
        micros: micro batches.
        fixed: what comes with the activations and does not depend on the batch.
        always: what lies there between two steps too.
    """
    known = MemoryModel(context=CONTEXT, tokens_a_sample=TOKENS)
    for micro in micros:
        peak = 14 * P + (LAYERS_BYTES + LOSS_BYTES) * micro + fixed + always
        kept = (LAYERS_BYTES + KEPT_LOSS_BYTES) * micro + fixed
        known.add(subject(micro), peak, peak, resting_bytes=14 * P + always, kept_bytes=kept)
    return known


def allocated(known: MemoryModel, wanted: Subject) -> int:
    found = known.predict(wanted)
    assert found is not None
    return found.allocated_bytes


def test_before_any_run_there_is_a_bound_and_no_prediction() -> None:
    known = model()
    assert known.predict(subject(4)) is None
    assert known.least_bytes(subject(4)) == 20 * P


def test_one_run_tells_of_other_micro_batches_and_stages() -> None:
    known = model(8)
    grown = LAYERS_BYTES + LOSS_BYTES
    assert allocated(known, subject(8)) == pytest.approx(14 * P + 8 * grown, rel=1e-3)
    assert allocated(known, subject(16)) == pytest.approx(14 * P + 16 * grown, rel=1e-3)
    offloaded = {"stage": 2, "reduce_bucket_size": 10**7, "offload_optimizer": {"device": "cpu"}}
    found = allocated(known, subject(8, zero_optimization=offloaded))
    assert found == pytest.approx(2 * P + 10**7 + 8 * grown, rel=1e-3)


def test_where_the_optimizer_step_is_the_peak_the_micro_batch_does_not_count() -> None:
    tiny = MemoryModel(context=CONTEXT)
    tiny.add(subject(1), 20 * P, 20 * P)
    assert allocated(tiny, subject(1)) == 20 * P


def test_activations_that_the_step_hides_are_taken_as_measured() -> None:
    """Of what a forward pass keeps, four bytes are the loss's for each word of the vocabulary."""
    known = MemoryModel(context=CONTEXT, tokens_a_sample=TOKENS)
    kept = LAYERS_BYTES // 2 + KEPT_LOSS_BYTES
    known.add(subject(1), 20 * P, 20 * P, resting_bytes=14 * P, kept_bytes=kept)
    expected = 14 * P + 16 * (LAYERS_BYTES // 2 + LOSS_BYTES)
    assert allocated(known, subject(16)) == pytest.approx(expected, rel=1e-3)


def test_what_a_forward_pass_keeps_counts_for_the_bound_but_not_at_stage_3() -> None:
    """There it may be gathered parameters, which do not grow with the batch."""
    for stage, grows in ((1, True), (3, False)):
        known = MemoryModel(context=CONTEXT)
        known.add(subject(8, stage), 20 * P, 20 * P, kept_bytes=8 * LAYERS_BYTES)
        bound = known.least_bytes(subject(32, stage))
        assert bound is not None
        assert (bound > 0.8 * 32 * LAYERS_BYTES) is grows


def test_an_option_of_the_script_says_nothing_certain_of_another_value() -> None:
    """Logits in chunks keep less: what was kept without them rejects nothing."""
    known = MemoryModel(context=CONTEXT)
    known.add(subject(8), 20 * P, 20 * P, kept_bytes=8 * LAYERS_BYTES)
    whole, chunked = (known.least_bytes(subject(32, arguments=each)) for each in ({}, {"--loss-chunks": "8"}))
    assert whole is not None
    assert chunked is not None
    assert chunked < whole
    # An option that carries the batch is no such thing.
    carried = replace(CONTEXT, maps={"train_micro_batch_size_per_gpu": "--batch"})
    assert subject(32, arguments={"--batch": "32"}, context=carried).kind == subject(32).kind


def test_without_checkpointing_a_layer_keeps_many_times_what_enters_it() -> None:
    """Seventeen times at least, where the layer that checkpointing computes again does not show."""
    known, inputs = MemoryModel(context=CONTEXT, tokens_a_sample=TOKENS), LAYERS * TOKENS * WIDTH * 2
    checkpointed = subject(8, probe={"activation_checkpointing": True})
    peak = 14 * P + 8 * (inputs + LOSS_BYTES)
    known.add(checkpointed, peak, peak)
    expected = 14 * P + 8 * (17 * inputs + LOSS_BYTES)
    assert allocated(known, subject(8)) == pytest.approx(expected, rel=1e-2)


def test_two_micro_batches_show_what_does_not_depend_on_them() -> None:
    fixed = 200 * 2**20
    expected = 14 * P + 32 * (LAYERS_BYTES + LOSS_BYTES) + fixed
    assert allocated(model(2, 8, fixed=fixed), subject(32)) == pytest.approx(expected, rel=1e-3)
    assert allocated(model(2, fixed=fixed), subject(32)) > 1.1 * expected


def test_checkpointing_keeps_what_enters_each_layer_and_one_layer() -> None:
    known = model(8)
    kept = LAYERS_BYTES / LAYERS + LAYERS * TOKENS * WIDTH * 2
    found = allocated(known, subject(8, probe={"activation_checkpointing": True}))
    assert found == pytest.approx(14 * P + 8 * (kept + LOSS_BYTES), rel=1e-3)


def test_what_checkpointing_was_seen_to_keep_goes_before_what_follows_from_the_layers() -> None:
    known, checkpointed = model(8), subject(8, probe={"activation_checkpointing": True})
    known.add(checkpointed, 30 * P, 30 * P)
    assert allocated(known, checkpointed) == pytest.approx(30 * P, rel=1e-3)


def test_twice_as_wide_numbers_keep_twice_as_much() -> None:
    wide = subject(8, bf16={"enabled": False})
    assert wide.kind == Kind(element=4, checkpointing=False, compiled=False)
    expected = 12 * P + 8 * (2 * LAYERS_BYTES + 16 * TOKENS * VOCABULARY)
    assert allocated(model(8), wide) == pytest.approx(expected, rel=1e-3)


def test_a_family_is_corrected_by_its_own_peaks() -> None:
    known = model(8)
    before = allocated(known, subject(8, 2))
    other = allocated(known, subject(16))
    for _ in range(3):
        known.add(subject(8, 2), int(before * 1.3), int(before * 1.3))
    after = allocated(known, subject(8, 2))
    assert before * 1.1 < after < before * 1.3
    assert abs(after - before * 1.3) < abs(before - before * 1.3)
    # Stage 0 has its own correction: it follows what the activations were seen to be, not all of the error.
    assert allocated(known, subject(16)) < other * 1.3


def test_what_lies_unused_between_tensors_is_learned() -> None:
    known = MemoryModel(context=CONTEXT)
    for micro in (8, 12, 16):
        peak = 14 * P + LAYERS_BYTES * micro
        known.add(subject(micro), peak, int(peak * 1.25))
    found = known.predict(subject(32))
    assert found is not None
    assert 1.15 < found.reserved_bytes / found.allocated_bytes < 1.25


@pytest.mark.parametrize("fixed", [0, 200 * 2**20])
@pytest.mark.parametrize("always", [0, 3 * GIB])
@pytest.mark.parametrize("micro", [8, 16, 64])
def test_the_bound_grows_with_what_was_measured_and_stays_below_the_truth(
    micro: int, always: int, fixed: int
) -> None:
    known, wanted = model(8, fixed=fixed, always=always), subject(micro)
    bound = known.least_bytes(wanted)
    truth = 14 * P + micro * (LAYERS_BYTES + LOSS_BYTES) + fixed + always
    assert bound is not None
    assert 0.5 * (truth - always) < bound <= truth


def test_a_second_model_beside_the_engine_counts_once() -> None:
    """A frozen teacher, for one: it is there at every micro batch and grows with none."""
    teacher = 3 * GIB
    expected = 14 * P + 32 * (LAYERS_BYTES + LOSS_BYTES) + teacher
    assert allocated(model(8, always=teacher), subject(32)) == pytest.approx(expected, rel=1e-3)


def test_a_peak_that_was_not_the_training_s_rejects_nothing() -> None:
    """An evaluation's, for one: with larger batches it is the same."""
    known = MemoryModel(context=CONTEXT)
    known.add(subject(8), 500 * P, 500 * P, resting_bytes=14 * P, kept_bytes=8 * LAYERS_BYTES)
    bound = known.least_bytes(subject(64))
    assert bound is not None
    assert bound <= 14 * P + 64 * LAYERS_BYTES


def test_without_what_a_forward_pass_left_the_bound_is_only_counted() -> None:
    known = MemoryModel(context=CONTEXT)
    known.add(subject(8), 50 * P, 50 * P, resting_bytes=14 * P)
    assert known.least_bytes(subject(64)) == 20 * P


def test_the_bound_leans_on_no_other_kind_and_no_larger_batch() -> None:
    known = model(8)
    assert known.least_bytes(subject(4)) == 20 * P
    assert known.least_bytes(subject(8, probe={"activation_checkpointing": True})) == 20 * P
    assert known.least_bytes(subject(8, probe={"compile": True})) == 20 * P


def test_a_prediction_is_never_below_the_bound() -> None:
    known = model(8)
    for _ in range(5):
        known.add(subject(8, 2), 5 * P, 5 * P)
    found = known.predict(subject(8, 2))
    assert found is not None
    assert found.allocated_bytes >= (known.least_bytes(subject(8, 2)) or 0)


def test_runs_of_a_study_teach_it() -> None:
    known = MemoryModel(context=CONTEXT)
    run = measurement(10, peak_reserved_bytes=11 * GIB, peak_allocated_bytes=10 * GIB)
    known.learn(configuration(config(8)), run)
    known.learn(configuration(config(8)), None)
    known.learn(configuration(config(8)), measurement(10, peak_reserved_bytes=11 * GIB))
    known.learn(configuration({"bf16": {"enabled": True}}), run)
    assert [peak.allocated_bytes for peak in known.peaks] == [10 * GIB]
    assert known.tokens_a_sample == 10
    known.learn(configuration(config(8)), replace(run, tokens_per_second=None))
    assert known.tokens_a_sample == 10


def test_a_model_of_unknown_size_teaches_nothing() -> None:
    known = MemoryModel(context=replace(CONTEXT, parameters=None))
    known.add(subject(8), 10 * GIB, 11 * GIB)
    assert known.predict(subject(8)) is None
    assert known.least_bytes(subject(8)) is None
