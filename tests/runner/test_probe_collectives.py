"""Bytes are counted by the group of the call, wherever the call gives it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tests.runner.probe_fakes import watched

from flyball.runner.probe.collectives import COUNTS, watch_backend


def staged(func: Callable[..., Any]) -> Callable[..., Any]:
    """Hides a signature, as DeepSpeed's ``stage_on_cpu`` does."""

    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        return func(self, *args, **kwargs)

    return wrapper


class Backend:
    """Methods with the signatures of DeepSpeed's TorchBackend."""

    def get_world_size(self, group: Any = None) -> int:
        return {None: 4, "alone": 1}[group]

    @staged
    def all_reduce(self, tensor: Any, op: Any = None, group: Any = None, async_op: bool = False) -> None:
        pass

    def inference_all_reduce(self, tensor: Any, op: Any, group: Any = None) -> None:
        pass

    def broadcast(self, tensor: Any, src: int, group: Any = None, async_op: bool = False) -> None:
        pass

    def send(self, tensor: Any) -> None:
        pass


watch_backend(Backend, ModuleType("backend"))


@pytest.fixture(autouse=True)
def counting(tmp_path: Path) -> Iterator[None]:
    COUNTS.clear()
    with watched(tmp_path):
        yield
    COUNTS.clear()


TENSOR = torch.zeros(8)
CALLS = [
    ("all_reduce", (TENSOR, None, "alone", False), {}, 0),
    ("all_reduce", (TENSOR, None, None, False), {}, 32),
    ("all_reduce", (TENSOR,), {"group": "alone"}, 0),
    ("all_reduce", (), {"tensor": TENSOR}, 32),
    ("inference_all_reduce", (TENSOR, None, "alone"), {}, 0),
    ("broadcast", (TENSOR, 0, "alone"), {}, 0),
    ("broadcast", (TENSOR, 0), {}, 32),
    ("send", (TENSOR,), {}, 32),
]


@pytest.mark.parametrize(("op", "arguments", "named", "count"), CALLS)
def test_a_group_of_one_rank_moves_nothing(
    op: str, arguments: tuple[Any, ...], named: dict[str, Any], count: int
) -> None:
    getattr(Backend(), op)(*arguments, **named)
    assert COUNTS.bytes.get(op, 0) == count
