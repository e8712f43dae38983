"""Signs by the Standard Webhooks convention (https://www.standardwebhooks.com)."""

from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook


def signed_headers(*, webhook_id: str, time: float, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Return the three headers: id, timestamp, and one signature of each secret.

    Args:
        webhook_id: the same on every try of one notification.
        time: of this try, in seconds since the epoch.
        body: exactly what is sent, as UTF-8.
        secrets: as ``whsec_`` and base64. With two of them a receiver that knows either accepts: so one
            secret is replaced by another without a gap. Without any there is no signature.
    """
    then = datetime.fromtimestamp(int(time), tz=UTC)
    text = body.decode("utf-8")
    signatures = [Webhook(secret).sign(webhook_id, then, text) for secret in secrets]
    headers = {"webhook-id": webhook_id, "webhook-timestamp": str(int(time))}
    return {**headers, "webhook-signature": " ".join(signatures)} if signatures else headers
