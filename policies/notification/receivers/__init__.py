"""Receivers: where notifications go, one file each."""
