from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kvl_eval import __version__
from kvl_eval.errors import DataError, UsageError
from kvl_eval.scorers.aggregate import mean_of_groups, summarise
from kvl_eval.scoring.rescore import fresh_results
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.store.answers import Answer, answer_of
from kvl_eval.store.manifest import ModelFacts, PlannedData, Status
from kvl_eval.store.records import Extra
from kvl_eval.store.run_folder import RunFolder
from kvl_eval.tasks.base import Prompt, Protocol, Reference, Task
from kvl_eval.types import Extraction, Message, Sample, Score, Scored, ScoreView, Summary, stored_view
from tests.records import make_record
from tests.refusals import refused
from tests.tiny_task import comparable, rescored, rows, run_tiny, sample_of, score, tiny

INSTRUCT = ModelFacts(name="kimi-vl-instruct", family="instruct")


def again(path: Path, task: Task | None = None, **options: Any) -> dict[str, Any]:
    return rescored(RunFolder.open(path), [task or tiny()], **options)


def test_scoring_again_gives_the_same_results(tmp_path: Path) -> None:
    outcome = run_tiny(tmp_path, repeats=2)
    before = comparable(outcome)
    lines = list(RunFolder.open(outcome.folder.path).scores("tiny", "official"))
    again(outcome.folder.path)
    assert comparable(outcome) == before
    assert list(RunFolder.open(outcome.folder.path).scores("tiny", "official")) == lines


def test_another_protocol_stands_beside_the_first(tmp_path: Path) -> None:
    path = run_tiny(tmp_path).folder.path
    assert [row["protocol"] for row in again(path, protocol="lenient")["rows"]] == ["official", "lenient"]
    assert [row["protocol"] for row in again(path, protocol="all")["rows"]] == ["official", "lenient"]
    kinds = [(row["protocol"], row["thinking"]) for row in again(path, view="raw")["rows"]]
    assert kinds == [("official", "raw"), ("official", "split"), ("lenient", "split")]
    assert sorted(file.name for file in (path / "scores").iterdir()) == [
        f"tiny@lenient-{__version__}.jsonl",
        f"tiny@official-{__version__}.jsonl",
        f"tiny@official.raw-{__version__}.jsonl",
    ]
    with refused(UsageError, "usage.protocol"):
        again(path, protocol="offical")


def test_scores_hold_what_was_extracted_beside_gold(tmp_path: Path) -> None:
    folder = run_tiny(tmp_path, model_args={"answers": "constant:B", "fail": "oom:@q/2"}).folder
    found = list(folder.scores("tiny", "official"))
    assert [line.sample_id for line in found] == [f"q/{number}" for number in range(10) if number != 2]
    first = found[0]
    assert (first.extracted, first.gold, first.score, first.verdict) == ("B", ("A",), 0.0, "wrong")
    assert (first.extract_ok, first.extract_method, first.scorer) == (True, "letter", "tiny@official")


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        pytest.param("B", (10, 0), id="followed and read"),
        pytest.param("\\boxed{B}", (0, 0), id="in another form"),
        pytest.param("(B)", (10, 10), id="followed, and the protocol reads nothing"),
        pytest.param("◁think▷ B", (0, 0), id="a thought that was never closed"),
        pytest.param("◁think▷ A ◁/think▷ B", (10, 0), id="after a thought"),
    ],
)
@pytest.mark.parametrize("view", ["answer", "raw"])
def test_answers_in_the_form_of_the_prompt_are_counted(
    tmp_path: Path, answer: str, counts: tuple[int, int], view: ScoreView
) -> None:
    def bare(sample: Sample, text: str, extraction: Extraction) -> Score:
        return Score.no_answer("none") if "(" in text else score(sample, text, extraction)

    letter = Prompt(lambda sample: [Message.user(sample.question)], "letter")
    task = tiny(prompts={"plain": letter}, protocols={"official": Protocol(score=bare)})
    path = run_tiny(tmp_path, task, model_args={"answers": f"constant:{answer}"}).folder.path
    row = next(row for row in again(path, task, view=view)["rows"] if row["thinking"] == stored_view(view))
    assert (row["n_followed"], row["n_followed_unread"]) == counts


