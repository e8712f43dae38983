"""Each rule finds its fault in ``lint/bad`` at its line, and not in the good twin; no example is an error."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from flyball.tuners.config.deepspeed_facts import table, table_versions
from flyball.tuners.legality.lint import FileReport, Question, lint_environment, lint_file
from flyball.tuners.legality.rule_catalog import CATALOG, Severity

HERE = Path(__file__).parent / "lint"
PAGE = (Path(__file__).parents[3] / "docs" / "lint.md").read_text(encoding="utf-8")
TUNERS = Path(__file__).parents[3] / "tuners"
NEWEST, BEFORE_REMOVALS = "0.19.8", "0.19.5"

LINES: dict[str, int | None] = {
    "json-syntax": 3,
    "json-comment": 2,
    "json-trailing-comma": 2,
    "json-hjson": 3,
    "json-not-finite": 3,
    "json-duplicate-key": 5,
    "section-shape": 3,
    "name-shape": 4,
    "switch-shape": 3,
    "key-unknown": 5,
    "key-version": 5,
    "key-removed": 3,
    "key-twice": 6,
    "value-kind": 5,
    "value-choice": 4,
    "value-range": 7,
    "batch-number": 3,
    "batch-missing": None,
    "batch-equation": 2,
    "elastic-batch": 2,
    "precision-both": 7,
    "precision-parameter-type": 7,
    "fp16-on-cpu": 4,
    "loss-scale": 5,
    "master-weights-stage": 5,
    "master-weights-offload": 8,
    "optimizer-states-master": 8,
    "wire-type": 3,
    "accumulation-type": 7,
    "accumulation-type-stage": 7,
    "autocast-type": 5,
    "autocast-quantized": 8,
    "amp-zero": 7,
    "amp-precision": 4,
    "zero-pipeline": 4,
    "zero-legacy-stage1": 5,
    "pipeline-deepcompile": 10,
    "zeropp-stage": 5,
    "zeropp-cpu": 5,
    "quantized-gradients-scatter": 5,
    "hpz-divides": 5,
    "hpz-stage": 5,
    "offload-optimizer-stage": 5,
    "offload-ratio-stage": 7,
    "offload-nvme-path": 6,
    "grad-norm-stage": 5,
    "grad-norm-needed": 5,
    "zenflow-stage": 5,
    "zenflow-offload": 5,
    "zenflow-values": 10,
    "zenflow-interval": 11,
    "zenflow-overlap": 12,
    "deepcompile-passes": 8,
    "deepcompile-offload": 9,
    "unmanaged-accumulation": 3,
    "unmanaged-overlap": 6,
    "muon-scatter": 7,
    "optimizer-unknown": 4,
    "one-bit-gone": 4,
    "one-bit-zero": 7,
    "one-bit-cpu": 4,
    "zero-untested": 7,
    "max-grad-norm": 7,
    "lamb-loss-scale": 8,
    "lamb-cpu": 4,
    "adam-fused": 6,
    "scheduler-unknown": 4,
    "scheduler-parameter": 6,
    "scheduler-missing": 5,
    "scheduler-warmup": 6,
    "gradient-clipping": 3,
    "scatter-prescale": 6,
    "scatter-predivide": 6,
    "reduction-operation": 3,
    "reduction-sum": 6,
    "checkpointing-contiguous": 4,
    "checkpoint-values": 4,
    "aio-gds": 4,
    "comms-logger-present": 3,
    "json-bom": 1,
    "key-ignored": 3,
    "key-passed-over": 5,
    "key-renamed": 5,
    "key-deprecated": 5,
    "value-as-text": 5,
    "zenflow-accumulation": 14,
    "fp16-unlikely-on-cpu": 4,
    "wire-type-precision": 6,
    "loss-scale-idle": 6,
    "zero-old-form": 3,
    "pipeline-overlap": 5,
    "quantized-gradients-fallback": 5,
    "offload-param-idle": 5,
    "offload-nvme-idle": 6,
    "superoffload-idle": 7,
    "stage3-idle": 5,
    "round-robin-idle": 5,
    "contiguous-offload": 5,
    "deepcompile-fallback": 4,
    "elastic-checkpoint": 5,
    "bucket-huge": 5,
    "freeze-step": 7,
    "torch-adam-offload": 12,
    "force-cpu-optimizer": 9,
    "scheduler-length": 6,
    "gradient-clipping-idle": 3,
    "checkpointing-idle": 5,
    "comms-logger": 3,
    "wall-clock-breakdown": 3,
    "flops-profiler": 4,
    "throughput-timer": 5,
    "auto-value": 3,
    "assumption": None,
    "throughput-timer-default": None,
    "monitor-on": 4,
    "gather-on-save": 3,
    "quantized-weights-shape": 5,
    "force-cpu-optimizer-idle": 3,
}
"""Rule to the line of its fault; None where the whole file is meant."""

OLD: dict[str, Any] = {"deepspeed_version": BEFORE_REMOVALS}
ON_CPU: dict[str, Any] = {"device": "cpu"}
BAD_ASKED: dict[str, dict[str, Any]] = {
    "key-version": {"deepspeed_version": "0.18.9"},
    "elastic-batch": OLD,
    "amp-zero": OLD,
    "amp-precision": OLD,
    "zeropp-cpu": ON_CPU,
    "hpz-divides": {"ranks": 8},
    "one-bit-zero": OLD,
    "one-bit-cpu": OLD | ON_CPU,
    "lamb-cpu": ON_CPU,
    "aio-gds": ON_CPU,
    "freeze-step": OLD,
    "fp16-on-cpu": ON_CPU | {"fp16_on_cpu": False},
    "fp16-unlikely-on-cpu": ON_CPU,
}
GOOD_ASKED = BAD_ASKED | {"key-version": {}, "key-removed": OLD, "one-bit-gone": OLD}
ENVIRONMENTS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "nccl-protocol": ({"NCCL_PROTO": "LL,LL128,Simple"}, {"NCCL_PROTO": "^LL128"}),
    "nccl-timing": ({"TORCH_NCCL_ENABLE_TIMING": "1"}, {"TORCH_NCCL_ENABLE_TIMING": "0"}),
    "allocator-conflict": (
        {"PYTORCH_CUDA_ALLOC_CONF": "backend:cudaMallocAsync,max_split_size_mb:128"},
        {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True,garbage_collection_threshold:0.8"},
    ),
}
ALLOCATORS = [
    {
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "TORCH_NCCL_USE_TENSOR_REGISTER_ALLOCATOR_HOOK": "1",
    },
    {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True,max_split_size_mb:64"},
    {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True", "PYTORCH_ALLOC_CONF": "max_split_size_mb:64"},
    {"PYTORCH_ALLOC_CONF": "backend:cudaMallocAsync,expandable_segments:True"},
]


def linted(path: Path, asked: dict[str, Any]) -> FileReport:
    report = lint_file(path, path.read_bytes(), Question(**{"deepspeed_version": NEWEST, **asked}))
    assert report.unreadable is None
    return report


def rules_of(report: FileReport, *severities: Severity) -> set[str]:
    return {
        each.finding.rule for each in report.placed if not severities or each.finding.severity in severities
    }


def test_every_rule_has_a_fault_and_a_twin_without_it() -> None:
    assert set(LINES) | set(ENVIRONMENTS) == set(CATALOG)
    for folder in ("bad", "good"):
        assert {path.stem for path in (HERE / folder).glob("*.json")} == set(LINES)


@pytest.mark.parametrize("rule", LINES)
def test_a_rule_finds_its_fault_at_its_line(rule: str) -> None:
    report = linted(HERE / "bad" / f"{rule}.json", BAD_ASKED.get(rule, {}))
    hits = [each for each in report.placed if each.finding.rule == rule]
    assert hits
    assert (hits[0].position[0] if hits[0].position else None) == LINES[rule]
    assert all(each.finding.what and each.finding.mend for each in hits)
    assert rules_of(report, Severity.ERROR) <= {rule}


@pytest.mark.parametrize("rule", LINES)
def test_the_twin_without_the_fault_is_no_error(rule: str) -> None:
    report = linted(HERE / "good" / f"{rule}.json", GOOD_ASKED.get(rule, {}))
    assert rule not in rules_of(report)
    assert rules_of(report, Severity.ERROR) == set()


def test_on_a_cpu_nobody_is_told_of_a_device() -> None:
    """DeepSpeed's CPU accelerator waits for nothing: an instrument times and prints there."""
    rules = ("bucket-huge", "comms-logger", "wall-clock-breakdown", "throughput-timer", "monitor-on")
    found = [each for rule in rules for each in linted(HERE / "bad" / f"{rule}.json", ON_CPU).placed]
    assert [each.finding.what for each in found if "device" in each.finding.what] == []
    assert {each.finding.rule for each in found} >= set(rules) - {"throughput-timer"}
    assert not any(each.finding.rule.startswith("throughput-timer") for each in found)


