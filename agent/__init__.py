"""The command line and, with the daemon's issue, the daemon."""
