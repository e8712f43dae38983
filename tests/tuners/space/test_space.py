from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyball.errors import SpaceError
from flyball.tuners.legality.context import Context
from flyball.tuners.legality.rules import check, errors
from flyball.tuners.space.space import Space, load_space

CONFIG: dict[str, Any] = {
    "train_batch_size": 64,
    "train_micro_batch_size_per_gpu": 1,
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
    "zero_optimization": {"stage": 3},
}
CPU = Context(
    world_size=2, device="cpu", cores=2, threads=2, deepspeed_version="0.19.8", torch_version="2.13.0"
)
GPU = Context(world_size=4, device="cuda", hosts=2, deepspeed_version="0.19.8", torch_version="2.13.0")
PIPELINE = Context(world_size=2, device="cuda", pipeline=True, data_parallel_size=1, parameters=10**8)

FAULTS = {
    "unknown_knob": (
        "knobs:\n  micro_bach: [1, 2]\n",
        ":2: unknown knob 'micro_bach'",
        "did you mean 'micro_batch'?",
    ),
    "nothing_like_it": ("knobs:\n  qwertz: [1]\n", ":2: unknown knob 'qwertz'", "declare it"),
    "empty_list": ("knobs:\n  zero_stage: []\n", ":2: zero_stage: an empty list", "write values"),
    "empty_range": (
        "knobs:\n  reduce_bucket_size: {low: 5e8, high: 5e8}\n",
        ":2: reduce_bucket_size: the range",
        "a list",
    ),
    "bounds_reversed": (
        "knobs:\n  reduce_bucket_size:\n    low: 5e8\n    high: 1e6\n",
        ":2: reduce_bucket_size: low 5e+08",
        "swap",
    ),
    "no_high": (
        "knobs:\n  reduce_bucket_size: {low: 5}\n",
        ":2: reduce_bucket_size: the range has no high",
        "low and high",
    ),
    "log_from_zero": (
        "knobs:\n  reduce_bucket_size: {low: 0, high: 9, log: true}\n",
        "starts above 0",
        "raise low",
    ),
    "wrong_range_key": (
        "knobs:\n  micro_batch: {lo: 1, high: 2}\n",
        ":2: micro_batch: unknown key 'lo'",
        "write low",
    ),
    "steps": ("knobs:\n  micro_batch: {low: 1, high: 9, steps: 1}\n", "steps 1", "for example 5"),
    "wrong_type": (
        "knobs:\n  overlap_comm: [1, 2]\n",
        ":2: overlap_comm: 1 is not one of false, true",
        "docs/knobs.md",
    ),
    "out_of_bounds": ("knobs:\n  zero_stage: [1, 4]\n", ":2: zero_stage: 4 is above 3", "docs/knobs.md"),
    "word_for_number": (
        "knobs:\n  micro_batch: [large]\n",
        ":2: micro_batch: large is not a whole number",
        "",
    ),
    "no_value": ("knobs:\n  micro_batch:\n", ":2: micro_batch: None is not a value", "a number"),
    "repeated_value": ("knobs:\n  micro_batch: [1, 2, 1]\n", ":2: micro_batch: a value stands twice", "once"),
    "repeated_knob": (
        "knobs:\n  micro_batch: [1]\n  micro_batch: [2]\n",
        ":3: found duplicate key",
        "stands once",
    ),
    "not_yaml": ("knobs: [1\n  a: b", ":2: ", "each knob stands once"),
    "a_list": ("- micro_batch\n", "is not a mapping", "knobs:"),
    "empty": ("", "is not a mapping", "knobs:"),
    "no_knob": ("knobs: {}\n", "names no knob", "micro_batch"),
    "knobs_list": ("knobs: [micro_batch]\n", ":1: 'knobs' is not a mapping", "each line below"[5:]),
    "unknown_top": ("knob:\n  micro_batch: [1]\n", ":1: unknown key 'knob'", "write knobs"),
    "unknown_base": ("extends: defalt\n", ":1: no bundled space 'defalt'", "default"),
    "own_knob_declared": (
        "knobs:\n  threads: {environment: X, values: [1]}\n",
        "is a knob of flyball's own",
        "another name",
    ),
    "two_ways": (
        "knobs:\n  a: {config: x, argument: --x, values: [1]}\n",
        ":2: unknown knob 'a'",
        "exactly one",
    ),
    "no_values": ("knobs:\n  a: {argument: --x}\n", ":2: a: has no values", "values: [1, 2, 4]"),
    "no_dashes": (
        "knobs:\n  a: {argument: x, values: [1]}\n",
        ":2: a: argument 'x' cannot be set",
        "with its dashes",
    ),
    "flag_values": (
        "knobs:\n  a: {argument: --x, flag: true, values: [1]}\n",
        "a flag is true or false",
        "[false, true]",
    ),
    "flag_stuck": (
        "knobs:\n  a: {argument: --x, flag: true, current: true, values: [false, true]}\n",
        "nothing unsets it",
        "off: --no",
    ),
    "declaration_key": (
        "knobs:\n  a: {argument: --x, vals: [1], values: [1]}\n",
        "unknown key 'vals'",
        "'values'",
    ),
    "unknown_config_key": (
        "knobs:\n  a: {config: zero_optimization.overlap_com, values: [true]}\n",
        ":2: a: DeepSpeed knows no key zero_optimization.overlap_com",
        "'zero_optimization.overlap_comm'",
    ),
    "unknown_section": (
        "knobs:\n  a: {config: zero_optimisation.stage, values: [1]}\n",
        "DeepSpeed knows no key zero_optimisation",
        "'zero_optimization'",
    ),
    "key_of_a_knob": (
        "knobs:\n  a: {config: train_batch_size, values: [16, 32]}\n",
        ":2: a: train_batch_size is what the knob global_batch moves",
        "write global_batch",
    ),
    "huge_value": ("knobs:\n  micro_batch: [1" + "0" * 400 + "]\n", "is too large", "2**63"),
    "huge_bound": ("knobs:\n  micro_batch: {low: 1, high: 1" + "0" * 400 + "}\n", "is too large", "2**63"),
    "infinite_bound": ("knobs:\n  micro_batch: {low: 1, high: .inf}\n", "is too large", "2**63"),
    "nested_value": ("knobs:\n  micro_batch: [[1]]\n", "is not a value", "a number"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_space_file_is_one_line_with_its_place_and_mend(name: str, tmp_path: Path) -> None:
    text, what, mend = FAULTS[name]
    path = tmp_path / f"{name}.yaml"
    path.write_text(text)
    with pytest.raises(SpaceError) as caught:
        load_space(path, CONFIG, CPU)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert what in line
    assert mend in line
    assert "\n" not in line


def test_a_missing_space_file_names_the_bundled_ones(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="compression, default, memory, network, quick"):
        load_space(tmp_path / "none.yaml", CONFIG, CPU)


def of(text: str, tmp_path: Path, context: Context = CPU, config: dict[str, Any] | None = None) -> Space:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return load_space(path, config or CONFIG, context)


def values(space: Space) -> dict[str, tuple[Any, ...]]:
    return {entry.knob.name: entry.values for entry in space.entries}


def test_the_users_own_value_is_always_among_the_values(tmp_path: Path) -> None:
    space = of("knobs:\n  micro_batch: [4, 8]\n  zero_stage: [0, 1]\n", tmp_path)
    assert values(space) == {"micro_batch": (1, 4, 8), "zero_stage": (0, 1, 3)}
    assert space.baseline_assignment() == {"micro_batch": 1, "zero_stage": 3}


def test_ranges_and_the_bundled_base(tmp_path: Path) -> None:
    space = of(
        "extends: quick\nknobs:\n  reduce_bucket_size: {low: 1e6, high: 1e8, steps: 3, log: true}\n", tmp_path
    )
    assert values(space)["reduce_bucket_size"] == (1_000_000, 10_000_000, 100_000_000, 500_000_000)
    assert "micro_batch" in values(space)
    assert space.sources["reduce_bucket_size"].endswith("space.yaml:3")


def test_the_context_decides_which_knobs_can_matter(tmp_path: Path) -> None:
    cpu, gpu, pipeline = (load_space(None, config, context) for config, context in WHOLE)
    assert {"threads", "fused_optimizer"} <= set(values(cpu))
    assert not {"compile", "throughput_timer_synchronized", "powersgd", "pipeline_chunks"} & set(values(cpu))
    assert {"compile", "throughput_timer_synchronized", "powersgd"} <= set(values(gpu))
    assert "threads" in gpu.left_out
    assert set(values(pipeline)) == {
        "precision",
        "pipeline_chunks",
        "compile",
        "fused_optimizer",
        "throughput_timer_synchronized",
        "expandable_segments",
    }
    assert values(pipeline)["pipeline_chunks"] == (1, 2, 4, 8)


WHOLE = (
    (CONFIG, CPU),
    (CONFIG, GPU),
    (
        {
            **CONFIG,
            "gradient_accumulation_steps": 8,
            "train_micro_batch_size_per_gpu": 8,
            "zero_optimization": {},
        },
        PIPELINE,
    ),
)


def test_compile_on_cpu_has_to_be_asked_for(tmp_path: Path) -> None:
    assert "compile" in load_space(None, CONFIG, CPU).left_out
    assert values(of("knobs:\n  compile: [false, true]\n", tmp_path))["compile"] == (False, True)


def test_one_replica_has_nothing_to_communicate() -> None:
    space = load_space(None, {**CONFIG, "train_batch_size": 8}, Context(world_size=1, device="cuda"))
    assert not {"zero_stage", "overlap_comm", "communication_data_type"} & set(values(space))


def test_conditional_knobs_come_and_go_with_the_stage(tmp_path: Path) -> None:
    space = of(
        "knobs:\n  zero_stage: [0, 3]\n  powersgd: [0, 1]\n  stage3_prefetch_bucket_size: [0, 1000]\n",
        tmp_path,
    )
    points = list(space.enumerate())
    assert all(("powersgd" in point) == (point["zero_stage"] == 0) for point in points)
    assert all(("stage3_prefetch_bucket_size" in point) == (point["zero_stage"] == 3) for point in points)
    assert len(points) == space.size() == 2 + 3


def test_conditional_knobs_look_at_the_config_where_the_stage_is_not_varied(tmp_path: Path) -> None:
    text = "knobs:\n  reduce_bucket_size: [1000]\n  powersgd: [0, 1]\n"
    assert set(of(text, tmp_path).baseline_assignment()) == {"reduce_bucket_size"}


def test_a_value_that_is_illegal_here_is_left_out_with_its_reason(tmp_path: Path) -> None:
    space = of("knobs:\n  micro_batch: [1, 2, 5]\n", tmp_path)
    assert values(space)["micro_batch"] == (1, 2)
    assert "micro_batch=5" in space.left_out
    half = {"device": "cpu", "ratio": 0.5}
    offloaded = {**CONFIG, "zero_optimization": {"stage": 3, "offload_optimizer": half}}
    assert (
        "zero_stage"
        in of("knobs:\n  zero_stage: default\n  micro_batch: [2]\n", tmp_path, GPU, offloaded).left_out
    )


OPTIMIZERS = (
    "knobs:\n  optimizer: {config: optimizer.type, values: [AdamW, OneBitAdam]}\n  micro_batch: [1, 2]\n"
)
ALIGNMENT = (
    "knobs:\n  alignment: {config: zero_optimization.parameter_alignment, values: [false, true]}\n"
    "  micro_batch: [1, 2]\n"
)


@pytest.mark.parametrize(
    ("text", "name", "version", "offered"),
    [
        (OPTIMIZERS, "optimizer", "0.19.5", True),
        (OPTIMIZERS, "optimizer", "0.19.8", False),
        (ALIGNMENT, "alignment", "0.18.9", False),
        (ALIGNMENT, "alignment", "0.19.8", True),
    ],
)
def test_what_the_installed_deepspeed_does_not_have_is_not_offered(
    text: str, name: str, version: str, offered: bool, tmp_path: Path
) -> None:
    config = {**CONFIG, "zero_optimization": {"stage": 0}, "optimizer": {"type": "AdamW"}}
    space = of(text, tmp_path, replace(GPU, deepspeed_version=version), config)
    assert (name in values(space)) is offered


def test_a_changing_global_batch_keeps_to_legal_points(tmp_path: Path) -> None:
    space = of("knobs:\n  global_batch: [64, 96]\n  micro_batch: [1, 16, 32]\n", tmp_path)
    points = [(point["global_batch"], point["micro_batch"]) for point in space.enumerate()]
    assert points == [(64, 1), (64, 16), (64, 32), (96, 1), (96, 16)]


def test_a_batch_that_is_not_known_yet_is_not_varied() -> None:
    auto = {"train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto"}
    assert "micro_batch" in load_space(None, auto, CPU).left_out


def test_the_global_batch_changes_only_where_that_is_allowed() -> None:
    assert "global_batch" not in load_space(None, CONFIG, CPU).sources
    allowed = load_space(None, CONFIG, CPU, allow_global_batch=True)
    assert allowed.entry("global_batch").values == (32, 64, 128, 256)
    assert allowed.baseline_assignment()["global_batch"] == 64
    larger = allowed.render({**allowed.baseline_assignment(), "global_batch": 128}).ds_config
    assert (larger["train_batch_size"], larger["train_micro_batch_size_per_gpu"]) == (128, 1)


def test_declared_knobs_are_part_of_the_space(tmp_path: Path) -> None:
    text = """knobs:
  sub_group: {config: zero_optimization.sub_group_size, values: [1e8, 1e9]}
  nccl: {environment: NCCL_ALGO, values: [Ring, Tree]}
  recompute: {argument: --checkpoint-activations, flag: true, values: [false, true]}
"""
    space = of(text, tmp_path)
    assert space.baseline_assignment() == {
        "sub_group": "as given",
        "nccl": "as given",
        "recompute": False,
    }
    chosen = space.render({"nccl": "Tree", "recompute": True})
    assert chosen.environment == {"NCCL_ALGO": "Tree"}
    assert chosen.arguments == {"--checkpoint-activations": ""}
    assert space.render(space.baseline_assignment()).environment == {}


@settings(max_examples=60)
@given(
    stage=st.integers(0, 3),
    micro=st.sampled_from([1, 2, 3, 4, 6]),
    steps=st.sampled_from([1, 2, 5, 8]),
    world=st.sampled_from([1, 2, 4]),
    device=st.sampled_from(["cpu", "cuda"]),
    bf16=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_point_of_the_default_space_is_legal(
    stage: int, micro: int, steps: int, world: int, device: str, bf16: bool, seed: int
) -> None:
    import numpy as np

    config = {
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": steps,
        "zero_optimization": {"stage": stage},
        "bf16": {"enabled": bf16},
    }
    context = Context(world_size=world, device=device, cores=8, deepspeed_version="0.19.8", parameters=10**7)
    space = load_space(None, config, context)
    baseline = space.render(space.baseline_assignment())
    assert baseline.ds_config == config
    assert (baseline.arguments, baseline.environment, baseline.probe) == ({}, {}, {})
    random = np.random.default_rng(seed)
    for _ in range(5):
        chosen = space.render(space.draw(random)).ds_config
        assert errors(check(chosen, context)) == []
        assert (
            chosen["train_micro_batch_size_per_gpu"] * chosen["gradient_accumulation_steps"] == micro * steps
        )
