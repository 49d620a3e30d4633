"""What thinks: values and pure functions. No clock, loop, file, socket or global random."""
