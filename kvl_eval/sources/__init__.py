"""Where a task's rows come from: the hub, its cache, or a local folder.

Rows stream: a parquet file is read by row group, and pictures stay encoded bytes (or paths) until somebody opens them.
"""

from kvl_eval.cells import gold_letter, literal_list
from kvl_eval.rows import Row
from kvl_eval.sources.base import STRICT, Reporter, Source, Tables
from kvl_eval.sources.cells import image_ref
from kvl_eval.sources.rows import made_from, read_rows, rows_of_split

__all__ = [
    "STRICT",
    "Reporter",
    "Row",
    "Source",
    "Tables",
    "gold_letter",
    "image_ref",
    "literal_list",
    "made_from",
    "read_rows",
    "rows_of_split",
]
