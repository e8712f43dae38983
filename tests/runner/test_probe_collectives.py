"""Bytes are counted by the group of the call, wherever the call gives it; calls that wait are timed."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from tests.runner.probe_fakes import watched

from flyball.runner.probe.collectives import COUNTS, watch_backend
from flyball.runner.probe.latency import LATENCIES


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

    def recv(self, tensor: Any, src: int | None = None, group: Any = None, tag: int = 0) -> None:
        pass

    def gather(self, tensor: Any, gather_list: Any = None, dst: int = 0, group: Any = None) -> None:
        pass

    def get_rank(self) -> int:
        return 3


watch_backend(Backend, ModuleType("backend"))


@pytest.fixture(autouse=True)
def counting(tmp_path: Path) -> Iterator[None]:
    COUNTS.clear()
    LATENCIES.clear()
    with watched(tmp_path):
        yield
    COUNTS.clear()
    LATENCIES.clear()


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


ON_DEVICE = torch.zeros(8, device="meta")
TIMED = [
    ("all_reduce", (TENSOR,), {}, 1),
    ("all_reduce", (TENSOR,), {"async_op": False}, 1),
    ("all_reduce", (TENSOR, None, None, True), {}, 0),
    ("all_reduce", (TENSOR,), {"async_op": True}, 0),
    ("all_reduce", (TENSOR, None, "alone"), {}, 0),
    ("all_reduce", (ON_DEVICE,), {}, 0),
    ("inference_all_reduce", (TENSOR, None), {}, 1),
    ("gather", (TENSOR, None), {}, 0),
    ("gather", (TENSOR, [TENSOR, TENSOR]), {}, 1),
    ("send", (TENSOR,), {}, 0),
    ("recv", (TENSOR, 1), {}, 0),
]


@pytest.mark.parametrize(("op", "arguments", "named", "count"), TIMED)
def test_calls_on_host_tensors_that_wait_are_timed(
    op: str, arguments: tuple[Any, ...], named: dict[str, Any], count: int
) -> None:
    getattr(Backend(), op)(*arguments, **named)
    observed = LATENCIES.collectives.get((op, "8KiB", "timed"))
    assert (sum(observed.counts) if observed else 0) == count


@pytest.mark.parametrize(
    ("arguments", "named", "links"),
    [((TENSOR, 1), {}, [(1, 3)]), ((TENSOR,), {"src": 2}, [(2, 3)]), ((TENSOR,), {}, [])],
)
def test_a_message_is_timed_where_it_is_received(
    arguments: tuple[Any, ...], named: dict[str, Any], links: list[tuple[int, int]]
) -> None:
    Backend().recv(*arguments, **named)
    assert [key[:2] for key in LATENCIES.p2p] == links
