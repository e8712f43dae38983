"""What explains a verdict: ablation, importance, cost, what was not tried."""
