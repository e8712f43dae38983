"""The history as the rest of flyball uses it: what a study writes, and what it and people read."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from flyball.clock import Clock, SystemClock
from flyball.database import Database
from flyball.history import leases
from flyball.history.columns import storable
from flyball.history.digest import command_digest as digest_of
from flyball.history.finding import (
    THROUGHPUT,
    find_row,
    generation_rows,
    matching_trials,
    recommending_rows,
    require_free_name,
    resumable_row,
)
from flyball.history.inserting import insert_new
from flyball.history.machines import fingerprint_id
from flyball.history.measured import measurement_columns
from flyball.history.models import (
    ConfigurationRow,
    ExperimentRow,
    MeasurementRow,
    RecommendationRow,
    TrialRow,
)
from flyball.history.owner import Owner
from flyball.history.records import (
    FINISHED,
    RUNNING,
    ExperimentRecord,
    ExperimentSummary,
    MachineFingerprint,
    PastTrial,
    RecommendationRecord,
    TrialRecord,
)
from flyball.history.rows import experiment_record, recommendation_record, trial_record
from flyball.history.summaries import summarize

RENEW_SECONDS = 60.0


class History:
    """Experiments, configurations, trials and recommendations of one database.

    Each method is one transaction: when it returns, what it wrote is there after a kill -9. Every method
    raises StorageFailed when the database gives out.
    """

    def __init__(self, database: Database, *, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._renewed: dict[int, float] = {}

    @property
    def database(self) -> Database:
        """Where it is kept."""
        return self._database

    def require_free_name(self, name: str) -> None:
        """Raise OptionError where there is an experiment of this name."""
        with self._database.reading() as session:
            require_free_name(session, name)

    def create_experiment(
        self,
        *,
        name: str,
        command: Sequence[str],
        base_config: Mapping[str, Any],
        space: Mapping[str, Any],
        seed: int | None,
        budget_seconds: float | None,
        options: Mapping[str, Any],
        fingerprint: MachineFingerprint,
        output_directory: str | os.PathLike[str],
        command_digest: str | None = None,
        owner: Owner | None = None,
    ) -> int:
        """Add an experiment and return its id.

        Args:
            name: unique in the database.
            command: the user's command, token by token.
            base_config: the user's DeepSpeed config.
            space: the space that is searched.
            seed: of the sampler and of the order of verification.
            budget_seconds: wall-clock limit, or None.
            options: whatever a resumed study must know.
            fingerprint: of the machine it runs on.
            output_directory: absolute path of the results.
            command_digest: by which later studies find it alike; None takes the command's tokens alone.
            owner: who claims it at once.

        Raises:
            OptionError: there is an experiment of this name.
        """
        with self._database.writing() as session:
            require_free_name(session, name)
            row = ExperimentRow(
                name=name,
                status=RUNNING,
                created_time=self._clock.time(),
                command=[storable(token) for token in command],
                command_digest=command_digest or digest_of(command),
                base_config=dict(base_config),
                space=dict(space),
                options=dict(options),
                seed=seed,
                budget_seconds=budget_seconds,
                output_directory=os.fspath(output_directory),
                fingerprint_id=fingerprint_id(session, fingerprint),
            )
            if owner is not None:
                leases.claim(row, owner, now=self._clock.time(), one_machine=self._database.is_sqlite)
            session.add(row)
            session.flush()
            return row.id

    def claim(self, experiment_id: int, owner: Owner) -> None:
        """Make a process the only one that works on an experiment; doing it twice is no fault.

        Raises:
            DatabaseError: another process, which still lives, works on it.
        """
        with self._database.writing() as session:
            row = _experiment(session, experiment_id)
            leases.claim(row, owner, now=self._clock.time(), one_machine=self._database.is_sqlite)

    def renew(self, experiment_id: int, owner: Owner) -> None:
        """Say that the owner still works on it. Call it often: it writes once a minute at most."""
        now = self._clock.monotonic()
        if now - self._renewed.get(experiment_id, -RENEW_SECONDS) < RENEW_SECONDS:
            return
        with self._database.writing() as session:
            leases.renew(session, experiment_id, owner, now=self._clock.time())
        self._renewed[experiment_id] = now

    def set_experiment_status(self, experiment_id: int, status: str) -> None:
        """Set a status; any but ``running`` gives the claim back."""
        with self._database.writing() as session:
            row = _experiment(session, experiment_id)
            if status == RUNNING:
                row.status, row.finished_time = RUNNING, None
            else:
                leases.release(row, status, now=self._clock.time())

    def add_configuration(
        self,
        experiment_id: int,
        *,
        digest: str,
        assignment: Mapping[str, Any],
        ds_config: Mapping[str, Any],
        arguments: Mapping[str, str],
        environment: Mapping[str, str],
        probe: Mapping[str, Any],
    ) -> int:
        """Return the id of a configuration, which is added when the experiment has none of this digest."""
        values = {
            "experiment_id": experiment_id,
            "digest": digest,
            "assignment": dict(assignment),
            "ds_config": dict(ds_config),
            "arguments": dict(arguments),
            "environment": dict(environment),
            "probe": dict(probe),
        }
        own = ConfigurationRow.experiment_id == experiment_id, ConfigurationRow.digest == digest
        with self._database.writing() as session:
            insert_new(session, ConfigurationRow, values, unique=("experiment_id", "digest"))
            return session.scalars(select(ConfigurationRow.id).where(*own)).one()

    def start_trial(
        self,
        experiment_id: int,
        *,
        number: int,
        phase: str,
        configuration_id: int,
        owner: Owner,
        optuna_number: int | None = None,
        label: str = "",
        placement: Mapping[str, Any] | None = None,
    ) -> int:
        """Add a running trial and return its id.

        Args:
            experiment_id: whose trial it is.
            number: unique in the experiment.
            phase: ``baseline``, ``search``, ``verification`` or ``confirmation``.
            configuration_id: from ``add_configuration``.
            owner: the process that will finish it.
            optuna_number: of the Optuna trial that asked for it, where one did.
            label: what the run is to the plan that asked for it, so that a resume finds it again.
            placement: hosts, devices and ranks.
        """
        now = self._clock.time()
        row = TrialRow(
            experiment_id=experiment_id,
            configuration_id=configuration_id,
            number=number,
            phase=phase,
            optuna_number=optuna_number,
            label=label,
            placement=dict(placement or {}),
            status=RUNNING,
            started_time=now,
            notes=[],
            owner_host=owner.host,
            owner_pid=owner.pid,
            owner_started=owner.started,
            lease_time=now,
        )
        with self._database.writing() as session:
            session.add(row)
            leases.renew(session, experiment_id, owner, now=now)
            session.flush()
            return row.id

    def finish_trial(
        self,
        trial_id: int,
        *,
        outcome: str,
        reason: str,
        total_seconds: float | None = None,
        rank: int | None = None,
        measurement: Mapping[str, Any] | None = None,
        launcher: str | None = None,
        startup_seconds: float | None = None,
        waited_seconds: float | None = None,
        notes: Sequence[str] = (),
        telemetry: Mapping[str, Any] | None = None,
        alerts: Sequence[Mapping[str, Any]] | None = None,
    ) -> bool:
        """Record how a running trial ended; False, and nothing changes, when that is known already.

        Args:
            trial_id: from ``start_trial``.
            outcome: one of ``runner.outcome.OutcomeKind``.
            reason: in one line.
            total_seconds: wall-clock time of the whole run; None takes the time since it was started.
            rank: that failed first, where one did.
            measurement: ``tuners.output.measurement_json``; NaN and infinities are kept as null.
            launcher: ``cold`` or ``warm``.
            startup_seconds: spawn to the first step.
            waited_seconds: of ``total_seconds``: before the spawn.
            notes: for example why a warm launch fell back to a cold one.
            telemetry: what the collectors saw meanwhile.
            alerts: that fired meanwhile, as JSON; None where no rules were evaluated.
        """
        now = self._clock.time()
        ended = {
            "status": FINISHED,
            "outcome": str(outcome),
            "reason": reason,
            "rank": rank,
            "launcher": launcher,
            "startup_seconds": startup_seconds,
            "waited_seconds": waited_seconds,
            "total_seconds": now - TrialRow.started_time if total_seconds is None else total_seconds,
            "finished_time": now,
            "notes": [storable(note) for note in notes],
            "telemetry": telemetry,
            "alerts": alerts,
        }
        still_running = TrialRow.id == trial_id, TrialRow.status == RUNNING
        with self._database.writing() as session:
            done = update(TrialRow).where(*still_running).values(**ended).returning(TrialRow.id)
            if session.scalar(done) is None:
                return False
            if measurement is not None:
                session.add(MeasurementRow(trial_id=trial_id, **measurement_columns(measurement)))
            return True

    def recover(self, experiment_id: int) -> list[TrialRecord]:
        """Mark running trials whose owners are gone as interrupted and return them; leave the rest alone."""
        now = self._clock.time()
        with self._database.writing() as session:
            rows = leases.orphans(session, experiment_id, now=now, one_machine=self._database.is_sqlite)
            found = list(rows)
            for row in found:
                leases.interrupt(row, now=now)
            session.flush()
            return [trial_record(row) for row in found]

    def save_recommendation(self, experiment_id: int, document: Mapping[str, Any]) -> None:
        """Keep what the study came to, ``recommendation.json``, in place of an earlier one."""
        row = RecommendationRow(
            experiment_id=experiment_id,
            created_time=self._clock.time(),
            verdict=str(document["verdict"]),
            document=dict(document),
        )
        with self._database.writing() as session:
            session.merge(row)

    def recommendation(self, experiment_id: int) -> RecommendationRecord | None:
        """Return what a study came to, or None while it has not."""
        with self._database.reading() as session:
            row = session.get(RecommendationRow, experiment_id)
            return recommendation_record(row) if row else None

    def find_experiment(self, key: str | int) -> ExperimentRecord:
        """Return the experiment of a name, an id, or a results folder.

        Raises:
            DatabaseError: there is none.
        """
        with self._database.reading() as session:
            return experiment_record(find_row(session, str(key), place=self._database.place))

    def latest_resumable(self) -> ExperimentRecord | None:
        """Return the newest experiment that is unfinished and that no live process works on."""
        now = self._clock.time()
        with self._database.reading() as session:
            row = resumable_row(session, now=now, one_machine=self._database.is_sqlite)
            return experiment_record(row) if row else None

    def generations(self, name: str) -> list[ExperimentRecord]:
        """Return the generations of a study over production runs, the newest first; none is no fault."""
        with self._database.reading() as session:
            return [experiment_record(row) for row in generation_rows(session, name)]

    def recommending(self, fingerprint_digest: str, *, limit: int = 50) -> list[ExperimentRecord]:
        """Return the newest experiments of alike machines that recommended something, the newest first."""
        with self._database.reading() as session:
            found = recommending_rows(session, fingerprint_digest, limit=limit)
            return [experiment_record(row) for row in found]

    def experiments(self, *, limit: int | None = None) -> list[ExperimentSummary]:
        """Return experiments with their trials counted, the newest first."""
        with self._database.reading() as session:
            return summarize(session, limit=limit)

    def summary(self, experiment_id: int) -> ExperimentSummary:
        """Return one experiment with its trials counted."""
        with self._database.reading() as session:
            (found,) = summarize(session, experiment_id=experiment_id)
            return found

    def trials(self, experiment_id: int) -> list[TrialRecord]:
        """Return the trials of an experiment by number, those that run included."""
        own = select(TrialRow).where(TrialRow.experiment_id == experiment_id).order_by(TrialRow.number)
        with self._database.reading() as session:
            return [trial_record(row) for row in session.scalars(own)]

    def experiment(self, experiment_id: int) -> ExperimentRecord:
        """Return an experiment by its id alone."""
        with self._database.reading() as session:
            return experiment_record(session.get_one(ExperimentRow, experiment_id))

    def experiment_of_trial(self, trial_id: int) -> ExperimentRecord:
        """Return the experiment that a trial belongs to."""
        with self._database.reading() as session:
            return experiment_record(
                session.get_one(ExperimentRow, session.get_one(TrialRow, trial_id).experiment_id)
            )

    def spend(self, experiment_id: int) -> float:
        """Return the seconds that the experiment's trials have used so far."""
        total = select(func.sum(TrialRow.total_seconds)).where(TrialRow.experiment_id == experiment_id)
        with self._database.reading() as session:
            return float(session.scalar(total) or 0.0)

    def matching(
        self,
        fingerprint_digest: str,
        command_digest: str,
        *,
        objective: str = THROUGHPUT,
        excluding: int | None = None,
    ) -> list[PastTrial]:
        """Return the baseline and search trials that alike experiments finished, the fastest first.

        Those that did not complete come last, with their outcome and no rate; interrupted ones are left out.

        Args:
            fingerprint_digest: of the machine.
            command_digest: as given to ``create_experiment``.
            objective: only experiments that were to make the same thing better.
            excluding: id of the experiment that asks.
        """
        with self._database.reading() as session:
            return matching_trials(
                session, fingerprint_digest, command_digest, objective=objective, excluding=excluding
            )


def _experiment(session: Session, experiment_id: int) -> ExperimentRow:
    own = select(ExperimentRow).where(ExperimentRow.id == experiment_id)
    return session.scalars(own.with_for_update(of=ExperimentRow)).one()
