"""Counts what entered the engine's forward: the shapes of the tensors, never the config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

PREFERRED = ("input_ids", "inputs_embeds")


def count_batch(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[int, int]:
    """Return ``(samples, tokens)`` of one forward call.

    Samples are dimension 0 of ``input_ids`` where there is one, else of the first tensor with a dimension.
    Tokens are known for a 2-D integer tensor [B, S] and a 3-D floating one [B, S, H], and are 0 otherwise.
    """
    tensor = kwargs.get("input_ids")
    if tensor is None or not _has_dimension(tensor):
        found = _preferred(args, kwargs) or _first((*args, *kwargs.values()))
        tensor = found.tensor if found else None
    return (0, 0) if tensor is None else count_tensor(tensor)


def count_tensor(tensor: Any) -> tuple[int, int]:
    """Return ``(samples, tokens)`` of one batch tensor."""
    shape = tensor.shape
    dimensions = len(shape)
    samples: int = shape[0]
    if dimensions in (2, 3) and tensor.is_floating_point() == (dimensions == 3):
        return samples, samples * shape[1]
    return samples, 0


def first_tensor(value: Any) -> Any:
    """The first tensor with a dimension inside nested containers, or None."""
    found = _first((value,))
    return found.tensor if found else None


class _Found:
    """Carries a tensor, whose truth value may not be asked."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor


def _has_dimension(value: Any) -> bool:
    shape = getattr(value, "shape", None)
    return shape is not None and len(shape) > 0 and hasattr(value, "is_floating_point")


def _preferred(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Found | None:
    for mapping in (kwargs, *(value for value in (*args, *kwargs.values()) if _is_mapping(value))):
        for name in PREFERRED:
            if _has_dimension(mapping.get(name)):
                return _Found(mapping[name])
    return None


def _is_mapping(value: Any) -> bool:
    # transformers' BatchEncoding is a UserDict: a Mapping by registration only in some versions.
    return isinstance(value, Mapping) or (hasattr(value, "keys") and hasattr(value, "get"))


def _first(values: tuple[Any, ...], depth: int = 0) -> _Found | None:
    for value in values:
        if _has_dimension(value):
            return _Found(value)
        if depth < 4:
            found = _first(tuple(_children(value)), depth + 1)
            if found:
                return found
    return None


def _children(value: Any) -> Iterator[Any]:
    if _is_mapping(value):
        return iter(value.values())
    if isinstance(value, (list, tuple)):
        return iter(value)
    if hasattr(value, "__dataclass_fields__"):
        return iter(vars(value).values())
    return iter(())
