"""Notification: from an alert that changed to a receiver that has taken it, as a chain of small stages."""
