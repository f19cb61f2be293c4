"""Whether images reach the model whole: seen at all, in order, not shrunk on the way, at the cost that they have."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from kvl_eval.backends.base import Limits
from kvl_eval.decode import Json
from kvl_eval.doctor import drawings
from kvl_eval.doctor.document import CheckGrade, DoctorCheck, skipped
from kvl_eval.doctor.drawings import CANVASES, STRINGS, ladder, ladder_image
from kvl_eval.doctor.questions import SmallQuestion, said
from kvl_eval.doctor.serving import ONE_REPLY, TextReplies
from kvl_eval.types import Completion

SIDES = (224, 448, 896, 1_792)  # pixels; every image has four times the area of the one before
SEEN, MOST_GUESSED = 4, 2  # right answers of six: with images at least, with gray ones at most
NEAR = 0.02  # share by which a count may differ from the model's own rule
FLAT, WHOLE = 1.5, 3.2  # growth of tokens from side to side: below the one none, from the other on all of it
DOUBLED = 1.75  # growth of the smallest legible height
MOST_MARKS = 8  # tokens around an image
ONE_WORD, ALONE = "Answer with one word.", "Answer with the number alone."
DESCRIBE = "Describe the image."
SEVERAL = ("images", "video", "document")  # modalities whose prompts have several images
_FIVE = ((0.2, 0.2), (0.8, 0.2), (0.5, 0.5), (0.2, 0.8), (0.8, 0.8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A question about an image, and the words that answer it."""

    name: str
    image: bytes
    text: str
    words: tuple[str, ...]

    def is_right(self, answer: str) -> bool:
        """Whether an answer names one of the words."""
        return bool(set(self.words) & set(re.findall(r"\w+", answer.lower())))


def sights() -> tuple[Sight, ...]:
    """Six questions: colors, counts, a position, digits."""
    middle = ((0.5, 0.5),)
    return (
        Sight(
            name="circle",
            image=drawings.shapes("red", middle),
            text=f"What color is the circle? {ONE_WORD}",
            words=("red",),
        ),
        Sight(
            name="square",
            image=drawings.shapes("blue", middle, square=True),
            text=f"What color is the square? {ONE_WORD}",
            words=("blue",),
        ),
        Sight(
            name="three",
            image=drawings.shapes("green", _FIVE[:3]),
            text=f"How many circles are there? {ALONE}",
            words=("3", "three"),
        ),
        Sight(
            name="five",
            image=drawings.shapes("red", _FIVE, square=True),
            text=f"How many squares are there? {ALONE}",
            words=("5", "five"),
        ),
        Sight(
            name="left",
            image=drawings.shapes("yellow", ((0.2, 0.5),)),
            text=f"Is the circle in the left half or in the right half of the image? {ONE_WORD}",
            words=("left",),
        ),
        Sight(
            name="digits",
            image=drawings.number("47052"),
            text=f"Which number is written in the image? {ALONE}",
            words=("47052",),
        ),
    )


def image_questions(max_pixels: int | None) -> list[SmallQuestion]:
    """Everything that is asked about images; sides beyond a limit of the run's own are left out."""
    gray, red, blue = (drawings.plain(color) for color in (drawings.GRAY, *map(drawings.COLORS.get, ("red", "blue"))))
    questions = [SmallQuestion(name="no image", text=DESCRIBE, tokens=1)]
    for sight in sights():
        questions.append(SmallQuestion(name=sight.name, text=sight.text, images=(sight.image,)))
        questions.append(SmallQuestion(name=f"gray {sight.name}", text=sight.text, images=(gray,)))
    first = f"There are two images. What color is the first one? {ONE_WORD}"
    questions += [
        SmallQuestion(name="order red", text=first, images=(red, blue)),
        SmallQuestion(name="order blue", text=first, images=(blue, red)),
    ]
    for side in _shown(SIDES, max_pixels):
        image = drawings.plain(drawings.WHITE, side)
        questions.append(SmallQuestion(name=f"side {side}", text=DESCRIBE, images=(image,), tokens=1))
    text = "Write down all numbers in the image, from top to bottom, one per line."
    questions += [
        SmallQuestion(name=f"ladder {side} {turn}", text=text, images=(ladder_image(side, turn),))
        for side in _shown(CANVASES, max_pixels)
        for turn in range(STRINGS)
    ]
    return questions


def _shown(sides: Sequence[int], max_pixels: int | None) -> list[int]:
    return [side for side in sides if max_pixels is None or side * side <= max_pixels]


# -- seen at all ------------------------------------------------------------------------------------------------


