import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.patience import PATIENCE_SECONDS
from tests.runner.probe_fakes import read

from flyball.collectors.journal import SCHEMA, RankJournal
from flyball.runner.probe_install import install

STAND_IN = Path(__file__).parent / "stand_in"
TRAIN = """
import deepspeed, torch
engine, *_ = deepspeed.initialize(model=torch.nn.Linear(4, 1), config={"train_micro_batch_size_per_gpu": 32})
for _ in range(3):
    loss = engine(torch.zeros(2, 4)).mean()
    engine.backward(loss)
    engine.step()
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run ``script.py`` under an installed probe; more environment and settings by keyword."""

    def start(
        text: str,
        *arguments: str,
        name: str = "script.py",
        path: tuple[Path, ...] = (STAND_IN,),
        environment: dict[str, str] | None = None,
        python: str = sys.executable,
        **settings: Any,
    ) -> "subprocess.CompletedProcess[str]":
        (tmp_path / "user").mkdir(exist_ok=True)
        script = tmp_path / "user" / name
        script.write_text(text)
        given = {"run": "r1", "purpose": "trial", "directory": str(tmp_path / "trial"), **settings}
        site = install(tmp_path / "probe", given)["PYTHONPATH"]
        joined = os.pathsep.join([site, *map(str, path)])
        inherited = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "RANK")}
        return subprocess.run(
            [python, str(script), *arguments],
            env={**inherited, "PYTHONPATH": joined, **(environment or {})},
            cwd=tmp_path / "user",
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    return start


def journal(tmp_path: Path) -> RankJournal:
    return read(tmp_path / "trial")


def test_an_unchanged_script_writes_what_the_collectors_read(run: Run, tmp_path: Path) -> None:
    done = run(TRAIN)
    assert (done.returncode, done.stderr) == (0, "")
    found = journal(tmp_path)
    kinds = [record["kind"] for record in found.records if record["kind"] not in ("modules", "startup")]
    assert (kinds[0], kinds[1], kinds[-1]) == ("header", "step", "end")
    assert found.torn_lines == 0
    header = found.header
    assert header is not None
    assert (header["schema"], header["run"], header["purpose"]) == (SCHEMA, "r1", "trial")
    assert (header["rank"], header["engine"], header["device"]) == (0, 0, "cpu")
    assert (header["config_source"], header["micro_batch"]) == ("argument", 32)
    assert (header["parameters"], header["largest_parameter"]) == (5, 4)
    assert header["started"] < header["clock"]
    startup = found.last("startup")
    assert startup is not None
    assert {"interpreter", "imports"} <= set(startup["seconds"])
    # Every moment has one part, so that the parts make up the whole.
    whole = found.steps()[0]["clock"] - header["started"]
    assert sum(startup["seconds"].values()) == pytest.approx(whole, abs=0.05)
    assert "torch" in header["modules"]
    assert not [name for name in header["modules"] if name.startswith(("deepspeed", "flyball"))]
    late = found.last("modules")
    assert late is not None
    assert not set(late["names"]) & set(header["modules"])
    assert not [path for path in header["module_paths"] if str(tmp_path) in path]
    # The script says 32 and feeds 2: what was fed counts.
    assert sum(step["samples"] for step in found.steps()) == 6
    assert sum(step["count"] for step in found.steps()) == 3


def test_the_installed_folder_needs_no_flyball(run: Run, tmp_path: Path) -> None:
    report = (
        "import sys; assert 'flyball' not in sys.modules; print(sys.modules['flyball.runner.probe'].__file__)"
    )
    libraries = Path(sysconfig.get_paths()["purelib"])
    # The interpreter behind the virtual environment reads no .pth file of it: flyball is not to be found.
    done = run(TRAIN + report, python=sys._base_executable, path=(STAND_IN, libraries))  # type: ignore[attr-defined]
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "probe")
    assert len(journal(tmp_path).of_kind("header")) == 1


def test_a_script_that_imports_the_probe_gets_the_one_that_is_active(run: Run, tmp_path: Path) -> None:
    attach = "from flyball.runner import probe; probe.attach(engine); print(probe.__file__)"
    done = run(TRAIN + attach)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "probe")
    assert len(journal(tmp_path).of_kind("header")) == 1


