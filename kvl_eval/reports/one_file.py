"""A report as one HTML file: all pages in one document that needs nothing else and whose links stay inside.

The policy allows style and scripts by their hashes. Pages become `<section class="sheet">`; the address of a page is
`#/NAME`, that of a place in it `#/NAME?ID`. An id that several pages have gets the name of the later page in front.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

from kvl_eval.errors import UsageError
from kvl_eval.reports.page_data import literal

IMAGE_BYTES = 20_000_000  # of images in the file, as they are written there
MOST_BYTES = 60_000_000  # of the file
LONGEST = 20_000  # characters of a reply
TEXTS: tuple[Literal["text", "thinking", "prompt"], ...] = ("text", "thinking", "prompt")  # of a reply
TAG = re.compile(r"<[a-zA-Z][^<>]*>")
OWN_IDS = re.compile(r' (id|for|aria-labelledby|aria-describedby|aria-controls)="([^"]*)"')
LINK = re.compile(r' href="([^"]*)"')
IMAGE = re.compile(r' src="media/([^"]+)"')
DATA_LINK = re.compile(r'<a href="data/[^"]+">([^<]*)</a>')
SCRIPT = re.compile(r'<script src="([^"]+)"')
STYLE = re.compile(r'<link rel="stylesheet" href="([^"]+)"')
UNSAFE = re.compile(r"</script|<!--(?:(?!-->).)*<script", re.IGNORECASE | re.DOTALL)


class PackedReply(TypedDict):
    """What is read of a reply in a chunk of samples."""

    text: str
    thinking: str
    prompt: str
    span: list[int] | None


class PackedMedium(TypedDict):
    """What is read of an image; `file` is its name in `media/` without ending, empty where it is not there."""

    file: str


class PackedSample(TypedDict):
    """What is read of a sample in a chunk."""

    media: list[PackedMedium]
    replies: dict[str, PackedReply]


def packed_report(folder: Path, pages: Sequence[str]) -> bytes:
    """The written pages of a report in `folder`, the front page first, as one document.

    Raises: UsageError `report.size` for more than 60 MB.
    """
    sources = {page: (folder / page).read_text(encoding="utf-8") for page in pages}
    names = {page: page.removesuffix(".html") for page in pages}
    styles = [(folder / name).read_text(encoding="utf-8") for name in _found(STYLE, sources.values())]
    scripts = [_media_script(folder), *_scripts(folder, _found(SCRIPT, sources.values()))]
    body = _body(sources, names)
    head = _head(_part(sources[pages[0]], "<title>", "</title>"), styles, scripts)
    joined = "".join(f"<script>{script}</script>\n" for script in scripts)
    document = f"{head}{body}{joined}</body>\n</html>\n".encode()
    if len(document) > MOST_BYTES:
        raise UsageError(
            "report.size",
            f"the report would be one file of {len(document) / 1e6:.0f} MB",
            why=f"more than {MOST_BYTES // 1_000_000} MB are too much for a browser",
            fix="use --format zip or --images none",
        )
    return document


def _found(pattern: re.Pattern[str], sources: Iterable[str]) -> list[str]:
    """What a pattern finds in the pages, each once, in order."""
    return list(dict.fromkeys(name for source in sources for name in pattern.findall(source)))


def _part(source: str, start: str, end: str) -> str:
    """What stands between two marks of a page's template."""
    begin = source.index(start) + len(start)
    return source[begin : source.index(end, begin)]


# -- the document ------------------------------------------------------------------------------------------------------


