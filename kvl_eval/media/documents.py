"""Pages of a PDF as pictures, rendered by pdfium: one at a time, in document order, up to a limit that is recorded.

A page of w x h points at D dots an inch becomes ceil(w * D / 72) x ceil(h * D / 72) pixels on white, as it is shown
(its own rotation applied), with annotations and with form fields and what they hold, as viewers draw them. Scripts in a
document are never run, XFA forms stay off, and nothing a document links to is opened.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from kvl_eval import flags
from kvl_eval.errors import MediaError
from kvl_eval.media.images import MAX_BYTES, safe_path
from kvl_eval.media.large import LARGE
from kvl_eval.media.regular import open_regular
from kvl_eval.types import PdfRef

if TYPE_CHECKING:
    from kvl_eval.pictures import Shrink


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What is known of a PDF before a page is rendered.

    Attributes:
        sha256:   of the file.
        pages:    pages in the file.
        sizes:    (width, height) in pixels of the pages that are shown.
        renderer: `pdfium 5.0.0`: pypdfium2's version.
        note:     the limit, where it left pages out.
    """

    sha256: str
    pages: int
    sizes: tuple[tuple[int, int], ...]
    renderer: str
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Page:
    """A page as the model will see it: RGB, shrunk; its number from 0; its size in pixels before shrinking; flags."""

    image: Image.Image
    index: int
    size: tuple[int, int]
    flags: tuple[str, ...] = ()


def probe_document(ref: PdfRef) -> Document:
    """Number and sizes of a document's pages. Raises: MediaError, as `render_pages`."""
    import pypdfium2

    data = read_document(ref)
    with _opened(data, ref.name) as pdf:
        pages = len(pdf)
        shown = pages if ref.max_pages is None else min(pages, ref.max_pages)
        sizes = tuple(_pixels(pdf, number, ref) for number in range(shown))
    return Document(
        sha256=hashlib.sha256(data).hexdigest(),
        pages=pages,
        sizes=sizes,
        renderer=f"pdfium {pypdfium2.version.PYPDFIUM_INFO.version}",
        note=None if shown == pages else f"first {shown} of {pages} pages",
    )


def render_pages(
    ref: PdfRef,
    *,
    dpi: int | None = None,
    max_pages: int | None = None,
    shrink: Shrink | None = None,
    only: Sequence[int] | None = None,
) -> Iterator[Page]:
    """The pages of a document, one after the other; the file is closed with the last.

    Args:
        dpi, max_pages: replace what `ref` says.
        shrink:         (width, height) of a page -> size of its picture; None keeps it.
        only:           numbers of the pages wanted, from 0.
    Raises: MediaError `media.missing`, `media.corrupt` (encrypted and empty documents too), `media.too_large`,
        `media.path_outside`.
    """
    dpi, most = dpi or ref.dpi, ref.max_pages if max_pages is None else max_pages
    with _opened(read_document(ref), ref.name) as pdf:
        for number in range(len(pdf) if most is None else min(len(pdf), most)):
            if only is None or number in only:
                yield _rendered(pdf, number, ref.name, dpi, shrink)


def read_document(ref: PdfRef) -> bytes:
    """A document's bytes, wherever the reference says they are. Raises: MediaError."""
    if ref.data is not None:
        data = ref.data
    else:
        path = safe_path(ref.path, ref.root, ref.name)
        with open_regular(path, ref.name) as file:
            try:
                data = file.read(MAX_BYTES + 1)
            except OSError as error:
                why = error.strerror
                raise MediaError("media.missing", f"cannot read {ref.name}", where=str(path), why=why) from None
    if not data:
        raise _corrupt(ref.name, "0 bytes")
    if len(data) > MAX_BYTES:
        raise MediaError("media.too_large", f"{ref.name} is too large: more than {MAX_BYTES} bytes")
    return data


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Any]:
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        encrypted = "assword" in str(error)
        raise _corrupt(name, "it is password-protected" if encrypted else str(error)) from None
    try:
        _begin_forms(pdf)
        if not len(pdf):
            raise _corrupt(name, "the document has no pages")
        yield pdf
    finally:
        pdf.close()


def _begin_forms(pdf: Any) -> None:
    """Have form fields drawn, where there are any; a form that pdfium cannot take is left out as before."""
    import pypdfium2

    with suppress(pypdfium2.PdfiumError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pdf.init_forms(pypdfium2.raw.FPDF_FORMFILLINFO(version=2, xfa_disabled=True))


def _has_widgets(pdf: Any, page: Any) -> bool:
    """Whether form fields are drawn on a page."""
    from pypdfium2 import raw

    if not pdf.formenv:
        return False
    for number in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, number)
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        raw.FPDFPage_CloseAnnot(annotation)
        if kind == raw.FPDF_ANNOT_WIDGET:
            return True
    return False


def _pixels(pdf: Any, number: int, ref: PdfRef) -> tuple[int, int]:
    import pypdfium2

    try:
        width, height = pdf.get_page_size(number)
    except pypdfium2.PdfiumError as error:
        raise _corrupt(ref.name, f"page {number + 1}: {error}") from None
    return _size(width, height, ref.dpi, f"{ref.name} page {number + 1}")


def _size(width: float, height: float, dpi: int, name: str) -> tuple[int, int]:
    across, down = math.ceil(width * dpi / 72), math.ceil(height * dpi / 72)
    if across * down > LARGE:
        raise MediaError(
            "media.too_large", f"{name} is too large: {across} x {down} pixels; the limit is {LARGE} pixels"
        )
    if across < 1 or down < 1:
        raise _corrupt(name, f"a page of {width} x {height} points")
    return across, down


def _rendered(pdf: Any, number: int, name: str, dpi: int, shrink: Shrink | None) -> Page:
    import pypdfium2

    try:
        page = pdf[number]
        try:
            width, height = page.get_size()
            size = _size(width, height, dpi, f"{name} page {number + 1}")
            bitmap = page.render(scale=dpi / 72, may_draw_forms=True, rev_byteorder=True, prefer_bgrx=False)
            image = bitmap.to_pil().convert("RGB")
            marks = (flags.FORM_DRAWN,) if _has_widgets(pdf, page) else ()
        finally:
            page.close()
    except pypdfium2.PdfiumError as error:
        raise _corrupt(name, f"page {number + 1}: {error}") from None
    wanted = size if shrink is None else shrink(*size)
    if image.size != wanted:
        image = image.resize(wanted, Image.Resampling.BICUBIC)
    return Page(image=image, index=number, size=size, flags=marks)


def _corrupt(name: str, why: str) -> MediaError:
    return MediaError("media.corrupt", f"cannot read {name}", why=why)
