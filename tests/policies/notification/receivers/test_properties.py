"""Whatever comes from outside: any bytes are an answer, any text a Retry-After, any disguise an address."""

import asyncio
from ipaddress import IPv4Address

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policies.notification.receivers.endpoints import closing_after, endpoint
from tests.policies.notification.receivers.records import START, notification
from tests.policies.notification.receivers.webhooks import webhook

from flyball.policies.notification.base import Answer, Delivered, Gone, Refused, Retry
from flyball.policies.notification.receivers.answers import MOST_AFTER_SECONDS, retry_after
from flyball.policies.notification.receivers.masking import Masking
from flyball.policies.notification.receivers.reach import Reach, reach_of

HEADS = st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 503 No\r\nRetry-After: "])


@settings(max_examples=60)
@given(HEADS, st.binary(max_size=300))
def test_any_bytes_become_an_answer_of_one_line(head: bytes, rest: bytes) -> None:
    async def send() -> Answer:
        async with endpoint(closing_after(head + rest)) as server:
            receiver = webhook(f"http://hooks.example.org:{server.port}/")
            try:
                return await receiver.send(notification())
            finally:
                await receiver.close()

    answer = asyncio.run(send())
    assert isinstance(answer, (Delivered, Retry, Refused, Gone))
    assert answer.detail.isprintable()
    assert len(answer.detail) < 300


@given(st.text(max_size=60))
def test_any_retry_after_is_within_an_hour_or_nothing(text: str) -> None:
    seconds = retry_after(text, now=START)
    assert seconds is None or 0 <= seconds <= MOST_AFTER_SECONDS


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_reaches_no_less_far_in_disguise(address: IPv4Address) -> None:
    own = reach_of(str(address))
    high, low = int(address) >> 16, int(address) & 0xFFFF
    assert reach_of(f"::ffff:{address}") is own
    assert reach_of(f"64:ff9b::{address}") is own
    assert reach_of(f"2002:{high:x}:{low:x}::1") is own
    assert reach_of(f"2001:0:{high:x}:{low:x}::") >= own
    assert reach_of(f"2001:0:808:808:0:0:{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}") is own
    assert reach_of(f"64:ff9b:1::{address}") >= min(own, Reach.PRIVATE)


@given(st.text(min_size=4, max_size=20), st.text(max_size=30), st.text(max_size=30))
def test_a_secret_never_shows(secret: str, before: str, after: str) -> None:
    if "*" not in secret:
        assert secret not in Masking([secret]).hide(before + secret + after)
