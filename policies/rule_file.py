"""Reads policy files into rules; whatever is wrong with any of them is said at once."""

import re
from collections.abc import Collection, Iterable, Iterator
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
        file, found = read_with_faults(path, mend=f"name a file of policies, see {SEE}")
        faults.extend(found)
        if file is not None:
            of_file = Faults(file=file)
            policies.extend(_policies(of_file, known_knobs))
            faults.extend(sorted(of_file.found, key=_line))
    faults.extend(_doubles(policies))
    if faults:
        raise PolicyError(faults)
    return tuple(policy.rule for policy in policies if policy.rule is not None)


def _line(fault: FlyballError) -> int:
    found = re.search(r":(\d+)(?:: |$)", fault.where or "")
    return int(found[1]) if found else 0


def _doubles(policies: Iterable[Policy]) -> Iterator[FlyballError]:
    first: dict[str, Policy] = {}
    for policy in policies:
        before = first.setdefault(policy.alert, policy)
        if policy.alert and before is not policy:
            what = f"{policy.alert} is declared at {before.place} already"
            yield OptionError(what, where=f"{policy.place}: alert", mend="give each a name of its own")


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
        read = read_keys(PolicyKeys, item, ["policies", number], faults, noun="policy")
        if read is not None:
            yield read_policy(read, known_knobs)
