"""Pictures and lists in a table's cells."""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvl_eval.errors import DataError, MediaError
from kvl_eval.media.images import read_bytes
from kvl_eval.sources import image_ref, literal_list

BYTES = bytes(range(200))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(BYTES, id="bytes"),
        pytest.param({"bytes": BYTES, "path": "a.png"}, id="hub"),
        pytest.param(base64.b64encode(BYTES).decode(), id="base64"),
        pytest.param(base64.encodebytes(BYTES).decode(), id="base64-with-line-breaks"),
        pytest.param(f"data:image/png;base64,{base64.b64encode(BYTES).decode()}", id="data-uri"),
    ],
)
def test_inline_pictures(value: object) -> None:
    assert read_bytes(image_ref(value, name="p", root=None, where="row 1")) == BYTES


@pytest.mark.parametrize("value", ["images/1.jpg", {"bytes": None, "path": "images/1.jpg"}], ids=["text", "hub"])
def test_paths_stay_below_the_folder(tmp_path: Path, value: object) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.jpg").write_bytes(BYTES)
    assert read_bytes(image_ref(value, name="p", root=tmp_path, where="row 1")) == BYTES


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(None, "media_missing", id="empty"),
        pytest.param("", "media_missing", id="blank"),
        pytest.param({"bytes": None, "path": None}, "media_missing", id="empty-dict"),
        pytest.param("images/none.jpg", "media_missing", id="no-file"),
        pytest.param(b"", "media_corrupt", id="no-bytes"),
        pytest.param("../../etc/passwd", "media_path_outside", id="dots"),
        pytest.param("/etc/passwd", "media_path_outside", id="absolute"),
        pytest.param("file:///etc/passwd", "media_path_outside", id="file-url"),
        pytest.param("http://127.0.0.1/x.png", "media_path_outside", id="http"),
        pytest.param("\\\\host\\share\\x.png", "media_path_outside", id="unc"),
    ],
)
def test_bad_pictures_fail_when_opened_not_before(tmp_path: Path, value: object, reason: str) -> None:
    ref = image_ref(value, name="p", root=tmp_path, where="row 1")
    with pytest.raises(MediaError) as caught:
        read_bytes(ref)
    assert caught.value.reason == reason


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(BYTES)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "1.jpg").symlink_to(tmp_path / "secret")
    with pytest.raises(MediaError) as caught:
        read_bytes(image_ref("1.jpg", name="p", root=tmp_path / "data", where=""))
    assert caught.value.reason == "media_path_outside"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['$6', '$7']", ["$6", "$7"]),
        ('["a", 1.5, null]', ["a", "1.5", "None"]),
        (" ('x', 'y') ", ["x", "y"]),
        ("[]", []),
    ],
)
def test_literal_list(text: str, expected: list[str]) -> None:
    assert literal_list(text, where="row 1") == expected


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').getcwd()",
        "[__import__('os')]",
        "[" * 100_000,
        "['" + "x" * 200_000 + "']",
        "A",
        "",
        "[1",
        "{1: 2}",
    ],
    ids=["call", "call-inside", "deep", "long", "word", "empty", "open", "dict"],
)
def test_what_is_no_list_is_an_error(text: str) -> None:
    with pytest.raises(DataError) as caught:
        literal_list(text, where="row 1")
    assert caught.value.code == "data.field" and len(caught.value.message) < 100


@given(st.lists(st.text()))
def test_literal_list_reads_python_and_json(values: list[str]) -> None:
    import json

    assert literal_list(json.dumps(values), where="") == values
    if not any("\0" in value for value in values):
        assert literal_list(repr(values), where="") == values
