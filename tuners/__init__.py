"""Search space, legality, memory model, study, statistics, recommendation and report."""
