"""``flyball top``: GPUs, runs and ranks of this machine on one screen."""
