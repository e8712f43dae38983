"""The user's job: the command, its config and what is known of the machine, before and after a first run."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from flyball.collectors.cgroup import memory_limit_bytes, usable_cores
from flyball.collectors.fingerprint import Fingerprint
from flyball.errors import ConfigError
from flyball.runner.command import Command, parse_command
from flyball.tuners.config.reading import ConfigDocument, check_path, load_document, read_config
from flyball.tuners.job.interfaces import usable_interfaces
from flyball.tuners.job.script_reading import always_calls
from flyball.tuners.knobs.allocator import VARIABLES_OF_USER
from flyball.tuners.knobs.batch import ACCUMULATION, MICRO
from flyball.tuners.legality.context import (
    Batch,
    Context,
    has_fp16_instructions,
    installed_version,
    may_split_model,
)
from flyball.tuners.legality.environment import LOOKED_AT
from flyball.tuners.legality.finding import Finding
from flyball.tuners.legality.nccl_variables import VARIABLES as NETWORK_VARIABLES
from flyball.tuners.legality.rules import require_legal
from flyball.tuners.options import StudyOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What is to be tuned."""

    command: Command
    document: ConfigDocument | None
    """The user's config; None until a first run has shown what the script hard-codes."""
    user_config: bytes | None
    """The config file byte for byte; None where the script holds its config itself."""
    context: Context
    warnings: tuple[Finding, ...] = ()

    @property
    def config(self) -> Mapping[str, Any]:
        """The user's config; empty while it is not known."""
        return self.document.values if self.document else {}

    def observed(self, header: Mapping[str, Any]) -> "Job":
        """Return the job with what a first run showed: ranks, device, versions, a hard-coded config.

        Raises:
            ConfigError: the script hard-codes a config that DeepSpeed was not seen to get.
        """
        context = self.context.observed(header)
        if self.document is not None:
            return replace(self, context=context)
        values = header.get("config")
        if not isinstance(values, dict) or not values:
            raise ConfigError(
                "the config that the script gives to DeepSpeed could not be read",
                where="command",
                mend="write it to a file and pass --config FILE",
            )
        return replace(self, context=context, document=ConfigDocument(values=values))

    def on_device(self, uuid: str | None, machine: Fingerprint) -> "Job":
        """Return the job with the memory of the GPU that it was seen on, where that is known."""
        memory = next((gpu.memory_bytes for gpu in machine.gpus if uuid and gpu.uuid == uuid), None)
        return (
            self
            if memory is None
            else replace(self, context=replace(self.context, device_memory_bytes=memory))
        )


def read_job(options: StudyOptions, machine: Fingerprint) -> Job:
    """Understand the command, load the config and hold it against the rules; nothing is launched.

    Raises:
        CommandError: the command does not exist or has no place for a config.
        ConfigError: the config is missing, malformed, or something DeepSpeed would refuse.
    """
    for key in options.maps:
        check_path(key, where="--map")
    command = parse_command(options.command, config=options.config, maps=options.maps, cwd=options.cwd)
    context = expected_context(command, machine)
    if command.config_path is None:
        return Job(command=command, document=None, user_config=None, context=context)
    user_config = read_config(command.config_path)
    document = load_document(command.config_path, user_config)
    warnings = require_legal(document, context)
    return Job(
        command=command,
        document=document,
        user_config=user_config,
        context=context,
        warnings=tuple(warnings),
    )


def expected_context(command: Command, machine: Fingerprint) -> Context:
    """Return what can be known of the job before its first run."""
    device = "cuda" if machine.gpus and os.environ.get("DS_ACCELERATOR", "cuda") == "cuda" else "cpu"
    # The versions of another interpreter's packages are not ours to tell; its first header will.
    same = Path(command.interpreter).parent == Path(sys.executable).parent
    script = script_text(command)
    return Context(
        world_size=command.ranks,
        device=device,
        pipeline=always_calls(script, "PipelineModule"),
        deepspeed_version=installed_version("deepspeed") if same else None,
        torch_version=installed_version("torch") if same else None,
        maps=command.maps,
        batch=None if may_split_model(script) else trainer_batch(command),
        cores=usable_cores(),
        device_memory_bytes=device_memory(device, machine),
        model_parallel=may_split_model(script),
        environment={
            name: os.environ[name]
            for name in {*VARIABLES_OF_USER, *NETWORK_VARIABLES, *LOOKED_AT}
            if name in os.environ
        },
        interfaces=usable_interfaces(),
        fp16_on_cpu=has_fp16_instructions(Path("/proc/cpuinfo")),
    )


TRAINER_DEFAULTS = {"--per_device_train_batch_size": 8, "--gradient_accumulation_steps": 1}
"""transformers' TrainingArguments."""


def trainer_batch(command: Command) -> Batch | None:
    """Return the batch that a Trainer's options mean where both carry it, its ranks all being replicas."""
    options = [command.maps.get(key) for key in (MICRO, ACCUMULATION)]
    if not all(option in TRAINER_DEFAULTS for option in options):
        return None
    given = [command.option(str(option)) for option in options]
    micro, accumulation = (
        TRAINER_DEFAULTS[str(option)] if value is None else (int(value) if value.isdigit() else 0)
        for option, value in zip(options, given, strict=True)
    )
    if not micro or not accumulation:
        return None
    return Batch(micro=micro, accumulation=accumulation, global_batch=micro * accumulation * command.ranks)


def script_text(command: Command) -> str:
    """Return the script's source, empty where it cannot be read."""
    try:
        return command.script.read_text(encoding="utf-8", errors="replace") if command.script else ""
    except OSError:
        return ""


def device_memory(device: str, machine: Fingerprint) -> int | None:
    """Return the memory of the smallest GPU, or on CPU of the host or the container, in bytes."""
    if device == "cuda":
        return min((gpu.memory_bytes for gpu in machine.gpus), default=None)
    total = int(psutil.virtual_memory().total)
    return min(total, memory_limit_bytes() or total)
