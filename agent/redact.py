"""Keeps secrets off the screen, by the rules that keep them out of a journal."""

from flyball.runner.probe.redaction import MASK, redact_command, redact_urls

__all__ = ["MASK", "redact_command", "redact_urls"]
