"""The full model on a machine of 24 GiB: `python -m benchmarks.full_size --folder DIR`; `--agreement`: int4 and int8
against float32 on the demo models.

A checkpoint of the published shapes with random values (5,652 tensors, 32.8 GB in bfloat16) is written shard by shard,
then `kvl-eval run --weights int4` packs it and answers one picture question, and does so again from the packed files.
Measured are wall time, CPU time and the most anonymous memory of the command with its worker processes; then how long
it takes to be told that float32 does not fit. Everything is removed afterwards. Needs 45 GB of disk; no part of CI.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from kvl_eval.backends import BUNDLED
from kvl_eval.model import KimiVL, KimiVLConfig, TextConfig, VisionConfig
from kvl_eval.model.weight_files import INDEX
from kvl_eval.model.weights import checkpoint_tensors

NANO = BUNDLED / "kimi-vl-nano"
SHARD = 5_000_000_000  # bytes
SCALE = 0.02  # of the random values
GIB = 2**30
WATCHED = 0.25  # seconds between looks at memory
SAMPLES = "1"
HEADER = "| step | wall | CPU | peak anonymous memory | ends |\n| --- | --- | --- | --- | --- |"
KINDS = ("bfloat16", "int8", "int4")


def published_config(tiny: bool) -> KimiVLConfig:
    """The published shapes with the demo's special tokens; `tiny` keeps the demo's shapes."""
    config = KimiVLConfig.from_folder(NANO)
    if tiny:
        return config
    ids = {name: getattr(config.text_config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    return replace(config, text_config=TextConfig(**ids), vision_config=VisionConfig())


def write_all_but_weights(folder: Path, config: KimiVLConfig) -> dict[str, tuple[int, ...]]:
    """Write the files of a checkpoint but its weights; the shapes of these."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in NANO.iterdir():
        if path.name not in ("config.json", "model.safetensors", "README.md"):
            shutil.copy(path, folder)
    values = {**config.to_dict(), "torch_dtype": "bfloat16"}
    values.pop("kvl_eval.family", None)
    (folder / "config.json").write_text(json.dumps(values))
    with torch.device("meta"):
        tensors = checkpoint_tensors(KimiVL(config))
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def header_of(shapes: Mapping[str, tuple[int, ...]]) -> tuple[bytes, int]:
    """Length and header of a file that holds bfloat16 tensors, and the bytes of their data."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, end


def write_checkpoint(folder: Path, tiny: bool = False) -> int:
    """Write a random checkpoint, one shard at a time; its bytes."""
    shapes = write_all_but_weights(folder, published_config(tiny))
    known = KimiVLConfig.from_folder(NANO).text_config.vocab_size
    shards = list(_shards(shapes))
    names = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    table = (torch.randn(2**25 + 977, generator=torch.Generator().manual_seed(0)) * SCALE).to(torch.bfloat16)
    for name, shard in zip(names, shards, strict=True):
        _write_shard(folder / name, shard, table, known)
    places = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
    total = sum((folder / name).stat().st_size for name in names)
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": places}))
    print(f"{len(shapes):,} tensors, {total / 1e9:.1f} GB in {len(names)} files", file=sys.stderr)
    return total


def _shards(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, tuple[int, ...]]]:
    shard: dict[str, tuple[int, ...]] = {}
    size = 0
    for name, shape in shapes.items():
        more = 2 * torch.Size(shape).numel()
        if shard and size + more > SHARD:
            yield shard
            shard, size = {}, 0
        shard[name] = shape
        size += more
    yield shard


def _write_shard(path: Path, shapes: Mapping[str, tuple[int, ...]], table: Tensor, known: int) -> None:
    with path.open("wb") as file:
        file.write(header_of(shapes)[0])
        for name, shape in shapes.items():
            for part in _values(name, shape, table, known):
                file.write(part.view(torch.int16).numpy().data)


def _values(name: str, shape: tuple[int, ...], table: Tensor, known: int) -> Iterator[Tensor]:
    """The values of a tensor in portions: ones for norms, zeros for rows of the head that stand for no token."""
    left = torch.Size(shape).numel()
    zeros_from = known * shape[-1] if name.endswith("lm_head.weight") else left
    if "norm" in name and name.endswith("weight"):
        yield torch.ones(left, dtype=torch.bfloat16)
        return
    begin = hash_of(name) % (len(table) // 2)
    done = 0
    while done < left:
        part = table[begin : begin + min(left - done, len(table) - begin)]
        if done + len(part) > zeros_from:
            part = part.clone()
            part[max(0, zeros_from - done) :] = 0
        yield part
        done, begin = done + len(part), 0


def hash_of(name: str) -> int:
    """A number that depends on a name alone."""
    return int.from_bytes(name.encode()[-7:]) * 2654435761 % 2**61


@dataclass(slots=True)
class Watched:
    """A command, and the most anonymous memory it and its children took in each phase."""

    command: Sequence[str]
    packed: Path
    wall: float = 0.0
    cpu: float = 0.0
    code: int = 0
    peaks: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    output: str = ""

    def run(self, files: int) -> Watched:
        """Run it; the phase is `packing` until so many packed files are there, then `answering`."""
        begin, before = time.perf_counter(), os.times()
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(self.command, stdout=output, stderr=subprocess.STDOUT, text=True)
            while process.poll() is None:
                made = len(list(self.packed.glob("*/*.safetensors"))) if self.packed.is_dir() else 0
                phase = "answering" if made >= files else "packing"
                self.peaks[phase] = max(self.peaks.get(phase, 0), anonymous_bytes(process.pid))
                self.seconds[phase] = (
                    time.perf_counter() - begin - sum(self.seconds.values()) + self.seconds.get(phase, 0.0)
                )
                time.sleep(WATCHED)
            output.seek(0)
            self.output = output.read()
        after = os.times()
        self.wall, self.code = time.perf_counter() - begin, process.returncode
        self.cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return self

    def row(self, step: str, ends: str) -> str:
        """One line of the table."""
        peaks = ", ".join(
            f"{phase} {peak / GIB:.1f} GiB ({self.seconds[phase]:.0f} s)" for phase, peak in self.peaks.items()
        )
        return f"| {step} | {self.wall:.0f} s | {self.cpu:.0f} s | {peaks} | {ends} |"


def anonymous_bytes(pid: int) -> int:
    """RssAnon of a process and of all its descendants."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    total, waiting = 0, [pid]
    while waiting:
        number = waiting.pop()
        waiting += children.get(number, [])
        try:
            lines = Path(f"/proc/{number}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
    return total


def measure(folder: Path, kind: str, tiny: bool) -> list[str]:
    """Lines of the table; the checkpoint and everything made from it lie in `folder` and are removed."""
    checkpoint, cache, results = folder / "checkpoint", folder / "cache", folder / "results"
    common = [
        *(sys.executable, "-m", "kvl_eval", "run", "--task", "mathvista", "--split", "mini", "--limit", SAMPLES),
        *("--model", str(checkpoint), "--cache-dir", str(cache), "--output-dir", str(results), "--max-new-tokens", "8"),
    ]
    files = published_config(tiny).text_config.num_hidden_layers + 1
    try:
        begin = time.perf_counter()
        size = write_checkpoint(checkpoint, tiny)
        lines = [HEADER, f"| write the checkpoint | {time.perf_counter() - begin:.0f} s | | | {size / 1e9:.1f} GB |"]
        told = Watched([*common, "--dtype", "float32"], cache / "packed").run(0)
        lines.append(told.row("float32, refused", _ending(told)))
        for step in ("packs and answers", "answers from packed files"):
            done = Watched([*common, "--weights", kind, "--no-resume"], cache / "packed").run(files)
            lines.append(done.row(f"{kind} {step}", _ending(done)))
            print(done.output, file=sys.stderr)
        packed = sum(path.stat().st_size for path in (cache / "packed").rglob("*.safetensors"))
        return [*lines, f"| packed files | | | | {packed / 1e9:.2f} GB |"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ending(done: Watched) -> str:
    """The exit status, and the error where there was one."""
    errors = [line for line in done.output.splitlines() if line.startswith("error[")]
    return f"exit {done.code}" + (f", {errors[0]}" if errors else "")


@torch.no_grad()
def agreement(rounds: int = 4, tokens: int = 200) -> list[str]:
    """How far logits of the demo models on random tokens are from float32, for each kind of weights."""
    from kvl_eval.model.base import PackedPlace
    from kvl_eval.model.kimi_vl import packed
    from kvl_eval.model.packed_matrix import layout_name

    lines = ["| model | weights | relative error of logits | KL | argmax equal |", "| --- | --- | --- | --- | --- |"]
    ids = torch.randint(0, 1000, (rounds, tokens), generator=torch.Generator().manual_seed(0))
    for name in ("kimi-vl-nano", "kimi-vl-nano-thinking"):
        exact = KimiVL.from_pretrained(BUNDLED / name)(ids).logits.double()
        for kind in KINDS:
            with tempfile.TemporaryDirectory() as home:
                place = PackedPlace(home=Path(home), fingerprint=name, kind=kind, layout=layout_name(kind))
                if kind == "bfloat16":
                    model = KimiVL.from_pretrained(BUNDLED / name, dtype=kind)
                else:
                    model = packed.load(BUNDLED / name, place)
                logits = model(ids).logits.double()
            error = float((logits - exact).norm() / exact.norm())
            shares = exact.log_softmax(-1)
            kl = float((shares.exp() * (shares - logits.log_softmax(-1))).sum(-1).mean())
            equal = float((logits.argmax(-1) == exact.argmax(-1)).double().mean())
            lines.append(f"| {name} | {kind} | {error:.3f} | {kl:.4f} | {equal:.3f} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--folder", type=Path, help="where the checkpoint is written, and removed afterwards")
    parser.add_argument("--weights", choices=("int4", "int8"), default="int4")
    parser.add_argument("--agreement", action="store_true", help="the demo models against float32 instead")
    parser.add_argument("--tiny", action="store_true", help="the demo's shapes")
    given = parser.parse_args()
    if given.agreement:
        print("\n".join(agreement()))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="full-size-", dir=given.folder))
    print("\n".join(measure(folder, given.weights, given.tiny)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
