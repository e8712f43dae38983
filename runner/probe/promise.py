"""What the recommendation promised that this run uses: ``promise.json``, which lies in the run's folder."""

from __future__ import annotations

import json
import os

from flyball.runner.probe.settings import Settings

NAME = "promise.json"


def promise_of(settings: Settings) -> dict[str, float] | None:
    """Samples a second of the whole run, ``low`` and ``high``; None where nothing was promised."""
    if settings.trial:
        return None
    try:
        with open(os.path.join(settings.directory, NAME), encoding="utf-8") as file:
            found = json.load(file)
        return {"low": float(found["low"]), "high": float(found["high"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None
