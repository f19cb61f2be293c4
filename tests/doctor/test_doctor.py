"""`kvl-eval doctor` against servers that misbehave in one way each, and against one that does not."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from kvl_eval.tasks import TASKS
from tests.cli.conftest import Kvl
from tests.doctor.stand_in import document, standing_in
from tests.faults.stub_server import failing, serving, unused_address

Doctor = Callable[..., tuple[int, dict[str, Any]]]
SMALL = ("--max-pixels", "250000")  # leaves out the large images, which take time
OPTIONS = ("--split", "mini", "--num-workers", "0", "--samples", "4", "--json")


@pytest.fixture
def doctor(kvl: Kvl) -> Doctor:
    """Exit code and checks of `doctor mmmu` on a server that behaves as said."""

    def check(*more: str, **behavior: Any) -> tuple[int, dict[str, Any]]:
        with standing_in(**behavior) as stub:
            answer = kvl("doctor", "mmmu", "-m", "endpoint", "--base-url", stub.url, *OPTIONS, *more)
        assert json.loads(answer.out)["exit_code"] == answer.code
        return answer.code, document(answer.out)

    return check


def test_explain_x7_nothing_is_found_on_a_healthy_server(doctor: Doctor) -> None:
    code, checks = doctor()
    assert {name: check["grade"] for name, check in checks.items()} == {
        **dict.fromkeys(("reach", "format", "extract", "thought", "limit", "loops", "time", "repeat"), "ok"),
        **dict.fromkeys(("max-tokens", "seed", "temperature", "stop"), "ok"),
        **dict.fromkeys(("sees", "order", "tokens", "legible", "template", "data"), "ok"),
        "budget": "skipped",
    }
    assert code == 0
    assert checks["sees"]["values"] == {"right": 6, "right_on_gray": 0, "n": 6}
    assert checks["legible"]["values"] == {"heights": {"448": 8, "896": 8, "1792": 8}}


def test_explain_x7_shrunk_images_are_found_by_two_signs(doctor: Doctor) -> None:
    code, checks = doctor(shrink=448 * 448)
    assert (code, checks["tokens"]["grade"], checks["legible"]["grade"]) == (4, "bad", "bad")
    assert "shrinks to about 448 px" in checks["tokens"]["text"]
    assert checks["legible"]["values"] == {"heights": {"448": 8, "896": 18, "1792": 32}}


def test_explain_x7_shrinking_that_token_counts_hide_is_a_warning(doctor: Doctor) -> None:
    code, checks = doctor(shrink=448 * 448, hidden=True)
    assert (code, checks["tokens"]["grade"], checks["legible"]["grade"]) == (0, "ok", "warning")


FAULTS: list[tuple[dict[str, Any], dict[str, tuple[str, str]]]] = [
    (
        {"deaf": ("seed", "stop", "max_tokens"), "system": 30},
        {
            "seed": ("warning", "the seed is ignored"),
            "stop": ("warning", "stop texts are ignored"),
            "max-tokens": ("bad", "the limit of new tokens is ignored: 10 tokens where 5 were allowed"),
            "template": ("warning", "a one-word prompt costs 31 tokens"),
        },
    ),
    (
        {"deaf": ("temperature", "seed"), "finish": "stop", "swapped": True, "fixed": 576},
        {
            "temperature": ("warning", "replies at temperature 0 differ"),
            "max-tokens": ("warning", "a truncated reply is reported as stop"),
            "order": ("bad", "of a red and a blue image the first is called 'blue'"),
            "tokens": ("warning", "every image costs 576 tokens, whatever its size"),
        },
    ),
    (
        {"counts": False, "images": 1},
        {
            "order": ("bad", "a prompt with two images was refused, and this task has such prompts"),
            "tokens": ("skipped", "the server sends no token counts"),
            "template": ("skipped", "the server sends no token counts"),
        },
    ),
    (
        {"images": 0},
        {
            "sees": ("bad", "every question with an image fails: HTTP 400"),
            "reach": ("bad", "0 of 4 samples answered, 4 failed (rejected_request): HTTP 400"),
        },
    ),
    ({"blind": "yes"}, {"sees": ("bad", "image not seen: images cost no tokens (0 of 6 right, 0 on gray images)")}),
    ({"blind": "counts"}, {"sees": ("bad", "image not seen: the replies are the same on gray images")}),
    (
        {"sample": "It is probably the first"},
        {
            "extract": ("bad", "reader extracts an answer from 0 of 4 replies"),
            "format": ("bad", "0 of 4 replies have the form boxed"),
        },
    ),
    (
        {"sample": "The answer is {a}."},
        {"format": ("bad", "0 of 4 replies have the form boxed"), "extract": ("ok", "")},
    ),
    ({"sample": "◁think▷ hm, so we look and look and"}, {"thought": ("bad", "4 of 4 thoughts never close")}),
    ({"sample": "<think>hm</think>"}, {"thought": ("bad", "4 of 4 replies have an empty answer")}),
    ({"sample": "$\\boxed{{{a}}}$ <thought"}, {"thought": ("warning", "4 of 4 answers hold marks of a thought")}),
    ({"sample": " so" * 5000}, {"limit": ("bad", "4 of 4 replies are truncated at 4,096 tokens")}),
    ({"sample": " so we look again at it" * 120}, {"loops": ("bad", "4 of 4 replies repeat themselves")}),
    (
        {"sample": "look {n} times: $\\boxed{{{a}}}$"},
        {"repeat": ("warning", "3 of 3 greedy replies change their words")},
    ),
    ({"sample": "$\\boxed{{{b}}}$"}, {"repeat": ("bad", "3 of 3 greedy answers change")}),
]


@pytest.mark.parametrize(("behavior", "found"), FAULTS, ids=[" ".join(found) for _, found in FAULTS])
def test_explain_x7_a_fault_is_found(
    behavior: dict[str, Any], found: dict[str, tuple[str, str]], doctor: Doctor
) -> None:
    code, checks = doctor(*SMALL, **behavior)
    said = {name: (checks[name]["grade"], checks[name]["text"][: len(text)]) for name, (_, text) in found.items()}
    assert said == found
    assert code == (4 if any(check["grade"] == "bad" for check in checks.values()) else 0)


def test_a_protocol_that_needs_a_judge_and_a_split_without_gold_say_nothing_of_extraction(kvl: Kvl) -> None:
    words = ("-m", "fake", "--samples", "2", "--json")
    assert "needs a judge" in document(kvl("doctor", "mmvet", *words).out)["extract"]["text"]


def test_a_thought_in_a_field_of_its_own_is_in_order(doctor: Doctor) -> None:
    checks = doctor(*SMALL, thought_field="reasoning_content")[1]
    assert checks["thought"]["text"] == "thought closed 4/4, in the field reasoning_content"


def test_answers_that_the_headline_does_not_extract_are_put_in_points(doctor: Doctor) -> None:
    code, checks = doctor(*SMALL, "--protocol", "official-exact", sample="So it must be $\\boxed{{{a}}}$")
    found = checks["extract"]
    assert (code, found["grade"]) == (4, "bad")
    assert found["text"] == (
        "official-exact extracts an answer from 1 of 4 replies, reader from 4. "
        "The score would be near 6 [0, 55] instead of 25 [5, 70]"
    )
    assert found["fix"].startswith("--protocol reader, or --prompt ")


def test_a_server_that_is_not_there_ends_with_4(kvl: Kvl) -> None:
    answer = kvl("doctor", "mmmu", "-m", "endpoint", "--base-url", unused_address(), *OPTIONS)
    assert answer.code == 4
    assert json.loads(answer.out)["error"]["code"].startswith("endpoint.")


def test_a_server_that_fails_is_asked_no_small_questions(kvl: Kvl) -> None:
    with serving(lambda asked: failing(500, "out of order")) as stub:
        words = ("-m", "endpoint", "--base-url", stub.url, "-a", "max_retries=0")
        answer = kvl("doctor", "mmmu", *words, *OPTIONS)
    checks = document(answer.out)
    assert (answer.code, checks["sees"]["text"], len(stub.asked)) == (4, "the server does not answer", 4)
    assert "0 of 4 samples answered, 4 failed (endpoint_error): no reply after 1 attempt" in checks["reach"]["text"]


def test_a_blind_run_and_scripted_answers_have_no_image_checks(doctor: Doctor, kvl: Kvl) -> None:
    code, checks = doctor("--blind")
    assert (code, checks["sees"]["text"]) == (0, "--blind replaces images")
    answer = kvl("doctor", "mmmu", "-m", "fake", "--samples", "5")
    assert (answer.code, "\n  not checked" in answer.out) == (4, True)
    assert "seed, temperature, stop, sees, order, tokens, legible, template: scripted" in answer.out


def test_every_task_can_be_tested(kvl: Kvl) -> None:
    for task in TASKS.values():
        if task.episode is None:
            split = ("--split", "mini") if task.mini else ()
            answer = kvl("doctor", task.name, "-m", "fake", "--samples", "2", "--json", *split)
            checks = document(answer.out)
            assert (answer.code in (0, 4), checks["reach"]["grade"]) == (True, "ok"), task.name


def test_thinking_budgets_are_checked_on_every_reply(kvl: Kvl) -> None:
    words = ("doctor", "mathvista", "-m", "fake", "-a", "answers=constant:5,think=40", "--think-budget", "8,64")
    budget = document(kvl(*words, "--budget-policy", "force", "--json", "--samples", "3").out)["budget"]
    assert (budget["grade"], budget["values"]) == ("ok", {"n": 6, "over": 0})


def test_samples_that_fail_are_counted(kvl: Kvl) -> None:
    words = ("doctor", "mathvista", "-m", "fake", "--samples", "4", "--json")
    one = document(kvl(*words, "-a", "fail=oom:1").out)["reach"]
    assert (one["grade"], one["text"]) == ("warning", "3 of 4 samples answered, 1 failed (oom): scripted failure: oom")
    assert document(kvl(*words, "-a", "fail=oom:9").out)["extract"]["text"] == "no sample was answered"


def test_rows_that_cannot_be_used_are_counted(kvl: Kvl, tmp_path: Path) -> None:
    table = tmp_path / "own.jsonl"
    rows = [{"id": name, "question": "Which?", "A": "x", "B": "y", "answer": answer} for name, answer in ("aA", "bQ")]
    table.write_text("\n".join(map(json.dumps, rows)))
    answer = kvl("doctor", f"file:{table}", "-m", "fake", "--json")
    assert (answer.code, document(answer.out)["data"]["text"][:25]) == (4, "1 rows cannot be used; th")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("doctor", "mathvista,mmmu"), "doctor tests one task at a time"),
        (("doctor", "desktop-mini"), "doctor cannot test desktop-mini: agents need a desktop"),
        (("doctor", "nope"), "unknown task 'nope'"),
        (("doctor", "mathvista", "--samples", "0"), "--samples must be at least 1, got '0'"),
        (("doctor", "mathvista", "--limit", "3"), "unknown option '--limit'"),
    ],
)
def test_bad_input_is_a_usage_error(words: tuple[str, ...], message: str, kvl: Kvl) -> None:
    answer = kvl(*words, "-m", "fake")
    assert (answer.code, message in answer.err) == (2, True), answer.err


@pytest.mark.slow
@pytest.mark.parametrize("model", ["kimi-vl-nano", "kimi-vl-nano-thinking"])
def test_the_demo_models_can_be_tested(model: str, kvl: Kvl) -> None:
    answer = kvl("doctor", "mathvista", "-m", model, "--samples", "4", "--max-pixels", "250000", "--json")
    checks = document(answer.out)
    assert {checks[name]["grade"] for name in ("repeat", "seed", "tokens", "limit", "thought")} == {"ok"}


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(
    ("switches", "found"),
    [
        ((), {}),
        (("--shrink", "400000"), {"tokens": "bad"}),
        (("--blind",), {"sees": "bad"}),
        (("--ignore", "max_tokens,stop"), {"max-tokens": "bad", "stop": "warning"}),
    ],
    ids=["healthy", "shrink", "blind", "ignore"],
)
def test_explain_x7_each_switch_of_the_stub_is_found(
    switches: tuple[str, ...], found: dict[str, str], shared: Path, kvl: Kvl
) -> None:
    folder = shared / "explain"
    url = unused_address()
    words = ("--behaviour", str(folder / "probe" / "behaviour.jsonl"), "--port", url.split(":")[2].partition("/")[0])
    with subprocess.Popen([sys.executable, str(folder / "stub_server.py"), *words, *switches]) as server:
        try:
            for _ in range(200):
                with suppress(OSError), urlopen(f"{url}/models"):
                    break
                time.sleep(0.05)
            where = ("--split", "validation", "--data-dir", str(folder / "data"), "--num-workers", "0")
            answer = kvl("doctor", "mmmu", "-m", "endpoint", "--base-url", url, *where, "--json")
        finally:
            server.kill()
    checks = document(answer.out)
    assert {name: check["grade"] for name, check in checks.items() if check["grade"] in ("bad", "warning")} == found
    assert answer.code == (4 if "bad" in found.values() else 0)
