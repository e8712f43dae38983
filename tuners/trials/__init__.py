"""One run of a study: how long it is, what it may cost, how it is made and recorded."""
