"""One explanation as one HTML file: the page "Why this number" without a report around it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from kvl_eval.explanation.document import Explanation
from kvl_eval.reports.one_file import packed_report
from kvl_eval.reports.page_templates import copy_assets, rendered_page
from kvl_eval.reports.pages.explain import explained_alone
from kvl_eval.store.outputs import OutputFolder

PAGE = "index.html"


def explain_html(explanation: Explanation) -> bytes:
    """The page as a file that needs nothing else."""
    page = explained_alone(explanation)
    values = {"title": page.title, "kind": "explain", "page": page, "files": ()}
    with tempfile.TemporaryDirectory(prefix="kvl-eval-explain-") as place:
        out = OutputFolder(Path(place))
        copy_assets(out)
        out.write([rendered_page("explain.html.j2", PAGE, (), values)], PAGE)
        return packed_report(out.root, [PAGE])
