"""Which labels an alert can have: a mute by any other one holds nothing back."""

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path

from flyball.collectors import catalog
from flyball.errors import FlyballError
from flyball.history.alert_log import AlertLog
from flyball.policies.faults import did_you_mean

_OWN = ("alertname", "severity")
_MOST_ALERTS = 1000
"""So many of the newest alerts are asked for labels of their rules."""


def unknown_labels(log: AlertLog, labels: Collection[str], config: Path | None) -> Iterator[str]:
    """Yield a line for each label that no alert can have, as far as is known here.

    Args:
        log: the alerts that there were.
        labels: of a mute.
        config: the agent's, whose policies may give labels of their own.
    """
    known = {*_OWN, *(label for metric in catalog.METRICS.values() for label in metric.labels)}
    strange = [label for label in labels if label not in known]
    if not strange:
        return
    known |= {label for each in log.alerts(limit=_MOST_ALERTS) for label in each.alert.labels}
    known |= _of_policies(config)
    for label in strange:
        if label not in known:
            listing = f"the labels are {', '.join(sorted(known))}"
            yield f"no alert here has a label {label}; {did_you_mean(label, known, otherwise=listing)}"


def _of_policies(config: Path | None) -> set[str]:
    if config is None:
        return set()
    from flyball.agent.daemon.config_file import read_agent_config
    from flyball.policies.rule_file import read_rules
    from flyball.tuners.knobs.registry import BY_NAME

    with contextlib.suppress(FlyballError):  # what is wrong there is for flyball policies check to say
        rules = read_rules(read_agent_config(config).policies, known_knobs=BY_NAME)
        return {label for rule in rules for label in rule.labels}
    return set()
