"""The end of a watched run in one screen, 80 columns wide."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flyball.agent.durations import format_duration
from flyball.agent.text import clean, describe_rate
from flyball.runner.foreground import Ending

WIDTH = 80
_LABEL = 16
_MOST_LINKS = 4
_GPU_NAMES = {
    "sm_utilization": "SM utilization",
    "sm_occupancy": "SM occupancy",
    "tensor_active": "tensor cores",
    "power_watts": "power",
}


def summary_lines(known: Mapping[str, Any]) -> list[str]:
    """Return what is known of a run, from ``RunWatch.end``; what is not known says why."""
    ending = Ending(exit_status=known.get("exit_status"), signal=known.get("signal"))
    name = known.get("run") or "the run"
    lines = _wrapped(f"flyball: {name}: {ending.text} after {format_duration(known['seconds'])}", indent=2)
    for label, text in _facts(known):
        lines += _wrapped(f"  {label:<{_LABEL}}{text}", indent=_LABEL + 2)
    if known.get("folder"):
        # A path is copied: it is never broken.
        lines.append(f"  {'journals':<{_LABEL}}{clean(known['folder'])}")
    return lines


def _wrapped(text: str, *, indent: int) -> list[str]:
    options = {"break_long_words": False, "break_on_hyphens": False}
    lead = text[: len(text) - len(text.lstrip())]
    head, rest = text[:indent], clean(text[indent:])
    body = textwrap.wrap(rest, WIDTH - indent, **options) or [""]  # type: ignore[arg-type]
    return (
        [head + body[0], *(" " * indent + line for line in body[1:])] if lead else textwrap.wrap(text, WIDTH)
    )


def _facts(known: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    missing = known.get("unavailable") or {}
    if not known.get("ranks"):
        yield "measured", f"nothing: {missing.get('throughput', 'the run was not watched')}"
    else:
        yield from _measured(known, missing)
    restarts = known.get("restarts")
    if restarts:
        yield "restarts", _restarts(restarts)
    for note in known.get("notes") or ():
        yield "note", str(note)


def _restarts(restarts: Sequence[Mapping[str, Any]]) -> str:
    lost = sum(restart["lost_steps"] or 0 for restart in restarts)
    seconds = [restart["seconds"] for restart in restarts if restart["seconds"] is not None]
    slowest = f", at most {format_duration(max(seconds))} to the next step" if seconds else ""
    return f"{len(restarts)}, {lost} steps made once more{slowest}"


def _measured(known: Mapping[str, Any], missing: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    yield "watched", f"{_numbers(known['ranks'])} of {known['world_size']} on {known['host']}"
    yield "throughput", _throughput(known) or _unknown(missing, "throughput")
    yield "steps", _steps(known) or _unknown(missing, "steps")
    yield from _gpu(known.get("gpu") or {}, missing)
    peak = known.get("fragmentation_peak")
    yield (
        "fragmentation",
        f"{peak:.0%} at its peak" if peak is not None else _unknown(missing, "fragmentation_peak"),
    )
    yield "P2P latency", _links(known.get("p2p") or ()) or _unknown(missing, "p2p")
    yield "stalls", _stalls(known["stalls"])


def _unknown(missing: Mapping[str, str], name: str) -> str:
    return f"not known: {missing.get(name, 'it was not measured')}"


def _numbers(ranks: Sequence[int]) -> str:
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    whole = list(ranks) == list(range(ranks[0], ranks[-1] + 1))
    text = f"{ranks[0]} to {ranks[-1]}" if whole and len(ranks) > 2 else ", ".join(map(str, ranks))
    return f"ranks {text}"


def _throughput(known: Mapping[str, Any]) -> str | None:
    rate = known.get("samples_per_second")
    if not rate:
        return None
    text = f"{describe_rate(rate['point'])} samples/s"
    if rate.get("low") is not None:
        text += f" (95%: {describe_rate(rate['low'])} to {describe_rate(rate['high'])})"
    tokens = known.get("tokens_per_second")
    return text if tokens is None else f"{text}, {describe_rate(tokens)} tokens/s"


def _steps(known: Mapping[str, Any]) -> str | None:
    if "steps" not in known:
        return None
    skipped = f", {known['skipped_steps']} skipped by the optimizer" if known["skipped_steps"] else ""
    return f"{known['steps']:,}, {known['samples']:,.0f} samples{skipped}"


def _gpu(gpu: Mapping[str, Any], missing: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    reasons = gpu.get("unavailable") or {}
    for name, label in _GPU_NAMES.items():
        found = gpu.get(name)
        if found:
            unit = "{:.0f} W" if name == "power_watts" else "{:.0%}"
            low, high = unit.format(found["p10"]), unit.format(found["p90"])
            yield label, f"{unit.format(found['mean'])} (10% of readings below {low}, 10% above {high})"
        elif name == "sm_utilization":
            why = reasons.get(name) or missing.get("gpu") or "it was not measured"
            yield label, f"not known: {str(why).replace('_', ' ')}"
    if gpu.get("energy_joules_per_sample") is not None:
        yield "energy", f"{gpu['energy_joules_per_sample']:.4g} J/sample"


def _links(links: Sequence[Mapping[str, Any]]) -> str | None:
    shown = [
        f"{link['source']} up to {link['size_class']}: p50 {_micro(link['p50_seconds'])}, "
        f"p99 {_micro(link['p99_seconds'])}"
        for link in links[:_MOST_LINKS]
    ]
    more = [f"{len(links) - _MOST_LINKS} more in --json"] if len(links) > _MOST_LINKS else []
    return "; ".join([*shown, *more]) or None


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:.3g} us" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"


def _stalls(stalls: Mapping[str, Any]) -> str:
    parts = []
    if stalls["operations"]:
        longest = format_duration(stalls["longest_operation_seconds"])
        parts.append(f"{stalls['operations']} operations that waited for a peer, {longest} at most")
    if stalls["steps"]:
        steps = "1 step" if stalls["steps"] == 1 else f"{stalls['steps']} steps"
        parts.append(f"{steps} over 10x the median, {stalls['longest_step_seconds']:.1f} s at most")
    unseen = "; operations are not followed without NCCL" if stalls["operations"] is None else ""
    return ("; ".join(parts) or "none") + (unseen if not parts else "")
