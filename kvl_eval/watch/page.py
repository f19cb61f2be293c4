"""The trend page: one self-contained HTML file without scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape

from kvl_eval.paired import ChangedSample
from kvl_eval.printable import one_line, printable
from kvl_eval.types import Interval, Unit
from kvl_eval.watch.document import NightSeries, WatchDocument
from kvl_eval.watch.nights import Night, NightScore

WIDTH, HEIGHT, SMALL, MARGIN = 680, 180, 70, 40  # of charts, in pixels
MOST_FLIPS = 20  # samples that are listed
STYLE = """\
:root{color-scheme:light dark;--ink:#14181f;--soft:#5f6977;--line:#e2e6eb;--bg:#fff;--main:#1f66c1;--band:#dbe8f8}
:root{--bad:#c02a20}
@media(prefers-color-scheme:dark){
:root{--ink:#e9edf2;--soft:#98a3b1;--line:#29313b;--bg:#10141a;--main:#6cabff;--band:#1d2f47;--bad:#ff8d84}}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:760px;margin:0 auto;padding:20px 16px}p{overflow-wrap:anywhere}
h1{font-size:20px;margin:0 0 8px}h2{font-size:17px;margin:28px 0 4px}
h3{font-size:14px;margin:12px 0 2px;font-weight:600}
p{margin:4px 0}.soft{color:var(--soft);font-size:13px}.bad{color:var(--bad);font-weight:600}
svg{width:100%;height:auto;display:block}text{fill:var(--soft);font:11px system-ui,sans-serif}
.line{fill:none;stroke:var(--main);stroke-width:2}.dot{fill:var(--main)}.whisker{stroke:var(--main);stroke-width:1}
.band{fill:var(--band)}.axis{stroke:var(--line)}.mark{stroke:var(--bad);stroke-dasharray:3 3}
table{border-collapse:collapse;width:100%;font-size:13px;margin:8px 0;display:block;overflow-x:auto}
th,td{text-align:left;padding:3px 10px 3px 0;border-top:1px solid var(--line);overflow-wrap:anywhere}
"""
NightPoint = tuple[int, float]


def page(document: WatchDocument, series: Sequence[NightSeries]) -> str:
    """The whole file."""
    body = "\n".join(part for one in series for part in _run(one))
    verdict = "\n".join(
        f"<p{' class=bad' if text.startswith(('regression', 'warning')) else ''}>{_verdict(text)}</p>"
        for text in reversed(document.verdict)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Nightly runs</title>
<style>
{STYLE}</style>
</head>
<body>
<main>
<h1>Nightly runs</h1>
{verdict}
{body}
<p class="soft">Dots are scores with their 95% interval, the band is the interval of the pinned run. Dashed lines mark
nights on which model, data, prompt or kvl-eval changed.</p>
</main>
</body>
</html>
"""


def _run(series: NightSeries) -> Iterator[str]:
    for task in dict.fromkeys(task for night in series.nights for task in night.scores):
        nights = [night for night in series.nights if task in night.scores]
        scores = [night.scores[task] for night in nights]
        pinned = next((night.scores[task] for night in nights if night.path == series.pin), None)
        yield f"<h2>{_text(series.name)}: {_text(task)}</h2>"
        yield f'<p class="soft">{len(nights)} nights, the last one {_text(nights[-1].created[:16])}</p>'
        yield _score_chart(nights, scores, None if pinned is None else pinned.ci95)
        yield _small("Failed samples", scores, lambda score: float(score.n_failed), "{:.0f}")
        yield _small("Truncated replies, %", scores, lambda score: 100 * score.truncated_share, "{:.1f}")
        yield _small("Tokens per second", scores, lambda score: score.tokens_per_second, "{:.0f}")
        yield _table(nights, scores)
        if task in series.last:
            pair = series.last[task]
            yield f"<h3>Flips of the last night: {len(pair.lost)} lost, {len(pair.gained)} gained</h3>"
            yield _flips("lost", pair.lost) + _flips("gained", pair.gained)


def _score_chart(nights: Sequence[Night], scores: Sequence[NightScore], band: Interval | None) -> str:
    values = [bound for score in scores if score.ci95 for bound in score.ci95]
    values += [score.score for score in scores if score.score is not None]
    low, high = _scale([*values, *(band or ())])
    parts = []
    if band is not None:
        top, bottom = _y(band[1], low, high, HEIGHT), _y(band[0], low, high, HEIGHT)
        parts.append(
            f'<rect class="band" x="{MARGIN}" y="{top}" width="{WIDTH - MARGIN}" height="{bottom - top:.1f}"/>'
        )
    for number, night in enumerate(nights):
        if night.changes:
            x, text = _x(number, len(nights)), _text(", ".join(night.changes))
            parts.append(f'<line class="mark" x1="{x}" y1="0" x2="{x}" y2="{HEIGHT}"><title>{text}</title></line>')
            side = ' text-anchor="end"' if x > WIDTH - 2 * MARGIN else ""
            parts.append(f'<text x="{x - 3 if side else x + 3}" y="12"{side}>{text}</text>')
    for number, score in enumerate(scores):
        if score.ci95 is not None:
            x, ends = _x(number, len(scores)), [_y(bound, low, high, HEIGHT) for bound in score.ci95]
            parts.append(f'<line class="whisker" x1="{x}" y1="{ends[0]}" x2="{x}" y2="{ends[1]}"/>')
    points = [(number, score.score) for number, score in enumerate(scores) if score.score is not None]
    parts += _marks(points, len(scores), (low, high), HEIGHT)
    parts += [
        f'<text x="0" y="{_y(value, low, high, HEIGHT) + 4}">{_value(value, scores[0].unit)}</text>'
        for value in (low, high)
    ]
    return _svg(parts, HEIGHT, "Score by night")


def _small(title: str, scores: Sequence[NightScore], value_of: Callable[[NightScore], float | None], form: str) -> str:
    """A small chart; nothing where no night has a value."""
    values = [(number, value_of(score)) for number, score in enumerate(scores)]
    points = [(number, value) for number, value in values if value is not None]
    if not points:
        return ""
    low, high = 0.0, max(*(value for _, value in points), 1.0)
    parts = _marks(points, len(scores), (low, high), SMALL)
    parts += [f'<text x="0" y="{_y(value, low, high, SMALL) + 4}">{form.format(value)}</text>' for value in (low, high)]
    return f"<h3>{escape(title)}</h3>" + _svg(parts, SMALL, title)


def _marks(points: Sequence[NightPoint], n: int, scale: tuple[float, float], height: int) -> list[str]:
    places = [(_x(number, n), _y(value, *scale, height)) for number, value in points]
    line = " ".join(f"{x},{y}" for x, y in places)
    return [
        f'<polyline class="line" points="{line}"/>',
        *(f'<circle class="dot" cx="{x}" cy="{y}" r="3"/>' for x, y in places),
    ]


def _svg(parts: Sequence[str], height: int, title: str) -> str:
    axis = f'<line class="axis" x1="{MARGIN}" y1="{height}" x2="{WIDTH}" y2="{height}"/>'
    content = "".join(parts)
    return f'<svg viewBox="0 -8 {WIDTH} {height + 16}" role="img" aria-label="{escape(title)}">{axis}{content}</svg>'


def _scale(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high - low > 0.01 else (max(0.0, low - 0.02), min(1.0, high + 0.02))


def _x(number: int, n: int) -> float:
    return round(MARGIN + 12 + (WIDTH - MARGIN - 24) * (number / (n - 1) if n > 1 else 0.5), 1)


def _y(value: float, low: float, high: float, height: int) -> float:
    return round(height * (1 - (value - low) / (high - low)), 1)


def _table(nights: Sequence[Night], scores: Sequence[NightScore]) -> str:
    rows = [_row(night, score) for night, score in zip(reversed(nights), reversed(scores), strict=True)]
    head = "<tr><th>Night</th><th>Score</th><th>95% CI</th><th>Scored</th><th>Changed</th><th>Run</th></tr>"
    return f"<details><summary>All nights</summary><table>{head}{''.join(rows)}</table></details>"


def _row(night: Night, score: NightScore) -> str:
    value = "" if score.score is None else _value(score.score, score.unit)
    bounds = "" if score.ci95 is None else ", ".join(_value(bound, score.unit) for bound in score.ci95)
    cells = (
        night.created[:16],
        value,
        bounds,
        f"{score.n:,} of {score.n_planned:,}",
        ", ".join(night.changes),
        night.run,
    )
    return f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>"


def _value(value: float, unit: Unit) -> str:
    return f"{1000 * value:.0f}" if unit == "points" else f"{100 * value:.1f}"


def _flips(word: str, samples: Sequence[ChangedSample]) -> str:
    if not samples:
        return ""
    ids = ", ".join(_text(sample.sample_id) for sample in samples[:MOST_FLIPS])
    more = f" and {len(samples) - MOST_FLIPS} more" if len(samples) > MOST_FLIPS else ""
    return f'<p class="soft">{word}: {ids}{more}</p>'


def _verdict(text: str) -> str:
    return escape(printable(text, keep=""))


def _text(text: object) -> str:
    return escape(one_line(text))
