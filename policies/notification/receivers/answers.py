"""What an HTTP answer, or none, means for a notification.

Statuses: RFC 9110 and https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

import os
import ssl
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpcore2

from flyball.policies.notification.base import Answer, Delivered, Gone, Refused, Retry
from flyball.policies.notification.receivers.http import HttpAnswer
from flyball.policies.notification.receivers.masking import Masking
from flyball.policies.notification.receivers.pinned import AddressRefused, NameNotResolved

MOST_AFTER_SECONDS = 3600.0
"""A receiver that asks for more is asked again after an hour all the same."""
_AGAIN = frozenset((408, 425, 429))
_GONE = 410


def judge(answer: HttpAnswer, *, now: float, masking: Masking) -> Answer:
    """Return what an answer means.

    Args:
        answer: of the server.
        now: seconds since the epoch, for a Retry-After that is a date.
        masking: hides the receiver's secrets, which the server may send back.
    """
    status, said = answer.status, masking.first_line(answer.body)
    if 200 <= status < 300:
        return Delivered(status=status, detail=said)
    if status == _GONE:
        return Gone(detail=said or "wants no more", status=status)
    if status >= 500 or status in _AGAIN:
        after = retry_after(answer.headers.get("retry-after", ""), now=now)
        return Retry(reason="status", detail=_detail(status, said), status=status, after_seconds=after)
    if 300 <= status < 400:
        place = masking.first_line(answer.headers.get("location", "nothing"))
        detail = f"status {status} names {place}, which is not followed; set url to the final place"
        return Refused(reason="redirect", detail=detail, status=status)
    return Refused(reason="status", detail=_detail(status, said), status=status)


def _detail(status: int, said: str) -> str:
    return f"status {status}: {said}" if said else f"status {status}"


def retry_after(text: str, *, now: float) -> float | None:
    """Return the seconds that Retry-After asks for, from 0 to an hour; None where it says nothing usable."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        # Cut: int() refuses a number of thousands of digits.
        return min(float(text[:12]), MOST_AFTER_SECONDS)
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    try:
        return min(max(0.0, then.timestamp() - now), MOST_AFTER_SECONDS)
    except (OverflowError, OSError):
        return None


def no_answer(error: Exception, *, masking: Masking) -> Answer:
    """Return what it means that no answer came, for ``error`` that ``HttpClient.post`` raised.

    The reasons, of which there are few: ``timeout``, ``name_not_resolved``, ``unreachable``,
    ``connection_closed``, ``bad_answer``, ``tls_failed``; and, where somebody must mend something,
    ``address_refused``, ``bad_certificate``.
    """
    said = masking.first_line(_words(error)) or type(error).__name__
    if isinstance(error, AddressRefused):
        return Refused(reason="address_refused", detail=said)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refused(reason="bad_certificate", detail=masking.first_line(error.verify_message))
    return Retry(reason=_reason(error), detail=said)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)  # asyncio's own words are about its calls
    return str(error)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, NameNotResolved):
        return "name_not_resolved"
    if isinstance(error, ssl.SSLError):
        return "tls_failed"
    if isinstance(error, (ConnectionResetError, BrokenPipeError, httpcore2.ReadError, httpcore2.WriteError)):
        return "connection_closed"
    if isinstance(error, httpcore2.RemoteProtocolError):
        return "connection_closed" if "disconnected" in str(error) or "closed" in str(error) else "bad_answer"
    if isinstance(error, OSError):
        return "unreachable"
    return "bad_answer"