def sees_check(replies: Mapping[str, Completion], texts: TextReplies) -> DoctorCheck:
    """Whether the model sees images: it answers simple questions, and not on gray ones."""
    asked = sights()
    refused = [reply for sight in asked if (reply := replies.get(sight.name)) is None or reply.status != "ok"]
    if len(refused) == len(asked):
        message = next((reply.message for reply in refused if reply is not None and reply.message), "no reply")
        text = f"every question with an image fails: {message}"
        return DoctorCheck(name="sees", grade="bad", text=text, values={"failed": len(refused)}, fix=_NO_IMAGES)
    pairs = [(said(replies.get(sight.name)), said(replies.get(f"gray {sight.name}"))) for sight in asked]
    right = sum(sight.is_right(answer) for sight, (answer, _) in zip(asked, pairs, strict=True))
    guessed = sum(sight.is_right(answer) for sight, (_, answer) in zip(asked, pairs, strict=True))
    values: dict[str, Json] = {"right": right, "right_on_gray": guessed, "n": len(asked)}
    counted = f"{right} of {len(asked)} right, {guessed} on gray images"
    costs = image_costs(replies)
    if costs and max(costs.values()) <= 0:
        text = f"image not seen: images cost no tokens ({counted})"
        return DoctorCheck(name="sees", grade="bad", text=text, values=values, fix=_NO_IMAGES)
    if right >= SEEN and guessed <= MOST_GUESSED:
        text = f"sees {right}/{len(asked)}, gray {guessed}/{len(asked)}"
        return DoctorCheck(name="sees", grade="ok", text=text, values=values)
    if texts.is_constant:
        return skipped("sees", ONE_REPLY)
    if texts.can_add and right <= guessed + 1 and all(answer == gray for answer, gray in pairs):
        text = f"image not seen: the replies are the same on gray images ({counted})"
        return DoctorCheck(name="sees", grade="bad", text=text, values=values, fix=_NO_IMAGES)
    return DoctorCheck(name="sees", grade="warning", text=f"unclear whether images are seen: {counted}", values=values)


_NO_IMAGES = "a server and a model that take images; check its log and its chat template"


def order_check(replies: Mapping[str, Completion], sees: DoctorCheck, modality: str) -> DoctorCheck:
    """Whether two images arrive in the order in which they were sent."""
    both = [replies.get(f"order {color}") for color in ("red", "blue")]
    grade: CheckGrade = "bad" if modality in SEVERAL else "warning"
    if any(reply is not None and reply.status == "failed" for reply in both):
        if modality not in SEVERAL:
            return skipped("order", "a prompt with two images was refused")
        text = "a prompt with two images was refused, and this task has such prompts"
        fix = "allow more images per prompt; for vLLM, --limit-mm-per-prompt"
        return DoctorCheck(name="order", grade="bad", text=text, fix=fix)
    if sees.grade != "ok":
        return skipped("order", "it is not clear that images are seen")
    first, second = map(said, both)
    values: dict[str, Json] = {"red_first": first, "blue_first": second}
    if _names(first, "red", "blue") and _names(second, "blue", "red"):
        return DoctorCheck(name="order", grade="ok", text="order", values=values)
    text = f"of a red and a blue image the first is called {first!r}, of a blue and a red one {second!r}"
    return DoctorCheck(name="order", grade=grade, text=text, values=values, fix="check the server's chat template")


def _names(answer: str, color: str, other: str) -> bool:
    words = re.findall(r"\w+", answer.lower())
    return color in words and other not in words


# -- tokens of an image -----------------------------------------------------------------------------------------


def image_costs(replies: Mapping[str, Completion]) -> dict[int, int]:
    """{side: tokens that an image of that side adds to a prompt}; empty where the server counts none."""
    counts = {side: _prompt_tokens(replies.get(f"side {side}")) for side in SIDES}
    text = _prompt_tokens(replies.get("no image"))
    return {side: count - text for side, count in counts.items() if count and text}


def _prompt_tokens(reply: Completion | None) -> int:
    return 0 if reply is None or reply.status != "ok" else reply.tokens.prompt


