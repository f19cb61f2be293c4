from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.backends.base import Description, PromptSize, Settings
from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import DataError, UsageError
from kvl_eval.run.fingerprint import differences
from kvl_eval.run.plan import Plan, plan_run, sample_seed
from kvl_eval.run.plan_sizes import LongestPrompt, PlannedPrompt
from kvl_eval.run.plan_text import plan_notes, plan_text
from kvl_eval.run.prompts import prompt_text
from kvl_eval.run.selection import in_shard
from kvl_eval.tasks.base import Split, Task
from kvl_eval.types import ImageRef, Message, Sample
from tests.refusals import refused
from tests.tiny_task import config_of, rows, tiny


def plan_of(task: Task | None = None, args: dict[str, Any] | None = None, **options: Any) -> Plan:
    task = task or tiny()
    return plan_run(
        config_of(task, Path("results"), **options), FakeBackend(Settings.of(model_args=args or {})), [task]
    )


def lines(plan: Plan) -> list[dict[str, Any]]:
    return [json.loads(line) for line in b"".join(plan.lines.chunks()).splitlines()]


def ids(plan: Plan) -> list[str]:
    return [line["sample_id"] for line in lines(plan)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, range(10)),
        ({"limit": 3}, range(3)),
        ({"limit": 100}, range(10)),
        ({"limit": 0.3}, range(3)),
        ({"limit": 0.01}, range(1)),
        ({"sample_ids": ("q/7", "tiny/q/2")}, (2, 7)),
        ({"sample_ids": ("q/7", "q/2"), "limit": 1}, (2,)),
    ],
    ids=str,
)
def test_which_samples_are_planned(options: dict[str, Any], expected: Any) -> None:
    assert ids(plan_of(**options)) == [f"q/{number}" for number in expected]


def test_shards_share_the_samples_and_the_fingerprint() -> None:
    shards = [plan_of(shard=(part, 3)) for part in (1, 2, 3)]
    assert sorted(name for shard in shards for name in ids(shard)) == [f"q/{number}" for number in range(10)]
    assert {shard.fingerprint for shard in shards} == {plan_of().fingerprint}


@given(st.text(), st.integers(1, 20))
def test_every_sample_lies_in_exactly_one_shard(sample_id: str, count: int) -> None:
    assert sum(in_shard(sample_id, (part, count)) for part in range(1, count + 1)) == 1


def test_one_line_per_sample_repeat_and_budget() -> None:
    plan = plan_of(repeats=2, think_budget=(8, 16), limit=2)
    assert [(line["sample_id"], line["repeat"], line["budget"], line["policy"]) for line in lines(plan)] == [
        (name, repeat, budget, "cut") for name in ("q/0", "q/1") for repeat in (0, 1) for budget in (8, 16)
    ]
    assert plan.requests == 8


def test_the_first_line_of_a_sample_carries_what_a_scorer_needs() -> None:
    first, second = lines(plan_of(repeats=2, limit=1))
    assert tiny().sample(first["row"]).answers == ("A",)
    assert (first["question"], first["choices"], first["gold"], first["media"]) == (
        "Wieviel ist 0?",
        ["A", "B"],
        ["A"],
        1,
    )
    assert first["categories"] == {"parity": ["even"], "all": ["yes", "really"]}
    assert "row" not in second
    assert b"not a picture" not in b"".join(plan_of().lines.chunks())


def test_an_id_that_nobody_has_is_a_usage_error() -> None:
    with refused(UsageError, "usage.sample_ids", "q/99") as caught:
        plan_of(sample_ids=("q/1", "q/99"))
    assert caught.value.code == "usage.sample_ids"


def test_duplicate_ids_are_refused_with_both_positions() -> None:
    content = [*rows(4), rows(4)[1]]
    with refused(DataError, "data.duplicate", "two samples") as caught:
        plan_of(tiny(content=content))
    assert caught.value.where == "samples 2 and 5"


