from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import DataError
from kvl_eval.sources import Source
from kvl_eval.tasks.mmlongbench_doc import NOT_COMPARABLE, ROWS, TASK
from kvl_eval.types import MISSING, Message, PdfRef, Sample, Scored
from tests.golden import rows
from tests.refusals import refused
from tests.tasks.tables import write_json, write_parquet, write_tsv

ROW = {
    "doc_id": "report.pdf",
    "doc_type": "Guidebook",
    "question": "How many boats?",
    "answer": "8",
    "evidence_pages": "[3, 5]",
    "evidence_sources": "['Chart', 'Figure']",
    "answer_format": "Int",
}
PROTOCOLS = ("official", "official-exact", "vlmevalkit")
LITERAL = "mml-p-adv-0256"


def _sample(row: dict[str, Any]) -> Sample:
    """The sample of a vector's row with gold and format as they stand: a table with such cells is refused."""
    made = TASK.sample({**row, "answer": "gold", "answer_format": "Str"})
    categories = {**made.categories, "answer_format": (row["answer_format"],)}
    return replace(made, answers=(str(row["answer"]),), categories=categories)


def check_vectors(vectors: list[dict[str, Any]]) -> None:
    assert vectors
    for row in vectors:
        sample = _sample(row)
        expected = row["expected"]
        for name, answer, extraction in (
            ("official-exact", row["response"], MISSING),
            *((name, "anything", expected["extracted"]) for name in PROTOCOLS),
        ):
            score = TASK.protocols[name].score(sample, answer, extraction)
            assert score.value == pytest.approx(expected["score"], abs=1e-12), row["id"]
            assert score.extracted == expected["extracted"], row["id"]
            raised = score.reason == NOT_COMPARABLE
            assert raised is (expected["raises"] is not None or row["id"] == LITERAL), row["id"]
        compared = TASK.protocols["lmms-eval"].score(sample, row["response"], MISSING)
        assert compared.value == pytest.approx(expected["lmms_eval_score_on_extracted"], abs=1e-12), row["id"]


def test_hand_made_vectors(data: Path) -> None:
    check_vectors(list(rows(data / "mmlongbench_doc" / "vectors_handmade.jsonl")))


@pytest.mark.shared
def test_all_vectors(shared: Path) -> None:
    check_vectors(list(rows(shared / "mmlongbench_doc" / "vectors.jsonl")))


@pytest.mark.shared
@pytest.mark.parametrize("run", ["run_synthetic", "run_MDocAgent-top4"])
def test_whole_runs_print_the_official_figures(shared: Path, run: str) -> None:
    expected = json.loads((shared / "mmlongbench_doc" / f"{run}.summary.json").read_text())
    scored, counted = [], []
    for row in rows(shared / "mmlongbench_doc" / f"{run}.jsonl.gz"):
        sample = TASK.sample(row)
        scored.append(Scored(sample=sample, score=TASK.protocols["official"].score(sample, "", row["extracted"])))
        counted.append(Scored(sample=sample, score=TASK.protocols["vlmevalkit"].score(sample, "", row["extracted"])))
        assert scored[-1].score.value == pytest.approx(row["score"], abs=1e-12)
        assert scored[-1].score.extracted == row["extracted"]
        assert row["pred"] == (row["extracted"] if row["raises"] is None else "Failed to extract")
    summary = TASK.aggregate(scored, "official")
    assert summary.score == pytest.approx(expected["official"]["acc"], abs=1e-12)
    printed = [line.split(" | ") for line in expected["official"]["show_results_text"].splitlines() if " | " in line]
    assert list(summary.official) == [parts[0].split(": ")[0] if len(parts) == 2 else parts[0] for parts in printed]
    for name, *parts in printed:
        value = name.split(": ")[1] if len(parts) == 1 else parts[0].split(": ")[1]
        found = summary.official[name.split(": ")[0] if len(parts) == 1 else name]
        assert float(found) == pytest.approx(float(value), abs=1e-12), name
    if "vlmevalkit_aggregation" in expected:
        figures = TASK.aggregate(counted, "vlmevalkit").official
        for name, value in expected["vlmevalkit_aggregation"].items():
            if name != "num":
                assert float(figures[name]) == pytest.approx(value, abs=1e-12), name


