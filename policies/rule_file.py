"""Reads policy files into rules; whatever is wrong with any of them is said at once."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from flyball.errors import FlyballError, OptionError, PolicyError
from flyball.policies.faults import SEE, Faults, did_you_mean
from flyball.policies.keys import PolicyKeys, read_keys
from flyball.policies.policy import Policy, read_policy
from flyball.policies.rule import Rule
from flyball.yaml_file import read_with_faults

DEFAULT = Path(__file__).parent / "default.yaml"
"""The policies that come with flyball; the file name ``default`` stands for it."""


def read_rules(paths: Iterable[str | Path], *, known_knobs: Collection[str]) -> tuple[Rule, ...]:
    """Read policy files, in their order.

    Args:
        paths: of the files; ``default`` is the one that comes with flyball.
        known_knobs: names that ``suggests`` may have.

    Raises:
        PolicyError: all faults of all files, by file and line.
    """
    policies: list[Policy] = []
    faults: list[FlyballError] = []
    for path in dict.fromkeys(DEFAULT if str(each) == "default" else Path(each) for each in paths):
        of_file = _default(frozenset(known_knobs)) if path == DEFAULT else _read(path, known_knobs)
        policies += of_file.policies
        faults += of_file.faults
    faults.extend(_doubles(policies))
    if faults:
        raise PolicyError(faults)
    return tuple(policy.rule for policy in policies if policy.rule is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class _OfFile:
    policies: Sequence[Policy]
    faults: Sequence[FlyballError]


@cache
def _default(known_knobs: frozenset[str]) -> _OfFile:
    """Read once: the file is as old as this process's code, and each reading takes a fifth of a second."""
    return _read(DEFAULT, known_knobs)


def _read(path: Path, known_knobs: Collection[str]) -> _OfFile:
    file, found = read_with_faults(path, mend=f"name a file of policies, see {SEE}")
    if file is None:
        return _OfFile(policies=(), faults=found)
    faults = Faults(file=file)
    policies = tuple(_policies(faults, known_knobs))
    return _OfFile(policies=policies, faults=[*found, *sorted(faults.found, key=_line)])


def _line(fault: FlyballError) -> int:
    found = re.search(r":(\d+)(?:: |$)", fault.where or "")
    return int(found[1]) if found else 0


def _doubles(policies: Iterable[Policy]) -> Iterator[FlyballError]:
    first: dict[str, Policy] = {}
    for policy in policies:
        before = first.setdefault(policy.alert, policy)
        if policy.alert and before is not policy:
            what = f"{policy.alert} is declared at {before.place} already"
            yield OptionError(what, where=policy.where, mend="give each a name of its own")


def _policies(faults: Faults, known_knobs: Collection[str]) -> Iterator[Policy]:
    document = faults.file.document
    for key in document:
        if key != "policies":
            mend = did_you_mean(str(key), ["policies"], otherwise="such a file has the key policies alone")
            faults.add([key], "unknown key", mend=mend)
    found = document.get("policies")
    if not isinstance(found, list) or not found:
        what = "is no list of policies" if found else "has no policies"
        place = ["policies"] if "policies" in document else []
        faults.add(place, what, mend="write 'policies:' and below it '- alert: NAME' for each")
        return
    for number, item in enumerate(found):
        mend = f"begin it with '- alert: NAME', see {SEE}"
        read = read_keys(PolicyKeys, item, ["policies", number], faults, noun="policy", mend=mend)
        if read is not None:
            yield read_policy(read, known_knobs)
