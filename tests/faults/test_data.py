"""Data that is missing, broken or hostile, as a run meets it."""

from __future__ import annotations

import ast
import base64
import stat
import warnings
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from kvl_eval.cli.main import main
from kvl_eval.errors import MediaError
from kvl_eval.exports.tables import csv_line
from kvl_eval.media.images import ImagePrep, prepare_image, read_bytes
from kvl_eval.model.kimi_vl.config import PreprocessorConfig
from kvl_eval.reports.warnings import run_warnings
from kvl_eval.sources import Source, Tables, image_ref, read_rows
from kvl_eval.sources.pictures import NamedPictures
from kvl_eval.tasks.base import Protocol
from kvl_eval.types import Extraction, Sample, Score
from tests.faults.invariants import check_invariants, nothing_outside
from tests.tiny_task import rows, run_tiny, tiny

PACKAGE = Path(__file__).resolve().parents[2] / "kvl_eval"


def png() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (30, 20), (9, 99, 199)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("layout", ["empty", "wrong-split", "no-folder", "zero-bytes"])
def test_D1_data_missing_is_said_before_anything_is_loaded(
    tmp_path: Path, layout: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    if layout != "no-folder":
        folder.mkdir()
    if layout == "wrong-split":
        (folder / "train.jsonl").write_text("{}\n")
    if layout == "zero-bytes":
        (folder / "testmini.parquet").touch()
    arguments = ["run", "--task", "mathvista", "--split", "testmini", "--data-dir", str(folder), "--model", "fake"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--output-dir", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert ended.value.code == 4
    assert said.startswith("error[data.") and "testmini" in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_D3_tables_with_bom_crlf_quoted_lines_and_a_cell_of_10_mb(tmp_path: Path) -> None:
    cell = "x" * 10_000_000
    table = f'\ufeffpid,question,answer\r\n1,"two\r\nlines, ""quoted""",{cell}\r\n2,plain,\r\n'
    (tmp_path / "test.csv").write_bytes(table.encode())
    first, second = (row.values for row in read_rows(Source(data_dir=tmp_path), "test", Tables(task="demo")))
    assert first["pid"] == "1"
    assert first["question"].replace("\r\n", "\n") == 'two\nlines, "quoted"'
    assert first["answer"] == cell
    assert (second["question"], second["answer"]) == ("plain", None)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        pytest.param(base64.b64encode(png()).decode(), True, id="plain"),
        pytest.param(base64.encodebytes(png()).decode(), True, id="line-breaks"),
        pytest.param("data:image/png;base64," + base64.b64encode(png()).decode(), True, id="data-uri"),
        pytest.param(base64.b64encode(png()).decode()[:-7], False, id="cut"),
        pytest.param(base64.b64encode(png()).decode().replace("A", "!"), False, id="other-characters"),
        pytest.param("data:image/png;base64,", False, id="empty-uri"),
        pytest.param("data:text/html,<script>alert(1)</script>", False, id="html-uri"),
    ],
)
def test_D10_base64(text: str, accepted: bool) -> None:
    ref = image_ref(text, name="p", root=None, where="row 1")
    prep = ImagePrep(config=PreprocessorConfig())
    if accepted:
        assert prepare_image(ref, prep).info.w == 30
        return
    with pytest.raises(MediaError) as caught:
        prepare_image(ref, prep)
    assert caught.value.reason in ("media_corrupt", "media_path_outside")


def hostile_archive(path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    device = zipfile.ZipInfo("device.png")
    device.create_system, device.external_attr = 3, (stat.S_IFBLK | 0o666) << 16
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for name in ("../outside.png", "/absolute.png", "a\\b.png", "twice.png", "twice.png", "sound.png"):
            archive.writestr(name, png())
        archive.writestr(link, "/etc/passwd")
        archive.writestr(device, "")
        archive.writestr("bomb.png", b"\0" * (300 * 2**20))


def test_D13_hostile_archives_are_read_by_member_and_never_unpacked(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    hostile_archive(root / "pictures.zip")
    before = sorted(tmp_path.rglob("*"))
    found = NamedPictures(root)
    with nothing_outside():
        assert read_bytes(found.find("sound.png", name="p", where="")) == png()
        assert read_bytes(found.find("twice.png", name="p", where="")) == png()
        for name in ("../outside.png", "/absolute.png", "bomb.png", "device.png", "link.png", "a.png\0.zip"):
            with pytest.raises(MediaError):
                prepare_image(found.find(name, name="p", where=""), ImagePrep(config=PreprocessorConfig()))
    assert sorted(tmp_path.rglob("*")) == before


def test_D13_an_archive_of_many_entries_is_only_listed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number}.png", b"")
        archive.writestr("last.png", png())
    assert read_bytes(NamedPictures(tmp_path).find("last.png", name="p", where="")) == png()
    assert [one.name for one in tmp_path.iterdir()] == ["pictures.zip"]


def called(tree: ast.AST) -> set[str]:
    """Names of everything that is called or imported."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found.add(node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""))
            found |= {f"{key.arg}={ast.unparse(key.value)}" for key in node.keywords if key.arg}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_D13_D15_D16_no_way_to_run_or_unpack_foreign_content(path: Path) -> None:
    forbidden = {"exec", "pickle", "marshal", "shelve", "dill", "extractall", "unpack_archive"}
    forbidden |= {"trust_remote_code=True", "shell=True", "allow_pickle=True", "weights_only=False"}
    tree = ast.parse(path.read_text())
    assert not called(tree) & forbidden
    assert not [
        node for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "eval"
    ]  # fmt: skip


def test_D18_one_place_writes_tables_and_no_formula_leaves_it() -> None:
    """Whoever adds another export as CSV or TSV needs the rule too; JSON Lines and parquet keep texts exact."""
    writers = {"DictWriter", "to_csv", "to_excel"}
    texts = {path.name: path.read_text() for path in PACKAGE.rglob("*.py")}
    found = [name for name, text in texts.items() if "csv.writer" in text or called(ast.parse(text)) & writers]
    assert found == ["tables.py"]
    for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\tcmd", "\rcmd"):
        assert csv_line([text]).strip(b'"\r\n').startswith(b"'")


def score_without_gold(sample: Sample, answer: str, extraction: Extraction) -> Score:
    if not sample.answers[0]:
        return Score.not_scored("no_gold", answer)
    return Score.of(float(answer == sample.answers[0]), answer, "letter")


@pytest.mark.parametrize("bare", [3, 10], ids=["D20-some", "D24-all"])
def test_D20_D24_gold_missing(tmp_path: Path, bare: int) -> None:
    content = [{**row, "answer": ""} if number < bare else row for number, row in enumerate(rows(10))]
    protocols = {"official": Protocol(score=score_without_gold)}
    task = tiny(content=content, protocols=protocols)
    outcome = run_tiny(tmp_path, task)
    [row] = outcome.results.rows
    assert outcome.exit_code == 3
    assert (row.n_ok, row.n_scored, row.verdicts["not_scored"]) == (10, 10 - bare, bare)
    assert (row.score is None) == (bare == 10)
    said = [str(warning) for warning in run_warnings(outcome.folder, outcome.results)]
    assert any("not scored" in text and str(bare) in text for text in said), said
    assert len(list(outcome.folder.records("tiny"))) == 10
    check_invariants(outcome.folder.path, task, exit_code=3)