@pytest.mark.shared
def test_the_july_rows_are_recognised(shared: Path, tmp_path: Path) -> None:
    july = [{key: row[key] for key in ROW} for row in rows(shared / "mmlongbench_doc" / "run_synthetic.jsonl.gz")]
    write_json(tmp_path / "samples.json", july)
    samples = load(tmp_path)
    assert [one.id for one in samples[:2]] == ["2024-07-15/0", "2024-07-15/1"]
    counted: dict[str, int] = {"rows": len(samples)}
    for sample in samples:
        for field in ("pages", "answer_format"):
            for value in sample.categories[field]:
                counted[f"{field}={value}"] = counted.get(f"{field}={value}", 0) + 1
    assert counted == TASK.data.count["train"]
    assert len({one.cluster for one in samples}) == 135
    write_json(tmp_path / "samples.json", [{**july[0], "question": "edited"}, *july[1:]])
    assert load(tmp_path)[0].id == "2025-09/0"
    with refused(DataError, "data.version", "2025-09") as caught:
        load(tmp_path, "2024-07-15")
    assert caught.value.code == "data.version"


def test_versions_are_told_apart_by_their_number_of_rows(tmp_path: Path) -> None:
    write_json(tmp_path / "samples.json", [ROW] * ROWS["2024-07-09"])
    assert load(tmp_path)[5].id == load(tmp_path, "2024-07-09")[5].id == "2024-07-09/5"
    with pytest.raises(DataError):
        load(tmp_path, "2025-09")


def test_a_version_nobody_has_is_an_error(tmp_path: Path) -> None:
    write_json(tmp_path / "samples.json", [ROW])
    with refused(DataError, "data.version", "'v1'") as caught:
        load(tmp_path, "v1")
    assert caught.value.code == "data.version"


def load(folder: Path, version: str | None = None) -> list[Sample]:
    return list(TASK.load(Source(data_dir=folder, version=version), "train"))


def test_hub_layout(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", [ROW, {**ROW, "doc_id": "gone.pdf"}])
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "report.pdf").write_bytes(b"%PDF")
    first, second = load(tmp_path)
    assert (first.id, first.answers, first.cluster) == ("other/0", ("8",), "report.pdf")
    assert first.categories == {
        "evidence_source": ("Chart", "Figure"),
        "pages": ("cross-page",),
        "doc_type": ("Guidebook",),
        "answer_format": ("Int",),
    }
    (document,) = first.media
    assert document == PdfRef(
        name="document report.pdf", path="documents/report.pdf", root=str(tmp_path), dpi=144, max_pages=120
    )
    assert second.media[0].path == "documents/gone.pdf"
    check_again(first)


def test_authors_layout_takes_the_version_it_is_told(tmp_path: Path) -> None:
    write_json(tmp_path / "data" / "samples.json", [ROW])
    (tmp_path / "data" / "documents").mkdir()
    (tmp_path / "data" / "documents" / "report.pdf").write_bytes(b"%PDF")
    (sample,) = load(tmp_path, "2024-07-15")
    assert (sample.id, sample.media[0].path) == ("2024-07-15/0", "data/documents/report.pdf")
    check_again(sample)


def test_vlmevalkit_layout_holds_the_documents(tmp_path: Path) -> None:
    packed = base64.b64encode(b"%PDF-1.4" + bytes(80)).decode()
    table = [
        {**ROW, "index": 0, "image": packed, "image_path": "['report_1.jpg']"},
        {**ROW, "index": 1, "image": "0", "image_path": "['report_1.jpg']"},
        {**ROW, "index": 2, "image": "?" * 100, "image_path": "[]"},
    ]
    write_tsv(tmp_path / "MMLongBench_DOC.tsv", table)
    first, second, broken = load(tmp_path)
    assert first.media[0].data == second.media[0].data == b"%PDF-1.4" + bytes(80)
    assert broken.media[0].data == b"?" * 64
    check_again(second)


