"""What makes production runs runs of one job: when part of it changes, the study begins anew."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from flyball.collectors.fingerprint import Fingerprint
from flyball.errors import SpaceError
from flyball.history.digest import command_digest
from flyball.tuners.job.job import Job, script_text
from flyball.tuners.options import StudyOptions
from flyball.tuners.space.space_file import bundled


@dataclass(frozen=True, kw_only=True, slots=True)
class JobKey:
    """The parts of a job, each as a digest, by the name that a user has for it."""

    parts: Mapping[str, str]

    @classmethod
    def of(cls, options: StudyOptions, job: Job, machine: Fingerprint) -> "JobKey":
        """Return it for a command that is about to run.

        Folders that a run writes to or goes on from are no part of it: those of a daily job change daily.

        Raises:
            SpaceError: the space file cannot be read.
        """
        place = (str(options.cwd), job.command.interpreter, str(job.command.ranks))
        maps = [f"{key}={option}" for key, option in sorted(job.command.maps.items())]
        return cls(
            parts={
                "command": command_digest(job.command.lasting, *place, *maps, options.samples_from),
                "script": _digest(script_text(job.command)),
                "config": command_digest((), job.config),
                "space": _digest(_space_text(options)),
                "machine": machine.digest,
                "objective": options.objective.value,
            }
        )

    def changed(self, before: Mapping[str, str]) -> tuple[str, ...]:
        """Return the names of the parts that are not what they were."""
        return tuple(name for name, digest in self.parts.items() if before.get(name) != digest)


def _space_text(options: StudyOptions) -> str:
    if options.space is None:
        return ""
    if str(options.space) in bundled():
        return str(options.space)
    try:
        return options.space.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SpaceError(f"cannot be read: {error.strerror}", where=str(options.space)) from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
