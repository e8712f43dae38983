"""``flyball alerts`` as tests call it, and alerts as an agent would have written them down."""

import json

import pytest
from tests.agent.fakes import FakeClock
from tests.history.alert_fakes import alert, change

from flyball.agent.cli import run
from flyball.agent.wiring import Wiring
from flyball.history.alert_log import AlertLog
from flyball.history.alert_records import Alert, AlertStatus, Notification

NOW = 1_790_000_000.0
HOT, LOST, STALLED, SLOW, GONE = (f"{number:016x}" for number in (0xA, 0xB, 12, 13, 14))
RUN = "a-run-with-a-long-name-that-somebody-chose"


def raised(
    fingerprint: str, rule: str, status: AlertStatus = AlertStatus.FIRING, *, ago: float, **labels: str
) -> Alert:
    """An alert that took the status that it has ``ago`` seconds before now, having fired for a minute."""
    severity = "critical" if rule == "GpuLost" else "warning"
    began = NOW - ago - {AlertStatus.PENDING: 0, AlertStatus.FIRING: 60}.get(status, 120)
    return alert(
        fingerprint,
        status,
        active_time=began,
        rule=rule,
        fingerprint=fingerprint,
        labels={"alertname": rule, "severity": severity, "host": "node-7", **labels},
    )


HOT_ALERT = raised(HOT, "GpuHot", ago=3600, gpu="3")
OVER = raised(SLOW, "StepTimeRegressed", AlertStatus.RESOLVED, ago=7200, run="nightly")


def record(alerts: AlertLog, one: Alert, *notifications: Notification, ago: float | None = None) -> None:
    when = {AlertStatus.PENDING: one.active_time, AlertStatus.FIRING: one.fired_time}.get(
        one.status, one.resolved_time
    )
    time = NOW - ago if ago is not None else when
    assert time is not None
    alerts.record([change(one, time)], notifications)


def alerts(*arguments: str, now: float = NOW) -> int:
    return run(["alerts", *arguments], wiring=Wiring(clock=FakeClock(now=now)))


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert alerts(*arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def numbers(capsys: pytest.CaptureFixture[str], *options: str) -> list[int]:
    found = [each["id"] for each in json.loads(shown(capsys, "list", "--json", *options))]
    rows = [line.split()[0] for line in shown(capsys, "list", *options).splitlines()[1:]]
    assert [int(each) for each in rows if each.isdigit()] == found
    return found


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert alerts(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err
