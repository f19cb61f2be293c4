"""How much memory is free: processes, containers, systems that do not say; weights that need more are refused first."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from kvl_eval.errors import CheckpointError
from kvl_eval.model import memory
from kvl_eval.model.memory import container_rest, free_bytes, require_room

GIB = 2**30
CPU = torch.device("cpu")
STAT = "anon 300\ninactive_file 400\nactive_file 150\n"
STAT_1 = "inactive_file 1\nactive_file 1\ntotal_inactive_file 40\ntotal_active_file 10\n"


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def group(folder: str, limit: str, used: str, *, version: int = 2) -> dict[str, str]:
    """Files of one control group."""
    prefix = f"{folder}/" if folder else ""
    if version == 1:
        files = {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": used, "memory.stat": STAT_1}
    else:
        files = {"memory.max": limit, "memory.current": used, "memory.stat": STAT}
    return {prefix + name: f"{text}\n" for name, text in files.items()}


@pytest.mark.parametrize(
    ("groups", "files", "rest"),
    [
        ("0::/\n", {}, None),
        ("0::/\n", group("", "1000", "900"), 650),
        ("0::/\n", group("", "max", "900"), None),
        ("0::/a/b\n", group("a/b", "5000", "100") | group("a", "1000", "900"), 650),
        ("0::/a/b\n", group("a/b", "max", "100") | group("a", "max", "100") | group("", "1000", "900"), 650),
        ("0::/a\n", group("other", "1000", "900"), None),
        ("0::/../a\n", group("", "1000", "900"), 650),
        ("0::/a\n", group("unified/a", "1000", "900"), 650),
        ("4:memory:/job\n", group("memory/job", "1000", "900", version=1), 150),
        ("4:cpu,memory:/job\n0::/\n", group("memory", "1000", "900", version=1), 150),
        ("4:memory:/job\n", group("memory/job", "9223372036854771712", "900", version=1), None),
        ("4:cpu:/job\n", group("memory/job", "1000", "900", version=1), None),
    ],
)
def test_P25_the_smallest_limit_of_all_control_groups_counts(
    tmp_path: Path, groups: str, files: Mapping[str, str], rest: int | None
) -> None:
    containers = tree(tmp_path / "cgroup", files)
    names = tree(tmp_path, {"groups": groups}) / "groups"
    assert container_rest(containers, names) == rest


def test_P25_a_system_without_control_groups_sets_no_limit(tmp_path: Path) -> None:
    assert container_rest(tmp_path, tmp_path / "absent") is None


def test_P24_free_memory_of_a_system_that_does_not_tell_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = os.sysconf

    def sysconf(name: str) -> int:
        if name == "SC_AVPHYS_PAGES":
            raise ValueError("unrecognized configuration name")
        return asked(name)

    monkeypatch.setattr(os, "sysconf", sysconf)
    monkeypatch.setattr(memory, "_text", lambda path: "")
    physical = asked("SC_PHYS_PAGES") * asked("SC_PAGE_SIZE")
    assert 0 < free_bytes(CPU) <= physical // 2


def test_P24_an_apple_accelerator_has_what_torch_recommends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 10 * GIB)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 4 * GIB)
    assert free_bytes(torch.device("mps")) == 6 * GIB


def test_P23_weights_that_do_not_fit_are_refused_with_both_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: int(9.6 * GIB))
    require_room(int(9.5 * GIB), CPU)
    with pytest.raises(CheckpointError) as caught:
        require_room(int(61.1 * GIB), CPU)
    assert caught.value.code == "model.memory"
    assert caught.value.exit_code == 4
    assert caught.value.message == ("not enough memory on cpu: the weights need 61.1 GiB, 9.6 GiB are available")


LOADING = """
import resource, sys
import torch
from kvl_eval.errors import CheckpointError
from kvl_eval.model import KimiVL
from kvl_eval.model import memory
from pathlib import Path
memory.free_bytes = lambda device: 2 * 2**30
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    KimiVL.from_pretrained(Path(sys.argv[1]))
except CheckpointError as error:
    print(error.render())
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    sys.exit(error.exit_code)
"""


def large_checkpoint(folder: Path) -> Path:
    """16 GiB of weights, as a sparse file."""
    import json

    from kvl_eval.model import KimiVL, KimiVLConfig, TextConfig, VisionConfig
    from kvl_eval.model.weights import checkpoint_tensors

    text = TextConfig(
        vocab_size=2**20, hidden_size=2048, num_hidden_layers=1, intermediate_size=8, num_attention_heads=1
    )
    vision = VisionConfig(hidden_size=8, num_attention_heads=1, num_hidden_layers=1, intermediate_size=8)
    config = KimiVLConfig(text_config=text, vision_config=vision)
    with torch.device("meta"):
        tensors = checkpoint_tensors(KimiVL(config))
    header, end = {}, 0
    for name, tensor in tensors.items():
        begin, end = end, end + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    data = json.dumps(header).encode()
    data += b" " * (-len(data) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(data).to_bytes(8, "little") + data)
        file.truncate(8 + len(data) + end)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    return folder


def test_P23_loading_ends_before_memory_is_filled(tmp_path: Path) -> None:
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", LOADING, str(large_checkpoint(tmp_path))],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "error[model.memory]: not enough memory on cpu: the weights need 16.0 GiB, 2.0 GiB are " in done.stdout
    assert int(done.stdout.split()[-1]) < 2**20  # kilobytes
    assert time.perf_counter() - begin < 60
