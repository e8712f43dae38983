"""What an agent answers about a run that an alert says should be tuned."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from flyball.agent.redact import MASK
from flyball.errors import BadInput, CommandError, OptionError
from flyball.history.alert_records import Alert, AlertStatus
from flyball.runner.command import parse_command
from flyball.tuners.job.lead import Lead

FROM_ALERT = "--from-alert"
GIVE_COMMAND = "give the command yourself, behind --"


def _number(value: Any) -> Any:
    # JSON has no NaN: an agent writes null, or the number as text.
    return math.nan if value is None else value


class AlertAnswer(BaseModel):
    """The alert that asks."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    labels: dict[str, str]
    annotations: dict[str, str] = Field(default_factory=dict)
    suggests: tuple[str, ...] = ()
    value: Annotated[float, BeforeValidator(_number)] = math.nan
    active_time: float


class RunAnswer(BaseModel):
    """The run that it asks for."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    command: tuple[str, ...] = ()
    working_directory: str = ""
    config_path: str | None = None
    host: str = ""
    alert: AlertAnswer
    telemetry: dict[str, Any] = Field(default_factory=dict)


class TuningRequestAnswer(BaseModel):
    """One tuning request."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: int
    rule: str = Field(min_length=1)
    run: str
    fingerprint: str
    taken_time: float | None = None
    document: RunAnswer

    def lead(self, url: str) -> Lead:
        """Return what the study keeps of it; ``url`` is where it stands."""
        told = self.document.alert
        alert = Alert(
            rule=self.rule,
            labels=told.labels,
            fingerprint=self.fingerprint,
            annotations=told.annotations,
            suggests=told.suggests,
            status=AlertStatus.FIRING,
            value=told.value,
            active_time=told.active_time,
        )
        return Lead(url=url, run=self.run, alert=alert, telemetry=self.document.telemetry)

    def command(self, *, host: str) -> tuple[str, ...]:
        """Return the run's command, as it can be started on this machine.

        Args:
            host: this machine's name.

        Raises:
            OptionError: the run was on another machine.
            CommandError: the command is not known, or a secret of it is masked.
        """
        found = self.document
        if found.host != host:
            what = f"the run {self.run} is on {found.host or 'an unknown host'}, and this is {host}"
            raise OptionError(what, where=FROM_ALERT, mend=f"start autotune there, or {GIVE_COMMAND}")
        if not found.command:
            what = f"the agent does not know how the run {self.run} was started"
            raise CommandError(what, where=FROM_ALERT, mend=GIVE_COMMAND)
        masked = next((token for token in found.command if MASK in token), None)
        if masked is not None:
            what = f"the command of the run {self.run} holds a secret that was masked: {masked}"
            raise CommandError(what, where=FROM_ALERT, mend=f"{GIVE_COMMAND}, with the secret in it")
        return found.command

    def folder(self) -> Path:
        """Return where the command runs. Raises OptionError where there is no such folder here."""
        folder = Path(self.document.working_directory)
        try:
            usable = folder.is_absolute() and folder.is_dir()
        except OSError:
            usable = False
        if not usable:
            shown = self.document.working_directory or "unknown"
            what = f"the folder of the run {self.run} is not here: {shown}"
            raise OptionError(what, where=FROM_ALERT, mend=f"cd to where it runs, and {GIVE_COMMAND}")
        return folder

    def config(self, command: Sequence[str], folder: Path) -> Path | None:
        """Return the DeepSpeed config that the run had, where its command does not name one itself."""
        if self.document.config_path is None:
            return None
        path = folder / self.document.config_path
        try:
            named = parse_command(command, config=None, maps={}, cwd=folder).config_path
            return path if named is None and path.is_file() else None
        except (BadInput, OSError):
            # Whoever reads the job says so, with all that belongs to it.
            return None


_ALL = TypeAdapter(list[TuningRequestAnswer])


def read_request(body: bytes) -> TuningRequestAnswer:
    """Return the request that an answer holds. Raises ValueError with the first thing that is wrong."""
    with _first_fault():
        return TuningRequestAnswer.model_validate_json(body)


def newest_open(body: bytes) -> TuningRequestAnswer | None:
    """Return the newest of a list that nobody began with. Raises ValueError as ``read_request`` does."""
    with _first_fault():
        requests = _ALL.validate_json(body)
    still_open = [each for each in requests if each.taken_time is None]
    return max(still_open, key=lambda each: each.id, default=None)


@contextmanager
def _first_fault() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place}: {first['msg']}" if place else first["msg"]) from error