def test_any_answer_follows_a_prompt_that_asks_for_no_form(tmp_path: Path) -> None:
    letter = Prompt(lambda sample: [Message.user(sample.question)], "letter")
    fields: dict[str, Any] = {"prompts": {"plain": letter}, "name": "tiny"}
    for task, options in ((tiny(), {}), (tiny(**fields), {"prompt_text": "Say it in your own words."})):
        path = run_tiny(tmp_path / str(len(options)), task, model_args={"answers": "constant:?"}, **options).folder.path
        row = again(path, task)["rows"][0]
        assert (row["n_followed"], row["n_followed_unread"]) == (10, 0)


def test_a_prompt_that_is_not_known_has_no_form_to_follow(tmp_path: Path) -> None:
    path = run_tiny(tmp_path).folder.path
    renamed = tiny(prompts={"new": tiny().prompts["plain"]}, default_prompt="new")
    row = again(path, renamed)["rows"][0]
    assert "n_followed" not in row and "n_followed_unread" not in row
    stored = RunFolder.open(path).results().rows[0]
    assert (stored.n_followed, stored.n_followed_unread) == (None, None)


def test_unclosed_thoughts_are_no_answer_and_raw_sees_the_thought(tmp_path: Path) -> None:
    seen: list[str] = []

    def remember(sample: Sample, answer: str, extraction: Extraction) -> Score:
        seen.append(answer)
        return score(sample, answer, extraction)

    task = tiny(protocols={"official": Protocol(score=remember)})
    path = run_tiny(tmp_path, task, max_new_tokens=4, model_args={"think": 9, "answers": "constant:A"}).folder.path
    assert again(path, task)["rows"][0]["verdicts"] == {"no_answer": 10}
    reasons = {line.reason for line in RunFolder.open(path).scores("tiny", "official")}
    assert reasons == {"thought_unclosed"}
    assert set(seen) == {""}
    seen.clear()
    again(path, task, view="raw")
    assert all(text.startswith("◁think▷") for text in seen) and len(seen) == 10


@pytest.mark.parametrize(
    ("record", "answer", "raw"),
    [
        ({"raw_output": " B<|im_end|>", "answer": "B"}, ("", "B", None, "B"), " B"),
        ({"raw_output": "B[EOS]", "answer": "B"}, ("", "B", None, "B"), "B"),
        (
            {"raw_output": "◁think▷so◁/think▷ B<|im_end|>", "thinking": "so", "answer": "B", "think_closed": True},
            ("so", "B", True, "◁think▷so◁/think▷ B"),
            "◁think▷so◁/think▷ B",
        ),
        (
            {"raw_output": "<think>so</think>B", "thinking": "so", "answer": "B", "think_closed": True},
            ("so", "B", True, "◁think▷so◁/think▷B"),
            "<think>so</think>B",
        ),
        (
            {"raw_output": "◁think▷so", "thinking": "so", "answer": "", "think_closed": False},
            ("so", "", False, "◁think▷so"),
            "◁think▷so",
        ),
    ],
)
def test_what_a_scorer_is_given(record: dict[str, Any], answer: tuple[object, ...], raw: str) -> None:
    stored = make_record("1", **{"think_closed": None, **record})
    for record_of_version in (stored, replace(stored, extra=Extra(thought=Answer.of(raw).family))):
        found = answer_of(record_of_version, "answer")
        assert (found.thinking, found.text, found.closed, found.marked) == answer
        assert not found.is_split_again
    assert answer_of(stored, "raw") == Answer.of(raw)


@pytest.mark.parametrize(
    ("record", "family"),
    [
        ({"answer": "[THINK]so[/THINK]B"}, "magistral"),
        ({"answer": "so</reasoning>\nB"}, "reasoning"),
        ({"answer": "<reflection>x</reflection>B", "thinking": "so", "think_closed": True}, "kimi"),
    ],
)
def test_what_an_earlier_version_stored_is_split_by_the_table(record: dict[str, Any], family: str) -> None:
    stored = make_record("1", **{"think_closed": None, **record})
    found = answer_of(stored, "answer")
    assert (found.text, found.closed, found.family, found.is_split_again) == ("B", True, family, True)
    as_stored = answer_of(replace(stored, extra=Extra(thought="")), "answer")
    assert (as_stored.text, as_stored.is_split_again) == (record["answer"], False)


