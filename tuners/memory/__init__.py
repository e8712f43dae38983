"""What a configuration needs of a device's memory: at least, and most likely."""
