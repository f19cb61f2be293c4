"""Small media files of drawings: H.264 clips, PDFs whose pages are pictures, subtitle files."""

import io
import json
import zlib
from collections.abc import Iterable, Sequence
from fractions import Fraction

from PIL import Image

DPI = 144  # at which a page's picture is shown pixel by pixel


def mp4_bytes(frames: Iterable[Image.Image], fps: int) -> bytes:
    """The frames as an MP4 file, H.264 by libx264; equal bytes only with equal versions of the encoder."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        stream = None
        for number, image in enumerate(frames):
            if stream is None:
                stream = file.add_stream("libx264", rate=fps, options={"crf": "14", "preset": "slow", "threads": "1"})
                stream.width, stream.height = image.size
                stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, fps)
            frame = av.VideoFrame.from_image(image)
            frame.pts, frame.time_base = number, Fraction(1, fps)
            file.mux(stream.encode(frame))
        if stream is not None:
            file.mux(stream.encode(None))
    return buffer.getvalue()


def pdf_bytes(pages: Sequence[Image.Image]) -> bytes:
    """The pictures as pages of a PDF, one dot a pixel at DPI dots an inch, without loss."""
    numbers = [3 + 3 * k for k in range(len(pages))]
    kids = " ".join(f"{number} 0 R" for number in numbers)
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode()]
    for number, page in zip(numbers, pages, strict=True):
        objects += _page_objects(number, page)
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table)
    return bytes(out + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(out)))


def _page_objects(number: int, page: Image.Image) -> list[bytes]:
    """A page, what it draws, and the picture it draws."""
    width, height = (side * 72 / DPI for side in page.size)
    about = f"/MediaBox [0 0 {width:g} {height:g}] /Resources << /XObject << /P {number + 2} 0 R >> >>"
    picture = (
        f"/Type /XObject /Subtype /Image /Width {page.width} /Height {page.height} /ColorSpace /DeviceRGB "
        "/BitsPerComponent 8 /Filter /FlateDecode"
    )
    return [
        f"<< /Type /Page /Parent 2 0 R {about} /Contents {number + 1} 0 R >>".encode(),
        _stream("", f"{width:g} 0 0 {height:g} 0 0 cm /P Do".encode()),
        _stream(picture, zlib.compress(page.convert("RGB").tobytes(), 9)),
    ]


def _stream(about: str, data: bytes) -> bytes:
    return f"<< {about} /Length {len(data)} >>\nstream\n".encode() + data + b"\nendstream"


def srt_text(lines: Sequence[tuple[float, float, str]]) -> str:
    """Spoken lines, each with start and end in seconds, as an SRT file."""
    blocks = (f"{k}\n{_clock(start)} --> {_clock(end)}\n{text}\n" for k, (start, end, text) in enumerate(lines, 1))
    return "\n".join(blocks)


def _clock(seconds: float) -> str:
    thousandths = round(1000 * seconds)
    minutes, rest = divmod(thousandths, 60_000)
    return f"00:{minutes:02d}:{rest // 1000:02d},{rest % 1000:03d}"


def json_lines(lines: Sequence[tuple[float, float, str]]) -> str:
    """Spoken lines as LongVideoBench's subtitle files hold them."""
    return json.dumps([{"timestamp": [float(start), float(end)], "text": text} for start, end, text in lines])
