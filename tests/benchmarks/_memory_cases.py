"""The configurations whose memory is recorded."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

GIB = 2**30
LIMIT_GIB = 24
SMALL_BUCKET = 20_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One configuration of one model on one rank."""

    model: str
    micro_batch: int
    stage: int = 0
    precision: str = "bf16"
    accumulation: int = 1
    checkpointing: bool = False
    bucket: int | None = None
    """Elements of the reduce, allgather and prefetch buckets; None leaves DeepSpeed's own."""
    overlap: bool | None = None
    offload: tuple[str, ...] = ()
    """What lies on the CPU: ``optimizer``, ``param``."""
    accumulate_in: str | None = None
    fused: bool = False
    limit_gib: float = LIMIT_GIB
    """What the allocator may reserve."""

    @property
    def name(self) -> str:
        """What differs from the defaults, in words."""
        parts = [self.model, f"stage{self.stage}", self.precision, f"micro{self.micro_batch}"]
        parts += [f"accumulation{self.accumulation}"] if self.accumulation > 1 else []
        parts += ["checkpointing"] if self.checkpointing else []
        parts += [f"bucket{self.bucket:.0e}"] if self.bucket else []
        parts += ["overlap"] if self.overlap else []
        parts += [f"offload-{what}" for what in self.offload]
        parts += [f"accumulate-{self.accumulate_in}"] if self.accumulate_in else []
        parts += ["fused"] if self.fused else []
        parts += [f"limit{self.limit_gib:g}"] if self.limit_gib != LIMIT_GIB else []
        return "-".join(parts)

    def ds_config(self, *, dry: bool) -> dict[str, Any]:
        """The DeepSpeed config; a dry run's models are some hundred times smaller, and so are its buckets."""
        zero: dict[str, Any] = {"stage": self.stage}
        bucket = self.bucket or (500_000_000 if dry else None)
        if bucket:
            elements = bucket // 1000 if dry else bucket
            zero |= {"reduce_bucket_size": elements, "allgather_bucket_size": elements}
            zero |= {"stage3_prefetch_bucket_size": elements} if self.stage == 3 else {}
        if self.overlap is not None:
            zero["overlap_comm"] = self.overlap
        for what in self.offload:
            zero[f"offload_{what}"] = {"device": "cpu"}
        adam: dict[str, Any] = {"lr": 1e-4, "torch_adam": True, **({"fused": True} if self.fused else {})}
        config: dict[str, Any] = {
            "train_micro_batch_size_per_gpu": self.micro_batch,
            "gradient_accumulation_steps": self.accumulation,
            "gradient_clipping": 1.0,
            "optimizer": {"type": "AdamW", "params": adam},
            "zero_optimization": zero,
            "steps_per_print": 10**9,
        }
        if self.precision != "fp32":
            config[self.precision] = {"enabled": True}
        if self.accumulate_in:
            config["data_types"] = {"grad_accum_dtype": self.accumulate_in}
        if self.offload:
            # DeepSpeed's own CPU Adam needs a compiler on the machine.
            config["zero_force_ds_cpu_optimizer"] = False
        return config


def _cases(model: str, *wanted: Mapping[str, Any]) -> list[Case]:
    return [Case(model=model, **each) for each in wanted]


BOTH = ("optimizer", "param")
GPT = _cases(
    "gpt",
    {"micro_batch": 8, "stage": 2},
    {"micro_batch": 16},
    {"micro_batch": 16, "checkpointing": True},
    {"micro_batch": 16, "stage": 1, "bucket": SMALL_BUCKET},
    {"micro_batch": 8, "stage": 3},
    {"micro_batch": 8, "stage": 2, "offload": ("optimizer",)},
    {"micro_batch": 4, "precision": "fp32"},
    {"micro_batch": 8, "stage": 2, "precision": "fp16"},
    {"micro_batch": 4, "stage": 1},
    {"micro_batch": 64},
    {"micro_batch": 16, "stage": 2, "overlap": True},
    {"micro_batch": 16, "stage": 3, "checkpointing": True, "bucket": SMALL_BUCKET},
    {"micro_batch": 8, "stage": 2, "bucket": SMALL_BUCKET, "accumulation": 2},
    {"micro_batch": 8, "precision": "fp16"},
    {"micro_batch": 8, "stage": 1, "accumulate_in": "fp32"},
    {"micro_batch": 8, "stage": 3, "offload": BOTH},
    {"micro_batch": 16, "fused": True},
    {"micro_batch": 4, "stage": 1, "precision": "fp32", "bucket": SMALL_BUCKET},
    {"micro_batch": 1, "stage": 0},
)
SMALL = _cases(
    "deepseek-small",
    {"micro_batch": 8, "precision": "fp32"},
    {"micro_batch": 16, "stage": 2},
    {"micro_batch": 32, "stage": 2, "bucket": SMALL_BUCKET},
    {"micro_batch": 32},
    {"micro_batch": 32, "checkpointing": True},
    {"micro_batch": 16, "stage": 3},
    {"micro_batch": 8, "stage": 3, "precision": "fp32", "bucket": SMALL_BUCKET},
    {"micro_batch": 16, "stage": 1},
    {"micro_batch": 32, "stage": 2, "precision": "fp16", "bucket": SMALL_BUCKET},
    {"micro_batch": 16, "stage": 2, "offload": ("optimizer",), "bucket": SMALL_BUCKET},
    {"micro_batch": 64, "stage": 1, "limit_gib": 6},
    {"micro_batch": 8, "accumulation": 4},
)
LARGE = _cases(
    "deepseek-large",
    {"micro_batch": 4, "stage": 2},
    {"micro_batch": 8, "stage": 2, "bucket": SMALL_BUCKET},
    {"micro_batch": 2},
    {"micro_batch": 8, "checkpointing": True},
    {"micro_batch": 4, "stage": 3},
    {"micro_batch": 2, "precision": "fp32"},
    {"micro_batch": 8, "stage": 3, "checkpointing": True, "bucket": SMALL_BUCKET},
    {"micro_batch": 4, "stage": 1, "limit_gib": 7},
    {"micro_batch": 4, "stage": 2, "offload": ("optimizer",), "bucket": SMALL_BUCKET},
    {"micro_batch": 1, "limit_gib": 11},
    {"micro_batch": 1, "stage": 2, "bucket": SMALL_BUCKET, "limit_gib": 13},
    {"micro_batch": 8},
    {"micro_batch": 2, "stage": 1, "accumulate_in": "fp32", "bucket": SMALL_BUCKET},
)
CASES: tuple[Case, ...] = tuple(
    case for case in chain.from_iterable(zip_longest(GPT, SMALL, LARGE)) if case is not None
)
"""The models in turn: of a recording that was cut short each has its share."""
