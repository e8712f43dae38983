"""An alert's fingerprint: 64-bit FNV-1a over its labels, as Prometheus and Alertmanager work it out.

https://pkg.go.dev/github.com/prometheus/common/model#LabelSet.Fingerprint
"""

from collections.abc import Mapping

_OFFSET, _PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF
_SEPARATOR = b"\xff"


def fingerprint(labels: Mapping[str, str]) -> str:
    """16 hexadecimal digits; names in ascending order, each name and each value followed by 0xff."""
    digest = _OFFSET
    for name in sorted(labels):
        for byte in b"".join((name.encode(), _SEPARATOR, labels[name].encode(), _SEPARATOR)):
            digest = ((digest ^ byte) * _PRIME) & _MASK
    return f"{digest:016x}"
