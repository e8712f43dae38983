"""Holds config files against every rule, each finding with its place: ``flyball lint``."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyball.errors import ConfigError
from flyball.tuners.config.deepspeed_facts import facts_of, table_versions
from flyball.tuners.config.json_document import JsonError
from flyball.tuners.config.reading import config_text, document_of, known
from flyball.tuners.config.tolerant_json import HJSON_RULES, read_tolerantly
from flyball.tuners.legality.batch import BATCH_KEYS
from flyball.tuners.legality.context import Context, installed_version
from flyball.tuners.legality.environment import LOOKED_AT
from flyball.tuners.legality.environment import RULES as ENVIRONMENT_RULES
from flyball.tuners.legality.finding import Finding, Severity, found
from flyball.tuners.legality.rules import check

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ORDER = list(Severity)
_GOES_ON = (*HJSON_RULES, "json-duplicate-key")
"""Of the syntax: what leaves the config whole, so that the rules hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What configs are held against; what is None is not known."""

    deepspeed_version: str
    """One that ``held_version`` gave."""
    ranks: int | None = None
    """That are fed different samples."""
    device: str | None = None
    """``cpu`` or ``cuda``."""
    fp16_on_cpu: bool | None = None
    """Whether the CPU has the instructions that DeepSpeed asks for in fp16."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """A finding and where it stands."""

    finding: Finding
    position: tuple[int, int] | None = None
    """Line and column, from 1; None where the finding is about the whole file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileReport:
    """All that is to be said of one file."""

    name: str
    placed: tuple[Placed, ...] = ()
    unreadable: ConfigError | None = None

    def count(self, severity: Severity) -> int:
        """How many findings are that grave."""
        return sum(each.finding.severity is severity for each in self.placed)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldVersion:
    """Which DeepSpeed configs are held against, and what is to be said about it."""

    version: str
    wanted: str | None
    """The one that is meant; None where none is installed and none was named."""
    remark: str | None = None


def held_version(named: str | None) -> HeldVersion:
    """Return the DeepSpeed to lint for: the named one, the installed one, else the newest that is known."""
    wanted = named or installed_version("deepspeed")
    if wanted is None:
        newest = table_versions()[-1]
        remark = f"no DeepSpeed is installed here: held against {newest}, the newest that is known"
        return HeldVersion(version=newest, wanted=None, remark=remark)
    held = facts_of(wanted).version
    if held == wanted.partition("+")[0] or held == wanted:
        return HeldVersion(version=wanted, wanted=wanted)
    remark = f"nothing is known of the keys of DeepSpeed {wanted}: they are held against those of {held}"
    return HeldVersion(version=wanted, wanted=wanted, remark=remark)


def lint_file(path: Path, data: bytes, question: Question, *, name: str | None = None) -> FileReport:
    """Return everything to be said of a config.

    Args:
        path: for messages.
        data: the file's bytes.
        question: what it is held against.
        name: what the file is called, where that is not its path.
    """
    name = name or str(path)
    first = _byte_order_mark(data)
    try:
        read = read_tolerantly(config_text(path, data))
        said = (*first, *_of_syntax(read.faults))
        if not all(each.rule in _GOES_ON for each in read.faults):
            # What could not be read would be missed by the rules, which would say so.
            return FileReport(name=name, placed=tuple(sorted(said, key=_rank)))
        document = document_of(path, read.values, read.places)
    except ConfigError as error:
        return FileReport(name=name, unreadable=error)
    context = context_of(document.values, question)
    findings = [
        *check(document.values, context, notes=True),
        *_assumptions(document.values, context, question),
    ]
    places = [Placed(finding=each, position=document.position(each.key)) for each in findings]
    return FileReport(name=name, placed=tuple(sorted((*said, *places), key=_rank)))


def lint_environment(environment: Mapping[str, str]) -> FileReport:
    """Return what is to be said of the variables that the ranks would get."""
    context = Context(world_size=1, environment={key: environment.get(key, "") for key in LOOKED_AT})
    findings = (finding for rule in ENVIRONMENT_RULES for finding in rule({}, context))
    return FileReport(name="environment", placed=tuple(Placed(finding=each) for each in findings))


def context_of(config: Mapping[str, Any], question: Question) -> Context:
    """Return the job that a config is held against, as far as it is known."""
    return Context(
        world_size=question.ranks or ranks_meant(config) or 1,
        ranks_known=question.ranks is not None,
        device=question.device or "cuda",
        hosts=None,
        fp16_on_cpu=question.fp16_on_cpu,
        deepspeed_version=question.deepspeed_version,
    )


def ranks_meant(config: Mapping[str, Any]) -> int | None:
    """Return how many ranks a config was written for, where all three batch sizes are there and tell."""
    whole, micro, steps = (known(config, key, None) for key in BATCH_KEYS)
    if not all(type(each) is int and each > 0 for each in (whole, micro, steps)) or whole % (micro * steps):
        return None
    return int(whole // (micro * steps))


def _of_syntax(faults: Sequence[JsonError]) -> Iterator[Placed]:
    """Place what is to be said of the text; what Hjson takes is one note of each kind, at the first place."""
    count = Counter(each.rule for each in faults)
    told: set[str] = set()
    for fault in faults:
        what = fault.what
        if fault.rule in HJSON_RULES:
            if fault.rule in told:
                continue
            others = count[fault.rule] - 1
            what += f" (and {others} more like it)" if others else ""
        told.add(fault.rule)
        finding = found(fault.rule, "", what, fault.mend or "")
        yield Placed(finding=finding, position=(fault.line, fault.column))


def _byte_order_mark(data: bytes) -> tuple[Placed, ...]:
    if not data.startswith(BYTE_ORDER_MARK):
        return ()
    what, mend = "begins with a byte order mark, which transformers refuses", "save it as UTF-8 without one"
    return (Placed(finding=found("json-bom", "", what, mend), position=(1, 1)),)


def _assumptions(config: Mapping[str, Any], context: Context, question: Question) -> Iterator[Finding]:
    """What was taken for granted, where a rule leans on it."""
    key = "zero_optimization.zero_hpz_partition_size"
    if question.ranks is None and (known(config, key, 1) != 1 or known(config, BATCH_KEYS[0], None)):
        meant = ranks_meant(config)
        told = f"taken as {meant}, from the batch sizes" if meant else "not held against the batch sizes"
        yield found("assumption", "", f"the number of ranks is not told: {told}", "give --ranks")
    if question.device is None and _asks_device(config):
        yield found("assumption", "", "the device is not told: taken as CUDA", "give --device")


def _asks_device(config: Mapping[str, Any]) -> bool:
    """Whether the rules would say something else on a CPU."""
    told = dict(known(config, "zero_optimization", None) or {}) if _is_section(config) else {}
    wanted = (
        known(config, "fp16.enabled", False),
        *(value for name, value in told.items() if name.startswith("zero_quantized_")),
        str(known(config, "optimizer.type", "")).lower() == "lamb",
        known(config, "aio.use_gds", False),
        known(config, "timers.throughput.synchronized", False),
    )
    return any(value not in (False, "auto") for value in wanted)


def _is_section(config: Mapping[str, Any]) -> bool:
    return isinstance(config.get("zero_optimization"), Mapping)


def _rank(placed: Placed) -> tuple[int, tuple[int, int]]:
    return _ORDER.index(placed.finding.severity), placed.position or (0, 0)
