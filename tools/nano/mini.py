"""The bundled mini splits: where they lie and which pictures they hold."""

import io
from functools import cache
from pathlib import Path

from PIL import Image

from tools.nano.mini_media import drawn_pictures
from tools.nano.png import digest

MINI = Path(__file__).parents[2] / "kvl_eval" / "data" / "mini"


def mini_pictures() -> list[Image.Image]:
    """All pictures in all mini parquet files."""
    import pyarrow.parquet as pq

    pictures = []
    for path in sorted(MINI.glob("*/*.parquet")):
        for row in pq.read_table(path).to_pylist():
            for value in row.values():
                if isinstance(value, dict) and value.get("bytes"):
                    pictures.append(Image.open(io.BytesIO(value["bytes"])).convert("RGB"))
    return pictures


@cache
def mini_digests() -> frozenset[str]:
    """Digests of those pictures, and of the frames and pages that clips and documents were made of."""
    return frozenset(digest(picture) for picture in (*mini_pictures(), *drawn_pictures()))
