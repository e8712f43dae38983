"""The points of one study: which knobs, which values, and what a point means for a run."""
