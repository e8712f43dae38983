"""What the dashboards have in common: their head, their variables, the links between them."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import dashboard as models

from flyball.collectors.base import Metric
from grafana.panels import SOURCE

TAG = "flyball"
FLEET, RUN = "flyball-fleet", "flyball-run"
"""Uids: the dashboards' addresses in Grafana."""

Panel = timeseries.Panel | stat.Panel | statetimeline.Panel | table.Panel


def dashboard(uid: str, title: str, description: str) -> builders.Dashboard:
    """An empty dashboard with the choice of data source and links to its siblings."""
    links = builders.DashboardLink("flyball").type(models.DashboardLinkType.DASHBOARDS).tags([TAG])
    head = builders.Dashboard(title).uid(uid).description(description).tags([TAG]).readonly()
    head = head.refresh("10s").time("now-1h", "now").timezone("browser")
    head = head.tooltip(models.DashboardCursorSync.CROSSHAIR)
    head = head.link(links.as_dropdown(False).include_vars(False).keep_time(True))
    source = builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
    return head.with_variable(source.description("The Prometheus that scrapes flyball's agents."))


def choice(
    name: str, label: str, description: str, metric: Metric, *, several: bool, where: str = ""
) -> builders.QueryVariable:
    """A variable with the values of a label of a metric; ``where`` narrows the series, with braces.

    Raises:
        ValueError: the metric has no such label.
    """
    if name not in metric.labels:
        raise ValueError(f"{metric.name} has no label {name}")
    values = f"label_values({metric.full_name}{where}, {name})"
    variable = builders.QueryVariable(name).label(label).description(description).datasource(SOURCE)
    variable = variable.query({"query": values, "refId": name}).refresh(
        models.VariableRefresh.ON_TIME_RANGE_CHANGED
    )
    variable = variable.sort(models.VariableSort.NATURAL_ASC)
    return variable.multi(True).include_all(True).all_value(".*") if several else variable.multi(False)


def with_section(board: builders.Dashboard, title: str, panels: Sequence[Panel]) -> builders.Dashboard:
    """Add a row with its panels, in lines of 24 columns."""
    board = board.with_row(builders.Row(title))
    for panel in panels:
        board = board.with_panel(panel)
    return board