def test_a_protocol_with_draws_sees_each_repeat_as_a_whole_run_in_order(tmp_path: Path) -> None:
    runs: list[list[str]] = []

    def score_run(items: Sequence[tuple[Sample, str, Extraction]]) -> list[Score]:
        runs.append([item[0].id for item in items])
        return [score(*item) for item in items]

    task = tiny(protocols={"official": Protocol(score=score, score_run=score_run)})
    path = run_tiny(tmp_path, task, repeats=2, model_args={"concurrency": 4, "delay": 0.001, "jitter": 1.0}).folder.path
    runs.clear()
    again(path, task)
    assert runs == [[f"q/{number}" for number in range(10)]] * 2


def test_an_aggregate_may_read_the_rows_of_samples(tmp_path: Path) -> None:
    def aggregate(scored: Sequence[Scored], protocol: str) -> Summary:
        total = sum(one.sample.row["number"] for one in scored)
        assert set(scored[0].sample.row) == {"id", "number", "question", "answer"}
        return summarise(scored, {"sum": str(total)}, unit="points")

    [row] = run_tiny(tmp_path, tiny(aggregate=aggregate)).results.rows
    assert (row.official, row.unit) == ({"sum": "45"}, "points")


def test_questions_that_share_a_page_are_clustered(tmp_path: Path) -> None:
    [row] = run_tiny(tmp_path, tiny(content=rows(10, pages=True))).results.rows
    assert row.ci_method == "cluster bootstrap"
    [alone] = run_tiny(tmp_path).results.rows
    assert alone.ci_method == "wilson"


def test_a_run_without_a_single_answer_is_an_empty_result(tmp_path: Path) -> None:
    path = run_tiny(tmp_path).folder.path
    (path / "samples" / "tiny.jsonl").unlink()
    [row] = again(path)["rows"]
    assert (row["score"], row["ci95"], row["n_pending"], row["bounds"]) == (None, None, 10, [0.0, 1.0])


def test_a_lost_manifest_still_lets_answers_be_scored(tmp_path: Path) -> None:
    outcome = run_tiny(tmp_path)
    before = outcome.results.rows[0].score
    (outcome.folder.path / "run.json").unlink()
    results = again(outcome.folder.path)
    assert results["model"] == {"name": "unknown"}
    assert results["rows"][0]["score"] == before


def test_a_changed_plan_is_not_scored(tmp_path: Path) -> None:
    path = run_tiny(tmp_path).folder.path
    file = path / "plan.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(DataError):
        again(path)


def with_reference(**changes: Any) -> Task:
    return tiny(reference=Reference(benchmark="mathvista", split="testmini"), **changes)


def test_scripted_answers_get_a_reference_but_no_delta(tmp_path: Path) -> None:
    [row] = run_tiny(tmp_path, with_reference()).results.rows
    reference = row.reference
    assert reference is not None and reference.system == "kimi-vl-a3b-instruct" and reference.source
    assert (reference.delta, reference.inside_ci, reference.note) == (None, None, "scripted answers")


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({}, None),
        ({"demo": True}, "demo model, not Kimi-VL-A3B"),
        ({"blind": True}, "blind run: images were replaced with gray"),
        ({"data": {"tiny": PlannedData(split="test", partial="limit 20 of 1000")}}, "partial: limit 20 of 1000"),
        ({"data": {"tiny": PlannedData(split="mini")}}, "the mini split"),
    ],
    ids=str,
)
def test_a_delta_stands_only_where_figures_can_be_compared(tmp_path: Path, changes: dict[str, Any], note: str) -> None:
    folder = run_tiny(tmp_path, with_reference()).folder
    folder.save(replace(folder.manifest, model=INSTRUCT, **changes))
    (folder.path / "results.json").unlink()
    [row] = again(folder.path, with_reference())["rows"]
    reference = row["reference"]
    assert reference["note"] == note
    assert reference["delta"] == (None if note else pytest.approx(row["score"] - reference["value"]))


def test_a_model_of_which_only_the_origin_is_known_gets_no_reference(tmp_path: Path) -> None:
    folder = run_tiny(tmp_path, with_reference()).folder
    folder.save(replace(folder.manifest, model=replace(INSTRUCT, others={"family_rule": "origin"})))
    [row] = again(folder.path, with_reference())["rows"]
    assert row.get("reference") is None


