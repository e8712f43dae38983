"""Measures the links between ranks before and between runs."""
