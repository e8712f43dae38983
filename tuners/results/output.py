"""The files that a study leaves: each one whole or not at all, a full disk said as one."""

import contextlib
import json
import math
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from flyball.errors import StorageFailed
from flyball.history.alert_records import Alert
from flyball.history.alert_rows import alert_document
from flyball.tuners.base import Interval, Measurement, TrialReport
from flyball.tuners.objective import Objective
from flyball.tuners.results.environment_file import NAME as ENVIRONMENT_FILE
from flyball.tuners.results.recommendation import Recommendation
from flyball.tuners.results.recommendation_json import document
from flyball.tuners.verification.verification import Decision

RECOMMENDATION = "recommendation.json"
CONFIG = "ds_config_optimal.json"
COMMAND = "cmd_optimal.txt"
SUMMARY = "summary.txt"
REPORT = "report.html"
METRICS = "metrics.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShellCommand:
    """A command as the user would start it."""

    tokens: Sequence[str]
    cwd: Path
    """Where the user typed the command that was tuned; relative paths in it are meant from there."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Only what is set on top of the user's own."""
    prepended: Mapping[str, str] = field(default_factory=dict)
    """Search paths put in front of what the user has in the same variable, for example PYTHONPATH."""

    def line(self) -> str:
        """Return the command in one line for a shell, quoted, without changing the folder."""
        settings = [f"{name}={shlex.quote(value)}" for name, value in sorted(self.environment.items())]
        for name, value in sorted(self.prepended.items()):
            settings.append(f'{name}={shlex.quote(value)}"${{{name}:+:${name}}}"')
        command = shlex.join(self.tokens)
        return f"env {' '.join(settings)} {command}" if settings else command

    def script(self) -> str:
        """Return a script for ``sh`` that works from any folder and passes its own arguments on."""
        folder = shlex.quote(str(self.cwd))
        return f'cd {folder} || exit 1\nexec {self.line()} "$@"\n'


@contextlib.contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into ``StorageFailed`` with the place and the mend.

    Raises:
        StorageFailed: on any ``OSError`` inside.
    """
    try:
        yield
    except OSError as error:
        mend = "make room or rights, then resume with --resume"
        raise StorageFailed(f"cannot write: {error.strerror or error}", where=str(path), mend=mend) from error


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file in one step: whoever reads sees the old one or the new one, after a crash too.

    Raises:
        StorageFailed: the disk is full, read-only, or not ours.
    """
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o666 & ~_umask())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def _umask() -> int:
    """Return the process's mask from /proc, since asking for it by ``os.umask`` would change it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next((int(line.split()[1], 8) for line in lines if line.startswith("Umask:")), 0o022)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def json_bytes(value: Any) -> bytes:
    """Return a JSON document as people read it: indented, keys in their own order, a last newline."""
    return (json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def finite(value: Any) -> Any:
    """Return a value with null for every number that JSON cannot hold, such as a witness's NaN."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_results(
    directory: Path,
    *,
    recommendation: Recommendation,
    command: ShellCommand,
    user_config: bytes | None,
    summary: str,
    report: str,
    environment_file: str | None = None,
) -> None:
    """Write what the user came for.

    Args:
        directory: the experiment's output folder; made where it is missing.
        recommendation: as decided.
        command: to use from now on; on ``keep`` the user's own.
        user_config: the bytes of the user's own config file, written as they are on ``keep``; None where the
            script holds its config itself.
        summary: ``summary.txt``.
        report: ``report.html``.
        environment_file: ``.deepspeed_env`` of a job that spans hosts; None for any other.

    Raises:
        StorageFailed: a file could not be written; those before it are whole.
    """
    config = json_bytes(dict(recommendation.recommended.configuration.ds_config))
    if recommendation.verdict is Decision.KEEP and user_config is not None:
        config = user_config
    # recommendation.json comes last: where it stands, the files that it speaks of stand too.
    write_whole(directory / CONFIG, config)
    write_whole(directory / COMMAND, command.script().encode())
    if environment_file is not None:
        write_whole(directory / ENVIRONMENT_FILE, environment_file.encode())
    write_whole(directory / SUMMARY, summary.encode())
    write_whole(directory / REPORT, report.encode())
    write_whole(directory / RECOMMENDATION, json_bytes(document(recommendation)))


def measurement_json(measurement: Measurement) -> dict[str, Any]:
    """Return a measurement as JSON, also what the history keeps of it."""
    plain: dict[str, Any] = finite(asdict(measurement))
    return plain


def measurement_from_json(plain: Mapping[str, Any]) -> Measurement:
    """Return the measurement that ``measurement_json`` was given; fields of a newer version are ignored."""
    known = {each.name for each in fields(Measurement)}
    values = {name: value for name, value in plain.items() if name in known}
    for name in ("samples_per_second", "steps_per_second", "samples_per_joule"):
        if plain.get(name) is not None:
            values[name] = Interval(**plain[name])
    values["objective"] = Objective(plain.get("objective", Objective.THROUGHPUT))
    values["losses"] = tuple((float(samples), float(loss)) for samples, loss in plain.get("losses", ()))
    return Measurement(**values)


def alerts_json(alerts: Sequence[Alert] | None) -> list[dict[str, Any]] | None:
    """Return alerts as JSON, also what the history keeps of them; null where no rules were evaluated."""
    return None if alerts is None else [alert_document(alert) for alert in alerts]


def write_trial_metrics(directory: Path, report: TrialReport) -> None:
    """Write ``metrics.json`` of one trial into its folder: how it ended, why, and what was measured.

    Raises:
        StorageFailed: the file could not be written.
    """
    measured = measurement_json(report.measurement) if report.measurement else None
    metrics = {
        "number": report.number,
        "phase": report.phase.value,
        "outcome": report.outcome.kind.value,
        "reason": report.outcome.reason,
        "rank": report.outcome.rank,
        "assignment": dict(report.configuration.assignment),
        "configuration": report.configuration.digest,
        "launcher": report.launcher,
        "startup_seconds": report.startup_seconds,
        "total_seconds": report.total_seconds,
        "measurement": measured,
        "notes": list(report.notes),
        "alerts": alerts_json(report.alerts),
    }
    write_whole(directory / METRICS, json_bytes(metrics))