def test_an_empty_choice_is_refused() -> None:
    with refused(UsageError, "usage.empty", "no sample"):
        for number in (1, 2):
            plan_of(tiny(content=rows(1)), shard=(number, 2))


def test_a_split_without_rows_is_refused() -> None:
    with refused(DataError, "data.empty", "tiny test: 0 rows, expected 10"):
        plan_of(tiny(content=[]))


def test_a_row_that_is_no_json_is_named() -> None:
    content = [{**rows(1)[0], "odd": {1, 2}}]
    with pytest.raises(DataError) as caught:
        plan_of(tiny(content=content))
    assert (caught.value.code, caught.value.where) == ("data.row", "q/0")


def test_a_prompt_that_fails_leaves_its_sample_planned() -> None:
    def broken(sample: Sample) -> list[Message]:
        raise KeyError("image_9")

    assert len(ids(plan_of(tiny(prompts={"plain": broken})))) == 10


# -- fingerprints -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 1},
        {"repeats": 2},
        {"temperature": 0.5},
        {"max_new_tokens": 99},
        {"prompt": "short"},
        {"system_prompt": "Be brief."},
        {"prompt_text": "Think first."},
        {"think_budget": (8,)},
        {"blind": True},
        {"image_prep": "vlmevalkit"},
        {"frames": 8},
        {"fps": 0.5},
        {"max_pixels": 50_000},
        {"video_decoder": "decord"},
        {"limit": 5},
        {"args": {"answers": "empty"}},
    ],
    ids=str,
)
def test_what_can_change_an_answer_changes_the_fingerprint(options: dict[str, Any]) -> None:
    assert plan_of(**options).fingerprint != plan_of().fingerprint


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 4},
        {"kv_cache_gb": 0.5},
        {"device": "cuda"},
        {"num_workers": 3},
        {"no_cache": True},
        {"cache_dir": "elsewhere"},
        {"timeout": 9.0},
        {"protocol": "lenient"},
        {"thinking": "raw"},
        {"fail_on_error": 3},
        {"answer_tokens": 7},
        {"args": {"delay": 0.1}},
    ],
    ids=str,
)
def test_what_cannot_change_an_answer_does_not(options: dict[str, Any]) -> None:
    assert plan_of(**options).fingerprint == plan_of().fingerprint


def test_a_backend_says_itself_what_identifies_its_model() -> None:
    class Described(FakeBackend):
        description = Description(identity={"revision": "a"})

        def describe(self) -> Description:
            return self.description

    def plan(**parts: Any) -> Plan:
        backend = Described()
        backend.description = Description(**parts)
        return plan_run(config_of(tiny(), Path("results")), backend, [tiny()])

    first = plan(identity={"revision": "a"}, facts={"weights_note": "one"})
    assert first.identity["model"] == {"name": "fake", "revision": "a"}
    assert {"revision": "a", "weights_note": "one"}.items() <= dict(first.model).items()
    assert plan(identity={"revision": "a"}, facts={"weights_note": "two"}).fingerprint == first.fingerprint
    assert plan(identity={"revision": "b"}, facts={"weights_note": "one"}).fingerprint != first.fingerprint


@pytest.mark.parametrize(
    "change",
    [{"question": "Another?"}, {"answer": "C"}, {"number": 3}],
    ids=["question", "gold", "picture"],
)
def test_changed_data_changes_the_fingerprint(change: dict[str, Any]) -> None:
    content = rows(10)
    content[1] = {**content[1], **change}
    before, after = plan_of(), plan_of(tiny(content=content))
    assert before.tasks[0].data_sha256 != after.tasks[0].data_sha256
    assert any(line.startswith("tasks.tiny.data ") for line in differences(before.identity, after.identity))


