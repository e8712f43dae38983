import pytest

from flyball.tuners.base import Assignment
from flyball.tuners.memory.ran_out import at_least_as_heavy

PAIRS: list[tuple[Assignment, Assignment, bool]] = [
    ({"micro_batch": 16, "zero_stage": 1}, {"micro_batch": 8, "zero_stage": 1}, True),
    (
        {"micro_batch": 8, "zero_stage": 1, "threads": 2},
        {"micro_batch": 8, "zero_stage": 1, "threads": 1},
        True,
    ),
    ({"micro_batch": 4, "zero_stage": 1}, {"micro_batch": 8, "zero_stage": 1}, False),
    ({"micro_batch": 16, "zero_stage": 2}, {"micro_batch": 8, "zero_stage": 1}, False),
    ({"micro_batch": 16, "compile": True}, {"micro_batch": 8, "compile": False}, False),
    ({"micro_batch": 16}, {"micro_batch": 8, "reduce_bucket_size": 1}, False),
    ({"micro_batch": 8, "reduce_bucket_size": 9}, {"micro_batch": 8, "reduce_bucket_size": 1}, True),
]


@pytest.mark.parametrize(("point", "other", "heavier"), PAIRS)
def test_a_point_is_heavier_only_where_nothing_speaks_against_it(
    point: Assignment, other: Assignment, heavier: bool
) -> None:
    assert at_least_as_heavy(point, other) is heavier
