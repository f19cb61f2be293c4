"""Pages of generated documents, sound and broken."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kvl_eval.errors import MediaError
from kvl_eval.media.documents import probe_document, render_pages
from kvl_eval.types import PdfRef
from tests.clips import number_of, write_pdf


def ref(path: Path, **options: object) -> PdfRef:
    return PdfRef(name=path.name, path=path.name, root=str(path.parent), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pdf(tmp_path_factory.mktemp("pdf") / "a.pdf", 7)


def raw_pdf(page: str, pages: int = 1, extra: str = "", trailer: str = "") -> bytes:
    """A PDF written by hand, so that a page can say anything."""
    kids = " ".join(f"{number + 3} 0 R" for number in range(pages))
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>"]
    objects += [f"<< /Type /Page /Parent 2 0 R {page} >>"] * pages + ([extra] if extra else [])
    data, places = b"%PDF-1.7\n", []
    for number, text in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{text}\nendobj\n".encode()
    start = len(data)
    data += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    data += b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    return data + f"trailer << /Root 1 0 R /Size {len(objects) + 1} {trailer} >>\nstartxref\n{start}\n%%EOF".encode()


def reason(ref: PdfRef) -> str:
    with pytest.raises(MediaError) as caught:
        list(render_pages(ref))
    with pytest.raises(MediaError) as probed:
        probe_document(ref)
    assert probed.value.reason == caught.value.reason
    return caught.value.reason


def test_pages_come_in_order_at_the_resolution_asked_for(document: Path) -> None:
    pages = list(render_pages(ref(document)))
    assert [page.index for page in pages] == [number_of(page.image) for page in pages] == list(range(7))
    assert {page.image.size for page in pages} == {page.size for page in pages} == {(1224, 1584)}
    assert {page.image.mode for page in pages} == {"RGB"}
    (small, *_) = render_pages(ref(document), dpi=36)
    assert small.image.size == (306, 396)


def test_facts_of_a_document(document: Path) -> None:
    found = probe_document(ref(document))
    assert found.sha256 == hashlib.sha256(document.read_bytes()).hexdigest()
    assert (found.pages, found.sizes, found.note) == (7, ((1224, 1584),) * 7, None)
    assert found.renderer.startswith("pdfium ")


def test_the_page_limit_is_recorded(document: Path) -> None:
    limited = ref(document, max_pages=3)
    found = probe_document(limited)
    assert (found.pages, len(found.sizes), found.note) == (7, 3, "first 3 of 7 pages")
    assert [page.index for page in render_pages(limited)] == [0, 1, 2]
    assert [page.index for page in render_pages(limited, max_pages=5)] == [0, 1, 2, 3, 4]


def test_pages_are_shrunk_as_they_come(document: Path) -> None:
    plain = next(render_pages(ref(document)))
    small = next(render_pages(ref(document), shrink=lambda width, height: (width // 4, height // 4)))
    assert (small.size, small.image.size) == ((1224, 1584), (306, 396))
    assert small.image.tobytes() == plain.image.resize((306, 396), Image.Resampling.BICUBIC).tobytes()


def test_chosen_pages_only(document: Path) -> None:
    assert [page.index for page in render_pages(ref(document), only=[1, 4])] == [1, 4]


def test_500_pages(tmp_path: Path) -> None:
    path = tmp_path / "long.pdf"
    path.write_bytes(raw_pdf("/MediaBox [0 0 100 50]", 500))
    found = probe_document(ref(path, max_pages=120))
    assert (found.pages, len(found.sizes), found.note) == (500, 120, "first 120 of 500 pages")
    assert sum(1 for _ in render_pages(ref(path, dpi=20))) == 500


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_pages_of_odd_size_and_rotation_have_the_size_that_was_announced(tmp_path: Path, rotation: int) -> None:
    path = tmp_path / "odd.pdf"
    path.write_bytes(raw_pdf(f"/MediaBox [0 0 100.3 51.7] /CropBox [10 5 80 51.7] /Rotate {rotation}"))
    (page,) = render_pages(ref(path))
    assert (page.size,) == probe_document(ref(path)).sizes
    assert page.image.size == page.size == ((140, 94) if rotation % 180 == 0 else (94, 140))
    assert (np.asarray(page.image) == 255).all()


def test_bytes_instead_of_a_file(document: Path) -> None:
    inline = PdfRef(name="x", path="x.pdf", data=document.read_bytes())
    assert len(probe_document(inline).sizes) == len(list(render_pages(inline))) == 7


def encrypted() -> bytes:
    """A document that wants a password: its standard security handler holds keys of no known one."""
    key = "<" + "41" * 32 + ">"
    handler = f"<< /Filter /Standard /V 1 /R 2 /O {key} /U {key} /P -4 >>"
    one_id = "<" + "42" * 16 + ">"
    return raw_pdf("/MediaBox [0 0 9 9]", extra=handler, trailer=f"/Encrypt 4 0 R /ID [{one_id} {one_id}]")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", "media_corrupt", id="0-bytes"),
        pytest.param(b"<html></html>", "media_corrupt", id="html"),
        pytest.param(b"%PDF-1.7\n%%EOF", "media_corrupt", id="header-only"),
        pytest.param(raw_pdf("", 0), "media_corrupt", id="0-pages"),
        pytest.param(encrypted(), "media_corrupt", id="encrypted"),
        pytest.param(raw_pdf("/MediaBox [0 0 14000 14000]"), "media_too_large", id="bomb"),
    ],
)
def test_unusable_documents(tmp_path: Path, data: bytes, expected: str) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(data)
    assert reason(ref(path)) == expected


def test_an_encrypted_document_is_said_to_be_one() -> None:
    with pytest.raises(MediaError) as caught:
        probe_document(PdfRef(name="x", path="x.pdf", data=encrypted()))
    assert caught.value.why == "it is password-protected"


def test_missing_and_outside(tmp_path: Path) -> None:
    assert reason(ref(tmp_path / "no.pdf")) == "media_missing"
    assert reason(PdfRef(name="x", path="../x.pdf", root=str(tmp_path))) == "media_path_outside"
    (tmp_path / "folder.pdf").mkdir()
    assert reason(ref(tmp_path / "folder.pdf")) == "media_missing"
    os.mkfifo(tmp_path / "pipe.pdf")
    assert reason(ref(tmp_path / "pipe.pdf")) == "media_missing"


def test_a_truncated_document_gives_its_pages_or_is_corrupt(document: Path) -> None:
    data = document.read_bytes()
    for share in (0.3, 0.7, 0.99):
        cut = PdfRef(name="x", path="x.pdf", data=data[: int(share * len(data))])
        try:
            pages = list(render_pages(cut))
        except MediaError as error:
            assert error.reason == "media_corrupt"
        else:
            assert [number_of(page.image) for page in pages] == list(range(len(pages)))