def test_a_picture_that_changed_on_disk_changes_the_fingerprint(tmp_path: Path) -> None:
    def sample(row: Any) -> Sample:
        return Sample(id="1", question="?", row={}, media=(ImageRef(name="p", path="p.png", root=str(tmp_path)),))

    task = tiny(content=[{}], sample=sample, load=lambda source, split, reporter: iter([sample({})]))
    found = set()
    for content in (None, b"one", b"two"):
        if content is not None:
            (tmp_path / "p.png").write_bytes(content)
        found.add(plan_of(task).fingerprint)
    assert len(found) == 3


def test_the_order_of_rows_does_not_change_the_data_fingerprint() -> None:
    assert plan_of().tasks[0].data_sha256 == plan_of(tiny(content=rows(10)[::-1])).tasks[0].data_sha256


def test_differences_name_old_and_new() -> None:
    old, new = plan_of(temperature=0.0), plan_of(temperature=0.8, max_new_tokens=4096)
    assert differences(old.identity, new.identity) == [
        "tasks.tiny.max_new_tokens 512 → 4096",
        "tasks.tiny.temperature 0.0 → 0.8",
    ]


# -- seeds ------------------------------------------------------------------------------------------------------


def test_a_seed_depends_on_seed_task_sample_and_repeat() -> None:
    base = sample_seed(0, "tiny", "1", 0)
    others = [sample_seed(1, "tiny", "1", 0), sample_seed(0, "tin", "y1", 0), sample_seed(0, "tiny", "1", 1)]
    assert len({base, *others}) == 4
    assert base == int(hashlib.sha256(b'[0, "tiny", "1", 0]').hexdigest()[:16], 16) >> 11


@given(st.integers(), st.text(), st.text(), st.integers(0, 100))
def test_seeds_fit_a_double(seed: int, task: str, sample_id: str, repeat: int) -> None:
    found = sample_seed(seed, task, sample_id, repeat)
    assert 0 <= found < 2**53


# -- text -------------------------------------------------------------------------------------------------------


def test_the_plan_says_what_will_be_done() -> None:
    plan = plan_of(limit=4, repeats=2, think_budget=(1024, 2048))
    assert plan_text(plan, "nothing was run", reused=3).splitlines() == [
        "task  split  samples  prompt  generation                           scoring   requests",
        "tiny  test   4 of 10  plain   greedy, thought 1k,2k (cut) + 2,048  official  4 per sample",
        "16 requests, 3 already answered; nothing was run",
    ]


@pytest.mark.parametrize(
    ("options", "cell"),
    [
        ({}, "greedy, <= 512"),
        ({"temperature": 0.8, "top_p": 0.95, "top_k": 20}, "temperature 0.8, top-p 0.95, top-k 20, <= 512"),
        ({"max_new_tokens": 4096}, "greedy, <= 4,096"),
        ({"prompt_text": "Think."}, "plain + prompt file"),
        ({"sample_ids": ("q/3",)}, "1 of 10"),
    ],
)
def test_settings_as_the_plan_shows_them(options: dict[str, Any], cell: str) -> None:
    assert cell in plan_text(plan_of(**options))


def test_an_own_prompt_is_called_by_its_file() -> None:
    plan = plan_of(prompt_text="Think.")
    assert "  plain + prompt.txt  " in plan_text(plan, prompt_file="prompt.txt")


def test_several_tasks_stand_in_columns() -> None:
    plan = plan_of()
    (task,) = plan.tasks
    other = replace(task, task=replace(task.task, name="数学"), n=1234, total=1234)
    lines = plan_text(replace(plan, tasks=(task, other))).splitlines()
    assert lines == [
        "task  split  samples  prompt  generation      scoring",
        "tiny  test        10  plain   greedy, <= 512  official",
        "数学  test     1,234  plain   greedy, <= 512  official",
    ]


def test_hashes_and_seeds_come_with_details_alone() -> None:
    plan = plan_of()
    assert not re.search("[0-9a-f]{8}", plan_text(plan, "nothing was run"))
    text = plan_text(plan, details=True)
    for expected in (
        plan.fingerprint,
        plan.tasks[0].data_sha256,
        plan.tasks[0].prompt_sha256,
        "prompt tokens about 80",
        "seed         0",
    ):
        assert expected in text


