"""How far an address reaches: what a receiver may connect to, whatever a name resolves to.

Ranges: IANA's special-purpose registries
(https://www.iana.org/assignments/iana-ipv4-special-registry, https://www.iana.org/assignments/iana-ipv6-special-registry).
"""

from collections.abc import Iterator
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address


class Reach(IntEnum):
    """The larger, the less may connect there."""

    PUBLIC = 0
    PRIVATE = 1
    """Loopback, a private network, or a range that is not routed: only with ``private_network: true``."""
    FORBIDDEN = 2
    """Link-local, the metadata service of a cloud, multicast, unspecified, reserved: never."""


METADATA = frozenset(
    ip_address(text)
    for text in (
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure's WireServer
        "192.0.0.192",  # Oracle Cloud Classic
        "fd20:ce::254",  # Google Cloud
        "fd00:42::42",  # Scaleway
    )
)
"""Those that are not link-local; whoever reads one gets the machine's own credentials."""

_FORBIDDEN_4 = tuple(
    IPv4Network(text) for text in ("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
)
_PRIVATE_4 = tuple(
    IPv4Network(text)
    for text in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
_AMAZON_6 = IPv6Network("fd00:ec2::/32")
"""Amazon's services on the instance: metadata is ``fd00:ec2::254``, credentials of pods ``fd00:ec2::23``."""
_PRIVATE_6 = tuple(IPv6Network(text) for text in ("::1/128", "fc00::/7", "fec0::/10", "64:ff9b:1::/48"))
_UNICAST_6 = IPv6Network("2000::/3")
"""All that IANA has given out of IPv6; what lies outside and is not named here, nobody can have."""

_LAST_32_BITS = tuple(IPv6Network(text) for text in ("::/96", "::ffff:0:0/96", "64:ff9b::/96"))
"""IPv4-compatible (RFC 4291), IPv4-mapped (RFC 4291) and NAT64 (RFC 6052)."""
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
"""RFC 8215; where the IPv4 address stands depends on the length of the site's prefix (RFC 6052, 2.2)."""
_NAT64_BYTES = ((6, 7, 9, 10), (7, 9, 10, 11), (9, 10, 11, 12), (12, 13, 14, 15))
_SIX_TO_FOUR, _TEREDO = IPv6Network("2002::/16"), IPv6Network("2001::/32")
_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")


def reach_of(address: str) -> Reach:
    """Return how far ``address`` reaches, by the worst of itself and every IPv4 address within it.

    Raises:
        ValueError: it is no address.
    """
    found = ip_address(address)
    if isinstance(found, IPv4Address):
        return _reach_4(found)
    plain = IPv6Address(int(found))  # without the zone, which makes two equal addresses differ
    if plain == IPv6Address("::1"):  # within the range of the IPv4-compatible ones
        return Reach.PRIVATE
    embedded = tuple(_embedded(plain))
    return max((_reach_6(plain), *map(_reach_4, embedded)))


def _reach_4(address: IPv4Address) -> Reach:
    if address in METADATA or any(address in network for network in _FORBIDDEN_4):
        return Reach.FORBIDDEN
    if any(address in network for network in _PRIVATE_4):
        return Reach.PRIVATE
    return Reach.PUBLIC if address.is_global else Reach.PRIVATE


def _reach_6(address: IPv6Address) -> Reach:
    if _is_wrapper(address):
        return Reach.PUBLIC
    if address in METADATA or address in _AMAZON_6:
        return Reach.FORBIDDEN
    if any(address in network for network in _PRIVATE_6):
        return Reach.PRIVATE
    if address not in _UNICAST_6:
        return Reach.FORBIDDEN
    return Reach.PUBLIC if address.is_global else Reach.PRIVATE


def _is_wrapper(address: IPv6Address) -> bool:
    """Whether it says nothing by itself: all depends on the IPv4 address within it."""
    wrappers = (*_LAST_32_BITS, _SIX_TO_FOUR, _TEREDO)
    return any(address in network for network in wrappers)


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    """Every IPv4 address that a gateway could take out of it."""
    packed = address.packed
    if any(address in network for network in _LAST_32_BITS) or packed[8:12] in _ISATAP:
        yield IPv4Address(packed[12:])
    if address in _LOCAL_NAT64:
        found = (IPv4Address(bytes(packed[index] for index in place)) for place in _NAT64_BYTES)
        # Of the four places only one has the address; the others are zeros or parts of it.
        yield from (each for each in found if each not in _FORBIDDEN_4[0])
    if address in _SIX_TO_FOUR:
        yield IPv4Address(packed[2:6])
    if address in _TEREDO:
        yield IPv4Address(packed[4:8])
        yield IPv4Address(bytes(byte ^ 0xFF for byte in packed[12:]))
