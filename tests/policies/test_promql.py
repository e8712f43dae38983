"""What a rule's condition is in PromQL."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyball.collectors import catalog
from flyball.policies.durations import parse_duration
from flyball.policies.promql import condition, duration, number, quoted, recordings
from flyball.policies.rule import (
    Aggregate,
    Arithmetic,
    Comparison,
    Expression,
    Match,
    Matcher,
    Operand,
    Rule,
)

POWER = Operand(metric=catalog.GPU_POWER)
BUSY = Operand(metric=catalog.GPU_SM_UTILIZATION, aggregate=Aggregate.AVG, window_seconds=120)
RETRIES = Operand(metric=catalog.ALLOCATOR_RETRIES, aggregate=Aggregate.INCREASE, window_seconds=600)
STEP = Operand(metric=catalog.STEP_SECONDS, aggregate=Aggregate.AVG, window_seconds=300)
LOSS = Operand(metric=catalog.LOSS)
FREE = Operand(metric=catalog.HOST_FILESYSTEM_FREE)


def rule(
    left: Operand,
    comparison: Comparison = Comparison.ABOVE,
    threshold: float = 0.0,
    *,
    arithmetic: Arithmetic | None = None,
    right: Operand | None = None,
    absent: bool = False,
    phase: str = "",
    within: float = 0.0,
) -> Rule:
    return Rule(
        alert="A",
        expression=Expression(left=left, arithmetic=arithmetic, right=right),
        comparison=comparison,
        threshold=threshold,
        absent=absent,
        phase=phase,
        within_seconds=within,
    )


@pytest.mark.parametrize(
    ("given_rule", "expected"),
    [
        (rule(POWER, Comparison.ABOVE, 700), "flyball_gpu_power_watts > 700"),
        (rule(POWER, Comparison.AT_LEAST, 0.5), "flyball_gpu_power_watts >= 0.5"),
        (rule(POWER, Comparison.BELOW, -1), "flyball_gpu_power_watts < -1"),
        (rule(POWER, Comparison.AT_MOST, 50e-6), "flyball_gpu_power_watts <= 0.00005"),
        (rule(POWER, Comparison.EQUAL, 1e300), "flyball_gpu_power_watts == 1e+300"),
        (rule(POWER, Comparison.NOT_EQUAL, 2), "flyball_gpu_power_watts != 2"),
        (rule(LOSS, Comparison.NAN), "flyball_loss != flyball_loss"),
    ],
)
def test_comparisons(given_rule: Rule, expected: str) -> None:
    assert condition(given_rule) == expected


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        (Aggregate.AVG, "avg_over_time(flyball_loss[1m30s]) > 0 and flyball_loss"),
        (Aggregate.MIN, "min_over_time(flyball_loss[1m30s]) > 0 and flyball_loss"),
        (Aggregate.MAX, "max_over_time(flyball_loss[1m30s]) > 0 and flyball_loss"),
        (Aggregate.P50, "quantile_over_time(0.5, flyball_loss[1m30s]) > 0 and flyball_loss"),
        (Aggregate.P90, "quantile_over_time(0.9, flyball_loss[1m30s]) > 0 and flyball_loss"),
        (Aggregate.P99, "quantile_over_time(0.99, flyball_loss[1m30s]) > 0 and flyball_loss"),
    ],
)
def test_a_window_counts_only_while_the_series_has_a_sample(aggregate: Aggregate, expected: str) -> None:
    assert condition(rule(replace(LOSS, aggregate=aggregate, window_seconds=90))) == expected


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        (Aggregate.LAST, "flyball_allocator_retries_total > 0"),
        (
            Aggregate.RATE,
            "rate(flyball_allocator_retries_total[10m]) > 0 and flyball_allocator_retries_total",
        ),
        (
            Aggregate.INCREASE,
            "increase(flyball_allocator_retries_total[10m]) > 0 and flyball_allocator_retries_total",
        ),
    ],
)
def test_counters_keep_their_names(aggregate: Aggregate, expected: str) -> None:
    assert condition(rule(replace(RETRIES, aggregate=aggregate))) == expected


@pytest.mark.parametrize(
    ("aggregate", "value"),
    [
        (Aggregate.AVG, "rate(flyball_step_seconds_sum[5m]) / rate(flyball_step_seconds_count[5m])"),
        (Aggregate.P90, "histogram_quantile(0.9, rate(flyball_step_seconds_bucket[5m]))"),
        (Aggregate.RATE, "rate(flyball_step_seconds_count[5m])"),
        (Aggregate.INCREASE, "increase(flyball_step_seconds_count[5m])"),
    ],
)
def test_histograms_are_asked_by_their_parts(aggregate: Aggregate, value: str) -> None:
    expected = f"{value} > 0 and flyball_step_seconds_count"
    assert condition(rule(replace(STEP, aggregate=aggregate))) == expected


def test_matchers_stand_at_every_selector_of_their_operand() -> None:
    matchers = (
        Matcher(label="run", match=Match.EQUAL, value='a "b" \\ \n'),
        Matcher(label="rank", match=Match.NOT_REGEX, value="1.*"),
    )
    selector = r'{run="a \"b\" \\ \n", rank!~"1.*"}'
    assert condition(rule(replace(LOSS, matchers=matchers, aggregate=Aggregate.MIN, window_seconds=60))) == (
        f"min_over_time(flyball_loss{selector}[1m]) > 0 and flyball_loss{selector}"
    )


def test_a_partner_needs_no_current_sample_of_its_own() -> None:
    size = Operand(metric=catalog.HOST_FILESYSTEM_SIZE, aggregate=Aggregate.MAX, window_seconds=60)
    given_rule = rule(FREE, Comparison.BELOW, 0.1, arithmetic=Arithmetic.DIVIDED_BY, right=size)
    assert condition(given_rule) == (
        "flyball_host_filesystem_free_bytes / max_over_time(flyball_host_filesystem_size_bytes[1m]) < 0.1"
    )


def test_means_of_histograms_are_kept_together_in_arithmetic() -> None:
    usual = replace(STEP, window_seconds=1800, offset_seconds=300)
    given_rule = rule(STEP, threshold=1.5, arithmetic=Arithmetic.DIVIDED_BY, right=usual)
    assert condition(given_rule) == (
        "(rate(flyball_step_seconds_sum[5m]) / rate(flyball_step_seconds_count[5m])) / "
        "(rate(flyball_step_seconds_sum[30m] offset 5m) / rate(flyball_step_seconds_count[30m] offset 5m))"
        " > 1.5 and flyball_step_seconds_count"
    )


@pytest.mark.parametrize(
    ("operand", "key"),
    [
        (POWER, "uuid"),
        (LOSS, "run, rank"),
        (Operand(metric=catalog.P2P_LATENCY, aggregate=Aggregate.RATE, window_seconds=60), "run"),
    ],
)
def test_a_phase_is_looked_up_by_gpu_else_rank_else_run(operand: Operand, key: str) -> None:
    for expression in recordings(rule(operand, phase="stepping")).values():
        assert expression.endswith(f' and on ({key}) flyball_run_info{{phase="stepping"}}')


def test_what_stands_in_a_phase_is_recorded() -> None:
    assert recordings(rule(BUSY, phase="stepping")) == {
        "stepping:flyball_gpu_sm_utilization_ratio": (
            'flyball_gpu_sm_utilization_ratio and on (uuid) flyball_run_info{phase="stepping"}'
        )
    }
    assert recordings(rule(BUSY)) == {}
    assert recordings(rule(LOSS, absent=True, phase="stepping")) == {}


@pytest.mark.parametrize(
    ("aggregate", "parts"),
    [
        (Aggregate.AVG, ["sum", "count"]),
        (Aggregate.P90, ["bucket", "count"]),
        (Aggregate.RATE, ["count"]),
        (Aggregate.INCREASE, ["count"]),
    ],
)
def test_of_a_histogram_the_parts_are_recorded_that_are_asked(aggregate: Aggregate, parts: list[str]) -> None:
    names = [f"stepping:flyball_step_seconds_{part}" for part in parts]
    assert list(recordings(rule(replace(STEP, aggregate=aggregate), phase="stepping"))) == names


UNDER_WAY = 'flyball_run_info{phase=~"stepping|evaluating|checkpointing"}'


@pytest.mark.parametrize(
    ("operand", "within", "expected"),
    [
        pytest.param(LOSS, 0, "stepping:flyball_loss > 0", id="last"),
        pytest.param(
            LOSS,
            120,
            "last_over_time(stepping:flyball_loss[2m]) > 0 and flyball_loss and on (run, rank) " + UNDER_WAY,
            id="last, remembered",
        ),
        pytest.param(
            BUSY,
            0,
            "avg_over_time(stepping:flyball_gpu_sm_utilization_ratio[2m]) > 0"
            " and stepping:flyball_gpu_sm_utilization_ratio",
            id="window",
        ),
        pytest.param(
            BUSY,
            120,
            "avg_over_time(stepping:flyball_gpu_sm_utilization_ratio[2m]) > 0"
            " and flyball_gpu_sm_utilization_ratio and on (uuid) " + UNDER_WAY,
            id="remembered as long as the window",
        ),
        pytest.param(
            BUSY,
            60,
            "avg_over_time(stepping:flyball_gpu_sm_utilization_ratio[2m]) > 0"
            " and last_over_time(stepping:flyball_gpu_sm_utilization_ratio[1m])"
            " and flyball_gpu_sm_utilization_ratio and on (uuid) " + UNDER_WAY,
            id="remembered for less",
        ),
        pytest.param(
            BUSY,
            300,
            "(avg_over_time(stepping:flyball_gpu_sm_utilization_ratio[2m])"
            " or avg_over_time(stepping:flyball_gpu_sm_utilization_ratio[5m])) > 0"
            " and flyball_gpu_sm_utilization_ratio and on (uuid) " + UNDER_WAY,
            id="remembered for longer",
        ),
        pytest.param(
            STEP,
            600,
            "(rate(stepping:flyball_step_seconds_sum[5m]) / rate(stepping:flyball_step_seconds_count[5m])"
            " > -Inf or rate(stepping:flyball_step_seconds_sum[10m])"
            " / rate(stepping:flyball_step_seconds_count[10m])) > 0"
            " and flyball_step_seconds_count and on (run, rank) " + UNDER_WAY,
            id="a mean of nothing is none",
        ),
    ],
)
def test_a_rule_with_a_phase_looks_at_records(operand: Operand, within: float, expected: str) -> None:
    assert condition(rule(operand, phase="stepping", within=within)) == expected


@pytest.mark.parametrize(
    ("operand", "expected"),
    [
        (LOSS, "absent(flyball_loss)"),
        (replace(LOSS, aggregate=Aggregate.AVG, window_seconds=60), "absent_over_time(flyball_loss[1m])"),
        (replace(LOSS, offset_seconds=60), "absent(flyball_loss offset 1m)"),
        (STEP, "absent_over_time(flyball_step_seconds_count[5m])"),
    ],
)
def test_absence(operand: Operand, expected: str) -> None:
    assert condition(rule(operand, absent=True)) == expected


@given(st.floats(allow_nan=False))
def test_numbers_are_read_back_to_the_same_bits(value: float) -> None:
    assert float(number(value)) == value
    assert math.copysign(1, float(number(value))) == math.copysign(1, value)


@given(st.integers(min_value=0, max_value=10**12))
def test_durations_are_read_back_to_the_millisecond(milliseconds: int) -> None:
    assert round(parse_duration(duration(milliseconds / 1000)) * 1000) == milliseconds


def test_what_cannot_be_seen_is_escaped() -> None:
    assert quoted("a\x00b\u202ec\U0001f600é") == '"a\\U00000000b\\U0000202ec\U0001f600é"'
