"""Tables of a local folder: every layout, and every way in which they can be broken."""

import base64
import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kvl_eval.errors import DataError
from kvl_eval.sources import Reporter, Row, Source, Tables, made_from, read_rows
from kvl_eval.sources.unusable import fault_of
from kvl_eval.types import Sample
from tests.refusals import refused

ROWS = [{"pid": str(number), "question": f"q{number}", "answer": str(number)} for number in range(5)]


def write_parquet(path: Path, rows: list[dict[str, Any]] = ROWS, group: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group, compression="none")
    return path


def read(folder: Path, split: str = "test", **kwargs: Any) -> list[Row]:
    return list(read_rows(Source(data_dir=folder), split, Tables(task="demo", **kwargs)))


def error_of(folder: Path, split: str = "test", **kwargs: Any) -> DataError:
    with pytest.raises(DataError) as caught:
        read(folder, split, **kwargs)
    return caught.value


@pytest.mark.parametrize(
    "name", ["test.parquet", "test-00000-of-00001.parquet", "data/test-00000-of-00001-ab12.parquet", "a/b/test.parquet"]
)
def test_parquet_in_any_layout(tmp_path: Path, name: str) -> None:
    write_parquet(tmp_path / name)
    found = read(tmp_path)
    assert [row.values for row in found] == ROWS
    assert found[3].where == f"{name} row 4"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param(
            "test.jsonl", "\ufeff" + "\r\n".join(json.dumps(row) for row in ROWS) + "\n\n", id="jsonl-bom-crlf"
        ),
        pytest.param("test.json", json.dumps(ROWS), id="json-list"),
        pytest.param("test.json", json.dumps({"dataset": "demo", "data": ROWS}), id="json-data"),
        pytest.param("test.tsv", "pid\tquestion\tanswer\n" + "".join(f"{i}\tq{i}\t{i}\n" for i in range(5)), id="tsv"),
        pytest.param("test.csv", "pid,question,answer\r\n" + "".join(f"{i},q{i},{i}\r\n" for i in range(5)), id="csv"),
    ],
)
def test_text_tables(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert [row.values for row in read(tmp_path)] == ROWS


def test_json_keyed_by_id(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text(json.dumps({"7": {"question": "q"}}))
    assert read(tmp_path)[0].values == {"id": "7", "question": "q"}


def test_tsv_cells_may_be_long_quoted_and_empty(tmp_path: Path) -> None:
    picture = base64.b64encode(b"x" * 3_000_000).decode()
    (tmp_path / "test.tsv").write_text(f'index\timage\thint\n1\t{picture}\t\n2\tx\t"two\nlines ""quoted"""\n')
    first, second = read(tmp_path)
    assert first.values == {"index": "1", "image": picture, "hint": None}
    assert second.values["hint"] == 'two\nlines "quoted"'


def test_config_folder_goes_first(tmp_path: Path) -> None:
    write_parquet(tmp_path / "Other" / "test-00000-of-00001.parquet", [{"pid": "other"}])
    write_parquet(tmp_path / "Math" / "test-00000-of-00001.parquet", [{"pid": "math"}])
    assert [row.values["pid"] for row in read(tmp_path, config="Math")] == ["math"]
    assert [row.values["pid"] for row in read(tmp_path)] == ["math", "other"]


def test_further_stems_and_patterns(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    for name in ("b", "a"):
        (tmp_path / "annotations" / f"{name}.json").write_text(json.dumps([{"pid": name}]))
    assert [row.values["pid"] for row in read(tmp_path, stems=("MISSING", "annotations/*"))] == ["a", "b"]


def test_pictures_stay_bytes(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test.parquet", [{"pid": "1", "image": {"bytes": b"abc", "path": "a.png"}}])
    assert read(tmp_path)[0].values["image"] == {"bytes": b"abc", "path": "a.png"}


def test_missing_names_what_was_tried_and_what_is_there(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet")
    error = error_of(tmp_path)
    assert error.code == "data.missing"
    assert "test{.parquet" in (error.why or "") and "train.parquet" in (error.why or "")


def test_missing_folder(tmp_path: Path) -> None:
    assert "does not exist" in (error_of(tmp_path / "nowhere").why or "")


def test_missing_shard(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test-00000-of-00003.parquet")
    write_parquet(tmp_path / "test-00002-of-00003.parquet")
    error = error_of(tmp_path)
    assert (error.code, error.why) == ("data.missing", "missing shard: 00001")


def test_missing_column_is_named_beside_those_found(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test.parquet")
    error = error_of(tmp_path, required=("pid|index", "image|picture"))
    assert error.code == "data.field"
    assert "image or picture" in error.message
    assert error.why == "found pid, question, answer"


def test_cut_footer(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "test.parquet")
    path.write_bytes(path.read_bytes()[:-10])
    error = error_of(tmp_path)
    assert (error.code, error.where) == ("data.corrupt", "test.parquet")


def test_flipped_page_names_the_row_group(tmp_path: Path) -> None:
    path = tmp_path / "test.parquet"
    rows = [{"text": f"{number:04d}" * 500} for number in range(6)]
    pq.write_table(
        pa.Table.from_pylist(rows),
        path,
        row_group_size=2,
        compression="none",
        write_page_checksum=True,
        use_dictionary=False,
    )
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    broken = bytearray(path.read_bytes())
    broken[start + 7000] ^= 0xFF
    path.write_bytes(broken)
    error = error_of(tmp_path)
    assert (error.code, error.where) == ("data.corrupt", "test.parquet row group 1")


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        pytest.param("test.jsonl", b'{"a": 1}\n{"a": \n', "test.jsonl:2", id="jsonl"),
        pytest.param("test.jsonl", b'{"a": 1}\n[1]\n', "test.jsonl:2", id="no-object"),
        pytest.param("test.jsonl", b'{"a": 1}\n\xff\xfe\n', "test.jsonl:2", id="not-utf8"),
        pytest.param("test.jsonl.gz", b"no gzip", "test.jsonl.gz:1", id="not-gzip"),
        pytest.param("test.json", b'[{"a": 1}', "test.json", id="json"),
        pytest.param("test.json", b"[" * 100_000, "test.json", id="json-too-deep"),
        pytest.param("test.json", b'"text"', "test.json", id="json-without-rows"),
        pytest.param("test.tsv", b"a\tb\n1\t2\n3\n", "test.tsv:3", id="tsv-fields"),
        pytest.param("test.parquet", b"", "test.parquet", id="empty"),
    ],
)
def test_broken_files_name_the_place(tmp_path: Path, name: str, content: bytes, where: str) -> None:
    (tmp_path / name).write_bytes(content)
    error = error_of(tmp_path)
    assert (error.code, error.where) == ("data.corrupt", where)


@pytest.mark.parametrize("name", ["test.parquet", "test.json", "test.tsv", "test.pkl"])
def test_pickles_are_refused_whatever_their_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(ROWS))
    assert error_of(tmp_path).code == "data.pickle"


def test_bad_rows_are_an_error_or_collected(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test.parquet")

    def make(row: Row) -> Sample:
        if row.values["pid"] in "13":
            raise DataError("data.field", "bad")
        return Sample(id=str(row.values["pid"]), question="", row={})

    source = Source(data_dir=tmp_path)
    with pytest.raises(DataError) as caught:
        list(made_from(read_rows(source, "test", Tables(task="demo")), make))
    assert caught.value.where == "test.parquet row 2, id 1"
    faults: list[DataError] = []
    reporter = Reporter(bad_row=faults.append)
    made = list(made_from(read_rows(source, "test", Tables(task="demo")), make, reporter))
    assert [one.id for one in made] == ["0", "2", "4"]
    assert [fault.where for fault in faults] == ["test.parquet row 2, id 1", "test.parquet row 4, id 3"]


def test_bad_rows_may_keep_their_places(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test.parquet")

    def make(row: Row) -> Sample:
        raise DataError("data.field", "bad", why="no gold")

    rows = read_rows(Source(data_dir=tmp_path), "test", Tables(task="demo"))
    made = list(made_from(rows, make, Reporter(keeps_bad_rows=True)))
    assert [one.id for one in made] == ["0", "1", "2", "3", "4"]
    fault = fault_of(made[3])
    assert fault is not None
    assert (fault.code, fault.where, fault.why) == ("data.field", "test.parquet row 4, id 3", "no gold")


def test_neither_folder_nor_repository() -> None:
    with refused(DataError, "data.missing", "no data source"):
        list(read_rows(Source(), "test", Tables(task="demo")))
