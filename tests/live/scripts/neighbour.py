"""Stands beside the script: found only if its folder is on sys.path."""

NAME = "neighbour"
