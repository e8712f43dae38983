"""A DeepSpeed config: its file, its keys and their places, and what each version of DeepSpeed reads in it."""
