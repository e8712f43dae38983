"""What a study hands to its user: the recommendation, its files, the summary, the report."""
