"""Templates and assets of the pages: escaping always on, control characters of foreign texts spelled out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING

from kvl_eval import __version__
from kvl_eval.reports.numbers import plain
from kvl_eval.store.outputs import OutputFolder

if TYPE_CHECKING:
    from jinja2 import Environment
    from jinja2.bccache import BytecodeCache

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE / "templates"
ASSETS = HERE / "assets"


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuEntry:
    """A page in the menu, or several below one word."""

    label: str
    file: str = ""
    note: str = ""
    entries: tuple[MenuEntry, ...] = ()


def rendered_page(template: str, file: str, menu: Sequence[MenuEntry], values: Mapping[str, object]) -> bytes:
    """A page from a template.

    Args:
        file:   its own name, which the menu marks.
        menu:   the pages of the report.
        values: what the template shows besides; `title` and `kind` (a CSS class) are required.
    """
    return page_environment().get_template(template).render(menu=menu, file=file, **values).encode()


def copy_assets(out: OutputFolder) -> None:
    """Put style sheets and scripts of all pages into `assets/`."""
    for file in sorted(file for file in ASSETS.rglob("*") if file.is_file()):
        out.write([file.read_bytes()], "assets", *file.relative_to(ASSETS).parts)


def page_environment() -> Environment:
    """Jinja with escaping always on; every value passes `plain` on its way into a page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def visible(value: object) -> object:
        return plain(value, keep="\n\t") if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=_compiled_templates(),
    )
    environment.globals |= {"version": __version__}
    return environment


@cache
def _compiled_templates() -> BytecodeCache:
    """Templates that a page of this process was made by, so that each is compiled once."""
    from jinja2.bccache import Bucket, BytecodeCache

    class Compiled(BytecodeCache):
        def __init__(self) -> None:
            self.codes: dict[tuple[str, str], CodeType | None] = {}

        def load_bytecode(self, bucket: Bucket) -> None:
            bucket.code = self.codes.get((bucket.key, bucket.checksum))

        def dump_bytecode(self, bucket: Bucket) -> None:
            self.codes[bucket.key, bucket.checksum] = bucket.code

    return Compiled()
