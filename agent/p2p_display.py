"""Links as people read them: a matrix for each size where it fits into 80 columns, else the slowest links."""

from collections.abc import Callable, Iterator

from flyball.agent.text import clean, shorten
from flyball.runner.p2p.links import Link, Links

MOST_RANKS = 8
SHOWN_LINKS = 10
BANDWIDTH_FROM_BYTES = 64 << 10
"""Below it a message is all latency, and its bandwidth says nothing."""
_WIDTH = 80
_CELL = 8
_MARK = "*"


def render(found: Links) -> str:
    """The whole report, ending in a newline."""
    lines = list(_head(found))
    for size in found.sizes:
        lines += ["", f"{describe_size(size)}, one way"]
        lines += _matrix(found, size) if len(found.hosts) <= MOST_RANKS else _list(found, size)
    return "\n".join([*lines, "", *_verdict(found)]) + "\n"


def _head(found: Links) -> Iterator[str]:
    order = "disjoint pairs at once" if found.concurrent else "one link at a time"
    yield f"{len(found.hosts)} ranks, {found.backend}, torch {found.torch}, {order}"
    for host in dict.fromkeys(found.hosts):
        ranks = [rank for rank, name in enumerate(found.hosts) if name == host]
        devices = ", ".join(dict.fromkeys(found.devices[rank] for rank in ranks))
        yield shorten(f"  {clean(host)}: {_ranks(ranks)} ({clean(devices)})", _WIDTH)


def _ranks(ranks: list[int]) -> str:
    if len(ranks) > 2 and ranks[-1] - ranks[0] == len(ranks) - 1:
        return f"ranks {ranks[0]} to {ranks[-1]}"
    return ("rank " if len(ranks) == 1 else "ranks ") + ", ".join(map(str, ranks))


def _matrix(found: Links, size: int) -> Iterator[str]:
    links = {(link.src, link.dst): link for link in found.at(size)}
    everyone = range(len(found.hosts))
    rows: list[tuple[str, Callable[[Link], str]]] = [
        ("p50 us", lambda link: _number(link.p50_seconds * 1e6) + (_MARK if found.is_slow(link) else " ")),
        ("p99 us", lambda link: _number(link.p99_seconds * 1e6) + " "),
    ]
    if size >= BANDWIDTH_FROM_BYTES:
        rows.append(("MB/s", lambda link: _number(link.bandwidth / 1e6) + " "))
    yield f"{'from':>4} {'':7}" + "".join(f"{f'to {dst}':>{_CELL - 1}} " for dst in everyone).rstrip()
    for src in everyone:
        for index, (name, show) in enumerate(rows):
            cells = [show(links[src, dst]) if (src, dst) in links else "- " for dst in everyone]
            label = str(src) if index == 0 else ""
            yield f"{label:>4} {name:<7}" + "".join(f"{cell:>{_CELL}}" for cell in cells).rstrip()


def _list(found: Links, size: int) -> Iterator[str]:
    links = sorted(found.at(size), key=lambda link: -link.p50_seconds)
    middle = links[len(links) // 2]
    yield (
        f"  {len(links)} links: best {_number(links[-1].p50_seconds * 1e6)} us, median "
        f"{_number(middle.p50_seconds * 1e6)} us, worst {_number(links[0].p50_seconds * 1e6)} us"
    )
    for link in links[:SHOWN_LINKS]:
        mark = _MARK if found.is_slow(link) else " "
        yield (
            f" {mark}{link.src:>4} to {link.dst:<4} p50 {_number(link.p50_seconds * 1e6):>6} us  "
            f"p99 {_number(link.p99_seconds * 1e6):>6} us  {_number(link.bandwidth / 1e6):>6} MB/s"
        )


def _verdict(found: Links) -> Iterator[str]:
    slow = sorted(found.slow, key=lambda link: -found.slowness(link))
    if not slow:
        yield "no link is slow beside the others"
        return
    yield f"{_MARK} slow: more than twice the time of a fast link of its kind at that size"
    for link in slow[:SHOWN_LINKS]:
        src, dst = (f"{rank} ({clean(found.hosts[rank])})" for rank in (link.src, link.dst))
        times = f"{describe_size(link.size_bytes)}: {found.slowness(link):.1f} times"
        yield f"  {src} to {dst} at {times}"
    if len(slow) > SHOWN_LINKS:
        yield f"  and {len(slow) - SHOWN_LINKS} more"


def describe_size(size_bytes: int) -> str:
    """``8 B``, ``64 KiB``, ``1 MiB``."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size_bytes >= unit and size_bytes % unit == 0:
            return f"{size_bytes // unit} {name}"
    return f"{size_bytes} B"


def _number(value: float) -> str:
    """At most six characters."""
    if value >= 999_500:
        return f"{value / 1e6:.3g}M"
    if value >= 99_950:
        return f"{value / 1e3:.0f}k"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
