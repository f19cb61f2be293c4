"""Judging finished runs: prove one whole, set two side by side, join shards."""
