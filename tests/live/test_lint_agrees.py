"""DeepSpeed itself is the judge of ``flyball lint``: what it reads is no error, what it refuses is one."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.patience import PATIENCE_SECONDS

from flyball.tuners.config.deepspeed_facts import Field, facts_of
from flyball.tuners.config.reading import read
from flyball.tuners.legality.context import installed_version
from flyball.tuners.legality.finding import Severity
from flyball.tuners.legality.lint import Question, lint_file

pytestmark = pytest.mark.live

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "tuners" / "legality" / "lint" / "examples"
CONFIGS = 1500
SEED = 20260
READING_RULES = frozenset(
    {"section-shape", "name-shape", "switch-shape", "key-unknown", "key-version", "key-removed", "key-twice"}
    | {"value-kind", "value-choice", "value-range", "batch-number", "batch-missing", "batch-equation"}
    | {"precision-both", "loss-scale", "master-weights-stage", "optimizer-states-master", "wire-type"}
    | {"grad-norm-stage", "offload-ratio-stage", "reduction-operation", "reduction-sum", "zenflow-values"}
    | {"checkpoint-values", "autocast-type"}
)
"""What DeepSpeed refuses when it reads a config; it finds the rest when it builds an engine."""

BATCHES = (None, 1, 2, 3, 4, 6, 8, 12, 0, -1, "8")
VALUES: tuple[Any, ...] = (
    *(0, 1, 2, 3, 4, -1, 100, 5e8, 0.5, 1.5, 1e-3, -0.5),
    *(True, False, None, "auto", "true", "no", "maybe", "3", "0.5", "5e8", "cpu", "nvme", "", [], ["z1"], {}),
)
FITTING: dict[str, tuple[Any, ...]] = {
    "int": (1, 2, 100, 5e8),
    "float": (0.5, 1, 0.25),
    "bool": (True, False),
    "str": ("auto", "step", "x"),
    "path": ("/tmp/swap",),
    "list": ([],),
    "dict": ({},),
    "section": ({},),
}
NAMES = (
    "overlap_com",
    "stages",
    "mics_shard_size",
    "cpu_offload",
    "prefetch_bucket_size",
    "enabled",
    "device",
)
TOP: dict[str, tuple[Any, ...]] = {
    "communication_data_type": ("fp16", "BF16", "fp8", None, 5),
    "gradient_allreduce_op": ("sum", "MEAN", "max", None),
    "wall_clock_breakdown": (True, False, None, "no"),
    "checkpoint": ({"tag_validation": "warn"}, {"tag_validation": "x"}, None),
    "torch_autocast": ({"enabled": True, "dtype": "bfloat16"}, {"dtype": "fp8"}, None),
    "optimizer": ({"type": "AdamW"}, {"type": 5}, {"params": {"lr": 1}}, None),
    "scheduler": ({}, {"type": "WarmupLR", "params": {}}, None),
    "amp": ({"enabled": False},),
    "elasticity": ({"enabled": False},),
    "misspelt": (1, {}),
}


def batches(draw: random.Random) -> dict[str, Any]:
    keys = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    if draw.random() < 0.75:
        return {"train_micro_batch_size_per_gpu": draw.choice((1, 2, 4))}
    return {key: value for key in keys if (value := draw.choice(BATCHES)) is not None}


def value(draw: random.Random, field: Field) -> Any:
    """Mostly one that fits, so that a config is not refused for several reasons at once."""
    if draw.random() < 0.4:
        return draw.choice(VALUES)
    if field.choices:
        picked = draw.choice(field.choices)
        return [picked] if "list" in field.kinds else picked
    return draw.choice(FITTING.get(next((kind for kind in field.kinds if kind != "null"), ""), ("auto",)))


def section(draw: random.Random, fields: Mapping[str, Field]) -> Any:
    if draw.random() < 0.03:
        return draw.choice((None, True, [], "x"))
    chosen = draw.sample(sorted(fields), k=min(len(fields), draw.choice((0, 1, 1, 2))))
    found = {name: value(draw, fields[name]) for name in chosen}
    if draw.random() < 0.05:
        found[draw.choice(NAMES)] = draw.choice(VALUES)
    return found


def drawn(draw: random.Random) -> dict[str, Any]:
    sections = facts_of(installed_version("deepspeed")).sections
    config = batches(draw)
    zero = section(draw, sections["zero_optimization"])
    if isinstance(zero, dict):
        zero.setdefault("stage", draw.choice((0, 1, 2, 3)))
        for name in ("offload_param", "offload_optimizer", "zenflow"):
            if draw.random() < 0.15:
                zero[name] = section(draw, sections[f"zero_optimization.{name}"])
    config["zero_optimization"] = zero
    others = [name for name in sections if "." not in name and name != "zero_optimization"]
    for name in draw.sample(others, k=draw.choice((0, 0, 1))):
        config[name] = section(draw, sections[name])
    for name in draw.sample(sorted(TOP), k=draw.choice((0, 0, 0, 1))):
        config[name] = draw.choice(TOP[name])
    return config


def judged(configs: Sequence[dict[str, Any]]) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(HERE / "scripts" / "deepspeed_judge.py")],
        input="".join(json.dumps(config) + "\n" for config in configs),
        env={**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    answers: list[str] = json.loads(done.stdout.rpartition("ANSWERS")[2])
    return answers


def errors(config: dict[str, Any]) -> list[str]:
    asked = Question(deepspeed_version=installed_version("deepspeed") or "", ranks=1, device="cpu")
    report = lint_file(Path("ds.json"), json.dumps(config).encode(), asked)
    assert report.unreadable is None
    found = (placed.finding for placed in report.placed)
    return [
        f"{each.rule} {each.key}: {each.what}"
        for each in found
        if each.severity is Severity.ERROR and each.rule in READING_RULES
    ]


def test_lint_and_deepspeed_agree_on_generated_configs() -> None:
    draw = random.Random(SEED)
    configs = [drawn(draw) for _ in range(CONFIGS)]
    answers = judged(configs)
    refused = sum(map(bool, answers))
    assert 0.2 < refused / CONFIGS < 0.8
    differing = [
        f"{json.dumps(config)}\n    DeepSpeed: {answer or 'reads it'}\n    lint: {found or 'no error'}"
        for config, answer in zip(configs, answers, strict=True)
        if bool(answer) is not bool(found := errors(config))
    ]
    assert differing == [], f"{len(differing)} of {CONFIGS}\n" + "\n".join(differing[:20])


def test_deepspeed_reads_the_examples_too() -> None:
    paths = [path for path in sorted(EXAMPLES.glob("*.json")) if "@" not in path.stem]
    configs = [json.loads(path.read_text("utf-8")) for path in paths]
    # Without transformers nobody fills in a batch of "auto".
    whole = [each for each in configs if read(each, "train_micro_batch_size_per_gpu") != "auto"]
    assert len(whole) >= 25
    sized = [_for_one_rank(each) for each in whole]
    refused = [(each, answer) for each, answer in zip(sized, judged(sized), strict=True) if answer]
    assert refused == []


def _for_one_rank(config: dict[str, Any]) -> dict[str, Any]:
    batch = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    return {key: value for key, value in config.items() if key not in batch} | {"train_batch_size": 8}
