"""Spellings of one letter that models write: X is the letter, x the same small, T its option's text.

Sorted by kind. Each is read for every letter; what looks like them and names no one letter is at the end.
"""

from __future__ import annotations

import re

import pytest

from kvl_eval.scorers.answers import Wanted, read

TEXTS = ("red car", "blue bus", "green tram", "black van")
ASKED = Wanted(kind="letter", options=tuple(f"a {text}" for text in TEXTS))
BARE = Wanted(kind="letter", options=("", "", "", ""))
SPELLINGS: dict[str, tuple[str, ...]] = {
    "words before": (
        "So we pick X.", "Option X;", "Option X", "Option X,", "Option X:", "Option X!", "option x;", "Option: X;",
        "Option (X);", "Option 'X'", "Option \"X\".", "Option-X", "Option_X", "OPTION X", "opt. X", "Opt X",
        "Choice X;", "choice: x", "Choice (X),", "Letter X.", "The letter X", "Letter: X;", "Select X", "Select X.",
        "Select option X", "Choose X", "Choose (X).", "Pick X", "Pick option X.", "Selected: X", "Selection: X",
        "Selected option: X", "Prediction: X", "Output: X", "（Ｘ）", "Ｘ", "Ｘ。", "Ｘ，", "Ⓧ", "Ⓧ。",
        "Question 1: X", "I think X", "I think it's X", "I think X.", "I guess X", "I'd go X", "I go with X",
        "I choose X;", "I select (X).", "I pick: X", "I say X", "I would say (X).", "It's X;", "It's (X),",
        "It is X;", "It must be X!", "That's X.", "That would be X.", "Must be X", "Should be X", "Would be X",
        "Probably X", "Likely X", "Definitely X.", "Clearly X.", "Obviously X", "Surely X!", "Certainly X", "Sure, X",
        "Sure: X", "Sure! X", "OK, X", "Okay. X", "Yes, X", "Yes: X", "Hmm, X", "Well, X.", "Ah, X", "So X", "So X.",
        "So, X", "So: X", "so it's X.", "Thus X", "Thus X.", "Hence X.", "Hence, (X)", "Therefore X", "Therefore, X.",
        "Therefore: X", "Ergo X", "then X", "In conclusion, X", "Conclusion: X", "Verdict: X", "The option is X",
        "The option X", "The option X.", "The choice is X", "The letter is X;", "XXX", "option x", "choice x,",
        "Opción X", "Opção X",
    ),
    "marks of machines": (
        "\\boxed X", "$\\boxed X$.", "[X].", "[X],", "{X}.", "Answer: <X>", "[Answer]: X", "[Answer] X",
        "[ANSWER: X]", "<<X>>", "[[X]]", "{{X}}", "\\boxed{X};", "\\boxed{(X)},", "\\(X\\)", "\\[X\\]", "\\text{X}",
        "\\textbf{X}", "\\mathrm{X}.", "Option [X]", "X [a T]", "[x]", "{x}", "<x>", "a T [X]", "<|X|>",
        "<choice>X</choice>", "<ans>X</ans>", "<answer>X;</answer>", "<answer>X, a T</answer>",
        "<answer> X </answer>", "<Answer>X</Answer>", "<final>X</final>", "answer=\"X\"",
        "answer='X'", "answer: {X}", "{answer: X}", "{\"Answer\": \"X\"}", "{\"answer\": \"x\"}",
        "{\"answer\": \"X.\"}", "{\"answer\": [\"X\"]}", "{\"final\": \"X\"}", "{\"letter\": \"X\"}",
        "{\"selected\": \"X\"}", "{\"correct_answer\": \"X\"}", "{\"correct_option\": \"X\"}",
        "{\"answer_choice\": \"X\"}", "{\"prediction\":\"X\"}", "[\"X\"]", "['X']", "[ X ]", "{ X }", "[X", "X</s>",
        "X<|im_end|>", "X<|endoftext|>", "X<eos>", "X<|eot_id|>", "X[/INST]", "X</answer>", "X\\",
    ),
    "punctuation": (
        "X;", "# X", "X，", "(X),", "X,", "X:", "X：", "X。", "X、", "X -", "X –", "-X", "- (X)", "X!", "X…", "X...",
        "(X).", "(X);", "(X):", "'X'.", "\"X\";", "`X`.", "**X**.", "**X**;", "**X**,", "**(X)**", "**X.**", "**X)**",
        "*X*.", "_X_", "X\n", "X\n\n\n", "\nX", "  X  ", "\tX", "## X", "### X", "#X", "#### X", "## (X)", "**# X**",
        "((X))", "$X$;", "$X$,", "$$X$$", "【X】", "「X」", "『X』", "《X》", "（X）；", "（X），", "X✅", "✅X",
        "X ✔", "☑ X", "☑X", "✓ X", "👉 X", "➡ X", "➡️ X", "=> X", "-> X", "==> X", ">>> X", ">X", "> (X)", "• X",
        "· X", "* (X)", "1. X", "1) X", "(1) X", "1: X", "1. (X)", "X (100%)", "∴ X", "∴X", "x", "x;", "x,", "x:",
        "(x),", "x)", "x).", "x!", "x -", "# x", "**x**", "`x`;", "\"x\"", "x.", "( X )", "\"(X)\"", "'(X)'", "“X”",
        "‘X’", "«X»", "‹X›", "\"X", "X\"", "(X", "X]", "X}", "X>", "X)", "X).", "X),", "X);", "X):", "X.)", "(X.)",
        "(X:)", "X.;", "X.,", "X..", "X.:", "X:.", "X .", "X ,", "X ;", "X )", "X\u3000", "X\u200b", "X*", "*X",
        "**X", "X**", "***X", "__X__", "~X~", "~~X~~", "|X|", "| X |", "X |", "X/", "/X",
    ),
    "Chinese": (
        "X，因为它是绿色的", "回答：X；", "答案X", "答案 X", "答案:X；", "答案：X，因为", "答案是X；", "答案为：X，",
        "正确答案：X；", "选X；", "选X，", "选择X", "选择 X。", "选项X。", "选项X，", "选项 X；", "X选项", "X选项。",
        "X项", "第X项", "X是对的", "X正确", "X 正确", "应该选X", "应该是X", "我选X", "我认为是X", "我觉得选X",
        "所以是X", "因此是X", "故选X", "故选：X", "故选 X。", "故答案为X", "【答案】X", "【答案】：X", "正解 X",
        "選択肢X",
    ),
    "remarks behind": (
        "X X X", "X X", "X (confident)", "X.\n\nExplanation: it is green", "X; because it is green",
        "X, because it is green", "X because it is green", "X since it's green", "X as it is green",
        "X. It is green.", "X; it is green.", "X: it is green", "X – it is green", "X. Because green", "X and not B",
        "X is correct", "X is right.", "X is the answer", "X is the correct answer.", "X is my answer", "X it is",
        "X it is.", "X, I think.", "X, I think", "X I think", "X probably", "X, probably.", "X X X X X X X X X",
        "X\nX\nX", "X\n\nX", "X, X, X", "(X) (X)", "X.X.X.", "X. X. X.", "X/X", "X or X", "X and X", "X; X", "x x x",
        "x\nx", "X es correcta.",
    ),
    "announced": (
        "Answer: X;", "**Answer**: X", "Answer X", "answer X.", "ANSWER X", "Answer-X", "Answer - X", "Answer – X",
        "Answer = X", "Answer=X", "Answer >> X", "Answer -> X", "Answer → X", "Answer: (X),", "Answer: X,",
        "Answer: X!", "Answer: X:", "Answer: **X**;", "Answer: \"X\".", "Answer: 'X';", "Answer: `X`", "Answer:X;",
        "Answer;X", "Answer; X", "Answer.X", "Answer. X", "Answer, X", "Answer: option X;", "Answer: Option (X)",
        "Answer: choice X.", "Answer: letter X", "Answer: #X", "Answer: «X»", "(Answer) X", "(Answer: X)",
        "Correct: X", "Correct answer X", "Correct choice X", "Correct option X.", "Correct Option: X;",
        "Right answer: X", "Final: X", "Final X", "Final answer X", "FINAL ANSWER X", "Final Answer - X",
        "Final Answer → X", "Solution: X;", "Result: X", "My answer: X;", "My answer X", "Finally, X", "Ans: X;",
        "Ans - X", "Ans X", "ans=X", "ANS:X", "Ans.: X", "Ans) X", "Answer) X", "Answers: X", "The answer: X;",
        "The answer - X", "The answer X", "The answer is: X;", "The answer is X,", "The answer is X;",
        "The answer is -> X", "The answer is... X", "The answer is … X", "The answer is – X",
        "The answer would be X;", "The answer is \"X\";", "The answer is the letter X", "The answer is option X;",
        "the answer is x;", "the answer is (x),", "The answer's X.", "The answers is X", "the correct one is X",
        "the correct one is (X).", "The right one is X", "The right choice: X", "correct choice is X",
        "The correct answer among the options is X", "The answer to the question is X;",
        "The answer to this question is (X).", "The solution is X.", "The result is X", "The final choice is X",
        "Final choice: X", "My final choice is X.", "Final decision: X", "answer_X", "Answer:\tX", "Answer:\r\nX",
        "Answer\nX", "Answer\n\nX", "ANSWER\n(X)", "Answer:\n- X", "Answer:\n1. X", "Answer:\n> X", "Answer:\n**X**",
        "### Answer: (X)", "**Answer: (X)**;", "**Answer:** (X),", "**Answer:** X;", "**Answer**:\nX", "**Answer** X",
        "**Answer** - X", "**Answer is X**", "**The answer is X.**;", "Answer: x;",
    ),
    "letter and text": (
        "Answer: X - a T", "X (a T)", "X | a T", "X; a T", "X = a T", "X=> a T", "X -> a T", "X\ta T", "X\na T",
        "X:\na T", "X\nX. a T", "a T a T", "a T\na T", "x. a T", "X a T", "X a T.", "X, a T.", "X) A T.", "X)A T",
        "(X)a T", "X.A T", "X:A T", "X:a T", "X-a T", "X- a T", "X -a T", "X– a T", "X_a T", "X/a T", "a T (X)",
        "a T, X", "a T: X", "a T - X", "a T;", "a T,", "a T:", "# a T", "a T!", "T", "the T", "A T. (X)", "a T = X",
        "Answer: X (a T);", "Answer: X / a T", "Answer: X | a T", "Answer: X => a T", "Answer: X\ta T",
        "Answer: x, a T",
    ),
    "other languages": (
        "Response: X", "X is the best option", "The best choice is X;", "Respuesta: X;", "Antwort: X;", "Antwort X",
        "Die Antwort: X", "Réponse : X;", "Réponse X", "la X", "La X.", "La opción X", "La opción X.", "opción (X)",
        "L'option X", "l'option X.", "Option X est correcte", "X est correct", "X est la bonne réponse.",
        "La X es correcta", "X es la correcta", "X ist richtig", "X ist korrekt.", "X ist die richtige Antwort",
        "Ich wähle X", "Ich würde X sagen", "Je choisis X", "Elijo X", "La correcta es X",
        "la respuesta correcta es la X", "La respuesta es la opción X", "A alternativa X", "Alternativa X",
        "alternativa correta: X", "Letra X", "Letra: X", "letra X.", "Resposta: letra X", "Vastaus: X", "Svar: X",
        "Odpowiedź: X", "Odpowiedź X", "Вариант X", "Ответ X", "Ответ: X.", "правильный ответ X", "答えはX", "答え X",
        "答えはX。", "Xです", "Xです。", "Xが正しい", "Xが正解です。", "Xを選びます", "정답 X", "정답: X.", "답은 X",
        "X입니다", "X입니다.", "X번", "X가 정답입니다.", "선택지 X", "الجواب: X", "الإجابة هي X", "उत्तर X",
        "सही विकल्प X", "đáp án X", "Đáp án: X", "Jawaban: X", "Jawaban X", "Cevap: X", "Cevap X", "คำตอบ: X",
        "คำตอบคือ X",
    ),
}  # fmt: skip
NOT_AN_ARTICLE = {
    "X as it is green",
    "X – it is green",
    "the answer is x;",
    "Ich würde X sagen",
}  # A and a are words there
UNREAD = (
    "red car is wrong", "blue bus is not correct; I am sure", "Are", "\\boxed Cars", "C?", "C++", "C#", "A+", "A-",
    "C or D", "C, D", "C/D", "C; D", "C D", "A B C D", "C and D", "C & D", "ABCD", "C, A, C", "C or not",
    "Choose C or D", "Select A, B", "I think A or B", "Yes, A or B", "A man", "A car is here.", "I think a man",
    "I am here", "I guess so", "I think I see a cat", "# A man", "> A man", "1) A man", "1. A red thing",
    "C is not correct", "C ist nicht richtig", "C est pas correct", "la casa", "La A-3", "l'option", "Vitamin C",
    "Option C is wrong", "❌ C", "✗ C", "not C", "Not C.", "C❌", "D'accord", "C'est la vie", "A as in apple", "A, B",
    "A,B,C", "C, but also D", "It's C or D", "E;", "# E", "A bien", "Well, I see a car", "Yes, a man", "OK, a man is",
    "Sure, I can", "Sure! A man", "1,C,2", "C1", "1C", "H2O", "3 C", "C 3", "C = 5", "C=5", "C -> D", "C → D",
    "A → B", "A -> B -> C", "A > B", "A < B", "A|B", "Grade A", "Plan B", "Team A wins",
    "A (large) dog", "A - the beginning", "I, because I saw it", "C.D.", "A. B. C.", "AA B", "III", "A A B", "CCD",
    "The answer's color is red", "the answer's a car", "answers A and B", "Answer, A or B", "(Answer) A or B",
    "Answer -> A or B", "[Answer] none", "Answer → none", "A不正确", "答案不是C", "C不对", "所以是Apple",
    "因此是A和B", "ich würde A oder B sagen", "Elijo A o B", "La C y la D", "{\"correct_answer\": \"A or B\"}",
    "{\"correct\": true}", "{\"letter\": \"Dear sir\"}", "{\"final\": \"none\"}", "C, I think D", "C I think not",
    "A it is not", "then A man", "Right A turn", "Oh, I see", "Pick a card", "Choose a car", "select a number",
    "go with a friend", "A. B. C. D.", "A) B)",
)  # fmt: skip


