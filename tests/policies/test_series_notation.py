"""Series and values as they are written in tests of policies."""

import math

import pytest

from flyball.collectors import catalog
from flyball.policies.series_notation import Identity, Mark, NotationError, read_identity, read_values

GAP, STALE = Mark.GAP, Mark.STALE


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1", (1.0,)),
        ("1 -2.5 +3 .5 1e-3", (1.0, -2.5, 3.0, 0.5, 0.001)),
        ("7x3", (7.0, 7.0, 7.0, 7.0)),
        ("7x0", (7.0,)),
        ("1+2x3", (1.0, 3.0, 5.0, 7.0)),
        ("-1-.5x2", (-1.0, -1.5, -2.0)),
        ("1e3-1e2x1", (1000.0, 900.0)),
        ("_ _x3 stale 1", (GAP, GAP, GAP, GAP, STALE, 1.0)),
        ("_x0 1", (1.0,)),
        ("Inf -Inf", (math.inf, -math.inf)),
        ("  1\n\t2 ", (1.0, 2.0)),
    ],
)
def test_values(text: str, values: tuple[float | Mark, ...]) -> None:
    assert read_values(text) == values


def test_steps_are_added_one_after_another_as_prometheus_adds_them() -> None:
    assert read_values("0+0.1x3")[3] == 0.1 + 0.1 + 0.1 != 0.3


def test_not_a_number() -> None:
    (value,) = read_values("NaN")
    assert isinstance(value, float)
    assert math.isnan(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there are no values; write some, as in '1 2 3', '0.9x10' or '1+2x5'"),
        ("1 x3", "'x3' is no value; write a number, '0.9x10', '1+2x5', '_', '_x3' or 'stale'"),
        ("1+2", "'1+2' is no value; write a number, '0.9x10', '1+2x5', '_', '_x3' or 'stale'"),
        ("stalex3", "'stalex3' is no value; write a number, '0.9x10', '1+2x5', '_', '_x3' or 'stale'"),
        ("1x100000", "'1x100000' makes more than 100000 values; write a smaller number"),
        ("0 _x100000", "'_x100000' makes more than 100000 values; write a smaller number"),
    ],
)
def test_values_that_cannot_be_read(text: str, said: str) -> None:
    with pytest.raises(NotationError) as caught:
        read_values(text)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('gpu_power_watts{host="a",gpu="0",uuid="u"}', ("a", "0", "u")),
        ('flyball_gpu_power_watts { uuid = "u", gpu="0", }', ("", "0", "u")),
        ('gpu_power_watts{gpu="a, \\"b\\" } \\\\ \\n"}', ("", 'a, "b" } \\ \n', "")),
        ("gpu_power_watts{}", ("", "", "")),
        ("gpu_power_watts", ("", "", "")),
    ],
)
def test_series(text: str, labels: tuple[str, ...]) -> None:
    assert read_identity(text) == Identity(metric=catalog.GPU_POWER, labels=labels)
