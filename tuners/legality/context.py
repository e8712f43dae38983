"""What a config is judged against: the machine, the ranks, the versions, the shape of the job."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from flyball.tuners.config.reading import known


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """DeepSpeed's batch equation: ``global_batch == micro * accumulation * data-parallel replicas``."""

    micro: int
    accumulation: int
    global_batch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """The job around a config; what is unknown is None and no rule leans on it."""

    world_size: int
    device: str = "cpu"
    """``cpu`` or ``cuda``."""
    pipeline: bool = False
    """Whether the engine is known to be a PipelineEngine."""
    model_parallel: bool = False
    """Whether the script may split its model over ranks, so that the replicas are unknown before it ran."""
    data_parallel_size: int | None = None
    """Replicas that are fed different samples, where a run has shown it."""
    hosts: int | None = 1
    ranks_known: bool = True
    """Whether ``world_size`` was told; else it was taken from the batch sizes, or is 1."""
    deepspeed_version: str | None = None
    torch_version: str | None = None
    batch: Batch | None = None
    """What ran, where the config leaves it open ("auto" values, or a script's own)."""
    maps: Mapping[str, str] = field(default_factory=dict)
    """Key path of the config to the option of the user's command that must move with it."""
    threads: int | None = None
    """Intra-op threads a rank has now."""
    activation_checkpointing: bool | None = None
    """Whether the script's model recomputes activations now; None where it has no switch."""
    attention: str | None = None
    """How the model computes attention now; None where it has no switch."""
    attentions: tuple[str, ...] = ()
    """How it could."""
    cores: int | None = None
    """CPU cores of a host."""
    fp16_on_cpu: bool | None = None
    """Whether the CPU has the instructions that DeepSpeed asks for in fp16."""
    parameters: int | None = None
    """Of the whole model."""
    trainable_parameters: int | None = None
    """Those of them that are trained; None where that is not known."""
    parameters_by_type: Mapping[str, int] = field(default_factory=dict)
    """torch's name of a data type to parameters of it."""
    largest_parameter: int | None = None
    """Elements of the largest parameter tensor."""
    largest_module: int | None = None
    """The most parameters that one module holds itself."""
    layers: int | None = None
    """How many layers the model repeats, where it does."""
    embedding: tuple[int, int] | None = None
    """Rows and width of the largest table of embeddings, where the model has one."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The user's own variables, those that knobs and rules look at."""
    interfaces: tuple[str, ...] = ()
    """Network interfaces of this host that ranks of several hosts can talk over."""
    device_memory_bytes: int | None = None
    """Of one accelerator, or on CPU of the host's memory that one rank can count on."""

    def observed(self, header: Mapping[str, Any]) -> "Context":
        """Return the context with what a journal's ``header`` record says about the job."""
        versions = header.get("versions") or {}
        return replace(
            self,
            world_size=header.get("world_size") or self.world_size,
            device=str(header.get("device") or self.device).partition(":")[0],
            pipeline="Pipeline" in str(header.get("engine_class") or "") or self.pipeline,
            data_parallel_size=header.get("data_parallel_size") or self.data_parallel_size,
            deepspeed_version=versions.get("deepspeed") or self.deepspeed_version,
            torch_version=versions.get("torch") or self.torch_version,
            batch=observed_batch(header) or self.batch,
            threads=header.get("threads") or self.threads,
            activation_checkpointing=header.get("activation_checkpointing"),
            attention=header.get("attention"),
            attentions=tuple(header.get("attentions") or ()),
            parameters=header.get("parameters") or self.parameters,
            trainable_parameters=header.get("trainable_parameters", self.trainable_parameters),
            parameters_by_type=header.get("parameters_by_type") or self.parameters_by_type,
            largest_parameter=header.get("largest_parameter") or self.largest_parameter,
            largest_module=header.get("largest_module") or self.largest_module,
            layers=header.get("layers") or self.layers,
            embedding=tuple(header["embedding"]) if header.get("embedding") else self.embedding,
        )

    @property
    def trained_parameters(self) -> int:
        """Parameters with gradients and optimizer states; all where it is not known that some are frozen."""
        trained = self.trainable_parameters
        return (self.parameters or 0) if trained is None else trained


