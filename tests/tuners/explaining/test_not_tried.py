"""What was left aside, each with its reason, in few groups."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.tuners.statistics_fakes import measurement, trial

from flyball.runner.outcome import Outcome, OutcomeKind
from flyball.tuners.base import Configuration, TrialReport
from flyball.tuners.explaining.explanation import Because, NotTried
from flyball.tuners.explaining.not_tried import MOST_GROUPS, MOST_ITEMS, not_tried
from flyball.tuners.knobs.registry import KNOBS
from flyball.tuners.legality.context import Context
from flyball.tuners.space.space import Space, load_space

CONFIG: dict[str, Any] = {
    "train_batch_size": 16,
    "train_micro_batch_size_per_gpu": 1,
    "optimizer": {"type": "AdamW", "params": {"lr": 0.001, "torch_adam": True}},
    "zero_optimization": {"stage": 0},
}
CPU = Context(world_size=2, cores=2, threads=1, data_parallel_size=2)


def space(folder: Path, text: str, context: Context = CPU) -> Space:
    (folder / "space.yaml").write_text(f"knobs:\n{text}")
    return load_space(folder / "space.yaml", CONFIG, context)


def groups(
    own: Space, reports: Sequence[TrialReport] = (), *, ended: str = "3 trials were made"
) -> dict[Because, list[NotTried]]:
    found: dict[Because, list[NotTried]] = {}

    def full(configuration: Configuration) -> str | None:
        return "needs at least 15 GiB" if configuration.ds_config["zero_optimization"]["stage"] == 2 else None

    for group in not_tried(own, reports, memory_limit_ratio=0.9, search_ended=ended, cannot_fit=full):
        found.setdefault(group.because, []).append(group)
    return found


def run(own: Space, number: int = 0, **chosen: Any) -> TrialReport:
    return replace(trial(number), configuration=own.render(own.completed(chosen)))


def test_knobs_outside_the_space_are_counted_once(tmp_path: Path) -> None:
    (outside,) = groups(space(tmp_path, "  micro_batch: [1, 2]\n"))[Because.OUTSIDE]
    assert outside.count == len(KNOBS) - 1
    assert len(outside.items) == MOST_ITEMS
    assert "micro_batch" not in outside.items


def test_what_rules_exclude_stands_with_their_reason(tmp_path: Path) -> None:
    found = groups(
        space(tmp_path, "  micro_batch: [1, 2]\n  pipeline_chunks: default\n  compile: [false, true]\n")
    )
    excluded = {item: group.reason for group in found[Because.EXCLUDED] for item in group.items}
    assert excluded["pipeline_chunks"] == "the job is not a pipeline"


def test_families_that_no_run_entered_say_why(tmp_path: Path) -> None:
    own = space(tmp_path, "  micro_batch: [1, 2]\n  zero_stage: [0, 1, 2, 3]\n")
    reasons = {
        item: group.reason
        for group in groups(own, [run(own, zero_stage=3)])[Because.NOT_ENTERED]
        for item in group.items
    }
    assert reasons["zero_stage=1"] == "the search ended before it: 3 trials were made"
    assert reasons["zero_stage=2"] == "needs at least 15 GiB"
    assert reasons.keys() == {"zero_stage=0", "zero_stage=1", "zero_stage=2"}


def test_families_that_were_screened_out_say_why(tmp_path: Path) -> None:
    own = space(tmp_path, "  zero_stage: [0, 1]\n")
    found = not_tried(
        own,
        [],
        memory_limit_ratio=0.9,
        search_ended="",
        cannot_fit=lambda each: None,
        screened_out=("zero_stage=1: at least 20% slower than the best",),
    )
    (group,) = [each for each in found if each.because is Because.SCREENED]
    assert group.items == ("zero_stage=1: at least 20% slower than the best",)


def test_what_ran_out_of_memory_or_reserved_too_much_is_named(tmp_path: Path) -> None:
    own = space(tmp_path, "  micro_batch: [1, 2, 4, 8]\n")
    failed = Outcome(kind=OutcomeKind.OUT_OF_MEMORY, reason="2 GiB asked for")
    out = replace(run(own, 5, micro_batch=8), outcome=failed, measurement=None)
    tight = replace(
        run(own, 6, micro_batch=4), measurement=measurement(peak_reserved_bytes=95, device_memory_bytes=100)
    )
    first, second = groups(own, [out, tight, replace(tight, number=7)])[Because.MEMORY]
    assert (first.items, second.items) == (("trial 5",), ("trial 6",))
    assert second.reason == "reserved more than 90% of the device"


def test_points_that_cannot_fit_are_named_with_what_the_first_needs(tmp_path: Path) -> None:
    rejected = {f"micro_batch {size}": f"needs at least {size} GiB" for size in range(1, 9)}
    found = not_tried(
        space(tmp_path, "  micro_batch: [1, 2]\n"),
        (),
        memory_limit_ratio=0.9,
        search_ended="3 trials were made",
        cannot_fit=lambda own: None,
        rejected=rejected,
    )
    (memory,) = [group for group in found if group.because is Because.MEMORY]
    assert memory.reason == "cannot fit; the first needs at least 1 GiB"
    assert (memory.items[0], len(memory.items), memory.count) == ("micro_batch 1", MOST_ITEMS, 8)


def test_points_that_were_not_run_are_counted_with_why_the_search_ended(tmp_path: Path) -> None:
    own = space(tmp_path, "  micro_batch: [1, 2, 4, 8]\n")
    reports = [run(own), run(own, 1, micro_batch=2), run(own, 2, micro_batch=2)]
    (left,) = groups(own, reports)[Because.BUDGET]
    assert (left.count, left.items) == (2, ())
    assert left.reason.endswith("the search ended: 3 trials were made")
    every = [run(own, number, micro_batch=size) for number, size in enumerate((1, 2, 4, 8))]
    assert Because.BUDGET not in groups(own, every)


def test_many_reasons_are_bounded_and_counted(tmp_path: Path) -> None:
    own = space(tmp_path, "  micro_batch: [1, 2]\n")
    many = replace(own, left_out={f"knob_{number}": f"reason {number}" for number in range(40)})
    excluded = groups(many)[Because.EXCLUDED]
    assert len(excluded) == MOST_GROUPS + 1
    assert (excluded[-1].reason, excluded[-1].count) == ("other reasons", 40 - MOST_GROUPS)
