"""Runs the command line as ``flyball`` does, with collectors of its own: ``steady`` and ``moody``.

At its end it writes what it imported into ``modules`` beside the configuration.
"""

import sys
import time
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from flyball.agent.cli import run
from flyball.agent.wiring import Wiring
from flyball.collectors import catalog
from flyball.collectors.base import CollectorFailed, Sample, Unavailable
from flyball.collectors.distribution import Tally
from flyball.collectors.registry import CollectorSettings, CollectorType, Surroundings


class Steady:
    """Always answers; its reading shows how often it was asked."""

    name = "steady"

    def __init__(self, settings: CollectorSettings, surroundings: Surroundings) -> None:
        self.interval_seconds, self._host, self._calls = settings.interval_seconds, surroundings.host, 0
        self._steps = Tally(catalog.STEP_SECONDS)

    def collect(self) -> Iterable[Sample]:
        self._calls += 1
        self._steps.observe(0.1)
        gpu = (self._host, "0", "GPU-0")
        for metric, labels, value in (
            (catalog.GPU_SM_UTILIZATION, (*gpu, "gpm"), 0.96),
            (catalog.GPU_ENERGY, gpu, 10.0 * self._calls),
            (catalog.GPU_NVLINK_SENT, gpu, Unavailable(reason="not_supported", detail="no NVLink")),
            (catalog.RUN_INFO, ("job", "0", self._host, "0", "GPU-0", "stepping", ""), 1.0),
            (catalog.STEP_SECONDS, ("job", "0"), self._steps.distribution()),
            (catalog.SAMPLES, ("job", "0"), 32.0 * self._calls),
        ):
            yield Sample(metric=metric, labels=labels, value=value, time=time.time())

    def close(self) -> None:
        return


class MoodySettings(CollectorSettings):
    file: Path | None = Field(default=None, description="Holds how it does: fail or hang.")


class Moody:
    """Fails or hangs as its file says."""

    name = "moody"

    def __init__(self, settings: MoodySettings, surroundings: Surroundings) -> None:
        self.interval_seconds, self._file, self._host = (
            settings.interval_seconds,
            settings.file,
            surroundings.host,
        )

    def collect(self) -> Iterable[Sample]:
        mood = self._file.read_text("utf-8").strip() if self._file and self._file.exists() else ""
        if mood == "fail":
            raise CollectorFailed("no_permission", "the driver said so")
        while mood == "hang":
            time.sleep(3600)
        yield Sample(metric=catalog.HOST_LOAD, labels=(self._host,), value=0.5, time=time.time())

    def close(self) -> None:
        return


TYPES = {
    "steady": CollectorType(name="steady", help="Answers.", settings=CollectorSettings, make=Steady),
    "moody": CollectorType(name="moody", help="May not answer.", settings=MoodySettings, make=Moody),
}

if __name__ == "__main__":
    status = run(sys.argv[1:], wiring=Wiring(collector_types=lambda: TYPES))
    if "--config" in sys.argv:
        config = Path(sys.argv[sys.argv.index("--config") + 1])
        config.with_name("modules").write_text("\n".join(sys.modules), "utf-8")
    sys.exit(status)
