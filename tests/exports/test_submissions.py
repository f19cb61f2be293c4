"""Files for test servers, as `kvl-eval export --format submission` writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kvl_eval.backends.fake import FakeBackend
from kvl_eval.errors import UsageError
from kvl_eval.evaluation import evaluate
from kvl_eval.exports import export_run
from kvl_eval.store.run_folder import RunFolder
from tests.clips import write_clip

QUESTION = {"google_drive_id": "x", "question": "What does C do?", **{f"option {i}": f"C does {i}" for i in range(5)}}


def test_infovqa_submits_what_follows_the_thought(tmp_path: Path) -> None:
    backend = FakeBackend(answer=lambda request, repeat: f"◁think▷hm◁/think▷answer {repeat}")
    done = evaluate(tasks=["infovqa"], limit=4, repeats=2, backend=backend, model="fake", output_dir=str(tmp_path))
    (path,) = export_run(RunFolder.open(done.path), "submission", tmp_path / "out")
    assert path == tmp_path / "out" / "infovqa-mini" / "infovqa_submission.json"
    listed = json.loads(path.read_text(encoding="utf-8"))
    assert [one["answer"] for one in listed] == ["answer 0"] * 4
    planned = dict.fromkeys(entry.sample_id for entry in RunFolder.open(done.path).plan())
    assert [str(one["questionId"]) for one in listed] == list(planned)


def test_egoschema_full_has_no_score_and_a_file_for_each_server(tmp_path: Path) -> None:
    names = ["aaaa", "bbbb", "cccc"]
    (tmp_path / "data" / "videos").mkdir(parents=True)
    for name in names:
        write_clip(tmp_path / "data" / "videos" / f"{name}.mp4", 12)
    questions = [{"q_uid": name, **QUESTION} for name in names]
    (tmp_path / "data" / "questions.json").write_text(json.dumps(questions))
    replies = {"aaaa": "B", "bbbb": "no idea", "cccc": "(E)"}
    backend = FakeBackend(answer=lambda request, repeat: next(replies[name] for name in names if name in request.key))
    done = evaluate(
        model="fake",
        tasks=["egoschema"],
        split="full",
        data_dir=str(tmp_path / "data"),
        backend=backend,
        output_dir=str(tmp_path / "results"),
    )
    files = {path.name: path for path in export_run(RunFolder.open(done.path), "submission", tmp_path / "out")}
    assert json.loads(files["egoschema_submission.json"].read_text()) == {"aaaa": 1, "bbbb": -1, "cccc": 4}
    assert files["egoschema_kaggle.csv"].read_text() == "q_uid,answer\naaaa,1\nbbbb,-1\ncccc,4\n"


def test_a_run_that_no_server_scores_is_refused(tmp_path: Path) -> None:
    done = evaluate(tasks=["mmmu"], limit=2, model="fake", output_dir=str(tmp_path))
    with pytest.raises(UsageError) as found:
        export_run(RunFolder.open(done.path), "submission", tmp_path / "out")
    assert found.value.code == "export.submission"
    assert "infovqa" in str(found.value.fix)
