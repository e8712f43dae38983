"""Best so far against wall time: the curve of one search, and the drawing of several."""

from collections.abc import Sequence
from html import escape

from tests.benchmarks.peers.base import Found

from flyball.tuners.objective import figure
from flyball.tuners.results.report_chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, horizontal, vertical

COLOURS = ("#1a7f37", "#0969da", "#cf222e", "#8250df", "#bf8700", "#57606a")
FONT = 'font-family="sans-serif" font-size="11"'
LEGEND = 18.0
"""Height of a line of the legend."""

Point = tuple[float, float]
"""Seconds since the search began, best samples/s by then."""


def best_so_far(found: Found) -> list[Point]:
    """Return each moment at which a search's best rose; by the peer's own measure."""
    curve: list[Point] = []
    for trial in sorted(found.trials, key=lambda trial: trial.at_seconds):
        rate = trial.samples_per_second
        if rate is not None and (not curve or rate > curve[-1][1]):
            curve.append((trial.at_seconds, rate))
    return curve


def drawing(searches: Sequence[Found]) -> str:
    """Return the curves as SVG, one colour a peer; empty where nothing was measured."""
    curves = [(found, best_so_far(found)) for found in searches]
    curves = [(found, curve) for found, curve in curves if curve]
    if not curves:
        return ""
    x = horizontal([found.search_seconds for found, _ in curves])
    y = vertical([rate for _, curve in curves for _, rate in curve])
    peers = list(dict.fromkeys(found.peer for found, _ in curves))
    colours = {peer: COLOURS[index % len(COLOURS)] for index, peer in enumerate(peers)}
    height = HEIGHT + LEGEND * len(peers)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {height:.0f}" {FONT}>',
        f'<rect width="{WIDTH:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        f'<path d="M{LEFT} {TOP} V{HEIGHT - BOTTOM} H{WIDTH - RIGHT}" fill="none" stroke="#57606a"/>',
    ]
    for tick in x.ticks("{:,.0f}".format):
        lines.append(_text(tick.at, HEIGHT - BOTTOM + 14, tick.label, "middle"))
    for tick in y.ticks(figure):
        lines.append(_text(LEFT - 6, tick.at + 4, tick.label, "end"))
    lines.append(_text(WIDTH - RIGHT, HEIGHT - 4, "seconds of search", "end"))
    lines.append(_text(LEFT + 4, TOP + 2, "best so far, samples/s by each peer's own measure", "start"))
    for found, curve in curves:
        stairs = _stairs(curve, found.search_seconds)
        points = " ".join(f"{x.at(seconds)},{y.at(rate)}" for seconds, rate in stairs)
        title = f"<title>{escape(found.peer)}, seed {found.seed}</title>"
        line = f'fill="none" stroke="{colours[found.peer]}" stroke-width="1.5"'
        lines.append(f'<polyline points="{points}" {line}>{title}</polyline>')
    for index, peer in enumerate(peers):
        middle = HEIGHT + LEGEND * index + 6
        lines.append(f'<path d="M{LEFT} {middle} h24" stroke="{colours[peer]}" stroke-width="2"/>')
        lines.append(_text(LEFT + 30, middle + 4, peer, "start"))
    return "\n".join([*lines, "</svg>", ""])


def _stairs(curve: Sequence[Point], until: float) -> list[Point]:
    """The curve as it stood at every moment: level between its rises, and to the end of the search."""
    stairs: list[Point] = []
    for seconds, rate in curve:
        stairs += [(seconds, stairs[-1][1])] if stairs else []
        stairs.append((seconds, rate))
    return [*stairs, (max(until, curve[-1][0]), curve[-1][1])]


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="#24292f">{escape(text)}</text>'
