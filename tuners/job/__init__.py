"""The user's job: its command, its config, its script, and the alert that led to tuning it."""
