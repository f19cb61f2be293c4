"""What a request still waits for: every answer comes once, as an answer or as a failure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.backends.base import Request
from kvl_eval.backends.jobs import Job, failed, finished
from kvl_eval.errors import SampleError
from kvl_eval.types import Completion, Generation, MediaInfo, Message

MEDIA = MediaInfo(sha256="0", kind="image", w=8, h=8, resized_to=(8, 8), tokens=3)
ERROR = SampleError("media.corrupt", "it is broken", where="a.png", why="bytes are missing")


def job(repeats: tuple[int, ...] = (0, 1), budgets: tuple[int, ...] = ()) -> Job:
    generation = Generation(
        max_new_tokens=None if budgets else 8, think_budgets=budgets, budget_policy="force", answer_tokens=4
    )
    seeds = tuple(100 + repeat for repeat in repeats)
    request = Request(key="task/1", messages=(Message.user("?"),), generation=generation, seeds=seeds, repeats=repeats)
    return Job(request, media=(MEDIA,), prompt_text="[user]\n?", prompt_tokens=7)


@given(
    repeats=st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True),
    budgets=st.lists(st.integers(1, 9), max_size=3, unique=True),
    data=st.data(),
)
def test_every_answer_comes_once(repeats: list[int], budgets: list[int], data: st.DataObject) -> None:
    under_way = job(tuple(repeats), tuple(sorted(budgets)))
    slots = {(repeat, budget) for repeat in repeats for budget in budgets or [None]}
    answered = data.draw(st.sets(st.sampled_from(sorted(slots, key=str))))
    done = [finished(under_way, repeat, Completion(budget=budget)) for repeat, budget in answered]
    done += failed(under_way, ERROR, repeat=repeats[0])
    assert {repeat for repeat, _ in under_way.open} <= set(repeats[1:])
    done += failed(under_way, ERROR)
    assert not under_way.open
    assert sorted([(completion.repeat, completion.budget) for completion in done], key=str) == sorted(slots, key=str)
    assert all(
        completion.seed == 100 + completion.repeat and (completion.policy == "force") == bool(budgets)
        for completion in done
    )


def test_failures_say_what_is_known_of_the_prompt() -> None:
    first, second = failed(job(), ERROR, worker="cpu:1")
    assert (first.repeat, second.repeat) == (0, 1)
    assert (first.status, first.reason, first.finish_reason) == ("failed", "media_corrupt", "error")
    assert first.message == "it is broken; a.png; bytes are missing"
    assert (first.tokens.prompt, first.tokens.image, first.tokens.answer) == (7, 3, 0)
    assert (first.media, first.prompt_text, first.worker) == ((MEDIA,), "[user]\n?", "cpu:1")
    assert set(first.time) == {"load", "total"}


def test_smaller_budgets_fail_first() -> None:
    assert [completion.budget for completion in failed(job((3,), (2, 5, 9)), ERROR)] == [2, 5, 9]
