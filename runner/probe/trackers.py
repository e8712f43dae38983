"""Trial only: experiment trackers stay off and nothing is uploaded, whatever the script asks of them.

The environment already says so (``WANDB_MODE`` and its like); an argument in the script wins over it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from flyball.runner.probe.imports import FINDER
from flyball.runner.probe.watch import SLOT, Probe

QUIET = "_flyball_quiet"
COMET_CLASSES = ("Experiment", "ExistingExperiment", "OfflineExperiment", "ExistingOfflineExperiment")
UPLOADS = (
    "create_branch",
    "create_commit",
    "create_repo",
    "create_tag",
    "delete_branch",
    "delete_file",
    "delete_folder",
    "delete_repo",
    "delete_tag",
    "preupload_lfs_files",
    "super_squash_history",
    "upload_file",
    "upload_folder",
    "upload_large_folder",
)
"""Methods of ``huggingface_hub.HfApi`` that change what is on the hub."""


class NotUploaded(str):
    """What a refused upload returns: an empty text, any other attribute of it empty as well."""

    repo_id: str

    def __getattr__(self, name: str) -> str:
        """Links, commits and names that a script may print."""
        if name.startswith("__"):
            raise AttributeError(name)
        return ""


def quiet_trackers() -> None:
    """Wrap the trackers as they are imported."""
    hooks = {
        "wandb": _quiet_wandb,
        "mlflow": _quiet_mlflow,
        "mlflow.tracking": _quiet_mlflow,
        "comet_ml": _quiet_comet,
        "huggingface_hub.hf_api": _quiet_hub,
        "transformers.training_args": _quiet_arguments,
    }
    for name, hook in hooks.items():
        FINDER.when_imported(name, functools.partial(_safely, hook))


def _safely(hook: Callable[[Any], None], module: Any) -> None:
    if SLOT.probe is not None:
        SLOT.probe.safely(hook, module)


def _in_trial(original: Callable[..., Any], instead: Callable[..., Any]) -> Callable[..., Any]:
    """``instead(probe, *args, **kwargs)`` in a trial, the original elsewhere; wrapped once."""
    if getattr(original, QUIET, False):
        return original

    @functools.wraps(original)
    def quiet(*args: Any, **kwargs: Any) -> Any:
        probe = SLOT.probe
        if probe is None or not probe.trial:
            return original(*args, **kwargs)
        return instead(probe, *args, **kwargs)

    setattr(quiet, QUIET, True)
    return quiet


def _quiet_wandb(module: Any) -> None:
    start = module.init

    def init(probe: Probe, *args: Any, **kwargs: Any) -> Any:
        probe.say("redirect", what="wandb.init", path=str(kwargs.get("project")), to=None)
        return start(*args, **{**kwargs, "mode": "disabled"})

    module.init = _in_trial(start, init)
    if hasattr(module, "login"):
        # It would ask for a key, or write the one that it is given to the user's ~/.netrc.
        module.login = _in_trial(module.login, lambda *_, **__: True)


def _quiet_mlflow(module: Any) -> None:
    original = module.set_tracking_uri

    def set_tracking_uri(probe: Probe, uri: Any = None, *args: Any, **kwargs: Any) -> Any:
        own = (Path(probe.settings.directory).absolute() / "output" / "mlruns").as_uri()
        probe.say("redirect", what="mlflow.set_tracking_uri", path=os.fspath(uri or ""), to=own)
        return original(own, *args, **kwargs)

    module.set_tracking_uri = _in_trial(original, set_tracking_uri)


def _quiet_comet(module: Any) -> None:
    for name in COMET_CLASSES:
        experiment = getattr(module, name, None)
        if experiment is not None:
            experiment.__init__ = _in_trial(experiment.__init__, _disabled(experiment.__init__, name))


def _disabled(original: Callable[..., Any], name: str) -> Callable[..., Any]:
    def initialize(probe: Probe, *args: Any, **kwargs: Any) -> None:
        probe.say("redirect", what=f"comet_ml.{name}", path=str(kwargs.get("project_name")), to=None)
        original(*args, **{**kwargs, "disabled": True})

    return initialize


def _quiet_hub(module: Any) -> None:
    shared = module.api
    for name in UPLOADS:
        original = getattr(module.HfApi, name, None)
        if original is not None:
            setattr(module.HfApi, name, _in_trial(original, _refused(name)))
        # The functions of the module are methods of one object, bound before this.
        if hasattr(module, name):
            setattr(module, name, getattr(shared, name))


def _refused(name: str) -> Callable[..., Any]:
    def refuse(probe: Probe, _: Any, *args: Any, **kwargs: Any) -> Any:
        repository = str(kwargs.get("repo_id") or (args[0] if args else ""))
        probe.say("redirect", what=f"huggingface_hub.{name}", path=repository, to=None)
        answer = NotUploaded()
        answer.repo_id = repository
        if not kwargs.get("run_as_future"):
            return answer
        future: Future[Any] = Future()
        future.set_result(answer)
        return future

    return refuse


def _quiet_arguments(module: Any) -> None:
    arguments = module.TrainingArguments
    original = arguments.__post_init__

    def initialize(probe: Probe, self: Any, *args: Any, **kwargs: Any) -> None:
        self.push_to_hub = False
        original(self, *args, **kwargs)

    arguments.__post_init__ = _in_trial(original, initialize)
