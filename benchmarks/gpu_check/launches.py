"""What a pass starts on the device and how often the host waits for it, counted by torch's profiler."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.experts import HostReads
from benchmarks.gpu_check.card import begin_peak, synchronize
from benchmarks.gpu_check.page import Work
from benchmarks.gpu_check.rates import Bench, filled, prefilled, stepper

WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize", "hipStreamSynchronize", "hipEventSynchronize")
COPIES = ("Memcpy", "Memset")
LONGEST = 10  # kernels that are named


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A pass on the device; times are in microseconds.

    Attributes:
        kernels: their names, in order.
        copies:  to the host.
        waits:   of the host for a stream or an event.
        busy:    in which the device did something.
        whole:   from its first to its last event.
        spent:   in each kernel, by name.
    """

    kernels: tuple[str, ...]
    copies: int
    waits: int
    busy: float
    whole: float
    spent: Counter[str]


def launches(work: Work, bench: Bench) -> None:
    """A table of counts, and the kernels that took longest in the largest decode step."""
    work.page.table(
        "pass", "torch operations", "kernels", "copies to the host", "waits of the host", "device ms", "of it idle"
    )
    context = bench.size.contexts[0]
    longest: Counter[str] = Counter()
    for batch in bench.size.batches[:2]:
        begin_peak(bench.device)
        call = stepper(bench, *filled(bench, batch, context))
        longest = _count(work, f"decode step, {batch} x {context:,}", call, bench.device)
    begin_peak(bench.device)
    length = min(context, bench.size.chunks[0])
    _count(work, f"prefill, 1 x {length:,}", lambda: prefilled(bench, 1, length, length), bench.device)
    if longest:
        total = sum(longest.values())
        work.page.table(f"kernel of the decode step, {bench.size.batches[:2][-1]} x {context:,}", "ms", "share")
        for name, spent in longest.most_common(LONGEST):
            work.page.row(f"`{name[:100]}`", f"{spent / 1e3:.3f}", f"{spent / total:.1%}")


def _count(work: Work, name: str, call: Callable[[], object], device: torch.device) -> Counter[str]:
    """Write a row; microseconds of each kernel, by name."""
    for _ in range(2):
        call()
    with HostReads() as dispatched:
        call()
    synchronize(device)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as recorded:
        call()
        synchronize(device)
    if device.type != "cuda":
        work.page.row(name, dispatched.operations, "–", dispatched.reads, "–", "–", "–")
        return Counter()
    seen = counted(recorded.events() or [])
    idle = f"{1 - seen.busy / seen.whole:.0%}" if seen.whole else "–"
    figures = (len(seen.kernels), seen.copies, seen.waits, f"{seen.whole / 1e3:.2f}", idle)
    work.page.row(name, dispatched.operations, *figures)
    if not seen.kernels:
        work.gap("The profiler saw no kernel: counters of the device cannot be read here.")
    return seen.spent


def counted(events: Iterable[Any]) -> Counted:
    """What the profiler's events are."""
    listed = list(events)
    on_device = [event for event in listed if event.device_type == DeviceType.CUDA]
    kernels = [event for event in on_device if not event.name.startswith(COPIES)]
    spent = Counter[str]()
    for event in kernels:
        spent[event.name] += event.time_range.elapsed_us()
    busy, whole = _busy(on_device)
    return Counted(
        kernels=tuple(event.name for event in kernels),
        copies=sum(event.name.startswith("Memcpy DtoH") for event in on_device),
        waits=sum(event.name in WAITS for event in listed),
        busy=busy,
        whole=whole,
        spent=spent,
    )


def _busy(events: Iterable[Any]) -> tuple[float, float]:
    """Microseconds in which the device did something, and from its first to its last event."""
    ranges = sorted((event.time_range.start, event.time_range.end) for event in events)
    busy, reached = 0.0, ranges[0][0] if ranges else 0.0
    for start, end in ranges:
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return busy, reached - ranges[0][0] if ranges else 0.0
