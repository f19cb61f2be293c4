"""Every row of the tables of wordings and marks is needed: some reply is read right by that row alone."""

from __future__ import annotations

import re

import pytest

from kvl_eval.scorers.answers import Kind, Wanted, languages, read, wordings

LETTER = Wanted(kind="letter", options=("red", "green", "blue", "black"))

REPLIES: dict[str, tuple[str, ...]] = {
    "REFUSALS": (
        "I can not see the picture.",
        "Answer: I don't know",
        "Dunno.",
        "I don't see any image.",
        "You haven't provided an image.",
        "Not sure.",
        "I'm unsure.",
        "I have no idea.",
        "The answer is not clear.",
        "The text is illegible.",
        "The picture is too blurry.",
        "There isn't enough information.",
        "Insufficient information.",
        "More context is needed.",
        "I need further details.",
        "No image was attached.",
        "The image failed to load.",
        "As an AI model, I answer only text.",
        "I'm only a language model.",
        "I'm sorry.",
        "None of the above.",
        "N/A",
        "Unknown",
        "I refuse to answer.",
        "No correct answer.",
        "Not answerable",
        "I would need to see the image.",
        "It is not one of the given options.",
        "正确结果不在选项中。",
        "无法判断",
        "Das kann ich nicht beantworten.",
        "Je ne sais pas.",
        "No lo sé.",
        "分かりません。",
        "Ik weet het niet.",
    ),
    "ABSENCES": (
        "The image does not show any text.",
        "The information is not available.",
        "There is no such table in the report.",
        "The document contains no information about that year.",
    ),
    "HEDGES": (
        "Maybe.",
        "Possibly red or green.",
        "Either D or B.",
        "I am torn between D and B.",
        "It depends.",
        "Yes and no.",
        "Not necessarily; more information is needed.",
        "It could be B or A.",
        "Vielleicht.",
    ),
    "UNANSWERABLE": (
        "N/A",
        "The information is not available.",
        "It isn't in the report.",
        "No target found in step 3 of 4.",
        "There isn't enough information.",
        "None of the pages mentions it.",
        "The image does not show any text.",
        "I can not see the picture.",
        "Insufficient information.",
        "抱歉，我无法回答",
        "Das Dokument enthält dazu keine Angabe.",
        "Ce n'est pas précisé.",
    ),
    "NOT_MEANT": (
        "Yes. There is no doubt.",
        "The answer is yes: nothing is missing.",
        "A cannot be right.",
        "I am not sure about the unit.",
        "There is no difference between them.",
    ),
}
ANNOUNCED: dict[str, tuple[str, ...]] = {
    "LINES": (
        "最终答案：C", "答：C", "正确选项：C", "Die richtige Antwort: C", "Lösung: C", "Antwoord: C",
        "Réponse finale : C",
        "Risposta: C", "Respuesta: C", "Resposta: C", "答え：C", "正解：C", "정답: C",
        "Ответ: C", "الإجابة: C",
        "उत्तर: C", "Jawaban: C",
    ),
    "SENTENCES": (
        "答案是C", "所以选C", "选C", "我认为是C", "Ich wähle C", "คำตอบคือ C",
        "Die richtige Antwort ist C.", "Richtig ist Option C.",
        "Het juiste antwoord is C.",
        "La bonne réponse est C.", "C'est l'option C.", "La risposta corretta è C.", "La respuesta es C.",
        "A resposta correta é C.", "答えはCです。", "정답은 C입니다.", "Ответ — C", "الإجابة هي C", "सही उत्तर है C",
    ),
}  # fmt: skip


def alone(table: tuple[str, ...], index: int, text: str) -> bool:
    """Whether the row at an index, and no other row of its table, matches a text."""
    flags = re.IGNORECASE | re.MULTILINE
    matching = [place for place, row in enumerate(table) if re.search(row, text.replace("’", "'"), flags)]
    return matching == [index]


@pytest.mark.parametrize("name", REPLIES)
def test_no_row_of_wordings_could_go(name: str) -> None:
    table: tuple[str, ...] = getattr(wordings, name)
    idle = [row for index, row in enumerate(table) if not any(alone(table, index, reply) for reply in REPLIES[name])]
    assert idle == []


def test_what_the_tables_match_is_not_read() -> None:
    for name in ("REFUSALS", "ABSENCES", "HEDGES"):
        for reply in REPLIES[name]:
            assert wordings.refuses(reply) or wordings.hedges(reply), reply
            assert read(reply, LETTER).value is None, reply
    assert all(wordings.denies(reply) for reply in REPLIES["UNANSWERABLE"])
    assert not any(wordings.refuses(reply) for reply in REPLIES["NOT_MEANT"])


@pytest.mark.parametrize("name", ANNOUNCED)
def test_every_announcement_is_read_in_its_language(name: str) -> None:
    table: tuple[str, ...] = getattr(languages, name)
    assert len(ANNOUNCED[name]) == len(table)
    for row, reply in zip(table, ANNOUNCED[name], strict=True):
        assert re.search(row, reply, re.IGNORECASE), row
        reading = read(reply, LETTER)
        assert reading.value == "C", reply
        assert reading.how in ("answer_line", "answer_is"), reply


@pytest.mark.parametrize("kind", ["letter", "letters", "yesno", "integer", "float", "text", "list", "point", "box"])
@pytest.mark.parametrize("behind", ["", ".", ": C", ". (C)", "\nC", "\n\nAnswer: 12", "\n\\boxed{yes}", "\n(0.5, 0.5)"])
@pytest.mark.parametrize("thought", ["", "<think>C</think>"])
def test_a_harness_that_failed_answered_nothing(kind: Kind, behind: str, thought: str) -> None:
    wanted = Wanted(kind=kind, options=("red", "green", "blue"), size=(640, 480), unanswerable=True)
    reading = read(f"{thought}Failed to obtain answer via API{behind}", wanted)
    assert (reading.value, reading.reason) == (None, "refusal")
