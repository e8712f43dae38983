"""Whether the best of the search is really faster: play-off, pairs, tests, intervals, the loss guard."""