def pipelined(config: Mapping[str, Any], context: Context) -> bool:
    """Whether the job is a pipeline, seen in a run or by the config's own ``pipeline`` section."""
    return context.pipeline or bool(known(config, "pipeline", None))


def replicas_of(config: Mapping[str, Any], context: Context) -> int:
    """Return the data-parallel replicas: as seen in a run, else the ranks over what the config splits."""
    if context.data_parallel_size:
        return context.data_parallel_size
    sequence = _whole(known(config, "sequence_parallel_size", 1)) or 1
    tensor = _whole(known(config, "tensor_parallel.autotp_size", 1)) or 1
    return max(1, context.world_size // (sequence * tensor))


def replicas_known(config: Mapping[str, Any], context: Context) -> bool:
    """Whether ``replicas_of`` is certain: a pipeline's is not before it ran."""
    return context.data_parallel_size is not None or not (
        context.model_parallel or pipelined(config, context)
    )


def observed_batch(header: Mapping[str, Any]) -> Batch | None:
    """Return the batch that a run really had, or None where the header does not say."""
    micro, accumulation = header.get("micro_batch"), header.get("accumulation")
    total = header.get("train_batch")
    if not (micro and accumulation and total):
        return None
    return Batch(micro=int(micro), accumulation=int(accumulation), global_batch=int(total))


def resolve_batch(config: Mapping[str, Any], context: Context) -> Batch | None:
    """Complete the batch as DeepSpeed does (runtime/config.py, ``_set_batch_related_parameters``).

    Returns None where the config says too little, or where what it says has no whole solution.
    """
    total = _whole(known(config, "train_batch_size", None))
    micro = _whole(known(config, "train_micro_batch_size_per_gpu", None))
    steps = _whole(known(config, "gradient_accumulation_steps", None))
    seen = context.batch
    if (
        seen
        and _agrees(total, seen.global_batch)
        and _agrees(micro, seen.micro)
        and _agrees(steps, seen.accumulation)
    ):
        return seen
    if total is None and micro is None:
        return None
    return _complete(total, micro, steps, replicas_of(config, context))


def _complete(total: int | None, micro: int | None, steps: int | None, replicas: int) -> Batch | None:
    if total is None and micro is not None:
        steps = steps or 1
        return Batch(micro=micro, accumulation=steps, global_batch=micro * steps * replicas)
    if total is None:
        return None
    if micro is None:
        steps = steps or 1
        micro = total // replicas // steps
    steps = steps or total // micro // replicas if micro else 0
    batch = Batch(micro=micro, accumulation=steps, global_batch=total)
    return batch if micro and steps and micro * steps * replicas == total else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _agrees(written: int | None, seen: int) -> bool:
    return written is None or written == seen


def has_fp16_instructions(cpuinfo: Path) -> bool | None:
    """Whether an x86 CPU has AVX512-FP16 or AMX-FP16; None where that cannot be read."""
    try:
        text = cpuinfo.read_text("utf-8", "replace")
    except OSError:
        return None
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), None)
    return None if flags is None else bool({"avx512_fp16", "amx_fp16"} & set(flags))


def may_split_model(script: str) -> bool:
    """Whether a script's text speaks of splitting the model, so that the replicas show only in a run."""
    return re.search(r"\bPipelineModule\b|\bmpu\s*=|\binit_tp\b|\btp_model_init\b", script) is not None


def installed_version(package: str) -> str | None:
    """Return the version of an installed distribution without importing it, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def is_before(context: Context, version: tuple[int, ...]) -> bool:
    """Whether the DeepSpeed is known to be older than a version."""
    installed = release(context.deepspeed_version)
    return installed is not None and installed < version


def release(text: str | None) -> tuple[int, ...] | None:
    """Return ``(0, 19, 8)`` for ``0.19.8+cu130``; None for None."""
    if text is None:
        return None
    numbers = []
    for part in text.split("+")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers) or None
