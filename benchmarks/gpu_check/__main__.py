"""The command line; see the package's docstring."""

from __future__ import annotations

import argparse
import gc
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

import benchmarks.gpu_check as package
from benchmarks.engine import ROOT
from benchmarks.gpu_check import correctness, rates
from benchmarks.gpu_check.card import Card, begin_peak, device_name, measured_card
from benchmarks.gpu_check.launches import launches
from benchmarks.gpu_check.page import Page, Section, Work, write
from benchmarks.gpu_check.size import Size, size_for
from benchmarks.gpu_check.small import Checkpoint, checkpoints
from kvl_eval.model.devices import available_devices, torch_device
from kvl_eval.model.memory import GIB, free_bytes

TEST_DEVICE = "KVL_EVAL_TEST_DEVICE"  # which `tests/gpu` reads


class Check:
    """The sections, and what they hand on to each other."""

    def __init__(self, device: torch.device, size: Size, folder: Path) -> None:
        self.device, self.size, self.folder = device, size, folder
        self._card: Card | None = None
        self._bench: rates.Bench | None = None
        self._checkpoints: list[Checkpoint] = []

    def sections(self) -> list[Section]:
        """All of them, in the order of the page."""
        return [
            Section(title="Machine", run=self.machine, weight=0.5),
            Section(title="Numbers against the CPU", run=self.numbers, weight=1.5, is_check=True),
            Section(title="Answers of the engine", run=self.answers, weight=2.0, is_check=True),
            Section(title="A random Kimi-VL", run=self.build, weight=1.0),
            Section(title="Decode", run=lambda work: rates.decode(work, self.bench), weight=3.5),
            Section(title="Prefill and vision", run=lambda work: rates.prefill(work, self.bench), weight=1.5),
            Section(title="Launches and reads by the host", run=lambda work: launches(work, self.bench), weight=0.8),
            Section(title="pytest -m gpu", run=self.tests, weight=1.5, is_check=True),
        ]

    @property
    def card(self) -> Card:
        """The device, measured once."""
        if self._card is None:
            self._card = measured_card(self.device, self.size.dtype)
        return self._card

    @property
    def bench(self) -> rates.Bench:
        """The random model. Raises: LookupError, where it could not be built."""
        if self._bench is None:
            raise LookupError("there is no random model: its section did not end")
        return self._bench

    @property
    def checkpoints(self) -> Sequence[Checkpoint]:
        """The small ones, made once."""
        if not self._checkpoints:
            self._checkpoints = checkpoints(self.folder)
        return self._checkpoints

    def machine(self, work: Work) -> None:
        """What it is, and what it reaches."""
        page, device = work.page, self.device
        page.table("what", "figure")
        page.row("device", f"{device_name(device)} (`{device}`)")
        if device.type == "cuda":
            facts = torch.cuda.get_device_properties(device)
            page.row("capability, multiprocessors", f"{facts.major}.{facts.minor}, {facts.multi_processor_count}")
            page.row("cards", torch.cuda.device_count())
        page.row("memory, free", f"{free_bytes(device) / GIB:.1f} GiB")
        backend = torch.version.cuda or torch.version.hip or "none"
        page.row("torch, CUDA or HIP, Python", f"{torch.__version__}, {backend}, {platform.python_version()}")
        kind = str(self.size.dtype).removeprefix("torch.")
        page.row(f"measured: copy (read and written), {kind} product", self.card.measured.text())
        known = self.card.known
        page.row("the vendor's figures", "not in the table of this script" if known is None else known.text())
        page.row("limits are taken from", "what is measured" if known is None else "the vendor's figures")

    def numbers(self, work: Work) -> None:
        """Ids and logits."""
        correctness.numbers(work, self.checkpoints, self.device, self.size)

    def answers(self, work: Work) -> None:
        """Batches and budgets."""
        correctness.answers(work, self.checkpoints, self.device, self.size)

    def build(self, work: Work) -> None:
        """The random model."""
        self._bench = rates.built(work, self.card, self.size)

    def tests(self, work: Work) -> None:
        """The tests that need an accelerator, in a process of their own."""
        self._bench = None
        gc.collect()
        begin_peak(self.device)
        # A warning of a version of torch that nobody here has seen is no wrong answer.
        options = ["-n", "0", "-m", "gpu", "-p", "no:cacheprovider", "-W", "default"]
        command = [sys.executable, "-m", "pytest", *options, "tests/gpu"]
        environment = {**os.environ, TEST_DEVICE: str(self.device), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).strip().splitlines() or ["pytest said nothing"]
        work.page.table("check", "holds", "figures")
        work.check(
            f"`pytest -m gpu tests/gpu`, exit code {done.returncode}", done.returncode == 0, lines[-1].strip("= ")
        )
        if done.returncode:
            print(done.stdout, done.stderr, file=sys.stderr)
            for line in lines:
                if line.startswith(("FAILED", "ERROR", "E  ")):
                    work.page.line()
                    work.page.line(f"    {line[:200]}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page; 1 where a check does not hold."""
    parser = argparse.ArgumentParser(description=package.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a file that gets the same page")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all sections together (8)")
    parser.add_argument("--device", help="such as cuda:1 or cpu; default: the accelerator there is")
    parser.add_argument("--strict", action="store_true", help="exit code 1 also where something was not measured")
    options = parser.parse_args(arguments)
    device = torch_device(options.device or available_devices()[-1])
    torch.set_num_threads(1)  # the small models are too small for more, and a card needs none
    page = Page(options.out)
    page.line(f"# GPU check: {device_name(device)}")
    size = size_for(device)
    if device.type != "cuda":
        page.line()
        page.line("No CUDA device: everything runs at its smallest size, and no rate on this page says anything.")
    with tempfile.TemporaryDirectory() as folder:
        write(page, Check(device, size, Path(folder)).sections(), 60.0 * options.minutes)
    verdict(page)
    return 1 if page.failures or (options.strict and page.gaps) else 0


def verdict(page: Page) -> None:
    """The last section: what does not hold, and what is missing."""
    page.line()
    page.line("## Verdict")
    page.line()
    page.line(
        f"{page.checks} checks, {len(page.failures)} failures." if page.failures else f"All {page.checks} checks hold."
    )
    for title, entries in (("Does not hold", page.failures), ("Not measured", page.gaps)):
        if entries:
            page.line()
            page.line(f"{title}:")
            page.line()
            for entry in entries:
                page.line(f"- {entry}")


if __name__ == "__main__":
    sys.exit(main())
