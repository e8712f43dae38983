"""One study from the user's command to a verdict: its phases, its record, how it is resumed."""
