"""What is made of samples, by hand for one series and against the plain definition for many at once."""

import math
import random
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest

from flyball.policies.aggregates import Values, estimated_mean, exact_mean, extreme, mean, quantile, quantiles
from flyball.policies.counter_rates import increases
from flyball.policies.sample_grid import SampleGrid
from flyball.policies.windows import Window

INF, NAN = math.inf, math.nan
Column = Sequence[float | None]


def grid_of(columns: Sequence[Column]) -> tuple[SampleGrid, list[int]]:
    """One line a second from 0 on; None where a series was not given."""
    grid = SampleGrid(3_600_000)
    rows = [grid.allocate(1) for _ in columns]
    for second, line in enumerate(zip(*columns, strict=True)):
        given = [(row, value) for row, value in zip(rows, line, strict=True) if value is not None]
        grid.append(second * 1000, [row for row, _ in given], [value for _, value in given])
    return grid, rows


def worked_out(columns: Sequence[Column], make: Callable[[Window, np.ndarray], Values]) -> list[float | None]:
    """Of windows that hold all; None where there is no value."""
    grid, rows = grid_of(columns)
    with np.errstate(all="ignore"):
        found = make(Window(grid, 0, (len(columns[0]) - 1) * 1000), np.array(rows, np.intp))
    return [float(value) if there else None for value, there in zip(found.values, found.valid, strict=True)]


def random_columns(seed: int, *, odd: bool) -> list[Column]:
    """60 series of 50 readings: with gaps, and now and then what is not finite."""
    drawn = random.Random(seed)
    strange = (NAN, INF, -INF, 1e300, -1e300)

    def value() -> float | None:
        if drawn.random() < 0.1:
            return None
        return drawn.choice(strange) if odd and drawn.random() < 0.02 else drawn.gauss(3.0, 100.0)

    columns: list[Column] = [[value() for _ in range(50)] for _ in range(55)]
    columns += [[drawn.random() for _ in range(50)] for _ in range(4)]
    return [*columns, [None] * 50]


def same(left: Sequence[float | None], right: Sequence[float | None]) -> bool:
    """To the last digit; NaN is NaN."""
    return [str(each) for each in left] == [str(each) for each in right]


def given(column: Column) -> list[float]:
    return [value for value in column if value is not None]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([1.0, 2.0, 6.0], 3.0),
        ([1.7e308, 1.7e308, 1.7e308], 1.7e308),
        ([1e8, 1.0, 1e-8] * 1000, (1e8 + 1.0 + 1e-8) / 3),
        ([INF, 5.0], INF),
        ([5.0, -INF, -INF], -INF),
        ([INF, -INF], NAN),
        ([INF, NAN], NAN),
        ([1.0, NAN, INF], NAN),
    ],
)
def test_a_mean_neither_overflows_nor_drifts_and_keeps_infinities(
    samples: list[float], expected: float
) -> None:
    assert mean(samples) == pytest.approx(expected, rel=1e-14, nan_ok=True)


@pytest.mark.parametrize(
    ("samples", "fraction", "expected"),
    [
        ([10.0, 1.0, 3.0, 2.0], 0.5, 2.5),
        ([10.0, 1.0, 3.0, 2.0], 0.9, 7.9),
        ([4.0], 0.99, 4.0),
        ([NAN, 2.0, 1.0], 0.5, 1.0),
        ([2.0, NAN, NAN, 1.0], 0.0, NAN),
    ],
)
def test_a_quantile_lies_between_the_two_nearest(
    samples: list[float], fraction: float, expected: float
) -> None:
    assert quantile(samples, fraction) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("odd", [False, True], ids=["finite", "odd"])
@pytest.mark.parametrize("seed", range(5))
class TestManySeriesAtOnce:
    def test_means_are_those_of_each(self, seed: int, odd: bool) -> None:
        columns = random_columns(seed, odd=odd)
        expected = [mean(given(column)) if given(column) else None for column in columns]
        assert same(worked_out(columns, exact_mean), expected)

    def test_an_estimate_is_off_by_no_more_than_it_says(self, seed: int, odd: bool) -> None:
        grid, rows = grid_of(random_columns(seed, odd=odd))
        window, every = Window(grid, 0, 49_000), np.array(rows, np.intp)
        with np.errstate(all="ignore"):
            estimated, exact = estimated_mean(window, every), exact_mean(window, every)
            assert estimated.errors is not None
            apart = np.abs(estimated.values - exact.values)
        certain = exact.valid & np.isfinite(estimated.errors)
        assert certain.sum() > 15
        assert (apart[certain] <= estimated.errors[certain]).all()
        assert (estimated.errors[certain] < 1e-9 * np.abs(exact.values[certain]).max()).all()

    def test_quantiles_are_those_of_each(self, seed: int, odd: bool) -> None:
        columns = random_columns(seed, odd=odd)
        for fraction in (0.5, 0.9, 0.99):
            expected = [quantile(given(column), fraction) if given(column) else None for column in columns]
            found = worked_out(columns, lambda window, rows, q=fraction: quantiles(window, rows, q))
            assert same(found, expected)

    @pytest.mark.parametrize("largest", [False, True], ids=["min", "max"])
    def test_extremes_leave_nan_out_unless_there_is_nothing_else(
        self, seed: int, odd: bool, largest: bool
    ) -> None:
        def expected(column: Column) -> float | None:
            numbers = [value for value in given(column) if not math.isnan(value)]
            if numbers:
                return max(numbers) if largest else min(numbers)
            return NAN if given(column) else None

        columns = [
            *random_columns(seed, odd=odd),
            [None, NAN] * 25,
            [-0.0, 0.0] * 25,
            [None, 0.0, -0.0, NAN, 0.0] * 10,
        ]
        found = worked_out(columns, lambda window, rows: extreme(window, rows, largest=largest))
        assert same(found, [expected(column) for column in columns])

    def test_increases_count_every_reset(self, seed: int, odd: bool) -> None:
        del odd

        def expected(column: Column) -> float | None:
            counted = [(second, value) for second, value in enumerate(column) if value is not None]
            if len(counted) < 2:
                return None
            (first, low), last = counted[0], counted[-1][0]
            rises = [b - a if b >= a else b for (_, a), (_, b) in pairwise(counted)]
            risen, sampled = sum(rises), last - first
            between = sampled / (len(counted) - 1)
            to_start = min(first, sampled * low / risen) if risen > 0 else first
            to_end = len(column) - 1 - last
            ends = sum(each if each < between * 1.1 else between / 2 for each in (to_start, to_end))
            return risen * (sampled + ends) / sampled

        drawn = random.Random(seed)
        columns: list[Column] = []
        for _ in range(40):
            total, column = drawn.random() * 1000, list[float | None]()
            for _ in range(50):
                total = drawn.random() if drawn.random() < 0.05 else total + drawn.random()
                column.append(total if drawn.random() < 0.8 else None)
            columns.append(column)
        columns.append([None] * 49 + [1.0])
        found = worked_out(columns, lambda window, rows: increases(window, rows, per_second=False))
        assert found == pytest.approx([expected(column) for column in columns])