def tokens_check(replies: Mapping[str, Completion], limits: Limits) -> DoctorCheck:
    """Whether images of four sizes cost the tokens that the model's own rule says."""
    costs = image_costs(replies)
    if len(costs) < 2:
        sent = any(_prompt_tokens(reply) for reply in replies.values())
        why = "too few images were taken" if sent else "the server sends no token counts"
        return skipped("tokens", why)
    values: dict[str, Json] = {"tokens": {str(side): count for side, count in costs.items()}}
    if max(costs.values()) <= 0:
        return skipped("tokens", "images cost no tokens, see sees")
    if limits.image_tokens is None:
        return _grown(costs, values)
    rule = {side: limits.image_tokens(side, side) for side in costs}
    marks = min(costs.values()) - min(rule.values())
    marks = marks if 0 <= marks <= MOST_MARKS else 0
    values["rule"] = {str(side): count for side, count in rule.items()}
    off = {side: abs(costs[side] - marks - rule[side]) / rule[side] for side in costs if rule[side]}
    if not off or max(off.values()) == 0:
        return DoctorCheck(name="tokens", grade="ok", text="tokens as the model's rule says", values=values)
    side = max(off, key=lambda place: off[place])
    text = f"a {side:,} px image costs {costs[side]:,} tokens, the model's rule says {rule[side]:,}"
    if off[side] <= NEAR:
        return DoctorCheck(name="tokens", grade="warning", text=text, values=values)
    if side == max(costs) and costs[side] < rule[side]:
        text += f": the server shrinks to about {_shrunk_side(costs, side):,} px"
    return DoctorCheck(name="tokens", grade="bad", text=text, values=values, fix=_PIXELS)


_PIXELS = (
    "start the server with the checkpoint's own image limit; for vLLM, --mm-processor-kwargs '{\"max_pixels\": N}'"
)


def _grown(costs: Mapping[int, int], values: Mapping[str, Json]) -> DoctorCheck:
    """The check where the model's rule is not known: tokens must grow with the area."""
    growth = {large: costs[large] / max(1, costs[small]) for small, large in pairwise(sorted(costs))}
    last = max(costs)
    if any(step < 1 for step in growth.values()):
        text = "a larger image costs fewer tokens: " + _listed(costs)
        return DoctorCheck(name="tokens", grade="bad", text=text, values=values, fix="check the server's token counts")
    if all(step == 1 for step in growth.values()):
        text = f"every image costs {costs[last]:,} tokens, whatever its size"
        return DoctorCheck(name="tokens", grade="warning", text=text, values=values)
    if growth[last] >= WHOLE:
        return DoctorCheck(name="tokens", grade="ok", text="tokens grow with the image", values=values)
    side = _shrunk_side(costs, last)
    text = f"a {last:,} px image costs {costs[last]:,} tokens: the server or the model shrinks to about {side:,} px"
    if growth[last] < FLAT:
        fix = f"{_PIXELS}; or name the model's own rule: --model-args checkpoint=NAME"
        return DoctorCheck(name="tokens", grade="bad", text=text, values=values, fix=fix)
    return DoctorCheck(name="tokens", grade="warning", text=text, values=values)


def _shrunk_side(costs: Mapping[int, int], side: int) -> int:
    """The side of a square image that costs as much as one of `side`, by the price of the smallest."""
    small = min(costs)
    return min(side, round(small * math.sqrt(costs[side] / max(1, costs[small]))))


def _listed(costs: Mapping[int, int]) -> str:
    return ", ".join(f"{side:,} px {count:,}" for side, count in costs.items())


# -- digits that can be read ------------------------------------------------------------------------------------


def legible_check(replies: Mapping[str, Completion], limits: Limits, tokens: DoctorCheck) -> DoctorCheck:
    """Whether digits of one height can be read on canvases of every size."""
    heights: dict[int, int | None] = {}
    for side in CANVASES:
        answers = [replies.get(f"ladder {side} {turn}") for turn in range(STRINGS)]
        if all(reply is not None and reply.status == "ok" for reply in answers):
            readings = [ladder(side, turn).read(said(reply)) for turn, reply in enumerate(answers)]
            heights[side] = drawings.smallest(readings)
    read = {side: height for side, height in heights.items() if height is not None}
    values: dict[str, Json] = {"heights": {str(side): height for side, height in heights.items()}}
    if not read:
        return skipped("legible", "no digits were read on any canvas")
    listed = ", ".join(f"{height} px on {side:,}" for side, height in read.items())
    shrunk = [
        (small, large)
        for small, large in pairwise(heights)
        if _is_doubled(heights[small], heights[large]) and not _shrinks(limits, small, large)
    ]
    if not shrunk:
        return DoctorCheck(name="legible", grade="ok", text=f"digits read: {listed}", values=values)
    large = shrunk[-1][1]
    text = f"digits must be larger on a canvas of {large:,} px ({listed}): images are shrunk before they are seen"
    grade: CheckGrade = "warning" if tokens.grade == "ok" else "bad"
    return DoctorCheck(name="legible", grade=grade, text=text, values=values, fix=_PIXELS if grade == "bad" else "")


def _is_doubled(small: int | None, large: int | None) -> bool:
    return small is not None and (large is None or large >= DOUBLED * small)


def _shrinks(limits: Limits, small: int, large: int) -> bool:
    """Whether the model's own rule shrinks the larger canvas."""
    if limits.image_tokens is None:
        return False
    return limits.image_tokens(large, large) < 2 * limits.image_tokens(small, small)
