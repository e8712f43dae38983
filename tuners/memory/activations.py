"""The activations of a model, a sample: learned from peaks, carried over to other kinds of configurations."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from flyball.tuners.legality.context import Context
from flyball.tuners.memory.moments import Moments

KEPT_LOSS_BYTES = 4
"""Of them, what the forward pass keeps: the logarithms of the softmax, in fp32."""
LAYER_INPUTS = 17
"""A layer keeps at least so many times what enters it: 34 bytes against 2 in 16 bits (Korthikanti
et al., arXiv 2205.05198, section 4.1, without the attention's matrix)."""
LOSS_BYTES = 8
"""Of fp32 copies of what the last layer gives out, at the loss, for each token and word of the vocabulary."""
CHECKPOINTED_RATIO = 0.3
"""What checkpointing leaves of the layers' activations, where the layers are not known."""
FEWEST_SHARE = 0.05
"""Layers keep at least this share of the activations: the rest of an estimate may be too large."""


class Kind(NamedTuple):
    """What decides how much a sample's activations take."""

    element: int
    """Bytes of one number of the model."""
    checkpointing: bool
    compiled: bool
    others: frozenset[str] = frozenset()
    """What else a trial sets that may change them, nobody knows how: an option of the script."""

    def alike(self, other: "Kind") -> int:
        """How well one kind tells of another: larger is better."""
        return (
            8 * (self.others == other.others)
            + 4 * (self.checkpointing == other.checkpointing)
            + 2 * (self.element == other.element)
            + (self.compiled == other.compiled)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Activations:
    """Bytes a sample, and what does not depend on the batch."""

    layers: float
    loss: float
    """At the moment of the loss only: its copies of what the last layer gives out."""
    fixed: float = 0.0

    def peak(self, held: Moments, micro_batch: int) -> float:
        """Return the peak over the moments of a step, in bytes."""
        layers = self.fixed + self.layers * micro_batch
        return max(
            held.loss + layers + self.loss * micro_batch,
            held.first_gradient + layers,
            held.last_gradient,
            held.step,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What one run showed."""

    held: Moments
    """What lay there beside the activations."""
    micro_batch: int
    peak: float
    """Bytes allocated at most."""
    kept: int | None
    """Bytes that a forward pass left for its backward pass, where that was measured."""

    @property
    def shows(self) -> bool:
        """Whether the peak was one of the activations, not of the optimizer's step."""
        return self.peak > 1.02 * max(self.held.last_gradient, self.held.step)

    def layers(self, loss: float, kept_loss: float) -> float:
        """The layers' activations of the whole micro batch: as they make the peak, or as they were measured.

        Args:
            loss: bytes of the loss a sample.
            kept_loss: those of them that the forward pass keeps.
        """
        most = self.peak - self.held.loss
        found = min(most - loss * self.micro_batch, self.peak - self.held.first_gradient)
        if not self.shows and self.kept is not None:
            # The step hid the peak of the activations: it is no more than this.
            found = min(found, self.kept - kept_loss * self.micro_batch)
        return max(found, FEWEST_SHARE * min(most, self.kept or most), 1.0)


def loss_bytes(kind: Kind, context: Context, tokens: float | None) -> float:
    """Return what the loss of a language model takes a sample; 0 where there is no vocabulary."""
    if context.embedding is None or not tokens:
        return 0.0
    return context.embedding[0] * tokens * (LOSS_BYTES + 2 * kind.element)


def kept_loss_bytes(context: Context, tokens: float | None) -> float:
    """Return what a forward pass keeps of the loss a sample."""
    return context.embedding[0] * tokens * KEPT_LOSS_BYTES if context.embedding and tokens else 0.0


def fit(seen: Sequence[Seen], kind: Kind, context: Context, tokens: float | None) -> Activations:
    """Return the activations that explain what runs of one kind showed.

    Args:
        seen: at least one run.
        kind: of all of them.
        context: the model.
        tokens: of one sample.
    """
    loss, kept = loss_bytes(kind, context, tokens), kept_loss_bytes(context, tokens)
    told = [each for each in seen if each.shows] or [each for each in seen if each.kept is not None]
    if told:
        return _line([(each.micro_batch, each.layers(loss, kept)) for each in told], loss)
    # The optimizer's step hid them in all: they are no more than this.
    least = min(each.layers(loss, kept) / each.micro_batch for each in seen)
    return Activations(layers=least, loss=loss)


def _line(known: Sequence[tuple[int, float]], loss: float) -> Activations:
    """Through the origin; with two micro batches, a line with what does not depend on the batch."""
    layers = sum(micro * bytes_ for micro, bytes_ in known) / sum(micro * micro for micro, _ in known)
    if len({micro for micro, _ in known}) < 2:
        return Activations(layers=layers, loss=loss)
    mean_micro = sum(micro for micro, _ in known) / len(known)
    mean_bytes = sum(bytes_ for _, bytes_ in known) / len(known)
    spread = sum((micro - mean_micro) ** 2 for micro, _ in known)
    slope = sum((micro - mean_micro) * (bytes_ - mean_bytes) for micro, bytes_ in known) / spread
    fixed = mean_bytes - slope * mean_micro
    if slope <= 0 or fixed <= 0:
        return Activations(layers=layers, loss=loss)
    return Activations(layers=slope, loss=loss, fixed=fixed)


def transferred(
    found: Activations, seen: Kind, wanted: Kind, context: Context, tokens: float | None
) -> Activations:
    """Return what the activations of one kind tell of another."""
    layers, fixed = found.layers, found.fixed
    if seen.checkpointing and not wanted.checkpointing:
        layers = _kept_again(layers, seen, context, tokens)
    layers *= wanted.element / seen.element
    if wanted.checkpointing and not seen.checkpointing:
        layers = _recomputed(layers, wanted, context, tokens)
    return replace(found, layers=layers, fixed=fixed, loss=loss_bytes(wanted, context, tokens))


def _recomputed(layers: float, kind: Kind, context: Context, tokens: float | None) -> float:
    """With checkpointing: what enters each layer, and all of the one that is computed again."""
    if not context.layers:
        return layers * CHECKPOINTED_RATIO
    return min(layers, layers / context.layers + _inputs(kind, context, tokens))


def _kept_again(layers: float, kind: Kind, context: Context, tokens: float | None) -> float:
    if not context.layers:
        return layers / CHECKPOINTED_RATIO
    inputs = _inputs(kind, context, tokens)
    # Where the loss is the peak, the layer that is computed again does not show.
    return max(layers, (layers - inputs) * context.layers, LAYER_INPUTS * inputs)


def _inputs(kind: Kind, context: Context, tokens: float | None) -> float:
    if context.embedding is None or not tokens or not context.layers:
        return 0.0
    return context.layers * tokens * context.embedding[1] * kind.element
