"""Threshold policies: rules, evaluation and webhooks."""
