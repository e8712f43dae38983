"""What a model is made of, as far as its memory goes: counted once for each engine, nothing is computed."""

from __future__ import annotations

from typing import Any


def model_facts(module: Any) -> dict[str, Any]:
    """The header's fields about the model (docs/journal.md); a fact that it does not have is absent."""
    return {**parameter_counts(module), **_shape(module)}


def parameter_counts(module: Any) -> dict[str, Any]:
    """Parameters in all, trainable ones, by data type, in the largest one and in the largest module itself.

    Under ZeRO-3 a parameter's own size is its partition's; the whole one's is counted.
    """
    parameters = list(module.parameters())
    by_type: dict[str, int] = {}
    for parameter in parameters:
        name = str(parameter.dtype).rpartition(".")[2]
        by_type[name] = by_type.get(name, 0) + _size(parameter)
    return {
        "parameters": sum(by_type.values()),
        "trainable_parameters": sum(_size(each) for each in parameters if each.requires_grad),
        "parameters_by_type": by_type,
        "largest_parameter": max(map(_size, parameters), default=0),
        "largest_module": max(
            (sum(map(_size, part.parameters(recurse=False))) for part in module.modules()), default=0
        ),
    }


def _size(parameter: Any) -> int:
    return int(getattr(parameter, "ds_numel", None) or parameter.numel())


def _shape(module: Any) -> dict[str, Any]:
    try:
        return {**_layers(module), **_embedding(module)}
    except (
        Exception
    ):  # modules of users' own answer such questions in any way; the run is watched all the same
        return {}


def _layers(module: Any) -> dict[str, int]:
    """How many layers the model repeats: the list of modules that holds most parameters."""
    lists = [part for part in module.modules() if type(part).__name__ == "ModuleList" and len(part) > 1]
    longest = max(lists, key=lambda part: sum(map(_size, part.parameters())), default=None)
    return {} if longest is None else {"layers": len(longest)}


def _embedding(module: Any) -> dict[str, list[int]]:
    """Rows and width of the largest table of embeddings: the vocabulary and the hidden size."""
    shapes = [
        [int(part.num_embeddings), int(part.embedding_dim)]
        for part in module.modules()
        if hasattr(part, "num_embeddings") and hasattr(part, "embedding_dim")
    ]
    return {"embedding": max(shapes, key=lambda shape: shape[0] * shape[1])} if shapes else {}
