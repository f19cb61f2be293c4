"""Pictures that used to decode to nothing, and large or recent formats: `python make_pictures.py FOLDER`.

Writes the pictures and `t.jsonl`, a table that asks about each. EXPECT: what must become of it. `seen`: the picture
that is sent holds more than one grey value and no flag `uniform` is set; `uniform`: it is sent, and the run's cautions
count it; `ok`: answered; `too_large`: failed with media_too_large.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

EXPECT = {
    "float_unit": "seen",
    "eight_in_sixteen": "seen",
    "white_on_clear": "uniform",
    "avif": "ok",
    "big": "ok",
    "too_big": "too_large",
}


def drawing(mode="L", size=(64, 48), back=0, ink=200):
    picture = Image.new(mode, size, back)
    ImageDraw.Draw(picture).ellipse((10, 8, 50, 40), fill=ink)
    return picture


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    grey = np.asarray(drawing())
    Image.fromarray((grey / 255).astype("float32")).save(folder / "float_unit.tif")
    Image.fromarray(grey.astype("uint16")).save(folder / "eight_in_sixteen.png")
    drawing("RGBA", back=(255, 255, 255, 0), ink=(255, 255, 255, 255)).save(folder / "white_on_clear.png")
    drawing("RGB", back=(0, 90, 0), ink=(200, 0, 0)).save(folder / "avif.avif")
    drawing("L", (9500, 9500)).convert("1").save(folder / "big.png")
    drawing("L", (14000, 14000)).convert("1").save(folder / "too_big.png")
    names = {"float_unit": "float_unit.tif", "avif": "avif.avif"}
    rows = [{"id": n, "image": names.get(n, f"{n}.png"), "question": f"KEY={n} What?", "answer": "cat"} for n in EXPECT]
    (folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
