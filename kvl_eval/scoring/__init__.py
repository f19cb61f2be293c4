"""From stored answers to verdicts, numbers and `results.json`."""
