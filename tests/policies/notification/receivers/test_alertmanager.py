"""What an Alertmanager is told, how often, and what counts as told; tests/live asks a real one."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from tests.policies.notification.receivers.endpoints import (
    Behaviour,
    Endpoint,
    answering,
    closing_after,
    endpoint,
    hanging,
)
from tests.policies.notification.receivers.idle_time import play
from tests.policies.notification.receivers.records import START, FixedClock, firing, notification, resolved
from tests.policies.notification.receivers.webhooks import URL, kind_and_reason, surroundings

from flyball.history.alert_records import Alert, AlertStatus
from flyball.policies.notification.base import Answer, Delivered
from flyball.policies.notification.receivers.alertmanager import AlertmanagerReceiver, AlertmanagerSettings

LABELS = {"alertname": "GpuLost", "gpu": "3", "host": "node-7", "severity": "critical"}


def receiver_of(ports: Sequence[int], clock: FixedClock, **settings: Any) -> AlertmanagerReceiver:
    given = {
        "type": "alertmanager",
        "urls": [f"http://am.example.org:{port}/prefix/" for port in ports],
        "timeout_seconds": 0.3,
        **settings,
    }
    made = AlertmanagerSettings.model_validate(given)
    return AlertmanagerReceiver("am", made, surroundings(clock=clock))


def told(
    alert: Alert, *behaviours: Behaviour, now: float = START, **settings: Any
) -> tuple[Answer, list[Endpoint]]:
    """The answer to one notification, and the Alertmanagers."""

    async def send() -> tuple[Answer, list[Endpoint]]:
        async with AsyncExitStack() as stack:
            servers = [await stack.enter_async_context(endpoint(one)) for one in behaviours]
            receiver = receiver_of([server.port for server in servers], FixedClock(now), **settings)
            answer = await receiver.send(notification(alert))
            await receiver.close()
            return answer, servers

    return play(send())


def test_a_firing_alert_is_posted_as_prometheus_does() -> None:
    answer, (server,) = told(firing(), answering(200), now=START + 10)
    assert answer == Delivered(status=200)
    (request,) = server.requests
    assert request.target == "/prefix/api/v2/alerts"
    assert json.loads(request.body) == [
        {
            "labels": LABELS,
            "annotations": dict(firing().annotations),
            "startsAt": "2023-11-14T22:13:20.25Z",
            # Four repeats of a minute may be lost.
            "endsAt": "2023-11-14T22:17:30.25Z",
            "generatorURL": f"{URL}/api/v1/alerts/{firing().fingerprint}",
        }
    ]


def test_a_resolved_one_ends_when_it_was_over_however_late_it_is_told() -> None:
    _, (server,) = told(resolved(firing(), 90), answering(200), now=START + 7200)
    (posted,) = json.loads(server.requests[0].body)
    assert posted["endsAt"] == "2023-11-14T22:14:50.25Z"


def test_the_end_is_far_enough_for_slow_evaluations() -> None:
    _, (server,) = told(firing(), answering(200), resend_seconds=10.0)
    assert json.loads(server.requests[0].body)[0]["endsAt"] == "2023-11-14T22:14:00.25Z"


@pytest.mark.parametrize(
    ("behaviours", "expected"),
    [
        ([answering(200), answering(200)], ("Delivered", "")),
        # One has it, the other gets it with the next repeat.
        ([answering(500), answering(200)], ("Delivered", "")),
        ([hanging, answering(200)], ("Delivered", "")),
        ([answering(400), answering(500)], ("Retry", "status")),
        ([answering(400), hanging], ("Retry", "timeout")),
        ([answering(400), answering(404)], ("Refused", "status")),
        ([answering(410), answering(404)], ("Refused", "status")),
        ([answering(410), answering(410)], ("Gone", "")),
    ],
)
def test_each_of_several_is_told_and_one_is_enough(
    behaviours: Sequence[Behaviour], expected: tuple[str, str]
) -> None:
    answer, servers = told(firing(), *behaviours)
    assert kind_and_reason(answer) == expected
    assert [len(server.requests) for server in servers] == [1, 1]


def test_the_detail_says_which_of_several_failed() -> None:
    answer, (first, second) = told(firing(), answering(500, b"no room"), answering(200))
    assert answer.detail == f"http://am.example.org:{first.port}/***: status 500: no room"
    assert str(second.port) not in answer.detail


def test_repeats_are_made_at_once_and_every_resend_seconds_of_what_is_active_then() -> None:
    clock = FixedClock()
    active: list[Alert] = [firing(gpu="0"), firing(gpu="1")]
    heard: list[Answer] = []

    async def run() -> list[list[dict[str, Any]]]:
        async with endpoint(answering(200)) as server:
            receiver = receiver_of([server.port], clock, resend_seconds=30.0)

            async def wait(seconds: float) -> None:
                clock.now += seconds
                if len(heard) == 1:
                    active[1] = resolved(active[1], 20)
                if len(heard) == 4:
                    raise asyncio.CancelledError

            with pytest.raises(asyncio.CancelledError):
                await receiver.keep(lambda: active, heard=heard.append, wait=wait)
            await receiver.close()
            return [json.loads(request.body) for request in server.requests]

    rounds = play(run())
    gpus = [[alert["labels"]["gpu"] for alert in posted] for posted in rounds]
    assert gpus == [["0", "1"]] * 4
    ends = [[alert["endsAt"] for alert in posted] for posted in rounds]
    assert ends == [
        ["2023-11-14T22:15:20.25Z", "2023-11-14T22:15:20.25Z"],
        ["2023-11-14T22:15:50.25Z", "2023-11-14T22:13:40.25Z"],
        ["2023-11-14T22:16:20.25Z", "2023-11-14T22:13:40.25Z"],
        ["2023-11-14T22:16:50.25Z", "2023-11-14T22:13:40.25Z"],
    ]
    assert heard == [Delivered(status=200)] * 4


@pytest.mark.parametrize(("seconds", "posts"), [(0, 1), (900, 1), (901, 0)])
def test_a_resolved_alert_is_repeated_for_a_quarter_of_an_hour(seconds: float, posts: int) -> None:
    alert = resolved(firing(), 60)

    async def run() -> int:
        async with endpoint(answering(200)) as server:
            receiver = receiver_of([server.port], FixedClock(START + 60 + seconds))
            assert isinstance(await receiver.resend([alert]), Delivered)
            await receiver.close()
            return len(server.requests)

    assert play(run()) == posts


def test_what_never_fired_is_not_repeated() -> None:
    statuses = (AlertStatus.PENDING, AlertStatus.DROPPED)
    alerts = [replace(firing(), status=status, fired_time=None) for status in statuses]

    async def run() -> int:
        async with endpoint(answering(200)) as server:
            receiver = receiver_of([server.port], FixedClock())
            await receiver.resend(alerts)
            await receiver.close()
            return len(server.requests)

    assert play(run()) == 0


def test_many_alerts_go_in_posts_of_64_and_the_first_failure_ends_the_round() -> None:
    alerts = [firing(gpu=str(number)) for number in range(150)]

    async def run(behaviour: Behaviour) -> tuple[list[int], Answer]:
        async with endpoint(behaviour) as server:
            receiver = receiver_of([server.port], FixedClock())
            answer = await receiver.resend(alerts)
            await receiver.close()
            return [len(json.loads(request.body)) for request in server.requests], answer

    sizes, answer = play(run(answering(200)))
    assert (sizes, answer) == ([64, 64, 22], Delivered(status=200))
    sizes, answer = play(run(closing_after(b"")))
    assert sizes == [64]
    assert kind_and_reason(answer) == ("Retry", "connection_closed")
