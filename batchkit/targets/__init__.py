"""What sends: the platform, and functions."""
