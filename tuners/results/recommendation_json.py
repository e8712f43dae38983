"""``recommendation.json``: the document that ``schema/recommendation.schema.json`` publishes."""

import math
from typing import Any

from flyball.tuners.base import Interval, Measurement
from flyball.tuners.explaining.explanation_json import explanation_json
from flyball.tuners.results.recommendation import Change, Confirmation, Recommendation, Side, memory_share
from flyball.tuners.verification.loss_guard import LossVerdict
from flyball.tuners.verification.plan import Rules
from flyball.tuners.verification.tally import CandidateResult, Pair
from flyball.tuners.verification.verification import VerificationResult

SCHEMA = 1


def document(recommendation: Recommendation) -> dict[str, Any]:
    """Return the whole document; every number in it is finite."""
    return {
        "schema": SCHEMA,
        "experiment": recommendation.experiment,
        "verdict": recommendation.verdict.value,
        "reasons": list(recommendation.reasons),
        "objective": recommendation.objective.document(),
        "speedup": interval_json(recommendation.speedup),
        "speedup_json": interval_json(recommendation.speedup_json),
        "throughput_ratio": interval_json(recommendation.throughput_ratio),
        "baseline": side_json(recommendation.baseline),
        "recommended": side_json(recommendation.recommended),
        "changes": [change_json(change) for change in recommendation.changes],
        "memory": memory_json(recommendation.recommended.measurement, recommendation.memory_limit_ratio),
        "verification": verification_json(recommendation.verification, recommendation.rules),
        "loss_guard": loss_json(recommendation.loss),
        "confirmation": confirmation_json(recommendation.confirmation),
        "trials": dict(recommendation.trials),
        "seconds": dict(recommendation.seconds),
        "notes": list(recommendation.notes),
        "alerts": [leading.document() for leading in recommendation.alerts],
        "explanation": explanation_json(recommendation.explanation),
        "drift": recommendation.drift.document() if recommendation.drift else None,
    }


def interval_json(interval: Interval | None) -> dict[str, float] | None:
    """Return an interval as JSON; null where a bound is unknown."""
    if interval is None or not all(math.isfinite(each) for each in (interval.low, interval.high)):
        return None
    return {"point": interval.point, "low": interval.low, "high": interval.high}


def side_json(side: Side) -> dict[str, Any]:
    """Return one side: what is applied, by the way it is applied, and its rate."""
    own, run = side.configuration, side.measurement
    return {
        "ds_config": dict(own.ds_config),
        "arguments": dict(own.arguments),
        "environment": dict(own.environment),
        "probe": dict(own.probe),
        "objective": interval_json(run.value) if run else None,
        "samples_per_second": interval_json(run.samples_per_second) if run else None,
        "tokens_per_second": run.tokens_per_second if run else None,
        "peak_reserved_bytes": run.peak_reserved_bytes if run else None,
        "communicated_bytes_per_step": dict(run.communicated_bytes_per_step) if run else {},
        "telemetry": dict(run.telemetry) if run else {},
    }


def change_json(change: Change) -> dict[str, Any]:
    """Return one changed key."""
    return {
        "place": change.place,
        "path": change.path,
        "before": change.before,
        "after": change.after,
        "reason": change.reason,
        "alert": change.alert,
    }


def memory_json(run: Measurement | None, limit_ratio: float) -> dict[str, Any]:
    """Return how near to the device's memory the recommended comes."""
    return {
        "limit_ratio": limit_ratio,
        "peak_ratio": memory_share(run) if run else None,
        "peak_reserved_bytes": run.peak_reserved_bytes if run else None,
        "device_memory_bytes": run.device_memory_bytes if run else None,
    }


def pair_json(pair: Pair) -> dict[str, float]:
    """Return one pair of runs by what was compared; more is better."""
    return {"round": pair.round, "baseline": pair.baseline, "candidate": pair.candidate}


def candidate_json(candidate: CandidateResult) -> dict[str, Any]:
    """Return all that was seen of one candidate."""
    return {
        "key": candidate.key,
        "pairs": [pair_json(pair) for pair in candidate.pairs],
        "speedup": interval_json(candidate.speedup),
        "p_value": candidate.p_value,
        "passed": candidate.passed,
        "dropped": candidate.dropped,
    }


def verification_json(result: VerificationResult | None, rules: Rules) -> dict[str, Any] | None:
    """Return the evidence with the rule that was declared for it."""
    if result is None:
        return None
    return {
        "test": rules.test,
        "error_rate": rules.error_rate,
        "looks": [{"pairs": look.pairs, "level": look.level} for look in result.looks],
        "rounds": result.rounds,
        "runs": result.runs,
        "noise_floor": result.noise_floor,
        "minimum_gain": result.minimum_gain,
        "winner": result.winner,
        "candidates": [candidate_json(candidate) for candidate in result.candidates],
        "aa_pairs": [pair_json(pair) for pair in result.aa_pairs],
        "reasons": list(result.reasons),
    }


def loss_json(loss: LossVerdict | None) -> dict[str, Any] | None:
    """Return the loss guard's verdict."""
    if loss is None:
        return None
    bound = loss.excess_bound
    return {
        "guard": loss.guard.value,
        "reason": loss.reason,
        "samples": loss.samples,
        "compared_from": loss.compared_from,
        "pairs": loss.pairs,
        "baseline_loss": loss.baseline_loss,
        "candidate_loss": loss.candidate_loss,
        "excess_bound": bound if bound is not None and math.isfinite(bound) else None,
        "margin_ratio": loss.margin_ratio,
    }


def confirmation_json(confirmation: Confirmation | None) -> dict[str, Any] | None:
    """Return what the user's own cold command showed."""
    if confirmation is None:
        return None
    return {
        "baseline": interval_json(confirmation.baseline),
        "recommended": interval_json(confirmation.recommended),
        "ratio": confirmation.ratio,
    }
