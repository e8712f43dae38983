"""What one run did, read from its journals: rate, interval, warm-up, start-up, telemetry, witnesses."""
