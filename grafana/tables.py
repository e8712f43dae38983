"""Tables: one row for each set of labels, a column for each label and query."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as prometheus_models

from grafana.panels import SOURCE, Query, target


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column with the values of a query."""

    title: str
    expression: str
    unit: str = "none"
    hidden: bool = False
    """Whether the query only says which rows there are (an info metric is always 1)."""


def rows(
    title: str,
    description: str,
    labels: Sequence[str],
    columns: Sequence[Column],
    *,
    width: int = 24,
    links: Mapping[str, str] | None = None,
) -> table.Panel:
    """A table of what is now.

    Args:
        title: at most a few words.
        description: what a row is.
        labels: the first columns, in this order; the queries have these labels and no others.
        columns: the rest.
        width: of the 24 columns of the dashboard.
        links: by label: where a click on its value leads.
    """
    panel = table.Panel().title(title).description(description).datasource(SOURCE).span(width).height(8)
    panel = panel.no_value("none").filterable(True)
    for index, column in enumerate(columns):
        query = target(Query(expression=column.expression), index, instant=True)
        panel = panel.with_target(query.format(prometheus_models.PromQueryFormat.TABLE))
    panel = panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(_organized(labels, columns))
    for column in columns:
        unit = models.DynamicConfigValue(id_val="unit", value=column.unit)
        panel = panel.override_by_name(column.title, [unit])
    for label, url in (links or {}).items():
        link = models.DynamicConfigValue(id_val="links", value=[{"title": "open", "url": url}])
        panel = panel.override_by_name(label, [link])
    return panel


def _organized(labels: Sequence[str], columns: Sequence[Column]) -> models.DataTransformerConfig:
    # Grafana names a lone query's values "Value", those of several "Value #A", "Value #B".
    alone = len(columns) == 1
    names = ["Value"] if alone else [f"Value #{letter}" for letter in string.ascii_uppercase[: len(columns)]]
    hidden = ["Time", *(name for name, column in zip(names, columns, strict=True) if column.hidden)]
    options = {
        "excludeByName": dict.fromkeys(hidden, True),
        "indexByName": {name: index for index, name in enumerate((*labels, *names))},
        "renameByName": {name: column.title for name, column in zip(names, columns, strict=True)},
    }
    return models.DataTransformerConfig(id_val="organize", options=options)
