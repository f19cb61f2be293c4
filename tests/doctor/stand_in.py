"""A model behind a server on 127.0.0.1 that answers what `doctor` asks, as well or as badly as a test says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from typing import Any

from PIL import Image

from kvl_eval.doctor import drawings
from kvl_eval.doctor.drawings import CANVASES, HEIGHTS, STRINGS, ladder, ladder_image
from kvl_eval.doctor.sight import image_questions, sights
from tests.faults.stub_server import Answer, Asked, Stub, chat, failing, serving

PATCH = 784  # pixels of a token
LEGIBLE = 8  # least height of a digit, in pixels that the model sees


def digest(data: bytes) -> str:
    """Of what an image shows."""
    image = Image.open(BytesIO(data)).convert("RGB")
    return hashlib.sha256(str(image.size).encode() + image.tobytes()).hexdigest()


@cache
def known() -> dict[str, tuple[str, object]]:
    """{digest: what the image is}."""
    images: dict[str, tuple[str, object]] = {}
    for color in ("red", "blue"):
        images[digest(drawings.plain(drawings.COLORS[color]))] = ("color", color)
    for sight in sights():
        images[digest(sight.image)] = ("sight", sight.words[0])
    for side in CANVASES:
        for turn in range(STRINGS):
            images[digest(ladder_image(side, turn))] = ("ladder", ladder(side, turn))
    return images


@cache
def asked_by_doctor() -> set[str]:
    """Its questions about images."""
    return {question.text for question in image_questions(None)}


@dataclass
class Model:
    """How it behaves; the defaults are a good model on a good server.

    Attributes:
        sample:   the reply to a sample of the task; `{a}` becomes a letter or, without options, a number, `{b}` another
                  one each time, `{n}` how often it was asked.
        deaf:     fields of a request that are ignored.
        blind:    images are dropped; `counts`: dropped, though their tokens are counted.
        shrink:   most pixels of an image that the model sees.
        hidden:   whether shrinking is not seen in the token counts.
        fixed:    tokens of every image, whatever its size.
        counts:   whether the server sends token counts.
        finish:   reported for a truncated reply.
        swapped:  whether two images come in the other order.
        images:   most images of a prompt.
        system:   words that the template puts in.
        thought_field: where the server puts the thought of `sample`.
    """

    sample: str = "so we look at it step after step Answer: $\\boxed{{{a}}}$"
    deaf: tuple[str, ...] = ()
    blind: str = ""
    shrink: int = 10**9
    hidden: bool = False
    fixed: int | None = None
    counts: bool = True
    finish: str = "length"
    swapped: bool = False
    images: int = 9
    system: int = 0
    thought_field: str | None = None
    turns: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, asked: Asked) -> Answer:
        body = {name: value for name, value in asked.body.items() if name not in self.deaf}
        pictures = [base64.b64decode(uri.partition(",")[2]) for uri in asked.pictures]
        if len(pictures) > self.images:
            return failing(400, f"At most {self.images} image(s) may be provided in one prompt.")
        seen = [] if self.blind else [known().get(digest(data), ("", "")) for data in pictures]
        text = self.said(asked.texts, seen[::-1] if self.swapped else seen, body)
        for stop in body.get("stop") or ():
            text = text.partition(stop)[0]
        words = text.split(" ")
        limit = body.get("max_tokens", 10**9)
        is_cut = len(words) > limit
        tokens = len(asked.texts.split()) + self.system + sum(map(self.cost, pictures))
        usage = {"prompt_tokens": tokens, "completion_tokens": min(len(words), limit)}
        fields: dict[str, Any] = {"finish": self.finish if is_cut else "stop", "usage": usage if self.counts else None}
        if self.thought_field and not is_cut:
            fields["message"] = {self.thought_field: "hm, we look"}
        return chat(" ".join(words[:limit]), **fields)

    def cost(self, data: bytes) -> int:
        """Tokens of an image."""
        if self.blind and self.blind != "counts":
            return 0
        if self.fixed is not None:
            return self.fixed
        width, height = Image.open(BytesIO(data)).size
        return -(-min(width * height, 10**9 if self.hidden else self.shrink) // PATCH)

    def said(self, text: str, seen: list[tuple[str, Any]], body: dict[str, Any]) -> str:
        """The whole reply."""
        if "7 + 5" in text:
            return "12"
        if "Count from" in text:
            return " ".join(map(str, range(1, 21)))
        if text.strip() == "Hi":
            return "Hello"
        if "the sea" in text:
            turn = body["seed"] if "seed" in body else self.turn("sea")
            return f"The sea is {turn} miles wide" if body.get("temperature", 1.0) else "The sea is blue today"
        if "Describe" in text:
            return "A white square."
        if text.strip() in asked_by_doctor():
            return self.answer(text, seen)
        turn, has_options = self.turn(text), re.search(r"(?m)^\(?A[.)]", text)
        return self.sample.format(a="A" if has_options else "7", b="ABCD"[turn % 4] if has_options else turn, n=turn)

    def answer(self, text: str, seen: list[tuple[str, Any]]) -> str:
        """The answer to a question about an image."""
        if not seen or not seen[0][0]:
            return "I cannot see one"
        kind, value = seen[0]
        if kind == "ladder" and "all numbers" in text:
            scale = min(1.0, (self.shrink / value.side**2) ** 0.5)
            pairs = zip(HEIGHTS, value.strings, strict=True)
            return "\n".join(string for height, string in pairs if height * scale >= LEGIBLE) or "Nothing"
        return str(value)

    def turn(self, name: str) -> int:
        """How often something was asked."""
        with self.lock:
            self.turns[name] += 1
            return self.turns[name]


@contextmanager
def standing_in(**behavior: Any) -> Iterator[Stub]:
    """The server of a model that behaves so."""
    with serving(Model(**behavior)) as stub:
        yield stub


def document(text: str) -> dict[str, Any]:
    """{check: what the JSON document says of it}."""
    return {check["name"]: check for check in json.loads(text)["checks"]}
