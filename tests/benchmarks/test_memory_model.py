"""The figures of the memory model on what an H100 was seen to need."""

from statistics import median

import pytest
from tests.benchmarks._memory_evaluate import (
    TRIALS,
    Recorded,
    errors_after,
    model_of,
    read,
    rejected_in_studies,
)
from tests.benchmarks.memory_model import DATA

ASKED_MEDIAN = 0.15


@pytest.fixture(scope="module")
def groups() -> dict[str, list[Recorded]]:
    lines = read(DATA)
    return {name: [each for each in lines if each.model == name] for name in {each.model for each in lines}}


def test_nothing_that_fitted_would_have_been_rejected(groups: dict[str, list[Recorded]]) -> None:
    assert sum(len(group) for group in groups.values()) > 40
    for group in groups.values():
        assert rejected_in_studies(group) == 0
        counted = model_of(group, [])
        above = [each.name for each in group if (counted.least_bytes(each.subject) or 0) > each.allocated]
        # A run that ran out of memory never reached its peak.
        assert above == [each.name for each in group if each.name in above and not each.fits]


@pytest.mark.parametrize("trials", TRIALS)
def test_peaks_of_an_unknown_model_are_predicted_from_its_own_runs(
    groups: dict[str, list[Recorded]], trials: int
) -> None:
    for name, group in groups.items():
        assert median(errors_after(group, trials)) < ASKED_MEDIAN, name


def test_what_ran_out_of_memory_was_predicted_to(groups: dict[str, list[Recorded]]) -> None:
    for group in groups.values():
        ran_out = [each for each in group if not each.fits]
        assert ran_out
        model = model_of(group, [each for each in group if each.fits])
        for each in ran_out:
            predicted = model.predict(each.subject)
            assert predicted is not None
            assert predicted.reserved_bytes > each.limit
