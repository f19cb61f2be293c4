"""A result card as one HTML file without scripts, styles or images from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from kvl_eval.card.document import ResultCard, canonical
from kvl_eval.explanation.sentences import interval, printed
from kvl_eval.printable import one_line, policy_name

BEGIN, END = '<script type="application/json" id="kvl-card">', "</script>"
LIMIT = (
    "The card is consistent if kvl-eval verify says so. That does not prove that the answers were given: "
    "invented verdicts can make a consistent card."
)
STYLE = """\
:root{color-scheme:light dark;--ink:#14181f;--soft:#5f6977;--line:#e2e6eb;--bg:#fff;--tint:#edf4fd}
@media(prefers-color-scheme:dark){:root{--ink:#e9edf2;--soft:#98a3b1;--line:#29313b;--bg:#10141a;--tint:#17263a}}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:720px;margin:0 auto;padding:24px 16px}
h1{font-size:20px;margin:0 0 4px}p{margin:8px 0}.soft{color:var(--soft);font-size:14px}
.score{font-size:48px;font-weight:700;line-height:1.1;margin:16px 0 0}
.verdict{background:var(--tint);padding:10px 14px;border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:14px;margin:16px 0}
th,td{text-align:left;vertical-align:top;padding:5px 12px 5px 0;border-top:1px solid var(--line)}
th{font-weight:400;color:var(--soft);white-space:nowrap}td{overflow-wrap:anywhere}
code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}
"""


class CardValue(NamedTuple):
    """A value that the page shows: a name for the check, a label, and its text."""

    name: str
    label: str
    text: str


def shown_values(card: ResultCard) -> list[CardValue]:
    """Everything that the page shows of a card."""
    values = [CardValue(name, label, _plain(text)) for name, label, text in _values(card)]
    return [value for value in values if value.text]


def page(card: ResultCard) -> str:
    """The whole file."""
    values = {value.name: value for value in shown_values(card)}
    head = ("title", "model", "score", "ci95")
    rows = "\n".join(
        f'<tr><th scope="row">{escape(value.label)}</th>{_cell(value, "td")}</tr>'
        for name, value in values.items()
        if name not in head and name != "verdict"
    )
    score = f"{_cell(values['score'], 'p', 'score')}\n" + (
        _cell(values["ci95"], "p", "soft") if "ci95" in values else ""
    )
    data = canonical(card).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<title>Result card: {escape(_plain(card.title))}</title>
<style>
{STYLE}</style>
</head>
<body>
<main>
{_cell(values["title"], "h1")}
{_cell(values["model"], "p", "soft")}
{score}
{_cell(values["verdict"], "p", "verdict")}
<table>
{rows}
</table>
<p class="soft">Check this card with <code>kvl-eval verify card.html</code>, or against its run with
<code>kvl-eval verify card.html RUN</code>. {LIMIT}</p>
</main>
{BEGIN}{data}{END}
</body>
</html>
"""


def _cell(value: CardValue, tag: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<{tag}{style} data-card="{value.name}">{escape(value.text)}</{tag}>'


def _plain(text: object) -> str:
    return one_line(text)


def _values(card: ResultCard) -> Iterator[CardValue]:
    model, data = card.model, card.data
    kind = " (scripted answers)" if model.scripted else " (demo model)" if model.demo else ""
    budget = "" if card.budget is None else f" at {card.budget:,} thinking tokens {policy_name(card.policy)}"
    yield CardValue("title", "Task", f"{card.title} / {card.split or 'unknown split'}{budget}")
    yield CardValue("model", "Model", f"{model.name}{kind}")
    yield CardValue("score", "Score", printed(card.score, card.unit))
    if card.ci95 is not None:
        how = f", {card.ci_method}" if card.ci_method else ""
        yield CardValue("ci95", "95% CI", f"95% CI {interval(card.ci95, card.unit)}{how}")
    yield CardValue("verdict", "Verdict", " ".join(card.verdict))
    yield CardValue("task", "Task", card.task)
    yield CardValue("samples", "Answers", f"{card.n:,} scored of {card.n_planned:,} planned")
    yield CardValue("failed", "Failed or pending", f"{card.n_failed + card.n_pending:,}")
    yield CardValue("no_answer", "No answer", f"{card.n_unextracted:,}")
    yield CardValue("partial", "Part of the split", data.partial or "")
    yield CardValue(
        "protocol", "Protocol", card.label if card.label == card.protocol else f"{card.label} ({card.protocol})"
    )
    yield CardValue("judge", "Judge", card.judge or "none")
    yield CardValue("prompt", "Prompt", card.prompt)
    yield CardValue(
        "settings", "Generation", ", ".join(f"{name} {text}" for name, text in sorted(card.settings.items()))
    )
    precision = ", ".join(text for text in (model.family, model.dtype, model.device) if text)
    yield CardValue("engine", "Model family, precision, device", precision)
    source = " ".join(text for text in (data.source, data.version, data.revision) if text)
    yield CardValue("data", "Data", source)
    yield CardValue("data_fingerprint", "Data fingerprint", data.fingerprint or "")
    yield CardValue("fingerprint", "Run fingerprint", model.fingerprint or "")
    commit = f" ({card.commit[:12]})" if card.commit else ""
    yield CardValue("harness", "kvl-eval", f"{card.harness or 'unknown version'}{commit}")
    yield CardValue("run", "Run", card.run_id)
    yield CardValue("created", "Date", card.created or "")
    follows = (
        "follow from the verdicts in this card" if card.certainty == "recomputed" else "are stated, not recomputed"
    )
    yield CardValue("certainty", "Score and interval", follows)
    yield CardValue("run_sha256", "Hash of the run", card.run_sha256 or "")
    yield CardValue("sha256", "Hash of the card", card.sha256)
