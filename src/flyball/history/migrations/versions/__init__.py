"""One file a schema change, revision_<number>_<what>.py; what was released is never edited."""
