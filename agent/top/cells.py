"""Values as words; ``-`` where one is not known."""

from collections.abc import Mapping

from flyball.agent.text import clean
from flyball.agent.top.view import Missing

UNKNOWN = "-"
_GIB = float(1 << 30)


def percent(ratio: float | None) -> str:
    """``87%``."""
    return UNKNOWN if ratio is None else f"{ratio:.0%}"


def number(value: float | None, digits: int = 0) -> str:
    """With so many digits behind the point."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def gibibytes(value: float | None) -> str:
    """Bytes as GiB, without the unit."""
    return number(None if value is None else value / _GIB, 1)


def of_total(used: float | None, total: float | None) -> str:
    """``61.2/79.6``, in GiB."""
    return UNKNOWN if used is None and total is None else f"{gibibytes(used)}/{gibibytes(total)}"


def both_ways(received: float | None, sent: float | None) -> str:
    """Two rates in MB/s, as ``12/340``."""
    if received is None and sent is None:
        return UNKNOWN
    return "/".join(number(None if rate is None else rate / 1e6) for rate in (received, sent))


def short_rate(value: float | None) -> str:
    """Three or four digits, thousands as ``k``, millions as ``M``."""
    if value is None:
        return UNKNOWN
    for limit, unit in ((1e6, "M"), (1e4, "k")):
        if value >= limit:
            return f"{value / (limit if unit == 'M' else 1e3):.4g}{unit}"
    return f"{value:.4g}"


def short_seconds(seconds: float | None) -> str:
    """``41us``, ``3.1ms``, ``2.5s``."""
    if seconds is None:
        return UNKNOWN
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms")):
        if seconds < limit:
            return f"{seconds * factor:.3g}{unit}"
    return f"{seconds:.3g}s"


def links(by_source: Mapping[str, float]) -> str:
    """``in_band 41us timed 3.1ms``."""
    pairs = (f"{clean(source)} {short_seconds(seconds)}" for source, seconds in sorted(by_source.items()))
    return " ".join(pairs) or UNKNOWN


def describe_missing(one: Missing) -> str:
    """Why something is not known, and what to do about it."""
    detail = f": {clean(one.detail)}" if one.detail else ""
    return one.reason.replace("_", " ") + detail + (f"; {one.mend}" if one.mend else "")
