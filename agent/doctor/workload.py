"""The interpreter that the workload runs under, asked in a process of its own: torch is not ours to load."""

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flyball.agent.doctor.base import Finding, Question, failing, ok, warning

_SECONDS = 120
_ASK = """
import importlib.metadata, importlib.util, json, shutil, sys
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
site = sys.modules.get("sitecustomize")
found = {
    "python": sys.version.split()[0],
    "ignores": bool(sys.flags.isolated or sys.flags.ignore_environment or sys.flags.no_site),
    "site": getattr(site, "__file__", None),
    "deepspeed": version("deepspeed"),
    "ninja": bool(shutil.which("ninja") or importlib.util.find_spec("ninja")),
    "torch": None,
}
if importlib.util.find_spec("torch"):
    try:
        import torch
        found["torch"] = torch.__version__
        found["cuda"] = torch.version.cuda
        found["gpus"] = torch.cuda.device_count()
        if torch.version.cuda:
            nccl = torch.cuda.nccl.version()
            found["nccl"] = ".".join(map(str, nccl)) if isinstance(nccl, tuple) else str(nccl)
    except Exception as error:
        found["torch_fault"] = f"{type(error).__name__}: {error}"
print("\\n" + json.dumps(found))
"""


def check(question: Question) -> Iterable[Finding]:
    """Ask the interpreter."""
    found = _ask(question.python)
    if isinstance(found, Finding):
        yield found
        return
    yield _python(question, found)
    yield from _site(question, found)
    yield _torch(found)
    yield from _nccl(found)
    yield from _deepspeed(found)


def _ask(python: str) -> Mapping[str, Any] | Finding:
    mend = "name the workload's interpreter with --python"
    try:
        done = subprocess.run(
            [python, "-c", _ASK], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        found = json.loads(done.stdout.rstrip().rpartition("\n")[2])
    except (OSError, subprocess.SubprocessError) as error:
        return failing("python", f"{python} cannot be run: {error}", mend)
    except ValueError:
        return failing("python", f"{python} does not answer: {_last_words(done.stderr)}", mend)
    return found if isinstance(found, Mapping) else failing("python", f"{python} is no Python", mend)


def _last_words(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it printed nothing"


def _python(question: Question, found: Mapping[str, Any]) -> Finding:
    text = f"{found['python']} ({question.python})"
    if found["ignores"]:
        mend = "start the workload without -I, -E and -S: they keep the probe out"
        return failing("python", f"{text} ignores PYTHONPATH", mend)
    return ok("python", text)


def _site(question: Question, found: Mapping[str, Any]) -> Iterator[Finding]:
    own = question.cwd / "sitecustomize.py"
    if own.exists():
        mend = "rename it for multi-node runs: their launcher puts this folder before the probe's"
        yield warning("probe", f"{own} comes first on other hosts", mend)
    elif found["site"]:
        yield ok("probe", f"will hand on to your own {found['site']}")
    else:
        yield ok("probe", "PYTHONPATH is heeded")


def _torch(found: Mapping[str, Any]) -> Finding:
    if found.get("torch_fault"):
        return failing("torch", f"does not import: {found['torch_fault']}", "mend the installation of torch")
    if not found["torch"]:
        mend = "pip install torch there, or name the workload's interpreter with --python"
        return failing("torch", "is not installed in that interpreter", mend)
    if not found["cuda"]:
        return ok("torch", f"{found['torch']}, without CUDA")
    text = f"{found['torch']}, CUDA {found['cuda']}, {found['gpus']} GPUs"
    if not found["gpus"]:
        return warning("torch", text, "see that driver and CUDA fit (nvidia-smi), and CUDA_VISIBLE_DEVICES")
    return ok("torch", text)


def _nccl(found: Mapping[str, Any]) -> Iterator[Finding]:
    if found.get("nccl"):
        yield ok("nccl", str(found["nccl"]))


def _deepspeed(found: Mapping[str, Any]) -> Iterator[Finding]:
    if not found["deepspeed"]:
        yield failing("deepspeed", "is not installed in that interpreter", "pip install deepspeed there")
        return
    lacking = [name for name, there in (("g++", shutil.which("g++")), ("ninja", found["ninja"])) if not there]
    if lacking:
        mend = f"install {' and '.join(lacking)}"
        yield warning("deepspeed", f"{found['deepspeed']} cannot build its operators", mend)
    else:
        yield ok("deepspeed", f"{found['deepspeed']}, with g++ and ninja for its operators")
