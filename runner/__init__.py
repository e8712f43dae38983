"""Launchers, supervision, the in-process probe and the reference workloads."""
