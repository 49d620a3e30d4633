"""Run an agent once per row of a CSV."""
