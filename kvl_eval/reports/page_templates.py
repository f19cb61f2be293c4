"""Templates of pages: escaping always on, control characters of foreign texts spelled out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from kvl_eval import __version__
from kvl_eval.reports.numbers import plain

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).resolve().parent
ASSETS = HERE / "assets"


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """A page in the menu: its file and what the menu calls it."""

    file: str
    label: str


def rendered_page(template: str, file: str, menu: Sequence[MenuEntry], values: Mapping[str, object]) -> bytes:
    """A page from a template.

    Args:
        file:   its own name, which the menu marks.
        menu:   the pages of the report, the front page first; without any, this page alone.
        values: what the template shows besides; `title` and `page` (a CSS class) are required.
    """
    entries = list(menu) or [MenuEntry(file, str(values["title"]))]
    text = _environment().get_template(template).render(entries=entries, current=file, **values)
    return text.encode()


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def visible(value: object) -> object:
        return plain(value, keep="\n\t") if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"version": __version__}
    return environment
