"""What is measured: the journal's reader and the fingerprint of a machine."""