@pytest.mark.parametrize(
    ("pages", "answer", "kinds"),
    [
        ("[3]", "8", ("single-page",)),
        ("[]", "8", ("cross-page",)),
        ("[1, 2]", "8", ("cross-page",)),
        ("[]", "Not answerable", ("unanswerable",)),
        ("[4]", "Not answerable", ("single-page", "unanswerable")),
    ],
)
def test_groups_by_pages(pages: str, answer: str, kinds: tuple[str, ...]) -> None:
    assert TASK.sample({**ROW, "evidence_pages": pages, "answer": answer}).categories["pages"] == kinds


def test_each_prompt_puts_media_and_words_in_its_order() -> None:
    sample = TASK.sample({**ROW, "question": "How many? "})
    document = PdfRef(name="d", path="d.pdf")
    sample = Sample(id=sample.id, question=sample.question, row=sample.row, media=(document,))
    assert TASK.default_prompt == "pages_first"
    assert TASK.prompts["pages_first"](sample) == [Message.user(document, "How many? ")]
    assert TASK.prompts["question_first"](sample) == [Message.user("How many? ", document)]
    asked = "Answer with a single word or phrase. If the answer is not in the document, answer 'Not answerable'."
    assert TASK.prompts["short_answer"](sample) == [Message.user(document, f"How many?\n{asked}")]


@pytest.mark.parametrize(
    ("answer", "extraction", "verdict", "extracted"),
    [
        ("There are 8 boats.", MISSING, "correct", "8"),
        ("There are 9 boats.", MISSING, "wrong", "9"),
        ("That cannot be determined.", MISSING, "wrong", "Not answerable"),
        ("", MISSING, "no_answer", None),
        ("9", "Extracted answer: 8\nAnswer format: Integer", "correct", "8"),
        ("9", "Answer format: Integer Extracted answer: 8", "wrong", "Failed to extract"),
        ("8", None, "no_answer", None),
    ],
)
def test_verdicts(answer: str, extraction: Any, verdict: str, extracted: str | None) -> None:
    score = TASK.protocols["official"].score(TASK.sample(ROW), answer, extraction)
    assert (score.verdict, score.extracted) == (verdict, extracted)


def test_a_judge_is_asked_about_every_answer_but_an_empty_one() -> None:
    sample = TASK.sample(ROW)
    assert TASK.judge_prompt is not None
    assert TASK.judge_prompt(sample, " \n") is None
    assert "How many boats?" in (TASK.judge_prompt(sample, "Eight.") or "")


def test_f1_compares_refusals_letter_by_letter() -> None:
    def figures(refusal: str) -> dict[str, str]:
        given_ = [({**ROW}, "8"), ({**ROW, "answer": "Not answerable", "answer_format": "None"}, refusal)]
        scored = [
            Scored(sample=TASK.sample(row), score=TASK.protocols["official"].score(TASK.sample(row), "", text))
            for row, text in given_
        ]
        return dict(TASK.aggregate(scored, "official").official)

    exact, small = figures("Not answerable"), figures("not answerable")
    assert exact["Overall Acc"] == small["Overall Acc"] == "1.0"
    assert float(exact["Overall F1-score"]) == 1.0
    assert float(small["Overall F1-score"]) == pytest.approx(2 / 3)


@given(response=st.text(max_size=80), kind=st.sampled_from(("Int", "Float", "Str", "List", "None")))
def test_any_response_gets_a_score_in_range(response: str, kind: str) -> None:
    sample = TASK.sample({**ROW, "answer_format": kind})
    for protocol in TASK.protocols.values():
        score = protocol.score(sample, response, MISSING)
        assert score.value is not None
        assert 0 <= score.value <= 1


def test_missing_columns_are_named(tmp_path: Path) -> None:
    write_json(tmp_path / "samples.json", [{"doc_id": "a.pdf", "question": "?", "answer": "x"}])
    with refused(DataError, "data.field", "answer_format"):
        load(tmp_path)


def test_evidence_that_is_code_is_refused() -> None:
    with pytest.raises(DataError):
        TASK.sample({**ROW, "evidence_pages": "[__import__('os')]"})


def check_again(sample: Sample) -> None:
    """A stored row gives the same sample without its document."""
    again = TASK.sample(json.loads(json.dumps(sample.row)))
    for name in ("id", "question", "row", "answers", "categories", "cluster"):
        assert getattr(again, name) == getattr(sample, name), name
    assert again.media == ()
