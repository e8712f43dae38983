"""Expandable segments: merged into what the user has, offered where they can act, believed when seen."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.tuners.study_bench import Bench, two_ranks_of

from flyball.tuners.job.job import Job
from flyball.tuners.legality.context import Context
from flyball.tuners.options import StudyOptions
from flyball.tuners.space.render import render
from flyball.tuners.space.space import load_space
from flyball.tuners.study.setup import Launchers

OLDER, NEWER = "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"
ON = "expandable_segments:True"
LISTED = "roundup_power2_divisions:[256:1,512:2,>:4],max_split_size_mb:128"


def on_gpu(environment: Mapping[str, str] | None = None, torch: str | None = "2.13.0") -> Context:
    return Context(world_size=1, device="cuda", torch_version=torch, environment=environment or {})


@pytest.mark.parametrize(
    ("own", "torch", "written"),
    [
        ({}, "2.13.0", {OLDER: ON}),
        ({}, None, {OLDER: ON}),
        ({OLDER: ""}, "2.13.0", {OLDER: ON}),
        ({OLDER: LISTED}, "2.13.0", {OLDER: f"{LISTED},{ON}"}),
        ({OLDER: "max_split_size_mb: 128, "}, "2.13.0", {OLDER: f"max_split_size_mb:128,{ON}"}),
        (
            {OLDER: "expandable_segments:False,max_split_size_mb:64"},
            "2.13.0",
            {OLDER: f"{ON},max_split_size_mb:64"},
        ),
        ({NEWER: "max_split_size_mb:64"}, "2.9.0", {NEWER: f"max_split_size_mb:64,{ON}"}),
        ({NEWER: "max_split_size_mb:64"}, None, {NEWER: f"max_split_size_mb:64,{ON}"}),
        # What an older torch does not read must not begin to act.
        ({NEWER: "max_split_size_mb:64"}, "2.8.0+cu128", {OLDER: ON}),
        (
            {OLDER: "max_split_size_mb:64", NEWER: "max_split_size_mb:64"},
            "2.11.0",
            {OLDER: f"max_split_size_mb:64,{ON}", NEWER: f"max_split_size_mb:64,{ON}"},
        ),
    ],
)
def test_it_joins_the_users_own_settings(
    own: dict[str, str], torch: str | None, written: dict[str, str]
) -> None:
    assert render({}, {"expandable_segments": True}, on_gpu(own, torch)).environment == written


@pytest.mark.parametrize("own", [{}, {OLDER: f"max_split_size_mb:64,{ON}"}, {NEWER: ON}])
def test_what_is_so_already_is_not_written(own: dict[str, str]) -> None:
    context = on_gpu(own)
    assert render({}, {"expandable_segments": bool(own)}, context).environment == {}
    assert render({}, {"expandable_segments": not own}, context).environment != {}


def test_it_can_be_taken_back() -> None:
    made = render({}, {"expandable_segments": False}, on_gpu({OLDER: f"{ON},max_split_size_mb:64"}))
    assert made.environment == {OLDER: "expandable_segments:False,max_split_size_mb:64"}


@pytest.mark.parametrize(
    ("context", "why"),
    [
        (Context(world_size=1, device="cpu"), "the allocator is not CUDA's"),
        (on_gpu({OLDER: "backend:cudaMallocAsync"}), "backend:cudaMallocAsync has no segments"),
        (on_gpu({OLDER: "max_split_size_mb:64", NEWER: ON}), "differ"),
        (on_gpu({"TORCH_NCCL_USE_TENSOR_REGISTER_ALLOCATOR_HOOK": "1"}), "torch switches"),
        (on_gpu({OLDER: ON}), "not offered by default here"),
        (on_gpu({NEWER: "expandable_segments:False"}), "not offered by default here"),
    ],
)
def test_it_is_left_out_where_it_cannot_act_or_is_decided(context: Context, why: str) -> None:
    assert why in load_space(None, {}, context).left_out["expandable_segments"]


@pytest.mark.parametrize(
    "context",
    [
        on_gpu(),
        on_gpu({OLDER: "backend:native,max_split_size_mb:64"}),
        on_gpu({OLDER: "max_split_size_mb:64", NEWER: ON}, torch="2.8.0"),
        on_gpu({"TORCH_NCCL_USE_TENSOR_REGISTER_ALLOCATOR_HOOK": "0"}),
    ],
)
def test_it_is_offered_everywhere_else(context: Context) -> None:
    assert load_space(None, {}, context).entry("expandable_segments").values == (False, True)


def test_a_space_file_may_ask_for_it_where_the_user_has_decided(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("knobs:\n  expandable_segments: [false, true]\n")
    entry = load_space(tmp_path / "space.yaml", {}, on_gpu({OLDER: ON})).entry("expandable_segments")
    assert (entry.current, entry.values) == (True, (False, True))


SEGMENTS = {"allocated": 1, "active": 1, "inactive_split": 0, "reserved": 2, "retries": 0, "ooms": 0}


@dataclass
class GpuBench(Bench):
    """A job whose memory is fragmented: 1.3 times as fast once its environment says so."""

    acts: bool = True

    def memory(self, config: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
        expandable = {"expandable": True} if self.acts and ON in environment.get(OLDER, "") else {}
        return {**SEGMENTS, **expandable}

    def launchers(self, options: StudyOptions, job: Job) -> Launchers:
        made = super().launchers(options, job)
        for launcher in self.made:
            launcher.device, launcher.memory = "cuda:0", self.memory
        return made


def faster(config: Mapping[str, Any], environment: Mapping[str, str]) -> float:
    return 130.0 if ON in environment.get(OLDER, "") else 100.0


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GpuBench:
    monkeypatch.setattr("flyball.tuners.job.job.parse_command", two_ranks_of)
    monkeypatch.setenv(OLDER, "max_split_size_mb:128")
    monkeypatch.delenv(NEWER, raising=False)
    made = GpuBench(tmp_path, faster)
    (tmp_path / "space.yaml").write_text("knobs:\n  expandable_segments: default\n")
    return made


def test_the_recommendation_carries_the_users_other_settings(bench: GpuBench) -> None:
    bench.run()
    found = bench.recommendation()
    merged = f"max_split_size_mb:128,{ON}"
    assert found["verdict"] == "recommended", found["reasons"]
    assert found["recommended"]["environment"] == {OLDER: merged}
    (change,) = found["changes"]
    assert (change["place"], change["path"]) == ("environment", OLDER)
    assert (change["before"], change["after"]) == ("max_split_size_mb:128", merged)
    assert change["reason"].startswith("memory that is reserved")
    command = (bench.folder / "out/cmd_optimal.txt").read_text()
    assert f"{OLDER}={merged}" in shlex.split(command)


def test_what_no_journal_says_is_reported_and_not_recommended(bench: GpuBench) -> None:
    bench.acts = False
    bench.run()
    found = bench.recommendation()
    assert found["verdict"] == "keep"
    assert found["changes"] == []
    assert "no effect of expandable_segments was seen" in found["notes"]
    assert ON not in (bench.folder / "out/cmd_optimal.txt").read_text()
