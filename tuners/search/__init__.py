"""Which point to try next, and when to stop."""
