"""Cells of the needle haystacks' mini split: short lengths at seeded depths. The task makes the haystacks."""

import random

LENGTHS = (512, 1024, 1536, 2048, 3072, 4096)
PER_LENGTH = 5
COLUMNS = {"length": "int64", "depth": "int64", "rep": "int64"}


def draw(rng: random.Random, number: int) -> dict[str, object]:
    """The cell of one row: each length at the start, at the end, and at three depths between them."""
    length, place = LENGTHS[number // PER_LENGTH], number % PER_LENGTH
    low, high = ((0, 0), (10, 30), (40, 60), (70, 90), (100, 100))[place]
    return {"length": length, "depth": rng.randrange(low, high + 1, 10), "rep": 0}


SPLITS = {"niah": ("cells.parquet", PER_LENGTH * len(LENGTHS), COLUMNS, draw)}