@pytest.mark.parametrize(("status", "kept"), [("finished", True), ("interrupted", False)])
def test_stored_results_are_taken_of_a_finished_run_alone(tmp_path: Path, status: Status, kept: bool) -> None:
    folder = run_tiny(tmp_path).folder
    folder.save(replace(folder.manifest, status=status))
    stored = folder.results()
    folder.write_results(replace(stored, rows=()))
    assert (fresh_results(RunReader.open(folder.path, [tiny()])).rows == ()) is kept
    (folder.path / "results.json").unlink()
    assert fresh_results(RunReader.open(folder.path, [tiny()])).rows == stored.rows


def test_another_protocol_gets_no_delta(tmp_path: Path) -> None:
    folder = run_tiny(tmp_path, with_reference()).folder
    folder.save(replace(folder.manifest, model=INSTRUCT))
    found = again(folder.path, with_reference(), protocol="all")["rows"]
    assert [row["reference"]["note"] for row in found] == [None, "other protocol"]


def test_scoring_again_loads_no_model_and_no_data(tmp_path: Path) -> None:
    path = run_tiny(tmp_path).folder.path
    code = (
        "import sys; sys.path.insert(0, 'tests'); from tiny_task import rescored, tiny;"
        "from kvl_eval.store.run_folder import RunFolder;"
        "from dataclasses import replace; task = replace(tiny(), load=None);"
        f"rescored(RunFolder.open({str(path)!r}), [task]);"
        "names = ('torch', 'transformers', 'datasets', 'pandas', 'numpy', 'pyarrow', 'PIL');"
        "print([name for name in names if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_results_do_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    path = run_tiny(tmp_path, repeats=2).folder.path
    code = (
        "import sys; sys.path.insert(0, 'tests'); from tiny_task import rescored, tiny;"
        "from kvl_eval.store.run_folder import RunFolder;"
        f"rescored(RunFolder.open({str(path)!r}), [tiny()])"
    )
    root = Path(__file__).resolve().parents[2]
    found = set()
    for seed in ("0", "1", "4242"):
        environment = {"PYTHONHASHSEED": seed, "PATH": ""}
        subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, check=True)
        found.add((path / "results.json").read_bytes())
    assert len(found) == 1


def test_results_are_plain_json(tmp_path: Path) -> None:
    path = run_tiny(tmp_path, tiny(0, content=[{**rows(1)[0], "question": "\ud800 lone"}])).folder.path
    assert json.loads((path / "results.json").read_bytes())["rows"][0]["n_ok"] == 1
    assert next(RunFolder.open(path).plan()).sample.question == "\ud800 lone"


def test_samples_come_back_from_the_plan_whole(tmp_path: Path) -> None:
    path = run_tiny(tmp_path).folder.path
    for number, entry in enumerate(RunFolder.open(path).plan()):
        sample = sample_of(entry.sample.row)
        assert sample.id == f"q/{number}"
        assert sample.answers == entry.sample.gold == ("AB"[number % 2],)


def test_a_mean_of_tasks_has_no_interval_of_the_mean_of_questions(tmp_path: Path) -> None:
    path = run_tiny(tmp_path).folder.path
    task = replace(tiny(), aggregate=lambda scored, protocol: Summary(score=0.123))
    row = again(path, task)["rows"][0]
    assert (row["score"], row["ci95"], row["bounds"]) == (0.123, None, [0.123, 0.123])
    assert row["ci_method"] == "none: no plain mean"


def test_a_mean_of_groups_has_an_interval_of_its_own(tmp_path: Path) -> None:
    path = run_tiny(tmp_path, model_args={"answers": "constant:A", "fail": "oom:@q/9"}).folder.path
    weights = {"even": 0.25, "odd": 0.75}
    task = replace(tiny(), aggregate=lambda scored, _: mean_of_groups(summarise(scored), "parity", weights))
    row = again(path, task)["rows"][0]
    assert (row["score"], row["ci_method"], row["n_scored"]) == (0.25, "macro wilson", 9)
    right, wrong = row["categories"]["parity"]["even"]["ci95"], row["categories"]["parity"]["odd"]["ci95"]
    assert row["ci95"] == pytest.approx([0.25 * right[0], 0.25 + 0.75 * wrong[1]])
    assert (row["stderr"], row["bounds"]) == (0.0, [0.0, 1.0])
