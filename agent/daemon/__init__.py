"""The daemon: collectors on their own clocks, what they read kept in one store, and HTTP in front of it."""
