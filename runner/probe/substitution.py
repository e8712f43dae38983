"""Puts the trial's config in the place of the one that a script gives to ``deepspeed.initialize``."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

PLACES = ("deepspeed_config", "deepscale_config")
"""Attributes of ``args`` that may name a config."""


def given_config(function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[str, Any]:
    """Where the script's config comes from: ``(argument | file, the config or its path)``."""
    bound = inspect.signature(function).bind_partial(*args, **kwargs).arguments
    config = bound.get("config")
    if config is None:
        config = bound.get("config_params")
    if config is None:
        config = next(
            (found for name in PLACES if (found := getattr(bound.get("args"), name, None)) is not None), None
        )
    return ("argument" if isinstance(config, Mapping) else "file"), config


class Substituted:
    """The arguments of one ``initialize`` call with the trial's config in place; restores ``args`` at the
    end.

    DeepSpeed refuses a config in both places, so one on ``args`` is set aside for the length of the call.
    """

    def __init__(
        self, function: Callable[..., Any], args: Any, kwargs: Any, substitute: Mapping[str, Any]
    ) -> None:
        _, given = given_config(function, args, kwargs)
        bound = inspect.signature(function).bind_partial(*args, **kwargs)
        bound.arguments.pop("config_params", None)
        bound.arguments["config"] = resolve_auto(substitute, _as_mapping(given))
        self.args, self.kwargs = bound.args, bound.kwargs
        self._owner = bound.arguments.get("args")
        self._aside: dict[str, Any] = {}

    def __enter__(self) -> Substituted:
        for name in PLACES:
            value = getattr(self._owner, name, None)
            if value is not None:
                self._aside[name] = value
                setattr(self._owner, name, None)
        return self

    def __exit__(self, *_: object) -> None:
        for name, value in self._aside.items():
            setattr(self._owner, name, value)


def resolve_auto(substitute: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of ``substitute`` whose "auto" values are those that the caller had already filled in."""
    resolved: dict[str, Any] = {}
    for key, value in substitute.items():
        known = given.get(key)
        if isinstance(value, Mapping):
            resolved[key] = resolve_auto(value, known if isinstance(known, Mapping) else {})
        elif value != "auto":
            resolved[key] = copy.deepcopy(value)
        elif known is not None and known != "auto":
            resolved[key] = copy.deepcopy(known)
    return resolved


def _as_mapping(given: Any) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        return given
    try:
        with open(given, encoding="utf-8") as file:
            loaded = json.load(file)
    except (OSError, TypeError, ValueError):
        return {}
    return loaded if isinstance(loaded, Mapping) else {}
