"""How much memory can be had."""

import os
import resource
from collections.abc import Mapping
from pathlib import Path

import torch

CONTAINER = Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int:
    """Free memory of a device, what torch keeps for later included; no more than a process or container may take."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    rests = [_available(), _process_rest(), container_rest(CONTAINER)]
    return max(0, min(rest for rest in rests if rest is not None))


def _available() -> int:
    """What can be had without swapping, caches of files included; what is unused where the system does not say."""
    found = _numbers(Path("/proc/meminfo"))
    if "MemAvailable:" in found:
        return found["MemAvailable:"] * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _process_rest() -> int | None:
    """What `ulimit -v` leaves, if it was set."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    taken = _text(Path("/proc/self/statm")).split()
    return limit - (int(taken[0]) * os.sysconf("SC_PAGE_SIZE") if taken else 0)


def container_rest(folder: Path) -> int | None:
    """What a control group leaves, caches of files counting as free; None where it sets no limit."""
    limit, used = _text(folder / "memory.max").strip(), _text(folder / "memory.current").strip()
    if not (limit.isdecimal() and used.isdecimal()):
        return None
    found = _numbers(folder / "memory.stat")
    return int(limit) - int(used) + found.get("active_file", 0) + found.get("inactive_file", 0)


def _numbers(path: Path) -> Mapping[str, int]:
    """The first two words of each line."""
    lines = (line.split() for line in _text(path).splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
