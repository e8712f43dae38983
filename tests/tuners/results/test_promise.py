"""What a recommendation promises, and which commands use it."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.tuners.study_bench import Bench, larger_is_faster

from flyball.collectors.fingerprint import fingerprint
from flyball.tuners.results.promise import promised
from flyball.tuners.results.promise_match import find_promise


def document(*rates: float, verdict: str = "recommended") -> dict[str, Any]:
    pairs = [{"round": number, "baseline": 50.0, "candidate": rate} for number, rate in enumerate(rates)]
    other = {"key": "trial 2", "pairs": [{"round": 0, "baseline": 50.0, "candidate": 1.0}]}
    return {
        "verdict": verdict,
        "verification": {"winner": "trial 1", "candidates": [other, {"key": "trial 1", "pairs": pairs}]},
    }


def test_it_is_where_the_next_run_lies_by_those_that_verified_it() -> None:
    narrow, wide = promised(document(100, 101, 99, 100)), promised(document(100, 120, 80, 100))
    assert narrow is not None
    assert wide is not None
    assert wide.low < narrow.low < 99
    assert 101 < narrow.high < wide.high


@pytest.mark.parametrize(
    "found",
    [
        document(100, 101, verdict="keep"),
        document(100, 101, verdict="unverified"),
        document(100),
        {"verdict": "recommended"},
    ],
)
def test_without_a_recommendation_or_its_runs_nothing_is_promised(found: Mapping[str, Any]) -> None:
    assert promised(found) is None


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = Bench(tmp_path_factory.mktemp("studied"), larger_is_faster)
    bench.run()
    return bench


def promise(bench: Bench, *command: str, cwd: Path | None = None) -> dict[str, Any] | None:
    return find_promise(
        bench.history(),
        command,
        cwd=cwd or bench.folder,
        environment={},
        fingerprint_digest=fingerprint().digest,
    )


def test_the_recommended_command_is_known_by_its_file_and_by_what_it_says(studied: Bench) -> None:
    line = (studied.folder / "out" / "cmd_optimal.txt").read_text().splitlines()[1]
    tokens = shlex.split(line.removeprefix("exec ").removesuffix(' "$@"'))
    known = promise(studied, *tokens)
    interval = promised(studied.recommendation())
    assert interval is not None
    assert known is not None
    assert (known["low"], known["high"]) == (interval.low, interval.high)
    assert promise(studied, "sh", "out/cmd_optimal.txt") == known


def test_the_users_own_copy_of_the_config_is_known_too(studied: Bench, tmp_path: Path) -> None:
    config = json.loads((studied.folder / "out" / "ds_config_optimal.json").read_text())
    copy = tmp_path / "mine.json"
    copy.write_text(json.dumps(config))
    assert promise(studied, "python", "train.py", "--deepspeed_config", str(copy)) is not None
    copy.write_text(json.dumps({**config, "gradient_clipping": 0.5}))
    assert promise(studied, "python", "train.py", "--deepspeed_config", str(copy)) is None


@pytest.mark.parametrize(
    "command",
    [
        ("python", "train.py", "--deepspeed_config", "ds.json"),
        ("python", "no_such.py"),
        ("sh", "train.sh"),
        ("true",),
    ],
)
def test_other_commands_are_promised_nothing(studied: Bench, command: tuple[str, ...]) -> None:
    assert promise(studied, *command) is None


def test_another_machine_is_promised_nothing(studied: Bench) -> None:
    command = ("sh", "out/cmd_optimal.txt")
    found = find_promise(
        studied.history(), command, cwd=studied.folder, environment={}, fingerprint_digest="other"
    )
    assert found is None