def test_attach_alone_watches_from_then_on(run: Run, tmp_path: Path) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"directory": str(tmp_path / "trial"), "run": "explicit"}))
    text = TRAIN.replace("for _", "from flyball.runner import probe\nprobe.attach(engine)\nfor _")
    environment = {"PYTHONPATH": str(STAND_IN), "FLYBALL_PROBE_SETTINGS": str(settings)}
    done = run(text, environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    found = journal(tmp_path)
    assert [record["run"] for record in found.of_kind("header")] == ["explicit"]
    assert sum(step["samples"] for step in found.steps()) == 6


def test_a_shadowed_sitecustomize_still_runs(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "sitecustomize.py").write_text("import sys\nsys.user_was_here = True\n")
    text = "import sys, sitecustomize; print(sys.user_was_here, sitecustomize.__file__)"
    done = run(text, path=(other,))
    assert done.stdout.split() == ["True", str(other / "sitecustomize.py")]


@pytest.mark.parametrize("name", ["deepspeed", "torchrun", "accelerate"])
def test_a_launcher_is_left_alone(run: Run, tmp_path: Path, name: str) -> None:
    text = "import sys; open('state', 'w').close(); sys.exit('flyball.runner.probe.watch' in sys.modules)"
    done = run(text, name=name, guard_writes=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "trial").exists()


def test_the_last_words_of_a_script_that_dies_before_its_engine(run: Run, tmp_path: Path) -> None:
    done = run("import deepspeed\n\nraise LookupError('no data')\n")
    assert done.returncode == 1
    assert "LookupError: no data" in done.stderr
    (record,) = journal(tmp_path).of_kind("exception")
    assert (record["type"], record["message"]) == ("LookupError", "no data")
    assert record["where"] == f"{tmp_path / 'user' / 'script.py'}:3"
    assert record["in_deepspeed_config"] is False
    assert journal(tmp_path).header is None


def test_last_words_survive_a_replaced_excepthook(run: Run, tmp_path: Path) -> None:
    done = run("import sys\nsys.excepthook = lambda *_: None\nraise LookupError('no data')\n")
    assert done.returncode == 1
    assert [record["type"] for record in journal(tmp_path).of_kind("exception")] == ["LookupError"]


def test_a_worker_below_a_wrapper_has_last_words(run: Run, tmp_path: Path) -> None:
    child = "import subprocess, sys, os; os.environ['RANK'] = '0'\n"
    done = run(child + "subprocess.run([sys.executable, '-c', 'raise LookupError'])")
    assert done.returncode == 0
    assert [record["type"] for record in journal(tmp_path).of_kind("exception")] == ["LookupError"]


def test_a_helper_of_the_script_has_no_last_words(run: Run, tmp_path: Path) -> None:
    done = run("import subprocess, sys; subprocess.run([sys.executable, '-c', 'raise LookupError'])")
    assert done.returncode == 0
    assert "LookupError" in done.stderr
    assert not (tmp_path / "trial").exists()


def test_a_config_that_deepspeed_refuses(run: Run, tmp_path: Path) -> None:
    done = run(TRAIN, substitute_config={"train_micro_batch_size_per_gpu": 0})
    assert done.returncode == 1
    (record,) = journal(tmp_path).of_kind("exception")
    assert (record["type"], record["in_deepspeed_config"]) == ("AssertionError", True)


def test_a_trials_config_replaces_the_one_in_the_script(run: Run, tmp_path: Path) -> None:
    done = run(TRAIN, substitute_config={"train_micro_batch_size_per_gpu": 2})
    assert (done.returncode, done.stderr) == (0, "")
    header = journal(tmp_path).header
    assert header is not None
    assert (header["micro_batch"], header["config_source"]) == (2, "substituted")


SEVERAL = """
import deepspeed, torch
for micro_batch in (3, 4, 5):
    model = torch.nn.Linear(4, 1)
    deepspeed.initialize(model=model, config={"train_micro_batch_size_per_gpu": micro_batch})
"""


def test_of_several_engines_only_the_chosen_one_gets_the_config_and_the_knobs(
    run: Run, tmp_path: Path
) -> None:
    config = {"train_micro_batch_size_per_gpu": 2}
    knobs = {"activation_checkpointing": True}
    done = run(SEVERAL, substitute_config=config, substitute_engine=1, knobs=knobs)
    assert (done.returncode, done.stderr) == (0, "")
    headers = journal(tmp_path).of_kind("header")
    assert [(each["micro_batch"], each["config_source"]) for each in headers] == [
        (3, "argument"), (2, "substituted"), (5, "argument"),
    ]  # fmt: skip
    assert len(journal(tmp_path).of_kind("witness")) == 1


@pytest.mark.parametrize("settings", [None, "{ not json", '{"budget_ratio": "high"}'])
def test_a_broken_installation_does_not_disturb_an_interpreter(
    run: Run, tmp_path: Path, settings: str | None
) -> None:
    site = install(tmp_path / "broken", {})["PYTHONPATH"]
    (tmp_path / "broken" / "settings.json").unlink()
    if settings is not None:
        (tmp_path / "broken" / "settings.json").write_text(settings)
    done = run(TRAIN, environment={"PYTHONPATH": os.pathsep.join([site, str(STAND_IN)])})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_forked_child_takes_its_own_settings(run: Run, tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"directory": str(tmp_path / "child"), "run": "child"}))
    child = (
        "import os, deepspeed, torch\n"
        "from flyball.runner import probe\n"
        "if not os.fork():\n"
        f"    probe.activate({str(own)!r})\n"
        + "".join(f"    {line}\n" for line in TRAIN.splitlines())
        + "    probe.finish('stopped')\n    os._exit(0)\n"
        "os.wait()\n"
    )
    done = run(child)
    assert done.returncode == 0
    assert not (tmp_path / "trial").exists()
    found = read(tmp_path / "child")
    assert [record["run"] for record in found.of_kind("header")] == ["child"]
    assert found.last("end")["reason"] == "stopped"  # type: ignore[index]
    assert sum(step["samples"] for step in found.steps()) == 6
