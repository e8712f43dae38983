"""Signatures as the reference library and the published vectors have them."""

import json
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from flyball.policies.notification.receivers.signing import signed_headers

OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
OTHER = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
BODY = '{"status": "firing", "place": "Zürich"}'.encode()


def headers(*secrets: str, seconds_ago: float = 0.0, body: bytes = BODY) -> dict[str, str]:
    now = datetime.now(tz=UTC).timestamp()
    return signed_headers(webhook_id="msg_1", time=now - seconds_ago, body=body, secrets=secrets)


@pytest.mark.parametrize(
    ("secret", "webhook_id", "time", "body", "signature"),
    [
        # libraries/javascript/src/webhook.test.ts of https://github.com/standard-webhooks/standard-webhooks
        (
            OLD,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        # https://docs.svix.com/receiving/verifying-payloads/how-manual
        (
            "whsec_plJ3nmyCDGBKInavdOK15jsl",
            "msg_loFOjxBNrRLzqYUf",
            1731705121,
            b'{"event_type":"ping","data":{"success":true}}',
            "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
        ),
    ],
)
def test_the_published_vectors(secret: str, webhook_id: str, time: int, body: bytes, signature: str) -> None:
    # A fraction of a second is not sent, and so must not be signed.
    assert signed_headers(webhook_id=webhook_id, time=time + 0.9, body=body, secrets=[secret]) == {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(time),
        "webhook-signature": signature,
    }


def test_the_reference_library_verifies() -> None:
    assert Webhook(OLD).verify(BODY, headers(OLD)) == json.loads(BODY)


@pytest.mark.parametrize("known", [OLD, NEW])
def test_while_a_secret_is_replaced_both_verify(known: str) -> None:
    found = headers(NEW, OLD)
    assert len(found["webhook-signature"].split(" ")) == 2
    Webhook(known).verify(BODY, found)


def test_another_secret_does_not_verify() -> None:
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(OTHER).verify(BODY, headers(NEW, OLD))


@pytest.mark.parametrize(("seconds", "why"), [(360, "too old"), (-360, "too new")])
def test_six_minutes_off_is_rejected_by_the_reference_library(seconds: float, why: str) -> None:
    with pytest.raises(WebhookVerificationError, match=why):
        Webhook(OLD).verify(BODY, headers(OLD, seconds_ago=seconds))


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_id_and_time_are_signed_too(name: str) -> None:
    found = headers(OLD)
    changed = "msg_2" if name == "webhook-id" else str(int(found[name]) + 1)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(OLD).verify(BODY, {**found, name: changed})


def test_without_a_secret_there_is_an_id_and_no_signature() -> None:
    found = signed_headers(webhook_id="msg_1", time=1614265330.5, body=BODY, secrets=[])
    assert found == {"webhook-id": "msg_1", "webhook-timestamp": "1614265330"}
