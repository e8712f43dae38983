"""A script that insists on its tracker, under a trial and under a plain run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.patience import PATIENCE_SECONDS
from tests.runner.probe_fakes import read

from flyball.runner.probe_install import install

MODULES = {
    "wandb.py": "def init(project=None, mode=None): return mode\ndef login(key=None): return key\n",
    "mlflow/__init__.py": "from mlflow.tracking import set_tracking_uri\n",
    "mlflow/tracking.py": "def set_tracking_uri(uri): return uri\n",
    "comet_ml.py": """
class Experiment:
    def __init__(self, api_key=None, project_name=None, disabled=False):
        self.disabled = disabled
""",
    "huggingface_hub/__init__.py": "from huggingface_hub.hf_api import HfApi, upload_file\n",
    "huggingface_hub/hf_api.py": """
class RepoUrl:
    repo_id = "uploaded"
class HfApi:
    def create_repo(self, repo_id, private=None): return RepoUrl()
    def upload_file(self, path_or_fileobj=None, repo_id=None): return "uploaded"
    def upload_folder(self, repo_id=None, run_as_future=False): return "uploaded"
api = HfApi()
upload_file = api.upload_file
""",
    "transformers/__init__.py": "",
    "transformers/training_args.py": """
from dataclasses import dataclass
@dataclass
class TrainingArguments:
    push_to_hub: bool = False
    def __post_init__(self): self.seen = self.push_to_hub
""",
}
SCRIPT = """
import json
import comet_ml, huggingface_hub, mlflow, mlflow.tracking, wandb
from transformers.training_args import TrainingArguments
api = huggingface_hub.HfApi()
arguments = TrainingArguments(push_to_hub=True)
future = api.upload_folder(repo_id="me/model", run_as_future=True)
print(json.dumps({
    "wandb": wandb.init(project="mine", mode="online"),
    "login": wandb.login(key="secret"),
    "mlflow": mlflow.set_tracking_uri("http://example.invalid"),
    "tracking": mlflow.tracking.set_tracking_uri("http://example.invalid"),
    "comet": comet_ml.Experiment(project_name="mine").disabled,
    "repo_id": api.create_repo("me/model").repo_id,
    "file": str(huggingface_hub.upload_file(path_or_fileobj="model.bin", repo_id="me/model")),
    "folder": str(getattr(future, "result", lambda: future)()),
    "push": [arguments.push_to_hub, arguments.seen],
}))
"""


def answers(folder: Path, purpose: str) -> dict[str, Any]:
    """What the script got from stand-ins for the trackers."""
    for name, text in MODULES.items():
        path = folder / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "script.py").write_text(SCRIPT)
    site = install(folder / "probe", {"purpose": purpose, "directory": str(folder / "trial")})
    joined = os.pathsep.join([site["PYTHONPATH"], str(folder / "site")])
    done = subprocess.run(
        [sys.executable, str(folder / "script.py")],
        env={**os.environ, "PYTHONPATH": joined, "RANK": "0"},
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def trial(tmp_path: Path) -> dict[str, Any]:
    return answers(tmp_path, "trial")


def test_a_trial_tracks_and_uploads_nothing(trial: dict[str, Any], tmp_path: Path) -> None:
    own = (tmp_path / "trial" / "output" / "mlruns").as_uri()
    assert trial == {
        "wandb": "disabled", "login": True, "mlflow": own, "tracking": own, "comet": True,
        "repo_id": "me/model", "file": "", "folder": "", "push": [False, False],
    }  # fmt: skip
    said = {record["what"] for record in read(tmp_path / "trial").of_kind("redirect")}
    assert said == {
        "wandb.init", "mlflow.set_tracking_uri", "comet_ml.Experiment",
        "huggingface_hub.create_repo", "huggingface_hub.upload_file", "huggingface_hub.upload_folder",
    }  # fmt: skip


def test_a_run_does_what_its_script_says(tmp_path: Path) -> None:
    assert answers(tmp_path, "run") == {
        "wandb": "online", "login": "secret", "mlflow": "http://example.invalid",
        "tracking": "http://example.invalid", "comet": False, "repo_id": "uploaded",
        "file": "uploaded", "folder": "uploaded", "push": [True, True],
    }  # fmt: skip
