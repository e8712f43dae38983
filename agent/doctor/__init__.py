"""Checks of ``flyball doctor``, one file a group."""
