import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tuners.statistics_fakes import header, job, journal, steps

from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Measurement
from flyball.tuners.measurement.feeding import Feeding
from flyball.tuners.measurement.interval import rate
from flyball.tuners.measurement.measurement import Fault, Invalid, measure

STEADY = [0.1] * 20


def measured(journals, **options) -> Measurement:
    result = measure(journals, **options)
    assert isinstance(result, Measurement), result
    return result


def fault(journals) -> Invalid:
    result = measure(journals)
    assert isinstance(result, Invalid)
    return result


@pytest.mark.parametrize(
    ("case", "journals", "expected"),
    [
        ("one rank", job(steps(STEADY)), 40.0),
        ("two replicas feed twice as much", job(steps(STEADY), steps(STEADY)), 80.0),
        ("the slowest rank counts", job(steps(STEADY), steps([0.2] * 20)), 40.0),
        (
            "the stages of a pipeline report the same samples",
            job(*[steps(STEADY)] * 4, data_parallel_size=2, engine_class="PipelineEngine"),
            80.0,
        ),
        (
            "a middle stage may report none",
            job(steps(STEADY), steps(STEADY, samples=0), steps(STEADY), data_parallel_size=1),
            40.0,
        ),
        ("first steps are slow", job(steps([5.0, 1.0, *STEADY])), 40.0),
        ("a long warm-up", job(steps([3.0, 2.0, 2.0, 1.5, 0.8, 0.5, *STEADY])), 40.0),
        ("a rank that is a step behind", job(steps(STEADY), steps(STEADY[:-1])), 80.0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rate_is_what_was_fed_over_the_wall_clock_after_warmup(case, journals, expected):
    assert measured(journals).samples_per_second.point == pytest.approx(expected)


def test_skipped_steps_take_time_but_feed_nothing():
    skipped = [0] * 10 + [1, 0] * 10
    run = measured(job(steps([0.1] * 30, skipped=skipped)))
    kept = run.steps - run.skipped_steps
    assert run.skipped_steps > 0
    assert run.samples_per_second.point == pytest.approx(4 * kept / (0.1 * run.steps))


def test_steps_skipped_while_the_loss_scale_settles_are_warmup():
    run = measured(job(steps([0.1] * 30, skipped=[1] * 8 + [0] * 22)))
    assert (run.warmup_steps, run.skipped_steps) == (8, 0)
    assert run.samples_per_second.point == pytest.approx(40.0)


def test_records_that_stand_for_several_steps_count_as_several():
    coarse = [{**each, "step": 5 * number, "count": 5, "samples": 20, "forwards": 5, "seconds": 0.5}
              for number, each in enumerate(steps([0.1] * 12), start=1)]  # fmt: skip
    run = measured(job(steps([0.1] * 60), coarse))
    assert run.samples_per_second.point == pytest.approx(80.0)
    assert run.steps + run.warmup_steps == 60
    assert run.step_seconds_median == pytest.approx(0.1)


def test_compile_passes_are_warmup():
    records = steps([0.1] * 6 + [4.0] + [0.1] * 20)
    witness = {"kind": "witness", "knob": "compile", "value": {"graphs": 2}, "clock": records[6]["clock"]}
    run = measured(job([*records[:7], witness, *records[7:]]))
    assert run.warmup_steps >= 7
    assert run.samples_per_second.point == pytest.approx(40.0)


def test_the_same_witness_again_is_no_compile_pass():
    records = steps([0.1] * 20)
    same = [
        {"kind": "witness", "knob": "compile", "value": {"graphs": 2}, "clock": each["clock"]}
        for each in records
    ]
    run = measured(job([each for pair in zip(records, same, strict=True) for each in pair]))
    assert run.warmup_steps <= 3


def test_a_run_that_was_stopped_with_just_enough_steps_is_measured():
    """As seen where the race was lost after eight steps, and all eight together trend a little longer."""
    run = measured(job(steps([0.111, 0.090, 0.130, 0.078, 0.086, 0.073, 0.057, 0.059])))
    assert (run.warmup_steps, run.steps) == (2, 6)


def test_a_single_slow_step_in_the_middle_is_not_taken_for_warmup():
    run = measured(job(steps([0.1] * 8 + [0.5] + [0.1] * 15)))
    assert run.warmup_steps == 2
    assert run.samples_per_second.point < 40.0


@pytest.mark.parametrize(
    ("journals", "expected", "words"),
    [
        ({}, Fault.NO_JOURNAL, "deepspeed.initialize"),
        ({0: journal()}, Fault.NO_JOURNAL, "deepspeed.initialize"),
        ({0: journal(header(world_size=2), *steps(STEADY))}, Fault.MISSING_RANK, "rank 1 of 2"),
        (job(steps([])), Fault.TOO_FEW_STEPS, "no step"),
        (job(steps([0.1] * 6)), Fault.TOO_FEW_STEPS, "6 steps were made"),
        (job(steps(STEADY, samples=0)), Fault.NO_SAMPLES, "forward"),
        (job(steps(STEADY, skipped=1)), Fault.NO_SAMPLES, "skipped"),
        (job(steps(STEADY, loss=[2.0] * 12 + [math.nan] * 8)), Fault.DIVERGED, "52 samples"),
        (job(steps(STEADY), micro_batch=32), Fault.FED_BATCH, "feeds 4 samples a forward"),
    ],
)
def test_what_cannot_be_measured_says_why(journals, expected, words):
    found = fault(journals)
    assert found.fault is expected
    assert words in found.reason


def test_a_wrong_batch_is_an_invalid_config_with_the_mend():
    found = fault(job(steps(STEADY), micro_batch=32))
    assert found.outcome is OutcomeKind.INVALID_CONFIG
    assert "--map train_micro_batch_size_per_gpu=" in found.reason


def test_a_smaller_last_batch_is_no_wrong_batch():
    records = steps([0.1] * 20)
    records[9] = {**records[9], "samples": 1}
    assert measured(job(records)).fed_batch == 4


@pytest.mark.parametrize(
    ("case", "micro_batch", "rows", "tokens", "follows"),
    [
        ("packed into one row", 8, 1, 800, True),
        ("two rows a sample", 8, 16, 800, True),
        ("padded to a longer batch", 8, 1, 1100, True),
        ("hard-coded", 8, 1, 400, False),
        ("hard-coded, tokens unknown", 8, 4, 0, False),
        ("smaller", 2, 1, 200, True),
        ("smaller, hard-coded", 2, 1, 400, False),
    ],
)
def test_packed_rows_count_by_the_config_and_must_follow_it(case, micro_batch, rows, tokens, follows):
    def run(micro_batch, rows, tokens):
        fields = {"micro_batch": micro_batch, "samples_from": "config"}
        made = measured(job(steps(STEADY, samples=rows, tokens=tokens), **fields))
        assert made.samples_per_second.point == pytest.approx(micro_batch * 10)
        return Feeding.of(header(**fields), made)

    own = run(4, 4 if not tokens else 1, 400 if tokens else 0)
    found = run(micro_batch, rows, tokens).unlike(own)
    assert (found is None) is follows
    assert own.unlike(own) is None


@pytest.mark.parametrize(
    ("case", "accumulation", "forwards", "own_forwards", "follows"),
    [
        ("as the config says", 2, 2, 4, True),
        ("the script counts to four itself", 1, 4, 4, False),
        ("two forwards a micro batch", 2, 4, 8, True),
        ("two forwards, counted by the script", 2, 8, 8, False),
    ],
)
def test_a_step_takes_as_many_forwards_as_its_config_says(
    case, accumulation, forwards, own_forwards, follows
):
    def run(accumulation, forwards):
        records = steps(STEADY, samples=4 * forwards, forwards=forwards)
        return Feeding.of(
            header(accumulation=accumulation), measured(job(records, accumulation=accumulation))
        )

    found = run(accumulation, forwards).unlike(run(4, own_forwards))
    assert (found is None) is follows
    if found:
        assert found.outcome is OutcomeKind.INVALID_CONFIG
        assert "--map gradient_accumulation_steps=" in found.reason


def test_an_infinite_loss_in_a_skipped_step_is_no_divergence():
    run = measured(job(steps(STEADY, loss=[math.inf] + [2.0] * 19, skipped=[1] + [0] * 19)))
    assert len(run.losses) == 19


def test_losses_are_means_over_ranks_at_the_samples_that_all_replicas_saw():
    run = measured(job(steps(STEADY, loss=3.0), steps(STEADY, loss=5.0)))
    assert run.losses[:2] == ((8.0, 4.0), (16.0, 4.0))
    assert len(run.losses) == 20


def test_only_the_last_stage_of_a_pipeline_needs_to_know_the_loss():
    run = measured(job(steps(STEADY, loss=None), steps(STEADY, loss=5.0), data_parallel_size=1))
    assert run.losses[0] == (4.0, 5.0)


def test_bytes_memory_and_witnesses():
    first = steps(STEADY, communicated={"all_reduce": 100}, memory={"peak_reserved": 7_000})
    second = steps(STEADY, communicated={"all_reduce": 300}, memory={"peak_reserved": 9_000})
    seen = [{"kind": "witness", "knob": "powersgd", "value": {"dense_bytes": n}, "clock": 0} for n in (1, 2)]
    run = measured(job([*first, *seen], second), startup_seconds=3.0, device_memory_bytes=10_000)
    assert run.communicated_bytes_per_step == {"all_reduce": pytest.approx(200)}
    assert (run.peak_reserved_bytes, run.device_memory_bytes, run.startup_seconds) == (9_000, 10_000, 3.0)
    assert run.witnesses["powersgd"] == {"dense_bytes": 2}


def test_live_tensors_are_those_of_the_rank_that_has_most():
    first = steps(STEADY, memory={"peak_reserved": 9, "peak_allocated": 8, "allocated": 3})
    told = [{"peak_reserved": 9, "peak_allocated": 7, "allocated": resting} for resting in (4, *[5] * 18, 4)]
    second = steps(STEADY, memory=told)
    run = measured(job(first, second))
    assert (run.peak_allocated_bytes, run.resting_allocated_bytes) == (8, 5)
    on_cpu = measured(job(steps(STEADY, memory={"rss": 3_000, "peak_rss": 4_000})))
    assert (on_cpu.peak_allocated_bytes, on_cpu.resting_allocated_bytes) == (None, None)


def test_activations_are_those_of_the_engine_that_trains():
    told = [{"kind": "activations", "engine": engine, "bytes": engine + 5, "passes": 3} for engine in (0, 1)]
    assert measured(job([*steps(STEADY), *told])).kept_activation_bytes == 5
    assert measured(job(steps(STEADY))).kept_activation_bytes is None


def test_on_cpu_the_ranks_of_a_host_share_its_memory():
    run = measured(job(*[steps(STEADY, memory={"rss": 3_000, "peak_rss": 4_000})] * 2))
    assert run.peak_reserved_bytes == 8_000


def test_the_engine_that_trains_is_measured_not_the_one_made_first():
    idle = steps([9.0], engine=0)
    records = [header(engine=1), *idle, *steps(STEADY, engine=1)]
    assert measured(job(records)).samples_per_second.point == pytest.approx(40.0)


@settings(max_examples=40)
@given(
    st.lists(st.floats(0.01, 0.2), min_size=12, max_size=60),
    st.integers(1, 3),
    st.floats(0.1, 10),
)
def test_rate_scales_with_time_and_lies_in_its_interval(seconds, ranks, factor):
    one = measured(job(*[steps(seconds)] * ranks)).samples_per_second
    slower = measured(job(*[steps([each * factor for each in seconds])] * ranks)).samples_per_second
    assert one.low <= one.point <= one.high
    assert slower.point * factor == pytest.approx(one.point)


@pytest.mark.parametrize(("correlation", "count"), list(itertools.product((0.0, 0.5), (6, 12, 40, 200))))
def test_the_interval_covers_the_true_rate_although_steps_depend_on_each_other(correlation, count):
    draw = np.random.default_rng(count)
    studies, covered = 400, 0
    for _ in range(studies):
        noise = draw.normal(size=count + 30)
        for index in range(1, len(noise)):
            noise[index] += correlation * noise[index - 1]
        found = rate(np.ones(count), 0.1 * (1 + 0.05 * noise[30:]))
        assert found is not None
        covered += found.interval().low <= 10.0 <= found.interval().high
    # Six to twelve dependent steps cannot show their dependence; what is lost there is bounded here.
    assert covered / studies >= (0.90 if correlation == 0 or count >= 40 else 0.80)


def test_a_workload_without_tokens_has_no_rate_of_them():
    assert measured(job(steps(STEADY, samples=4, tokens=0))).tokens_per_second is None
    assert measured(job(steps(STEADY, samples=4, tokens=40))).tokens_per_second > 0
