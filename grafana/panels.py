"""The kinds of panels that the dashboards use; each needs a description of what is shown and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
GOOD, WARN, BAD, PLAIN = "green", "orange", "red", "text"


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """One query of a panel."""

    expression: str
    legend: str = ""
    """Grafana's template: ``rank {{rank}}``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """A value beyond which something is wrong."""

    value: float
    below: bool = False
    """Whether the bad side is the one below."""

    def thresholds(self) -> builders.ThresholdsConfig:
        """As Grafana colours it: the first step has no value and reaches down without end."""
        first, second = (BAD, GOOD) if self.below else (GOOD, BAD)
        return steps((None, first), (self.value, second))


def steps(*colours: tuple[float | None, str]) -> builders.ThresholdsConfig:
    """Colours from a value upwards, ascending; the first begins at None."""
    return builders.ThresholdsConfig().steps(
        [models.Threshold(value=value, color=colour) for value, colour in colours]
    )


def target(query: Query, index: int, *, instant: bool = False) -> prometheus.Dataquery:
    """A query as Grafana stores it; refIds are letters."""
    built = prometheus.Dataquery().expr(query.expression).legend_format(query.legend).datasource(SOURCE)
    built = built.ref_id(chr(ord("A") + index))
    return built.instant() if instant else built.range()


def values(mapping: Mapping[int, tuple[str, str]]) -> list[models.ValueMapping]:
    """Words and colours in place of whole numbers."""
    options = {
        str(value): models.ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate(mapping.items())
    }
    return [models.ValueMap(options=options)]


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    limit: Limit | None = None,
    top: float | None = None,
    bottom: float | None = 0,
    stacked: bool = False,
) -> timeseries.Panel:
    """Curves over time.

    Args:
        title: at most a few words.
        description: what the number means.
        unit: Grafana's id of the unit.
        queries: each may give many curves.
        width: of the 24 columns.
        limit: drawn as a dashed line.
        top: the axis' end where the unit has one.
        bottom: the axis' beginning; None where values may be negative.
        stacked: whether the curves add up to something.
    """
    panel = timeseries.Panel().title(title).description(description).unit(unit).datasource(SOURCE)
    panel = panel.span(width).height(8).legend(_legend()).tooltip(_tooltip())
    panel = panel.fill_opacity(30 if stacked else 5).line_width(1).show_points(common.VisibilityMode.AUTO)
    for index, query in enumerate(queries):
        panel = panel.with_target(target(query, index))
    if top is not None:
        panel = panel.max(top)
    if bottom is not None:
        panel = panel.min(bottom)
    if stacked:
        panel = panel.stacking(common_builders.StackingConfig().group("A").mode(common.StackingMode.NORMAL))
    if limit is not None:
        style = common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(limit.thresholds()).thresholds_style(style)
    return panel


def _legend() -> common_builders.VizLegendOptions:
    shown = common_builders.VizLegendOptions().show_legend(True).placement(common.LegendPlacement.BOTTOM)
    return shown.display_mode(common.LegendDisplayMode.LIST).calcs(["lastNotNull"])


def _tooltip() -> common_builders.VizTooltipOptions:
    return (
        common_builders.VizTooltipOptions()
        .mode(common.TooltipDisplayMode.MULTI)
        .sort(common.SortOrder.DESCENDING)
    )


def number(
    title: str,
    description: str,
    unit: str,
    expression: str,
    *,
    width: int = 3,
    colours: builders.ThresholdsConfig | None = None,
    none: str = "none",
) -> stat.Panel:
    """One large number; ``none`` stands there where the query finds nothing."""
    panel = stat.Panel().title(title).description(description).unit(unit).datasource(SOURCE)
    panel = panel.span(width).height(4).no_value(none).thresholds(colours or steps((None, PLAIN)))
    panel = panel.color_mode(common.BigValueColorMode.VALUE).graph_mode(common.BigValueGraphMode.NONE)
    panel = panel.reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    return panel.with_target(target(Query(expression=expression), 0, instant=True))


def states(
    title: str,
    description: str,
    query: Query,
    words: Mapping[int, tuple[str, str]],
    *,
    width: int = 24,
) -> statetimeline.Panel:
    """What holds when: one row a series, its value in words."""
    panel = statetimeline.Panel().title(title).description(description).datasource(SOURCE)
    panel = panel.span(width).height(7).mappings(values(words)).merge_values(True)
    panel = panel.color_scheme(builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    panel = panel.show_value(common.VisibilityMode.AUTO).row_height(0.8)
    return panel.legend(_legend().show_legend(False)).with_target(target(query, 0))
