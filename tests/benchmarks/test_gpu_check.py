"""The page of `benchmarks.gpu_check`: every section has its line, whatever becomes of the others. No model is run.

`.ci/run` runs the script itself on the CPU, with `--strict`.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType
from torch.autograd.profiler_util import Interval

from benchmarks import roofline
from benchmarks.gpu_check.__main__ import verdict
from benchmarks.gpu_check.card import KNOWN, Rates, known_rates
from benchmarks.gpu_check.launches import counted
from benchmarks.gpu_check.limits import Weights, decode_seconds, prefill_seconds
from benchmarks.gpu_check.page import Page, Section, Work, write
from benchmarks.gpu_check.rates import fitting
from kvl_eval.errors import CheckpointError
from kvl_eval.model import KimiVL, KimiVLConfig
from kvl_eval.model.memory import GIB


def holds(work: Work) -> None:
    work.page.table("what", "holds", "figures")
    work.check("two and two", True, "4")


def fails(work: Work) -> None:
    raise CheckpointError("model.memory", "not enough memory on cuda")


def breaks(work: Work) -> None:
    work.check("first", True)
    raise RuntimeError("CUDA error: an illegal memory access\nmore lines")


def hangs(work: Work) -> None:
    work.page.line("begun")
    time.sleep(30)


def wrong(work: Work) -> None:
    work.check("ids | of a row", False, "3 of 4")


def test_a_section_that_fails_is_a_line_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = Page(tmp_path / "page.md")
    sections = [
        Section(title="Memory", run=fails),
        Section(title="Ids", run=wrong, is_check=True),
        Section(title="Broken", run=breaks, is_check=True),
        Section(title="Sums", run=holds, is_check=True),
    ]
    write(page, sections, 60)
    verdict(page)
    text = (tmp_path / "page.md").read_text("utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        *("## Memory", "## Ids", "## Broken", "## Sums", "## Verdict")
    ]
    assert "**Not finished:** not enough memory on cuda\n" in text
    assert "| ids / of a row | **no** | 3 of 4 |\n" in text
    assert "**Not finished:** RuntimeError: CUDA error: an illegal memory access\n" in text
    assert "| two and two | yes | 4 |\n" in text
    assert page.failures == ["Ids: ids | of a row", "Broken: not finished"]
    assert [gap.partition(":")[0] for gap in page.gaps] == ["Memory", "Broken"]
    assert "3 checks, 2 failures" in text
    assert capsys.readouterr().out == text


def test_a_section_has_its_share_of_the_time_and_its_lines_stay(tmp_path: Path) -> None:
    page = Page(tmp_path / "page.md")
    begin = time.monotonic()
    sections = [Section(title="Slow", run=hangs), Section(title="Sums", run=holds, weight=9, is_check=True)]
    write(page, sections, 1.0)
    assert time.monotonic() - begin < 20
    text = (tmp_path / "page.md").read_text("utf-8")
    assert "begun\n\n**Not finished:** out of time after 0 s" in text
    assert "| two and two | yes | 4 |" in text
    assert page.failures == []


def test_cards_go_by_their_whole_name() -> None:
    assert known_rates("NVIDIA H200") == Rates(bandwidth=4.8e12, operations=989e12)
    assert known_rates("NVIDIA L40S") != known_rates("NVIDIA L40") != known_rates("NVIDIA L4")
    assert known_rates("NVIDIA A100-SXM4-80GB MIG 1g.10gb") is None
    assert all(0.1 < bandwidth < 20 and 10 < operations < 5000 for bandwidth, operations in KNOWN.values())


def test_events_of_the_profiler_are_told_apart() -> None:
    def event(name: str, start: float, end: float, device: DeviceType = DeviceType.CUDA) -> SimpleNamespace:
        return SimpleNamespace(name=name, device_type=device, time_range=Interval(start, end))

    seen = counted(
        [
            event("aten::mm", 0, 9, DeviceType.CPU),
            event("cudaStreamSynchronize", 30, 50, DeviceType.CPU),
            event("gemm", 10, 14),
            event("Memcpy HtoD (Pageable -> Device)", 8, 10),
            event("gemm", 12, 16),
            event("add", 18, 20),
            event("Memcpy DtoH (Device -> Pageable)", 27, 28),
        ]
    )
    assert seen.kernels == ("gemm", "gemm", "add")
    assert (seen.copies, seen.waits) == (1, 1)
    assert (seen.busy, seen.whole) == (11, 20)
    assert seen.spent == {"gemm": 8, "add": 2}
    assert counted([]).whole == 0


def test_a_smaller_card_gets_fewer_layers() -> None:
    whole = KimiVLConfig()
    layers = [fitting(whole, torch.bfloat16, gib * GIB).text_config.num_hidden_layers for gib in (80, 31, 18, 1)]
    assert layers == [27, 27, 15, 2]


@pytest.mark.slow
def test_limits_of_the_full_size_are_those_of_the_roofline() -> None:
    """Two ways of counting: the weights of a model, and the figures that stand in `benchmarks.roofline`."""
    config = KimiVLConfig()
    with torch.device("meta"):
        weights = Weights.of(KimiVL(config).to(torch.bfloat16))
    rates = Rates(bandwidth=roofline.BANDWIDTH, operations=roofline.OPERATIONS)
    assert weights.routed == pytest.approx(roofline.ROUTED, rel=0.01)
    assert weights.always + weights.head == pytest.approx(roofline.ALWAYS, rel=0.02)
    for batch, context in ((1, 1536), (64, 1536), (64, 9216)):
        ours = decode_seconds(weights, config, rates, batch, context)
        assert ours == pytest.approx(roofline.step_seconds(batch, context), rel=0.03)
    prompt = roofline.Workload("text", 1, 9216, 0, 0, 1)
    ours = prefill_seconds(weights, config, rates, 1, prompt.prompt)
    assert ours == pytest.approx(roofline.prefill_seconds(prompt), rel=0.05)
