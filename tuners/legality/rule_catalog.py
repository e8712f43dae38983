"""Every rule over a config: its name, how grave it is, and what it says in a line.

``docs/lint.md`` is held against this list, and ``tests/tuners/legality/lint`` has a config that breaks each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How grave a finding is."""

    ERROR = "error"
    """DeepSpeed refuses the config, or does the opposite of what it says."""
    WARNING = "warning"
    """DeepSpeed takes it without doing what it says, or it costs speed unseen."""
    NOTE = "note"
    """Worth knowing; nothing is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleEntry:
    """One rule."""

    severity: Severity
    summary: str
    refused: bool = True
    """Of an error: whether DeepSpeed refuses the config, so that no run of it can be tuned."""


_ERRORS: Mapping[str, str] = {
    "json-syntax": "the file is not JSON",
    "json-not-finite": "NaN and Infinity are no JSON, and no number of elements",
    "json-duplicate-key": "a key stands twice in one object; DeepSpeed refuses it",
    "section-shape": "a section is not `{...}`",
    "name-shape": "an optimizer or a schedule is not named by a text",
    "switch-shape": "a switch is neither true nor false where DeepSpeed computes with it",
    "key-unknown": "a key that DeepSpeed's section does not have, and refuses",
    "key-version": "a key that this DeepSpeed does not have yet, or no longer has, and refuses",
    "key-removed": "a key of a feature that was removed: DeepSpeed raises when it is there",
    "key-twice": "a setting stands under both of its names, or under its old and its new key",
    "value-kind": "a value of another kind than the key takes",
    "value-choice": "a value that is none of the key's choices",
    "value-range": "a value outside of the key's bounds",
    "batch-number": "a batch key is no whole number above zero",
    "batch-missing": "no batch size at all",
    "batch-equation": "train_batch_size is not micro batch x accumulation x replicas",
    "elastic-batch": "elasticity computes the batch and refuses batch keys",
    "precision-both": "fp16 and bf16 are both on",
    "precision-parameter-type": "data_types.param_dtype contradicts fp16 or bf16",
    "fp16-on-cpu": "this CPU has no fp16 instructions",
    "loss-scale": "a loss scale, window or floor that dynamic scaling cannot work with",
    "master-weights-stage": "16-bit master weights need ZeRO",
    "master-weights-offload": "16-bit master weights need the optimizer on the CPU, or its states in bf16",
    "optimizer-states-master": "bf16 optimizer states need bf16 master weights",
    "wire-type": "a data type that a reduction cannot have",
    "accumulation-type": "grad_accum_dtype is no data type",
    "accumulation-type-stage": "gradients in another format than the model's need ZeRO",
    "autocast-type": "torch_autocast.dtype is no data type",
    "autocast-quantized": "torch_autocast does not work with zero_quantized_weights",
    "amp-zero": "Apex AMP does not work with ZeRO",
    "amp-precision": "Apex AMP does not work with fp16 or bf16",
    "zero-pipeline": "pipelines work at stages 0 and 1 only",
    "zero-legacy-stage1": "legacy_stage1 was dropped long ago and raises",
    "pipeline-deepcompile": "DeepCompile does not work with pipelines",
    "zeropp-stage": "ZeRO++ needs stage 3",
    "zeropp-cpu": "ZeRO++ is not implemented on CPU",
    "quantized-gradients-scatter": "zero_quantized_gradients needs reduce_scatter",
    "hpz-divides": "zero_hpz_partition_size does not divide the ranks",
    "hpz-stage": "zero_hpz_partition_size needs stage 3",
    "offload-optimizer-stage": "optimizer states are offloaded from stage 1 on",
    "offload-ratio-stage": "partial offload needs stage 3",
    "offload-nvme-path": "offload to nvme needs nvme_path",
    "grad-norm-stage": "compute_grad_norm false is for stages 1 and 2",
    "grad-norm-needed": "compute_grad_norm false with what needs the norm",
    "zenflow-stage": "ZenFlow needs ZeRO",
    "zenflow-offload": "ZenFlow needs the optimizer offloaded to the CPU",
    "zenflow-values": "ZenFlow's strategy or intervals are none that it takes",
    "zenflow-interval": "ZenFlow's select_interval does not fit its strategy or update_interval",
    "zenflow-overlap": "ZenFlow's own offload needs overlap_comm",
    "deepcompile-passes": "the pass autotp does not work with others",
    "deepcompile-offload": "DeepCompile offloads one thing a run, and nothing that ZeRO offloads",
    "unmanaged-accumulation": "managed_gradient_accumulation false excludes pipelines and DeepCompile",
    "unmanaged-overlap": "managed_gradient_accumulation false allows overlap_comm at stage 2 only",
    "muon-scatter": "Muon does not work with reduce_scatter at stage 3",
    "optimizer-unknown": "neither DeepSpeed nor torch.optim has the optimizer",
    "one-bit-gone": "the 1-bit optimizers were removed in 0.19.7",
    "one-bit-zero": "1-bit optimizers do not work with ZeRO",
    "one-bit-cpu": "1-bit optimizers need NCCL or MPI",
    "zero-untested": "ZeRO refuses an optimizer that it was not tested with",
    "max-grad-norm": "max_grad_norm is no parameter of an optimizer",
    "lamb-loss-scale": "LAMB needs dynamic loss scaling",
    "lamb-cpu": "LAMB is not implemented on CPU",
    "adam-fused": "DeepSpeed's own Adam has no parameter fused",
    "scheduler-unknown": "neither DeepSpeed nor torch has the schedule",
    "scheduler-parameter": "the schedule has no such parameter",
    "scheduler-missing": "the schedule lacks a parameter that it must have",
    "scheduler-warmup": "the warm-up is no whole number of steps above zero",
    "gradient-clipping": "gradient_clipping is no number",
    "scatter-prescale": "prescale_gradients does not work with reduce_scatter",
    "scatter-predivide": "gradient_predivide_factor does not work with reduce_scatter",
    "reduction-operation": "gradient_allreduce_op is neither mean nor sum",
    "reduction-sum": "gradient_allreduce_op sum does not work here",
    "checkpoint-values": "a value of the checkpoint section that DeepSpeed refuses",
    "aio-gds": "GPUDirect Storage needs CUDA",
}
_OPPOSITE: Mapping[str, str] = {
    "comms-logger-present": "comms_logger is on whenever the key is there, whatever `enabled` says",
}
_WARNINGS: Mapping[str, str] = {
    "json-bom": "the file begins with a byte order mark: transformers refuses it",
    "key-ignored": "a key at the top that DeepSpeed does not read, often a misspelt one",
    "key-passed-over": "a key in a section that DeepSpeed does not check: it passes over it",
    "key-renamed": "a key that was renamed where DeepSpeed checks no keys: the old one does nothing",
    "key-deprecated": "a key that has a newer name",
    "value-as-text": "a number or a switch written as another kind, which DeepSpeed converts",
    "zenflow-accumulation": "ZenFlow overwrites the accumulation",
    "fp16-unlikely-on-cpu": "few CPUs have fp16 instructions",
    "wire-type-precision": "gradients are sent in fp16 while the model is in bf16: they overflow",
    "loss-scale-idle": "settings of the loss scale that are not used",
    "zero-old-form": "the old form of zero_optimization, true or false",
    "pipeline-overlap": "a pipeline switches overlap_comm off",
    "quantized-gradients-fallback": "zero_quantized_gradients falls back without a word",
    "offload-param-idle": "parameters are offloaded at stage 3 only",
    "offload-nvme-idle": "offload to nvme works at stage 3 only, or a path is never used",
    "superoffload-idle": "super_offload works at stage 3 only",
    "stage3-idle": "a setting of stage 3 below stage 3",
    "round-robin-idle": "round_robin_gradients is for optimizer offload at stages 1 and 2",
    "contiguous-offload": "optimizer offload switches contiguous_gradients on again",
    "deepcompile-fallback": "DeepCompile falls back to torch.compile outside of its ZeRO stages",
    "elastic-checkpoint": "elastic_checkpoint does nothing at stage 3",
    "bucket-huge": "a bucket that takes a large part of a device's memory",
    "freeze-step": "a 1-bit optimizer that compresses nothing in a short run",
    "torch-adam-offload": "torch's Adam on offloaded states is slow",
    "force-cpu-optimizer": "zero_force_ds_cpu_optimizer false: any optimizer on offloaded states, slowly",
    "scheduler-length": "the schedule ends before its warm-up does",
    "gradient-clipping-idle": "gradient_clipping below zero clips nothing",
    "checkpointing-contiguous": "contiguous_memory_optimization without what it needs: refused once used",
    "checkpointing-idle": "number_checkpoints without contiguous_memory_optimization does nothing",
    "comms-logger": "comms_logger synchronizes the device after every operation",
    "wall-clock-breakdown": "wall_clock_breakdown and memory_breakdown synchronize in every step",
    "flops-profiler": "flops_profiler switches wall_clock_breakdown on",
    "throughput-timer": "the throughput timer synchronizes the device in every micro step",
    "nccl-timing": "TORCH_NCCL_ENABLE_TIMING can disturb the overlap of communication",
    "nccl-protocol": "NCCL_PROTO switches LL128 on, which corrupts data where it is not supported",
    "allocator-conflict": "allocator settings that exclude each other",
}
_NOTES: Mapping[str, str] = {
    "json-comment": "a comment: DeepSpeed takes it, and readers of plain JSON do not",
    "json-trailing-comma": "a comma after the last entry: DeepSpeed takes it, readers of plain JSON do not",
    "json-hjson": "written as Hjson has it: DeepSpeed takes it, and readers of plain JSON do not",
    "auto-value": 'an "auto" that transformers or accelerate has to fill in',
    "assumption": "what was taken for granted, because it was not told",
    "throughput-timer-default": "the throughput timer synchronizes by default",
    "monitor-on": "a monitor or tracker is on; trials of autotune switch it off",
    "gather-on-save": "at stage 3 a 16-bit save has no weights unless they are gathered",
    "quantized-weights-shape": "zero_quantized_weights wants sizes that are multiples of 8 x groups",
    "force-cpu-optimizer-idle": "zero_force_ds_cpu_optimizer without optimizer offload does nothing",
}

CATALOG: Mapping[str, RuleEntry] = {
    **{name: RuleEntry(severity=Severity.ERROR, summary=text) for name, text in _ERRORS.items()},
    **{
        name: RuleEntry(severity=Severity.ERROR, summary=text, refused=False)
        for name, text in _OPPOSITE.items()
    },
    **{name: RuleEntry(severity=Severity.WARNING, summary=text) for name, text in _WARNINGS.items()},
    **{name: RuleEntry(severity=Severity.NOTE, summary=text) for name, text in _NOTES.items()},
}
