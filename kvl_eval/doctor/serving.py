"""Whether settings reach the model: seed, temperature, stop texts, the limit of new tokens, the template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kvl_eval.backends.base import FreelyAsked, Request
from kvl_eval.decode import Json
from kvl_eval.doctor.document import DoctorCheck, skipped
from kvl_eval.doctor.questions import THOUGHT_TOKENS, Questioner, SmallQuestion, again, said
from kvl_eval.doctor.replies import DrawnReply, SampledReplies, longest_reply
from kvl_eval.scoring.outputs import Item, score_outputs
from kvl_eval.types import Completion, Generation

REPEATED = 3  # samples that are asked twice
CUT = 5  # tokens of the reply that the limit is to cut
OPEN_TOKENS = 32  # of a sentence
WARM, HOT = 0.8, 1.5  # temperatures
HOT_REPLIES = 5
LARGE_TEMPLATE = 20  # tokens of a one-word prompt from which a system turn is likely
SCRIPTED = "scripted answers"
ONE_REPLY = "the model gives the same reply to every question of these checks"


COUNT = "Count from 1 to 20. Write the numbers with a blank between them."


def _sentence(name: str, temperature: float, seed: int) -> SmallQuestion:
    text = "Write one sentence about the sea."
    return SmallQuestion(name=name, text=text, tokens=OPEN_TOKENS, temperature=temperature, seed=seed)


TEXT_QUESTIONS = (
    SmallQuestion(name="sum", text="What is 7 + 5? Answer with the number alone."),
    SmallQuestion(name="count", text=COUNT),
    SmallQuestion(name="word", text="Hi", tokens=1),
    *(_sentence(f"cold {turn}", 0, 1) for turn in range(2)),
    *(_sentence(f"warm {turn}", WARM, 1) for turn in range(2)),
    _sentence("warm other", WARM, 2),
    *(_sentence(f"hot {turn}", HOT, turn + 1) for turn in range(HOT_REPLIES)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextReplies:
    """Replies to questions without images, by name."""

    replies: Mapping[str, Completion]

    def text(self, name: str) -> str:
        """Everything that was written, without blanks around it; empty where the request failed."""
        reply = self.replies.get(name)
        return "" if reply is None or reply.status != "ok" else reply.raw_output.strip()

    @property
    def can_add(self) -> bool:
        """Whether the model follows a simple question."""
        return "12" in said(self.replies.get("sum"))

    @property
    def is_constant(self) -> bool:
        """Whether different questions get one reply, so that nothing can be learned from others."""
        return len({self.text(name) for name in ("sum", "count", "cold 0")}) == 1

    def several(self, start: str) -> list[str]:
        """The texts of the replies whose names begin so."""
        return [self.text(name) for name in self.replies if name.startswith(start) and self.text(name)]


def seed_check(texts: TextReplies) -> DoctorCheck:
    """Whether equal seeds give equal replies and another seed another one."""
    if texts.is_constant:
        return skipped("seed", ONE_REPLY)
    first, second, other = (texts.text(name) for name in ("warm 0", "warm 1", "warm other"))
    if not first or not second or not other:
        return skipped("seed", "no reply")
    if first != second:
        text = "the seed is ignored: a resumed sampled run will not repeat"
        return DoctorCheck(name="seed", grade="warning", text=text, values={"equal_seeds": "different"})
    if first == other:
        return skipped("seed", f"no reply varied at temperature {WARM}")
    return DoctorCheck(name="seed", grade="ok", text="seed", values={"equal_seeds": "equal"})


def temperature_check(texts: TextReplies) -> DoctorCheck:
    """Whether replies vary more at a higher temperature."""
    if texts.is_constant:
        return skipped("temperature", ONE_REPLY)
    cold, hot = set(texts.several("cold")), set(texts.several("hot"))
    values: dict[str, Json] = {"distinct_at_0": len(cold), "distinct_at_1_5": len(hot)}
    if not cold or not hot:
        return skipped("temperature", "no reply")
    if len(hot) > len(cold) == 1:
        return DoctorCheck(name="temperature", grade="ok", text="temperature", values=values)
    if len(cold) > 1:
        text = "replies at temperature 0 differ: the temperature is ignored, or greedy decoding is not exact"
    else:
        text = f"{HOT_REPLIES} replies at temperature {HOT} are equal: the temperature is ignored, or the model is sure"
    return DoctorCheck(name="temperature", grade="warning", text=text, values=values)


async def stop_check(questioner: Questioner) -> DoctorCheck:
    """Whether a reply ends before a stop text that it would hold."""
    if not isinstance(questioner.backend, FreelyAsked):
        return skipped("stop", "requests of this backend have no stop texts")
    whole = await questioner.with_field(COUNT, OPEN_TOKENS, "\0")
    words = (whole or "").split()
    stop = next((word for word in words[1:] if words.count(word) == 1 and word not in words[0]), None)
    if stop is None:
        return skipped("stop", "no reply was long enough")
    reply = await questioner.with_field(COUNT, OPEN_TOKENS, stop)
    if reply is None:
        return skipped("stop", "the server refuses stop texts")
    values: dict[str, Json] = {"stop": stop, "reply": reply}
    if stop in reply.split():
        text = "stop texts are ignored: replies may run on after the answer"
        return DoctorCheck(name="stop", grade="warning", text=text, values=values)
    return DoctorCheck(name="stop", grade="ok", text="stop", values=values)


async def limit_check(questioner: Questioner, facts: SampledReplies, requests: Mapping[str, Request]) -> DoctorCheck:
    """Whether a reply ends at the limit of new tokens, and says so."""
    longest = longest_reply(facts.replies)
    if longest is None or longest.tokens < 2:
        return skipped("max-tokens", "no reply was long enough")
    limit = min(CUT, longest.tokens - 1)
    request = requests[longest.sample.id]
    generation = Generation(max_new_tokens=limit, temperature=request.generation.temperature)
    found = await questioner.completions([again(request, 9, generation)])
    reply = next((reply for replies in found.values() for reply in replies if reply.status == "ok"), None)
    if reply is None:
        return skipped("max-tokens", "no reply")
    return _limited(reply, limit, longest)


def _limited(reply: Completion, limit: int, longest: DrawnReply) -> DoctorCheck:
    tokens = reply.tokens.thinking + reply.tokens.answer
    values: dict[str, Json] = {"limit": limit, "tokens": tokens, "finish": reply.finish_reason}
    is_whole = reply.raw_output == longest.completion.raw_output
    if tokens > limit or (is_whole and tokens == longest.tokens):
        return DoctorCheck(
            name="max-tokens",
            grade="bad",
            text=f"the limit of new tokens is ignored: {tokens} tokens where {limit} were allowed",
            values=values,
            fix="--model-args limit_field=max_completion_tokens",
        )
    if reply.finish_reason == "length":
        return DoctorCheck(name="max-tokens", grade="ok", text="max-tokens", values=values)
    if tokens < limit:
        return skipped("max-tokens", "the reply ended before the limit")
    text = f"a truncated reply is reported as {reply.finish_reason}: truncated replies cannot be counted"
    return DoctorCheck(name="max-tokens", grade="warning", text=text, values=values)


async def repeat_check(questioner: Questioner, facts: SampledReplies, requests: Mapping[str, Request]) -> DoctorCheck:
    """Whether greedy replies to the same samples are equal."""
    samples = [reply.sample for reply in facts.replies[:REPEATED]]
    if not samples:
        return skipped("repeat", "no sample was answered")
    limit = min(THOUGHT_TOKENS, facts.config.generation.limit)
    greedy = Generation(max_new_tokens=limit, temperature=0)
    asked = [again(requests[sample.id], number, greedy) for sample in samples for number in (7, 8)]
    found = await questioner.completions(asked)
    pairs = [[found[again(requests[sample.id], number).key] for number in (7, 8)] for sample in samples]
    return _repeated(facts, list(_compared(facts, samples, pairs)))


def _compared(
    facts: SampledReplies, samples: Sequence[object], pairs: Sequence[Sequence[Sequence[Completion]]]
) -> Iterator[str]:
    """`equal`, `words` or `answers`, of each pair that came."""
    for reply, (first, second) in zip(facts.replies[: len(samples)], pairs, strict=True):
        if not first or not second or "failed" in (first[0].status, second[0].status):
            continue
        if first[0].raw_output == second[0].raw_output:
            yield "equal"
            continue
        answers = [DrawnReply(sample=reply.sample, completion=one[0]).answer for one in (first, second)]
        items = [Item(reply.sample, answer) for answer in answers]
        before, after = score_outputs(facts.task, facts.protocol, items, facts.run.score_view)
        yield "words" if (before.extracted, before.verdict) == (after.extracted, after.verdict) else "answers"


def _repeated(facts: SampledReplies, kinds: Sequence[str]) -> DoctorCheck:
    if not kinds:
        return skipped("repeat", "no reply")
    values: dict[str, Json] = {"n": len(kinds), **{kind: kinds.count(kind) for kind in ("equal", "words", "answers")}}
    if "answers" in kinds:
        text = f"{kinds.count('answers')} of {len(kinds)} greedy answers change when asked again"
        fix = "one request at a time (--max-connections 1), or --repeats 4 and a mean over them"
        return DoctorCheck(name="repeat", grade="bad", text=text, values=values, fix=fix)
    if "words" in kinds:
        text = f"{kinds.count('words')} of {len(kinds)} greedy replies change their words when asked again"
        return DoctorCheck(name="repeat", grade="warning", text=text, values=values)
    return DoctorCheck(name="repeat", grade="ok", text=f"repeat {len(kinds)}/{len(kinds)}", values=values)


def template_check(texts: TextReplies, *, is_server: bool, has_checkpoint: bool, has_system: bool) -> DoctorCheck:
    """Whether the server puts a text of its own into prompts."""
    reply = texts.replies.get("word")
    if not is_server:
        return skipped("template", "no server: the bundled template is used")
    tokens = 0 if reply is None or reply.status != "ok" else reply.tokens.prompt
    if not tokens or reply is None:
        return skipped("template", "the server sends no token counts")
    values: dict[str, Json] = {"tokens": tokens}
    ours = reply.extra.get("prompt_tokens_ours")
    if has_checkpoint and isinstance(ours, int):
        values["ours"] = ours
        text = f"a one-word prompt costs {tokens} tokens, {ours} under the bundled template: the templates differ"
        return DoctorCheck(name="template", grade="warning", text=text, values=values)
    if not has_checkpoint and not has_system and tokens > LARGE_TEMPLATE:
        text = f"a one-word prompt costs {tokens} tokens: the server's template may put in a system prompt"
        return DoctorCheck(name="template", grade="warning", text=text, values=values)
    return DoctorCheck(name="template", grade="ok", text="template", values=values)
