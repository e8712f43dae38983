"""The scripts that peers are compared on, each as the command that a user would type."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks._runs import WORKLOAD

GPT = Path(__file__).parent / "gpt"


class BadInput(Exception):
    """What is to be compared cannot be; one line with the mend."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A script with its config."""

    script: Path
    config: Path
    arguments: Sequence[str] = ()

    def command(self, ranks: int) -> tuple[str, ...]:
        """By DeepSpeed's own launcher, as its autotuner needs it."""
        config = ("--deepspeed", "--deepspeed_config", str(self.config))
        return ("deepspeed", "--num_gpus", str(ranks), str(self.script), *config, *self.arguments)


NAMED = {
    # The command of `make autotune`.
    "reference": Workload(script=WORKLOAD / "train.py", config=WORKLOAD / "ds_config.json"),
    # GPT-2 small's shape at sequence 1024.
    "gpt": Workload(script=GPT / "train.py", config=GPT / "ds_config.json"),
    # The reference model at a size that a GPU is not bored by.
    "deepseek": Workload(
        script=WORKLOAD / "train.py",
        config=WORKLOAD / "ds_config_gpu.json",
        arguments=("--hidden-size", "768", "--layers", "12", "--heads", "12", "--sequence-length", "512"),
    ),
}


def workload(name: str, config: Path | None, arguments: Sequence[str]) -> Workload:
    """Return a named workload or a script's own, with what the command line says beyond that.

    Raises:
        BadInput: neither a name nor a file, or a file without its config.
    """
    known = NAMED.get(name)
    if known is None and not Path(name).is_file():
        raise BadInput(f"--script {name}: no such file; the named ones are {', '.join(NAMED)}")
    if known is None and config is None:
        raise BadInput(f"--script {name}: name its DeepSpeed config with --config FILE")
    found = known or Workload(script=Path(name).absolute(), config=Path(name))
    chosen = config.absolute() if config else found.config
    if not chosen.is_file():
        raise BadInput(f"--config {chosen}: no such file")
    return Workload(script=found.script, config=chosen, arguments=(*found.arguments, *arguments))
