"""Copies the probe into a folder, from which any interpreter runs it without flyball being installed."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROBE = Path(__file__).parent / "probe"
SITE = Path(__file__).parent / "probe_site" / "sitecustomize.py"


def install(directory: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """Write ``site/``, ``probe/`` and ``settings.json`` into ``directory``; an older installation is
    replaced.

    Returns the environment to set: PYTHONPATH, which the caller joins in front of the user's own. Raises
    OSError.
    """
    directory = directory.absolute()
    (directory / "site").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(SITE, directory / "site" / "sitecustomize.py")
    shutil.rmtree(directory / "probe", ignore_errors=True)
    shutil.copytree(PROBE, directory / "probe", ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "settings.json").write_text(json.dumps(dict(settings), indent=2), encoding="utf-8")
    return {"PYTHONPATH": str(directory / "site")}
