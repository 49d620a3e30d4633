"""What runs: the engine in the kernel and the runner of one batch."""
