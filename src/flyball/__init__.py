"""flyball: observes DeepSpeed runs, raises alerts, and finds a faster configuration by experiment."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("flyball")
except PackageNotFoundError:  # a source tree on PYTHONPATH, never installed
    __version__ = "0.0.0+uninstalled"