@pytest.mark.parametrize("rows", [None, 99])
@pytest.mark.parametrize(
    ("options", "counted"),
    [({}, 10), ({"limit": 4}, None), ({"limit": 0.4}, 10), ({"sample_ids": ("q/3",)}, 10)],
    ids=str,
)
def test_the_split_has_as_many_samples_as_were_read_or_as_it_declares(
    options: dict[str, Any], counted: int | None, rows: int | None
) -> None:
    (task,) = plan_of(tiny(splits={"test": Split(rows=rows)}), **options).tasks
    assert task.total == (10 if not options else counted if rows is None else rows)


def test_of_prompts_that_are_equally_long_the_first_counts() -> None:
    longest = LongestPrompt()
    prompts = [PlannedPrompt((Message.user(text),), text, {}) for text in ("short", "first", "longest", "another")]
    for prompt in (*prompts, PlannedPrompt((Message.user(ImageRef(name="p", data=b""), "?"),), "?", {})):
        longest.take(prompt)
        assert longest.prompt.text == {1: "short", 2: "short", 3: "longest", 4: "longest", 5: "?"}[longest.n]


def test_house_d7_the_plan_calls_a_protocol_what_results_call_it() -> None:
    assert plan_text(plan_of(protocol="lenient")).endswith("  lenient rule")


def test_media_are_counted_in_the_prompt_as_text() -> None:
    picture = ImageRef(name="p", data=b"")
    messages = [Message.system("Be brief."), Message.user(picture, "and", picture, "?")]
    assert prompt_text(messages) == "[system]\nBe brief.\n[user]\n<image:1>and<image:2>?"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Think first.", "<image:1>Wieviel ist 0?\n(A) A\n(B) B\nThink first."),
        ("Q: {question} of {choices}!", "<image:1>Q: Wieviel ist 0? of (A) A\n(B) B!"),
    ],
)
def test_an_own_prompt_follows_question_and_options_or_places_them(text: str, expected: str) -> None:
    from kvl_eval.run.prompts import prompt_messages
    from kvl_eval.run.selection import chosen_samples

    task = tiny()
    config = config_of(task, Path("results"), prompt_text=text)
    sample = next(chosen_samples(task, config.tasks[0], config))
    assert prompt_text(prompt_messages(task, config.tasks[0], config, sample)) == f"[user]\n{expected}"


def test_planning_loads_no_model_and_no_data_frames() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests'); import tempfile; from pathlib import Path;"
        "from tiny_task import run_tiny; run_tiny(Path(tempfile.mkdtemp()));"
        "print([name for name in ('torch', 'transformers', 'datasets', 'pandas', 'pyarrow') if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_plan_says_what_pictures_take_and_what_cannot_fit() -> None:
    plan = plan_of()
    sizes = (
        PromptSize(pictures=0, image_tokens=0, tokens=20, limit=None, fits=True),
        PromptSize(pictures=2, image_tokens=60, tokens=90, limit=256, fits=True),
        PromptSize(pictures=4, image_tokens=200, tokens=250, limit=256, fits=False),
    )
    sized = replace(plan, tasks=(replace(plan.tasks[0], sizes=sizes),))
    assert "  0 to 4 images  " in plan_text(sized).splitlines()[1]
    text = plan_text(sized, details=True)
    assert "0 to 4 frames or pages of 30 to 50 tokens, prompts of 20 to 250 tokens (first 3)" in text
    assert "shrunk to 256 patches" in text
    (note,) = plan_notes(sized)
    assert (note.kind, note.text) == (
        "warning",
        "tiny: 1 of the first 3 prompts exceeds the context and would fail",
    )
    assert "images" not in plan_text(plan)
    video = replace(plan.tasks[0], sizes=sizes[2:], task=replace(plan.tasks[0].task, modality="video"))
    assert "  4 frames  " in plan_text(replace(plan, tasks=(video,)))
