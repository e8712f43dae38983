"""Recommendations made up for the tests of what is written and shown."""

from typing import Any

from tests.tuners.statistics_fakes import configuration, interval, measurement

from flyball.history.alert_records import Alert, AlertStatus
from flyball.tuners.job.lead import Lead
from flyball.tuners.results.recommendation import Confirmation, Recommendation, Side, changes
from flyball.tuners.search.suggestions import LeadingAlert
from flyball.tuners.verification.loss_guard import Guard, LossVerdict
from flyball.tuners.verification.plan import Rules
from flyball.tuners.verification.verification import Decision, verify

BEFORE = {"train_micro_batch_size_per_gpu": 1, "zero_optimization": {"stage": 3}, "steps_per_print": 10}
AFTER = {"train_micro_batch_size_per_gpu": 8, "zero_optimization": {"stage": 1}, "steps_per_print": 10}
REASONS = {
    "train_micro_batch_size_per_gpu": "fewer, larger kernels",
    "zero_optimization": "the model fits without partitioning",
    "NCCL_ALGO": "<b>rings</b> & trees",
}


def fired(rule: str = "SmUtilizationLow", lead: Lead | None = None, **other: Any) -> LeadingAlert:
    """An alert that led a study."""
    usual: dict[str, Any] = {
        "rule": rule,
        "labels": {"alertname": rule, "severity": "warning"},
        "fingerprint": "0" * 16,
        "annotations": {"summary": "GPU 0 <waits> & waits"},
        "suggests": ("micro_batch",),
        "status": AlertStatus.FIRING,
        "value": 0.41,
        "active_time": 1.0,
    }
    return LeadingAlert(alert=Alert(**{**usual, **other}), lead=lead)


def verified(speed: float = 1.2):
    """The result of a verification without noise."""
    return verify(["7"], lambda key, number: measurement(100 * speed if key == "7" else 100 + number * 1e-3))


def recommended(**other: Any) -> Recommendation:
    before = configuration(BEFORE)
    after = configuration(AFTER, environment={"NCCL_ALGO": "Ring"}, probe={"compile": True})
    result = verified()
    usual: dict[str, Any] = {
        "experiment": "gpt",
        "verdict": Decision.RECOMMENDED,
        "reasons": result.reasons,
        "baseline": Side(configuration=before, measurement=measurement(100)),
        "recommended": Side(
            configuration=after,
            measurement=measurement(120, peak_reserved_bytes=7, device_memory_bytes=10),
        ),
        "changes": changes(before, after, REASONS),
        "speedup": result.speedup,
        "speedup_json": interval(1.1),
        "verification": result,
        "rules": Rules(),
        "loss": LossVerdict(
            guard=Guard.PASSED, reason="loss 2 against 2 at 640 samples", samples=640, pairs=6
        ),
        "confirmation": Confirmation(baseline=interval(99), recommended=interval(119)),
        "trials": {"completed": 20, "out_of_memory": 2},
        "seconds": {"search": 90.0, "verification": 61.0},
    }
    return Recommendation(**{**usual, **other})


def kept(**other: Any) -> Recommendation:
    own = Side(configuration=configuration(BEFORE), measurement=measurement(100))
    result = verified(0.9)
    usual: dict[str, Any] = {
        "verdict": Decision.KEEP,
        "reasons": result.reasons,
        "baseline": own,
        "recommended": own,
        "changes": (),
        "speedup": None,
        "speedup_json": None,
        "verification": result,
        "loss": None,
        "confirmation": None,
    }
    return recommended(**{**usual, **other})