def spelled(template: str, index: int) -> str:
    """A template with the letter and the text of an option."""
    letter, text = chr(ord("A") + index), TEXTS[index]
    wide = template.replace("Ｘ", chr(ord("Ａ") + index)).replace("Ⓧ", chr(ord("Ⓐ") + index)).replace("XXX", 3 * letter)
    lettered = re.sub(r"(?<![A-Za-z])X(?![A-Za-z])", letter, wide)
    return re.sub(r"(?<![A-Za-z'])x(?![A-Za-z'])", letter.lower(), re.sub(r"\bT\b", text, lettered))


@pytest.mark.parametrize("sort", SPELLINGS)
def test_a_letter_is_read_in_every_spelling(sort: str) -> None:
    misread = []
    for template in SPELLINGS[sort]:
        for index in range(1 if template in NOT_AN_ARTICLE else 0, len(TEXTS)):
            reply, letter = spelled(template, index), chr(ord("A") + index)
            wanted = (ASKED,) if re.search(r"\bT\b", template) else (ASKED, BARE)
            misread += [(reply, value) for one in wanted if (value := read(reply, one).value) != letter]
    assert misread == []


def test_a_letter_inside_a_word_is_never_read() -> None:
    wanted = Wanted(kind="letter", options=("root", "leaf", "4", "It grows."))
    assert [read(reply, wanted).value for reply in ("Aroot", "Broot", "C4", "DIt grows.", "Are")] == [None] * 5


def test_an_option_that_is_called_wrong_is_not_read() -> None:
    for reply in ("A red car is wrong.", "A red car is wrong; a blue bus is right."):
        assert read(reply, ASKED).value is None


def test_what_names_no_one_letter_is_not_read() -> None:
    assert [(reply, value) for reply in UNREAD if (value := read(reply, ASKED).value) is not None] == []
