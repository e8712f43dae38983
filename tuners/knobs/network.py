"""Which interface, algorithm and protocol NCCL and gloo use, by their own variables.

NVIDIA's page: https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html. What the user's own
environment says is the user's own point, and is moved only where a space file lists values.
"""

from collections.abc import Callable, Sequence
from typing import Any

from flyball.tuners.base import Value
from flyball.tuners.knobs.knob import Applied, Draft, Knob, Situation, one_of, whole_numbers, written
from flyball.tuners.legality.context import release, replicas_of
from flyball.tuners.legality.nccl_variables import (
    ALGORITHM,
    ALGORITHMS,
    BY_FUNCTION_SINCE,
    GLOO_INTERFACE,
    MIN_CHANNELS,
    MOST_CHANNELS,
    NCCL_INTERFACE,
    PROTOCOL,
    PROTOCOLS,
    THREAD_COUNTS,
    THREADS,
    by_function,
    enables_ll128,
    list_complaint,
)

AS_PREFIX = "="
"""Before a name, it makes NCCL take that interface alone and not all that begin like it."""


def communicates(situation: Situation) -> bool:
    """Whether there is more than one rank to talk to."""
    return situation.context.world_size > 1 or replicas_of(situation.config, situation.context) > 1


def _without_nccl(situation: Situation) -> str | None:
    if situation.context.device != "cuda":
        return "gloo communicates, not NCCL"
    return None if communicates(situation) else "one rank has nothing to communicate"


def _without_gloo(situation: Situation) -> str | None:
    if situation.context.device != "cpu":
        return "NCCL communicates, not gloo"
    return None if communicates(situation) else "one rank has nothing to communicate"


def _on_one_host(situation: Situation) -> str | None:
    return None if (situation.context.hosts or 1) > 1 else "ranks of one host need no interface"


def _spans_hosts(situation: Situation) -> bool:
    return (situation.context.hosts or 1) > 1


def _only_in_space_files(situation: Situation) -> bool:
    return False


def algorithms(situation: Situation) -> tuple[str, ...]:
    """Return what is worth trying: rings for all, or trees for what has them, which is all-reduce alone.

    NCCL from 2.24 on fails where ``Tree`` is asked of an all-gather; older ones take a ring there
    (https://github.com/NVIDIA/nccl/issues/317).
    """
    return ("Ring", "Tree" if _before_functions(situation) else "allreduce:tree")


def _before_functions(situation: Situation) -> bool:
    installed = release(situation.context.torch_version)
    return installed is not None and installed < BY_FUNCTION_SINCE


def _refused_list(situation: Situation, value: Value) -> str | None:
    if by_function(str(value)) and _before_functions(situation):
        return "NCCL takes lists by function from 2.24 on, which torch 2.7 and later bring"
    return None


def _accepts_algorithm(value: Value) -> str | None:
    return list_complaint(str(value), ALGORITHMS)


def _accepts_protocol(value: Value) -> str | None:
    if enables_ll128(str(value)):
        return "switches LL128 on, which corrupts data where a platform has it not: leave that to NCCL"
    return list_complaint(str(value), PROTOCOLS)


def _accepts_name(value: Value) -> str | None:
    return None if isinstance(value, str) and value.strip() else "is no interface"


def _absent(situation: Situation, value: Value) -> str | None:
    """Why an interface cannot be used here; a list, a prefix and an exclusion are left to NCCL."""
    name = str(value).removeprefix(AS_PREFIX)
    plain = not set(name) & set("^,")
    exact = plain and (str(value).startswith(AS_PREFIX) or name not in situation.context.interfaces)
    matched = any(each.startswith(name) for each in situation.context.interfaces)
    return f"no interface {name!r} is up here" if exact and not matched else None


def _variable(path: str, *, whole: bool = False, **rest: Any) -> Knob:
    def read(situation: Situation) -> Value | None:
        text = situation.context.environment.get(path)
        if text is None or (whole and not text.isdigit()):
            return None
        return int(text) if whole else text

    def apply(draft: Draft, value: Value) -> None:
        draft.environment[path] = written(value)

    offered: Callable[[Situation], bool] = rest.pop("by_default", _only_in_space_files)
    return Knob(
        applied=Applied.ENVIRONMENT,
        path=path,
        read=read,
        apply=apply,
        # Who has set it has found out already.
        by_default=lambda situation: path not in situation.context.environment and offered(situation),
        ordered=whole,
        **rest,
    )


def _named(prefix: str) -> Callable[[Situation], Sequence[Value]]:
    return lambda situation: tuple(f"{prefix}{name}" for name in situation.context.interfaces)


KNOBS: tuple[Knob, ...] = (
    _variable(
        NCCL_INTERFACE,
        name="nccl_socket_ifname",
        summary="network interface of NCCL's sockets, by its exact name",
        reason="of several interfaces NCCL may take a slow one",
        values=_named(AS_PREFIX),
        accepts=_accepts_name,
        refused=_absent,
        pointless=lambda situation: _without_nccl(situation) or _on_one_host(situation),
        by_default=_spans_hosts,
        witness="what NCCL's own log says that it took from the variable",
    ),
    _variable(
        GLOO_INTERFACE,
        name="gloo_socket_ifname",
        summary="network interface of gloo's sockets",
        reason="gloo takes the interface that the host's name means, which may be a slow one",
        values=_named(""),
        accepts=_accepts_name,
        refused=_absent,
        pointless=lambda situation: _without_gloo(situation) or _on_one_host(situation),
        by_default=_spans_hosts,
        witness="the interfaces whose addresses the rank's open sockets have",
    ),
    _variable(
        ALGORITHM,
        name="nccl_algo",
        summary="NCCL's algorithms, for all functions or by function",
        reason="rings fill the links, trees need fewer hops: which pays depends on hosts and message size",
        values=algorithms,
        accepts=_accepts_algorithm,
        refused=_refused_list,
        pointless=_without_nccl,
        by_default=_spans_hosts,
        witness="what NCCL's own log says that it took from the variable",
    ),
    _variable(
        PROTOCOL,
        name="nccl_proto",
        summary="NCCL's protocols; LL128 is left to NCCL itself",
        reason="Simple moves most bytes a second, LL answers soonest",
        values=lambda situation: ("Simple", "LL,Simple"),
        accepts=_accepts_protocol,
        refused=_refused_list,
        pointless=_without_nccl,
        witness="what NCCL's own log says that it took from the variable",
    ),
    _variable(
        MIN_CHANNELS,
        whole=True,
        name="nccl_min_channels",
        summary="channels (blocks of a kernel) that NCCL uses at least",
        reason="more channels drive fast links harder, and take processors from the computation",
        values=lambda situation: (4, 8, 16, 32),
        accepts=whole_numbers(1, MOST_CHANNELS),
        pointless=_without_nccl,
        witness="what NCCL's own log says that it took from the variable",
    ),
    _variable(
        THREADS,
        whole=True,
        name="nccl_threads",
        summary="CUDA threads of each of NCCL's blocks",
        reason="more threads help where the GPU's clock is low; fewer leave it to the computation",
        values=lambda situation: (256, 512),
        accepts=one_of(*THREAD_COUNTS),
        pointless=_without_nccl,
        witness="what NCCL's own log says that it took from the variable",
    ),
)
