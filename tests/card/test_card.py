"""Result cards: what they hold, that every changed byte is found, and that hostile ones are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kvl_eval.card.building import card_of
from kvl_eval.card.checking import check_card, read_card
from kvl_eval.card.document import ResultCard, canonical, digest_of
from kvl_eval.card.packing import CardAnswer, codes_of, packed, question_digest, recomputed
from kvl_eval.card.page import BEGIN, END, page
from kvl_eval.card.writing import write_cards
from kvl_eval.errors import DataError
from kvl_eval.scoring.run_reader import RunReader
from tests.cli.conftest import Kvl
from tests.cli.conftest import kvl as kvl
from tests.explanation.test_explain import answered, gold, says
from tests.refusals import refused
from tests.tiny_task import rows, sample_of, tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunReader:
    task = tiny(40)
    said = gold(40) | {f"q/{number}": says(number, right=False) for number in range(9)}
    said |= {"q/20": {"fail": "oom"}, "q/21": {"response": ""}}
    return RunReader(answered(tmp_path_factory.mktemp("run"), said, task), [task])


@pytest.fixture(scope="module")
def card(run: RunReader) -> ResultCard:
    return card_of(run, "tiny")


def written(card: ResultCard, folder: Path, *, signed: bool = False) -> Path:
    """A card's file; `signed` gives it a hash that fits."""
    path = folder / "card.html"
    path.write_text(page(replace(card, sha256=digest_of(card)) if signed else card), encoding="utf-8")
    return path


def codes(path: Path, run: RunReader | None = None) -> set[str]:
    """What is found damaged; the code of the refusal where the file is not a card."""
    try:
        return {finding.code for finding in check_card(path, run).findings if finding.severity == "damaged"}
    except DataError as error:
        assert error.exit_code == 4
        return {error.code}


def test_a_card_has_the_score_of_its_run_and_is_consistent(run: RunReader, card: ResultCard, tmp_path: Path) -> None:
    [row] = [row for row in run.folder.results().rows if row.protocol == "official"]
    assert (card.score, card.ci95, card.n) == (row.score, row.ci95, 39)
    assert (card.certainty, card.n_failed, card.n_unextracted) == ("recomputed", 1, 1)
    proof = check_card(written(card, tmp_path), run)
    assert (proof.findings, proof.exit_code) == ([], 0)
    assert proof.counts == {"planned": 40, "ok": 39, "failed": 1, "pending": 0}
    assert "1 of 40 failed or are pending: the score could be between" in card.verdict[-1]


def test_card_x14_every_changed_byte_of_the_json_is_found(card: ResultCard, tmp_path: Path) -> None:
    path = written(card, tmp_path)
    text = path.read_text(encoding="utf-8")
    start, end = text.index(BEGIN) + len(BEGIN), text.rindex(END)
    for at in range(start, end, 29):
        other = "7" if text[at] != "7" else "8"
        path.write_text(text[:at] + other + text[at + 1 :], encoding="utf-8")
        assert codes(path), text[at - 20 : at + 20]


def test_card_x14_every_changed_value_of_the_page_is_found(card: ResultCard, tmp_path: Path) -> None:
    path = written(card, tmp_path)
    text = path.read_text(encoding="utf-8")
    for shown in ("74.4", "39 scored of 40 planned", card.sha256, str(card.verdict[0]), "official"):
        at = text.index(f">{shown}") + 1
        other = "9" if text[at] != "9" else "8"  # a hash may begin with any digit
        path.write_text(text[:at] + other + text[at + 1 :], encoding="utf-8")
        assert "card.shown" in codes(path), shown


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"score": 0.99}, "card.score"),
        ({"ci95": (0.7, 0.99)}, "card.score"),
        ({"n": 40}, "card.counts"),
        ({"n_failed": 0}, "card.counts"),
        ({"n_unextracted": 0}, "card.counts"),
    ],
)
def test_card_x14_a_value_with_a_fitting_hash_is_found_by_the_verdicts(
    change: dict[str, object], code: str, card: ResultCard, tmp_path: Path
) -> None:
    assert codes(written(replace(card, **change), tmp_path, signed=True)) == {code}  # type: ignore[arg-type]


def test_invented_verdicts_are_consistent_and_not_those_of_the_run(
    run: RunReader, card: ResultCard, tmp_path: Path
) -> None:
    answers = [
        CardAnswer(question_digest("tiny", "test", f"q/{n}", "AB"[n % 2]), "correct", 1.0, str(n), "")
        for n in range(40)
    ]
    made = recomputed(packed(answers))
    assert made is not None
    invented = replace(
        card,
        **{"answers": packed(answers), "score": 1.0, "ci95": made.ci95, "n": 40, "n_failed": 0, "n_unextracted": 0},
    )
    path = written(invented, tmp_path, signed=True)
    assert codes(path) == set()
    assert "invented verdicts" in path.read_text(encoding="utf-8")  # the card says what it cannot prove
    assert "card.run" in codes(path, run)


