"""A study spread over production runs: ``flyball run --study``."""
