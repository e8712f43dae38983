"""What DeepSpeed refuses or silently does not do: the rules, what they judge against, ``flyball lint``."""
