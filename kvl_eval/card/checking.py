"""Whether a result card agrees with itself, with a run, and with the gold answers of a data set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from html import unescape
from pathlib import Path

from kvl_eval import __version__
from kvl_eval.audit.verification import Verification
from kvl_eval.card.building import card_of, same_result
from kvl_eval.card.document import ResultCard, digest_of
from kvl_eval.card.packing import codes_of, digests_of, question_digest, recomputed
from kvl_eval.card.page import BEGIN, END, page, shown_values
from kvl_eval.decode import DecodeError, ReadLimits, decode, encode_object, read_json
from kvl_eval.errors import DataError
from kvl_eval.scoring.run_reader import RunReader
from kvl_eval.types import Sample

MOST_BYTES, DEEPEST = 10_000_000, 20
_SHOWN = re.compile(r'<(\w{1,10})(?: class="\w{0,20}")? data-card="(\w{1,40})">([^<]{0,2000})</\1>')


def read_card(path: Path) -> tuple[ResultCard, str]:
    """The card in a file, and the text of the file. Nothing in it is run.

    Raises: DataError `card.missing`, `card.size`, `card.form`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError("card.missing", f"cannot read {path}", why=str(error.strerror), fix="name a card") from error
    if len(data) > MOST_BYTES:
        raise DataError("card.size", f"{path} has more than 10 MB", fix="a result card has at most 100 kB")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _form(path, "not UTF-8") from error
    if text.count(BEGIN) != 1 or text.lower().count("<script") != 1:
        raise _form(path, "a card has one script element, which holds its JSON")
    content = text.partition(BEGIN)[2].partition(END)[0]
    try:
        document = read_json(content.encode("utf-8"), ReadLimits(size=MOST_BYTES, nesting=DEEPEST, values=1_000_000))
        return decode(ResultCard, document, "card"), text
    except DecodeError as error:
        raise _form(path, error.message) from error


def check_card(path: Path, run: RunReader | None = None, samples: Iterable[Sample] | None = None) -> Verification:
    """What holds and what does not: the card alone, against its run, against the samples of its data set.

    Raises: DataError for a file that is not a card.
    """
    card, text = read_card(path)
    proof = Verification(path)
    _check_hash(proof, card)
    _check_shown(proof, card, text)
    _check_answers(proof, card)
    if run is not None:
        _check_run(proof, card, run)
    if samples is not None:
        _check_gold(proof, card, samples)
    return proof


def _check_hash(proof: Verification, card: ResultCard) -> None:
    if digest_of(card) == card.sha256:
        proof.proven.append("sha256 is that of the JSON")
    else:
        proof.add("damaged", "card.sha256", "sha256", "not the hash of the JSON")


def _check_shown(proof: Verification, card: ResultCard, text: str) -> None:
    """Every shown value is that of the JSON; a card of this version is so letter by letter."""
    found = [(name, unescape(shown)) for _, name, shown in _SHOWN.findall(text)]
    expected = [(value.name, value.text) for value in shown_values(card)]
    wrong = [name for name, _ in (Counter(found) - Counter(expected)) + (Counter(expected) - Counter(found))]
    for name in dict.fromkeys(wrong):
        proof.add("damaged", "card.shown", name, "the page shows another value than its JSON")
    if not wrong and card.written_by == __version__ and text != page(card):
        proof.add("damaged", "card.page", "page", "not the page that kvl-eval writes from this JSON")
    elif not wrong:
        proof.proven.append("the page shows what its JSON says")


def _check_answers(proof: Verification, card: ResultCard) -> None:
    try:
        digests, codes = digests_of(card.answers), codes_of(card.answers)
        made = recomputed(card.answers)
    except DataError as error:
        proof.add("damaged", error.code, "answers", f"{error.message}: {error.why}")
        return
    tally = Counter(codes)
    counts = Counter[str]()
    for of_label in card.answers.counts.values():
        counts.update(of_label)
    scored = sum(tally[code] for code in ("correct", "partial", "wrong", "no_answer"))
    proof.counts = {
        "planned": len(codes),
        "ok": len(codes) - tally["failed"] - tally["pending"],
        "failed": tally["failed"],
        "pending": tally["pending"],
    }
    stated = (card.n_planned, card.n_failed, card.n_pending, card.n, card.n_unextracted)
    if stated != (card.answers.n, tally["failed"], tally["pending"], scored, tally["no_answer"]) or +counts != +tally:
        proof.add("damaged", "card.counts", "answers", "the counts are not those of the verdicts")
    else:
        proof.proven.append(f"counts are those of {len(codes):,} verdicts")
    if digests:
        proof.proven.append(f"list_sha256 is that of {len(digests):,} questions")
    if card.certainty == "stated":
        proof.add("note", "card.stated", "score", "an aggregate that the card only states; check it against its run")
    elif made is None or card.ci95 is None or not same_result(card.score, card.ci95, made.score, made.ci95):
        proof.add("damaged", "card.score", "score", "score and interval are not those of the verdicts")
    else:
        proof.proven.append("score and interval are those of the verdicts")


def _check_run(proof: Verification, card: ResultCard, run: RunReader) -> None:
    own = card_of(run, card.task, card.protocol, card.budget)
    ours, theirs = (encode_object(replace(made, sha256="", written_by="")) for made in (own, card))
    for name in ours:
        if ours[name] != theirs[name]:
            proof.add("damaged", "card.run", name, f"the run {run.folder.run_id} says otherwise")
    if ours == theirs:
        proof.proven.append(f"the card is that of {run.folder.run_id}")


def _check_gold(proof: Verification, card: ResultCard, samples: Iterable[Sample]) -> None:
    digests = digests_of(card.answers)
    if not digests:
        proof.add("note", "card.gold", "answers", "the card has counts in place of digests")
        return
    known = {question_digest(card.task, card.split, sample.id, sample.answers) for sample in samples}
    missing = sum(digest not in known for digest in digests)
    if missing:
        what = f"{missing:,} of {len(digests):,} questions have another id or gold answer in the data set"
        proof.add("damaged", "card.gold", "answers", what)
    else:
        proof.proven.append(f"{len(digests):,} questions and gold answers are those of the data set")


def _form(path: Path, why: str) -> DataError:
    return DataError(
        "card.form", f"not a result card: {path}"[:100], why=why, fix="use a file of kvl-eval export -f card"
    )
