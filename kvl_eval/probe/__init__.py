"""Asks a sample of a run's questions again with one setting changed: `explain RUN --probe`."""
