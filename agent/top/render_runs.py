"""Draws a run and its ranks."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from flyball.agent.durations import format_duration
from flyball.agent.text import clean, shorten
from flyball.agent.top.cells import UNKNOWN, gibibytes, links, number, percent, short_rate
from flyball.agent.top.run_view import FINISHED
from flyball.agent.top.view import RankView, RunView

_WITH_ALLOCATOR = 64
_WITH_LINKS = 76
_LATE_RATIO = 1.2
"""A straggler from here on is marked."""


def run_part(run: RunView, width: int, *, most_ranks: int) -> Iterator[RenderableType]:
    """Two lines for the run and a row a rank; what would be more rows than ``most_ranks`` is one line."""
    yield _first_line(run, width)
    if run.phase == FINISHED:
        return
    rates = (
        f"{short_rate(run.steps_per_second)} steps/s",
        f"{short_rate(run.samples_per_second)} samples/s",
        f"{short_rate(run.tokens_per_second)} tokens/s",
    )
    yield _line("  " + "  ".join((*rates, f"loss {_loss(run.loss)}")))
    ranks: Sequence[RankView] = run.ranks
    if len(ranks) > most_ranks:
        ranks = sorted(ranks, key=lambda rank: _badness(rank, run.phase))
    yield _table(run, ranks[:most_ranks], width)
    if len(ranks) > most_ranks:
        yield _line(f"  {_rest(ranks[most_ranks:])}", style="dim")


def _badness(rank: RankView, phase: str) -> tuple[bool, float, int]:
    """Smallest for those in another phase than the run, then for the slowest; no finer than is shown."""
    return rank.phase == phase, -round(rank.straggler_ratio or 0.0, 2), rank.rank


def _first_line(run: RunView, width: int) -> Text:
    line = Text(
        shorten(clean(run.name), max(12, width // 3)), style="bold", no_wrap=True, overflow="ellipsis"
    )
    since = format_duration(run.phase_seconds)
    if run.phase == FINISHED:
        how = f" ({clean(run.outcome)})" if run.outcome else ""
        style = "not bold yellow" if run.outcome in ("exception", "out_of_memory", "gone") else "not bold"
        line.append(f"  finished{how} {since} ago", style=style)
    else:
        line.append(f"  {clean(run.phase)} for {since}", style="not bold blue")
    checkpoint = "none" if run.last_checkpoint_step is None else f"at {run.last_checkpoint_step:,}"
    here = f", {len(run.ranks)} here" if len(run.ranks) != run.world_size else ""
    parts = (f"step {run.step:,}", f"world {run.world_size}{here}", f"checkpoint {checkpoint}")
    return line.append("".join(f"  {part}" for part in parts), style="not bold")


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _loss(loss: float | None) -> str:
    return UNKNOWN if loss is None else f"{loss:.4g}"


def _rest(ranks: Sequence[RankView]) -> str:
    ratios = [rank.straggler_ratio for rank in ranks if rank.straggler_ratio is not None]
    between = f", straggler {min(ratios):.2f} to {max(ratios):.2f}" if ratios else ""
    return f"... and {len(ranks)} more{between}"


def _table(run: RunView, ranks: Sequence[RankView], width: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    titles = [">  rank", ">gpu", "phase", ">step s", ">straggler"]
    titles += [">reserved", ">frag"] if width >= _WITH_ALLOCATOR else []
    titles += ["p2p p50"] if width >= _WITH_LINKS else []
    for title in titles:
        right = title.startswith(">")
        table.add_column(
            title.removeprefix(">"), justify="right" if right else "left", no_wrap=True, overflow="ellipsis"
        )
    for rank in ranks:
        stands_out = rank.phase != run.phase or (rank.straggler_ratio or 0.0) >= _LATE_RATIO
        cells = (Text(cell) for cell in _cells(rank, width))
        table.add_row(*cells, style="yellow" if stands_out else "")
    return table


def _cells(rank: RankView, width: int) -> Iterator[str]:
    yield str(rank.rank)
    yield clean(rank.gpu) or UNKNOWN
    yield clean(rank.phase)
    yield number(rank.step_seconds, 3)
    yield number(rank.straggler_ratio, 2)
    if width >= _WITH_ALLOCATOR:
        reserved = gibibytes(rank.reserved_bytes)
        yield reserved if reserved == UNKNOWN else f"{reserved} GiB"
        yield percent(rank.fragmentation_peak_ratio)
    if width >= _WITH_LINKS:
        yield links(rank.p2p_p50_seconds)
