"""Makes the report of a production run: how it ended, what was measured, whether to start it anew."""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from flyball.collectors.journal import RankJournal, read_folder
from flyball.errors import PolicyError
from flyball.history.alert_records import Alert
from flyball.policies.rule_file import read_rules
from flyball.runner.classify import Ended as EndedBy
from flyball.runner.classify import Evidence, classify
from flyball.runner.full_disk import room_bytes
from flyball.runner.outcome import Outcome, OutcomeKind
from flyball.runner.process_tree import read_process
from flyball.runner.signatures import is_signal, signal_of
from flyball.tuners.base import Configuration, Interval, Measurement, Phase, TrialReport
from flyball.tuners.between_runs.turn import Ended
from flyball.tuners.knobs.registry import BY_NAME
from flyball.tuners.measurement.energy import NO_GPUS
from flyball.tuners.measurement.feeding import Feeding
from flyball.tuners.measurement.measurement import Fault, Invalid, measure
from flyball.tuners.measurement.series import busiest_header
from flyball.tuners.measurement.witness import idle_note
from flyball.tuners.objective import Objective
from flyball.tuners.trials.trial_alerts import TrialRules

ASKING = frozenset(
    {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
)
"""Signals by which a user or a scheduler ends a job that is in order."""
READ_BYTES = 256 << 20
"""Of all journals of a run together: some hundred thousand steps."""
NO_FAULT_OF_IT = frozenset(
    {Fault.NO_JOURNAL, Fault.MISSING_RANK, Fault.TOO_FEW_STEPS, Fault.NO_SAMPLES, Fault.NO_ENERGY}
)
"""What a run cannot be measured for without its configuration being to blame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One run as it was recorded when it began."""

    number: int
    phase: Phase
    configuration: Configuration
    is_own: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class EndedRun:
    """A run that has ended, with its journals."""

    ended: Ended
    journals: Mapping[int, RankJournal]

    @classmethod
    def read(cls, ended: Ended) -> "EndedRun":
        """Read its journals; of long ones the beginning, which is enough to measure it by."""
        folder = Path(ended.folder)
        ranks = sum(1 for _ in folder.glob("rank-*.jsonl"))
        return cls(ended=ended, journals=read_folder(folder, most_bytes=READ_BYTES // max(1, ranks)))

    @property
    def moved(self) -> bool:
        """Whether a step was made or a checkpoint begun: what a second start would repeat, or spoil."""
        return any(
            journal.last("step") is not None or journal.last("checkpoint") is not None or _saving(journal)
            for journal in self.journals.values()
        )

    @property
    def ended_by(self) -> int | None:
        """The signal that ended it, from its own status or its launcher's."""
        if self.ended.signal is not None:
            return self.ended.signal
        return signal_of(self.ended.exit_status) if self.ended.exit_status else None

    @property
    def asked_to_end(self) -> bool:
        """Whether somebody asked it to end, as far as can be seen."""
        raised = [
            str(record.get("type"))
            for journal in self.journals.values()
            for record in journal.of_kind("exception")
        ]
        return (
            bool(ASKING.intersection(self.ended.told))
            or self.ended_by in ASKING
            or any(map(is_signal, raised))
        )

    def outcome(self) -> Outcome:
        """Return how it ended; ``completed`` too where it was asked to end after it had been measured."""
        if self.ended.hung is not None:
            return Outcome(kind=OutcomeKind.HUNG, reason=self.ended.hung)
        if self.asked_to_end:
            kind = OutcomeKind.COMPLETED if self.moved else OutcomeKind.INTERRUPTED
            return Outcome(kind=kind, reason="it was asked to end", from_outside=True)
        if self.ended_by == signal.SIGKILL and not self.ended.kernel_kills:
            return Outcome(kind=OutcomeKind.INTERRUPTED, reason="it was killed", from_outside=True)
        status = -self.ended.signal if self.ended.signal is not None else self.ended.exit_status
        return classify(
            Evidence(
                ended=EndedBy.ITSELF,
                status=status,
                journals=self.journals,
                kernel_kills=self.ended.kernel_kills,
                directory=Path(self.ended.folder),
                room_bytes=room_bytes(Path(self.ended.folder)),
            )
        )

    def may_restart(self, outcome: Outcome) -> bool:
        """Whether the user's own configuration may run in its place at once.

        Only where the run failed by itself before its first step and left no process; on a terminal, where a
        key may have ended it, only where the journals say why it failed.
        """
        failed = outcome.kind not in (OutcomeKind.COMPLETED, OutcomeKind.INTERRUPTED)
        if not failed or self.moved or self.asked_to_end or outcome.full_folder is not None:
            return False
        if self.ended.exit_status == 0 or self._lives():
            return False
        told = any(
            journal.last("exception") or journal.last("out_of_memory") for journal in self.journals.values()
        )
        return told or self.ended.hung is not None or not self.ended.on_terminal

    def _lives(self) -> bool:
        pids = [int(journal.header.get("pid") or 0) for journal in self.journals.values() if journal.header]
        return _group_lives(self.ended.pid) or any(_lives(pid) for pid in pids)

    def report(
        self,
        run: RunRecord,
        *,
        own_feeding: Feeding | None,
        device_memory_bytes: int | None,
        policies: tuple[str, ...],
        objective: Objective = Objective.THROUGHPUT,
    ) -> TrialReport:
        """Return the report of the run."""
        outcome, measured = self.outcome(), None
        if outcome.kind is OutcomeKind.COMPLETED:
            found = self._measured(run, own_feeding, device_memory_bytes, objective)
            if isinstance(found, Invalid):
                kind = OutcomeKind.INTERRUPTED if found.fault in NO_FAULT_OF_IT else found.outcome
                outcome = Outcome(kind=kind, reason=f"not counted: {found.reason}")
            else:
                measured = found
        elif outcome.full_folder is not None:
            outcome = replace(outcome, kind=OutcomeKind.INTERRUPTED)
        idle = idle_note(run.configuration, measured) if measured else ()
        return TrialReport(
            number=run.number,
            phase=run.phase,
            configuration=run.configuration,
            outcome=outcome,
            measurement=measured,
            launcher="cold",
            startup_seconds=measured.startup_seconds if measured else None,
            total_seconds=self.ended.seconds,
            notes=tuple(idle),
            alerts=self._alerts(measured, policies),
        )

    def _measured(
        self,
        run: RunRecord,
        own_feeding: Feeding | None,
        device_memory_bytes: int | None,
        objective: Objective,
    ) -> Measurement | Invalid:
        found = measure(
            self.journals,
            startup_seconds=self._startup_seconds(),
            device_memory_bytes=device_memory_bytes,
        )
        if isinstance(found, Invalid):
            return found
        if self.ended.telemetry:
            found = replace(found, telemetry={**found.telemetry, **self.ended.telemetry})
        energy = self.ended.energy or {}
        if "point" in energy:
            found = replace(found, samples_per_joule=Interval(**energy))
        found = replace(found, objective=objective)
        if objective.merit(found) is None:
            reason = energy.get("unavailable", NO_GPUS)
            return Invalid(fault=Fault.NO_ENERGY, reason=f"no energy figure: {reason}")
        header = busiest_header(self.journals)
        if run.is_own or own_feeding is None or header is None:
            return found
        return Feeding.of(header, found).unlike(own_feeding) or found

    def _startup_seconds(self) -> float | None:
        """From the start of the rank that began first to the first step of the slowest."""
        begun = [float(each.header["started"]) for each in self.journals.values() if each.header]
        firsts = [steps[0] for each in self.journals.values() if (steps := each.of_kind("step"))]
        if not begun or not firsts:
            return None
        return max(0.0, max(float(step["clock"]) for step in firsts) - min(begun))

    def _alerts(self, measured: Measurement | None, policies: tuple[str, ...]) -> tuple[Alert, ...] | None:
        try:
            rules = TrialRules(read_rules(policies, known_knobs=BY_NAME))
        except PolicyError:  # a file that was broken since the study began is no reason to lose the run
            return None
        warmup_steps = measured.warmup_steps if measured else 0
        return rules.fired(self.journals, None, run=Path(self.ended.folder).name, warmup_steps=warmup_steps)


def _saving(journal: RankJournal) -> bool:
    return any(record.get("phase") == "checkpointing" for record in journal.of_kind("pause"))


def _group_lives(group: int) -> bool:
    if group <= 1:
        return False
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _lives(pid: int) -> bool:
    process = read_process(pid) if pid > 1 else None
    return process is not None and process.state not in "ZX"