def test_gold_answers_of_a_data_set_are_compared(card: ResultCard, tmp_path: Path) -> None:
    path = written(card, tmp_path)
    assert check_card(path, samples=map(sample_of, rows(50))).exit_code == 0
    changed = [{**row, "answer": "A"} for row in rows(50)]
    [finding] = check_card(path, samples=map(sample_of, changed)).findings
    assert (finding.code, finding.what[:8]) == ("card.gold", "20 of 40")


def test_hostile_texts_are_escaped(card: ResultCard, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202e"
    path = written(
        replace(card, title=evil, prompt=evil, verdict=(evil,), model=replace(card.model, name=evil)),
        tmp_path,
        signed=True,
    )
    text = path.read_text(encoding="utf-8")
    assert text.count("<script") == 1 and "<img" not in text and "\u202e" not in text
    assert read_card(path)[0].title == evil
    assert codes(path) == set()


def hostile(card: ResultCard) -> dict[str, bytes]:
    text, document = page(card), json.loads(canonical(card))

    def with_json(content: str) -> bytes:
        return f"{BEGIN}{content}{END}".encode()

    answers = document["answers"]
    return {
        "card.size": text.encode() + b"A" * 10_000_001,
        "card.form nested": with_json("[" * 100_000),
        "card.form deep": with_json(json.dumps({**document, "settings": {"a": "[" * 30}})[:-1] + ',"x":' + "[" * 30),
        "card.form script": text.replace("</main>", "<SCRIPT>alert(1)</SCRIPT></main>").encode(),
        "card.form twice": (text + text).encode(),
        "card.form bytes": b"\xff\xfe" + text.encode(),
        "card.form empty": b"",
        "card.form number": with_json(json.dumps({**document, "score": "high"})),
        "card.form nan": with_json(json.dumps({**document, "score": float("nan")})),
        "card.answers n": with_json(json.dumps({**document, "answers": {**answers, "n": 10**9}})),
        "card.answers base64": with_json(json.dumps({**document, "answers": {**answers, "digests": "A" * 5_000_000}})),
        "card.answers counts": with_json(
            json.dumps({**document, "answers": {**answers, "verdicts": None, "counts": {"": {"correct": 10**9}}}})
        ),
        "card.answers partial": with_json(json.dumps({**document, "answers": {**answers, "partial": "AAAA"}})),
    }


def test_card_x14_hostile_files_are_refused_with_a_reason(card: ResultCard, tmp_path: Path) -> None:
    path = tmp_path / "card.html"
    for name, data in hostile(card).items():
        path.write_bytes(data)
        assert name.split()[0] in codes(path), name
    with refused(DataError, "card.missing"):
        check_card(tmp_path / "nothing.html")


def many(n: int, code: str = "correct") -> list[CardAnswer]:
    return [
        CardAnswer(question_digest("t", "s", str(k), ("x",)), code, 0.5 if code == "partial" else 1.0, str(k // 3), "a")
        for k in range(n)
    ]


@pytest.mark.parametrize(("n", "code"), [(5_000, "correct"), (5_000, "partial"), (20_000, "wrong")])
def test_a_card_has_at_most_100_kb(n: int, code: str, card: ResultCard) -> None:
    answers = packed(many(n, code))
    assert len(page(replace(card, answers=answers)).encode()) <= 100_000
    assert codes_of(answers) == [code] * n
    assert (answers.digests is None) is (n > 5_000 or code == "partial")


def test_partial_scores_and_clusters_give_the_same_interval() -> None:
    answers = many(30) + many(12, "partial") + many(20, "wrong")
    found = recomputed(packed(answers))
    assert found is not None
    assert (found.score, found.method) == (pytest.approx(36 / 62), "cluster bootstrap")


def test_several_tasks_have_a_file_each(tmp_path: Path, run: RunReader) -> None:
    [path] = write_cards(run, tmp_path)
    assert path.name == "card.html"
    assert codes(path, run) == set()


def test_the_commands_write_and_check_a_card(kvl: Kvl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert kvl("run", "mathvista", "-m", "fake", "--limit", "6", "-q").code == 0
    said = kvl("export", "latest", "-f", "card", "-o", "out")
    assert (said.code, said.out.strip()) == (0, "out/card.html"), said.err
    said = kvl("verify", "out/card.html", "latest")
    assert said.code == 0 and "the card is that of" in said.out, said.out + said.err
    document = json.loads(kvl("verify", "out/card.html", "--json").out)
    assert (document["verdict"], document["exit_code"]) == ("complete", 0)
    text = Path("out/card.html").read_text()
    Path("out/card.html").write_text(text.replace("fake (scripted answers)", "GPT"))
    said = kvl("verify", "out/card.html")
    assert said.code == 4 and "card.shown  model" in said.out
    assert kvl("verify", "latest", "latest").code == 2
