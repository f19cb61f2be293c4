"""How much memory can be had, and the error where weights need more."""

import os
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import torch

from kvl_eval.errors import CheckpointError

GIB = 2**30
CONTAINERS = Path("/sys/fs/cgroup")
GROUPS = Path("/proc/self/cgroup")
NO_LIMIT = 2**60  # bytes; control groups of version 1 say "no limit" by a larger number


def free_bytes(device: torch.device) -> int:
    """Free memory of a device, what torch keeps for later included; no more than a process or container may take."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    if device.type == "mps":
        return max(0, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    rests = [_available(), _process_rest(), container_rest()]
    return max(0, min(rest for rest in rests if rest is not None))


def require_room(needed: int, device: torch.device, choices: Mapping[str, int] | None = None) -> None:
    """Raise CheckpointError where weights of so many bytes are more than a device has free.

    Linux promises memory that it does not have, and kills the process once the weights are filled in.
    `choices` are {option: bytes needed with it}: those that fit are named.
    """
    free = free_bytes(device)
    if needed > free:
        raise CheckpointError(
            "model.memory",
            f"not enough memory on {device}: the weights need {needed / GIB:,.1f} GiB, {free / GIB:,.1f} GiB are "
            "available",
            fix=_ways_out(free, choices),
        )


def _ways_out(free: int, choices: Mapping[str, int] | None) -> str:
    """What to do where weights do not fit."""
    server = "use --backend vllm or a server"
    if choices is None:
        return f"use a smaller --dtype (bfloat16) or another --device, or {server}"
    fitting = [f"{option} ({size / GIB:,.1f} GiB)" for option, size in choices.items() if size <= free]
    if fitting:
        return f"use {' or '.join(fitting)}, or {server}"
    least = min(choices.items(), key=lambda choice: choice[1], default=None)
    tried = "" if least is None else f"{least[0]} needs {least[1] / GIB:,.1f} GiB: "
    return f"{tried}free some memory, use another machine, or {server}"


def _available() -> int:
    """What can be had without swapping, caches of files included.

    Where the system does not say so, what is unused; where it does not say that either (macOS), half of the total.
    """
    found = _numbers(Path("/proc/meminfo"))
    if "MemAvailable:" in found:
        return found["MemAvailable:"] * 1024
    try:
        pages = os.sysconf("SC_AVPHYS_PAGES")
    except ValueError:
        pages = os.sysconf("SC_PHYS_PAGES") // 2
    return pages * os.sysconf("SC_PAGE_SIZE")


def _process_rest() -> int | None:
    """What `ulimit -v` leaves, if it was set."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    taken = _text(Path("/proc/self/statm")).split()
    return limit - (int(taken[0]) * os.sysconf("SC_PAGE_SIZE") if taken else 0)


def container_rest(containers: Path = CONTAINERS, groups: Path = GROUPS) -> int | None:
    """The least that this process's control group or one around it leaves; None where none sets a limit.

    Args:
        containers: where the kernel shows the groups, of version 1, 2 or both.
        groups:     the list of groups that the process is in.
    """
    rests = [_group_rest(folder) for folder in _memory_groups(containers, groups)]
    return min((rest for rest in rests if rest is not None), default=None)


def _memory_groups(containers: Path, groups: Path) -> Iterator[Path]:
    """Folders of the process's own memory groups and of all groups around them."""
    for line in _text(groups).splitlines():
        number, controllers, name = line.split(":", 2)
        if "memory" in controllers.split(","):
            mounts = [containers / "memory"]
        else:
            mounts = [containers, containers / "unified"] if number == "0" else []
        group = PurePosixPath(name.lstrip("/"))
        inside = () if ".." in group.parts else (group, *group.parents)  # of another namespace: not to be seen here
        yield from (mount / folder for mount in mounts for folder in inside or (PurePosixPath(),))


def _group_rest(folder: Path) -> int | None:
    """What one control group leaves, caches of files counting as free; None where it sets no limit."""
    for limit_name, used_name, prefix in (
        ("memory.max", "memory.current", ""),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        limit, used = _text(folder / limit_name).strip(), _text(folder / used_name).strip()
        if limit.isdecimal() and used.isdecimal() and int(limit) < NO_LIMIT:
            caches = _numbers(folder / "memory.stat")
            files = caches.get(f"{prefix}active_file", 0) + caches.get(f"{prefix}inactive_file", 0)
            return int(limit) - int(used) + files
    return None


def _numbers(path: Path) -> Mapping[str, int]:
    """The first two words of each line."""
    lines = (line.split() for line in _text(path).splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