@pytest.mark.parametrize("rule", ENVIRONMENTS)
def test_a_rule_of_the_environment_finds_its_fault_only(rule: str) -> None:
    bad, good = ENVIRONMENTS[rule]
    assert rules_of(lint_environment(bad)) == {rule}
    assert lint_environment(good).placed == ()


@pytest.mark.parametrize("variables", ALLOCATORS)
def test_allocator_settings_that_exclude_each_other_are_told(variables: dict[str, str]) -> None:
    assert rules_of(lint_environment(variables)) == {"allocator-conflict"}


EXAMPLES = sorted((HERE / "examples").glob("*.json"))


def test_there_are_examples_enough() -> None:
    assert len(EXAMPLES) >= 25


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_of_the_documentation_is_no_error(path: Path) -> None:
    """``name@0.19.5.json`` is of a feature that is gone since: it is legal in that version."""
    version = path.stem.partition("@")[2] or NEWEST
    report = linted(path, {"deepspeed_version": version})
    assert [each for each in report.placed if each.finding.severity is Severity.ERROR] == []


def test_the_documentation_names_the_versions_that_have_a_table() -> None:
    text = " ".join(PAGE.split())
    *most, last = table_versions()
    assert f"{', '.join(most)} and {last}." in text


def test_every_rule_is_documented_with_its_severity_and_summary() -> None:
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \|$", PAGE, flags=re.MULTILINE))
    assert set(rows) == set(CATALOG)
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    for severity in Severity:
        section = next(text for text in sections if text.lower().startswith(f"{severity.value}s"))
        named = set(re.findall(r"^\| `([a-z0-9-]+)` ", section, flags=re.MULTILINE))
        assert named == {name for name, entry in CATALOG.items() if entry.severity is severity}
    for name, entry in CATALOG.items():
        assert rows[name] == entry.summary


def test_every_rule_that_the_code_names_is_in_the_catalog_and_the_other_way_round() -> None:
    named = set()
    reading = (TUNERS / "config" / "json_document.py", TUNERS / "config" / "tolerant_json.py")
    for path in (*TUNERS.glob("legality/*.py"), *reading):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in CATALOG:
                named.add(node.value)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "found":
                first = node.args[0]
                assert not isinstance(first, ast.Constant) or first.value in CATALOG
    assert named == set(CATALOG)


@pytest.mark.parametrize("version", table_versions())
def test_a_plain_config_is_legal_in_every_known_version(version: str) -> None:
    path = HERE / "good" / "wire-type.json"
    assert rules_of(linted(path, {"deepspeed_version": version}), Severity.ERROR, Severity.WARNING) == set()
    assert table(version).sections["zero_optimization"]["stage"].choices == (0, 1, 2, 3)
