"""What was tried, what came of it, and what was alerted: one database beside Optuna's tables.

It imports none of its modules: records are read without SQLAlchemy, and the agent has no tables of studies.
"""
