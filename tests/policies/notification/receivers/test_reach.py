"""What an address is to a receiver: public, private, or never to be connected to, in every disguise."""

import pytest

from flyball.policies.notification.receivers.reach import Reach, reach_of

PUBLIC = ("8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1")
PRIVATE = (
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:a00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::10.0.0.1",
    "2002:a00:1::1",
    "::127.0.0.1",
)
FORBIDDEN = (
    "169.254.169.254",
    "169.254.0.1",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "239.255.255.250",
    "ff02::1",
    "255.255.255.255",
    "240.0.0.1",
    "4000::1",
    "100::1",
    # The same metadata address in other clothes.
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::169.254.169.254",
    "64:ff9b:1:a9fe:a9:fe00::",
    "64:ff9b:1:ff00:a9:fea9:fe00:0",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
    "2001:0:808:808:0:0:5601:5601",
    "fd12::5efe:169.254.169.254",
    "2606:4700::200:5efe:a9fe:a9fe",
    "::ffff:100.100.100.200",
)
CASES = [
    *((address, Reach.PUBLIC) for address in PUBLIC),
    *((address, Reach.PRIVATE) for address in PRIVATE),
    *((address, Reach.FORBIDDEN) for address in FORBIDDEN),
]


@pytest.mark.parametrize(("address", "reach"), CASES)
def test_the_reach_of(address: str, reach: Reach) -> None:
    assert reach_of(address) is reach


def test_what_is_no_address_has_no_reach() -> None:
    with pytest.raises(ValueError, match="example"):
        reach_of("example.org")