def _head(title: str, styles: Sequence[str], scripts: Sequence[str]) -> str:
    allowed = " ".join(map(_digest, scripts)), " ".join(map(_digest, styles))
    policy = (
        f"default-src 'none'; script-src {allowed[0]}; style-src {allowed[1]}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    joined = "".join(f"<style>{style}</style>\n" for style in styles)
    return (
        '<!doctype html>\n<html lang="en" data-packed>\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="color-scheme" content="light dark">\n'
        f'<title>{title}</title>\n{joined}</head>\n<body class="page-index">\n'
        '<a class="skip" href="#main">Skip to content</a>\n'
    )


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _body(sources: Mapping[str, str], names: Mapping[str, str]) -> str:
    """Header and footer of the front page, and between them a sheet for each page."""
    ids = _own_ids(sources)
    first = next(iter(sources))
    header = _part(sources[first], '<header class="top">', "</header>").replace(' aria-current="page"', "")
    footer = _part(sources[first], "<footer>", "</footer>")
    sheets = []
    for number, (page, source) in enumerate(sources.items()):
        title = _part(source, "<title>", " · kvl-eval report</title>")
        inside = _linked(_renamed(_part(source, '<main id="main">', "</main>"), ids[page]), page, names, ids)
        inside = IMAGE.sub(r' data-media="\1"', DATA_LINK.sub(r"\1", inside))
        hidden = " hidden" if number else ""
        sheets.append(
            f'<section class="sheet" data-page="{names[page]}" data-title="{title}"{hidden}>{inside}</section>'
        )
    return (
        f'<header class="top">{_linked(header, first, names, ids)}</header>\n<main id="main">\n'
        + "\n".join(sheets)
        + f"\n</main>\n<footer>{_linked(footer, first, names, ids)}</footer>\n"
    )


def _own_ids(sources: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """{page: {id: what it is called in the file}}."""
    taken = {"main", "theme"}  # of the header, and of `<main>`
    ids: dict[str, dict[str, str]] = {}
    for page, source in sources.items():
        own = re.findall(r' id="([^"]+)"', _part(source, '<main id="main">', "</main>"))
        ids[page] = {name: f"{page.removesuffix('.html')}--{name}" if name in taken else name for name in own}
        taken |= {*ids[page].values()}
    return ids


def _renamed(source: str, ids: Mapping[str, str]) -> str:
    """A page whose ids, and the attributes that name them, are those of the file."""

    def attribute(match: re.Match[str]) -> str:
        return f' {match[1]}="{" ".join(ids.get(name, name) for name in match[2].split())}"'

    return TAG.sub(lambda tag: OWN_IDS.sub(attribute, tag[0]), source)


def _linked(source: str, page: str, names: Mapping[str, str], ids: Mapping[str, Mapping[str, str]]) -> str:
    """A page whose links lead to places of the file."""

    def link(match: re.Match[str]) -> str:
        file, _, place = match[1].partition("#")
        target = file or page
        if target not in names:
            return match[0]
        name = html.escape(ids[target].get(html.unescape(place), html.unescape(place)))
        return f' href="#/{names[target]}{f"?{name}" if name else ""}"'

    return TAG.sub(lambda tag: LINK.sub(link, tag[0]), source)


# -- scripts and data --------------------------------------------------------------------------------------------------


def _scripts(folder: Path, names: Sequence[str]) -> Iterator[str]:
    """The scripts of all pages; the samples before their index, which shows the first of them at once."""
    for name in names:
        if name == "data/index.js":
            for number in range(len(list((folder / "data").glob("c*.js")))):
                yield _safe(_shortened(number, _samples(folder, number)))
        yield _safe((folder / name).read_text(encoding="utf-8"))


def _safe(script: str) -> str:
    """The script itself. Raises: ValueError where it would end the element that holds it."""
    if UNSAFE.search(script):
        raise ValueError("a script of the report cannot stand inside a page")
    return script


def _samples(folder: Path, number: int) -> list[PackedSample]:
    """The samples of a chunk."""
    text = (folder / "data" / f"c{number}.js").read_text(encoding="ascii")
    samples: list[PackedSample] = json.loads(text.removeprefix(f"kvl.chunk({number},").removesuffix(");\n"))
    return samples


def _shortened(number: int, samples: Sequence[PackedSample]) -> str:
    """The script of a chunk with replies of at most `LONGEST` characters."""
    for reply in (reply for sample in samples for reply in sample["replies"].values()):
        for name in TEXTS:
            whole = reply[name]
            if len(whole) > LONGEST:
                reply[name] = f"{whole[:LONGEST]}\n[... {len(whole) - LONGEST:,} more characters in the run folder]"
                reply["span"] = None if name == "text" and (reply["span"] or [0, 0])[1] > LONGEST else reply["span"]
    return f"kvl.chunk({number},{literal(samples)});\n"


def _media_script(folder: Path) -> str:
    """The images as data addresses: those of samples on which runs differ, of other wrong ones, and then the rest."""
    media, size = {}, 0
    for name in _image_names(folder) if (folder / "data" / "index.js").exists() else ():
        path = folder / "media" / name
        if path.is_file():
            kind = "jpeg" if path.suffix == ".jpg" else "webp"
            address = f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
            if size + len(address) <= IMAGE_BYTES:
                media[name], size = address, size + len(address)
    return f"window.kvlMedia = {literal(media)};\n"


def _image_names(folder: Path) -> list[str]:
    """All files in `media/`, the most telling ones first."""
    text = (folder / "data" / "index.js").read_text(encoding="ascii")
    quoted = text.removeprefix("kvl.index(JSON.parse('").removesuffix("'));\n")
    index = json.loads(quoted.replace("\\'", "'").replace("\\\\", "\\"))
    right = f"{index['outcomes'].index('correct')}"
    ranks: dict[str, int] = {}
    chunks: dict[int, list[PackedSample]] = {}
    columns = index["columns"]
    for outcomes, chunk, place in zip(columns["outcomes"], columns["chunk"], columns["place"], strict=True):
        sample = chunks.setdefault(chunk, _samples(folder, chunk))[place]
        verdicts = {code == right for code in outcomes if code != "-"}
        rank = 0 if len(verdicts) > 1 else 1 if False in verdicts else 2
        for medium in sample["media"]:
            name = medium["file"]
            ranks[name] = min(rank, ranks.get(name, rank))
    others = sorted(path.name for path in (folder / "media").glob("*.*") if path.name not in ranks)
    return [*sorted(ranks, key=lambda name: ranks[name]), *others]
