"""Our tables' migrations; a test holds that they make what the models say."""
