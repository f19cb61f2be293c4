"""What a device can do at most: the vendor's figures by its name, or a copy and a matrix product that are measured."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

TERA = 1e12

# Memory in bytes a second, dense bfloat16 operations a second with sums in float32: vendors' data sheets, by the name
# that torch gives the device, without the vendor's.
KNOWN = {
    "H100 80GB HBM3": (3.35, 989),
    "H100 PCIe": (2.04, 756),
    "H100 NVL": (3.94, 835),
    "H200": (4.8, 989),
    "H200 NVL": (4.8, 835),
    "H800": (3.35, 989),
    "H20": (4.0, 148),
    "GH200 480GB": (4.0, 989),
    "B200": (8.0, 2250),
    "A100-SXM4-40GB": (1.555, 312),
    "A100-SXM4-80GB": (2.039, 312),
    "A100-PCIE-40GB": (1.555, 312),
    "A100 80GB PCIe": (1.935, 312),
    "A30": (0.933, 165),
    "A10": (0.6, 125),
    "A40": (0.696, 150),
    "L4": (0.3, 121),
    "L40": (0.864, 181),
    "L40S": (0.864, 362),
    "RTX A6000": (0.768, 155),
    "RTX 6000 Ada Generation": (0.96, 364),
    "GeForce RTX 3090": (0.936, 71),
    "GeForce RTX 4090": (1.008, 165),
    "GeForce RTX 5090": (1.792, 210),
    "AMD Instinct MI300X": (5.3, 1307),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Bytes and operations a second."""

    bandwidth: float
    operations: float

    def text(self) -> str:
        """Both with their units."""
        return f"{self.bandwidth / TERA:.3g} TB/s, {self.operations / TERA:.3g} TFLOP/s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A device, what it reaches here, and what its shares are taken of."""

    name: str
    device: torch.device
    dtype: torch.dtype
    measured: Rates
    known: Rates | None

    @property
    def rates(self) -> Rates:
        """The vendor's figures, where they are known."""
        return self.known or self.measured


def known_rates(name: str) -> Rates | None:
    """The vendor's figures of a device by its name; None for one that is not in the table, or a slice of one."""
    figures = KNOWN.get(name.removeprefix("NVIDIA ").strip())
    return None if figures is None else Rates(bandwidth=figures[0] * TERA, operations=figures[1] * TERA)


def device_name(device: torch.device) -> str:
    """As torch calls it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


def measured_card(device: torch.device, dtype: torch.dtype) -> Card:
    """The device with a copy of 2 GiB and a product of 8,192 x 8,192 measured; of 64 MiB and 512 x 512 off CUDA."""
    is_large = device.type == "cuda"
    name, side = device_name(device), 8192 if is_large else 512
    count = (2**31 if is_large else 2**26) // dtype.itemsize
    copied = _copy_seconds(count, device, dtype)
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    multiplied = median_seconds(lambda: left @ right, device)
    measured = Rates(bandwidth=2 * count * dtype.itemsize / copied, operations=2 * side**3 / multiplied)
    return Card(name=name, device=device, dtype=dtype, measured=measured, known=known_rates(name))


def _copy_seconds(count: int, device: torch.device, dtype: torch.dtype) -> float:
    source = torch.randn(count, device=device, dtype=dtype)
    target = torch.empty_like(source)
    return median_seconds(lambda: target.copy_(source), device)


def median_seconds(call: Callable[[], object], device: torch.device, rounds: int = 10) -> float:
    """Wall seconds of one call, three calls to warm up left out."""
    return statistics.median(seconds_of(call, device, rounds + 3)[3:])


def seconds_of(
    call: Callable[[], object], device: torch.device, rounds: int, until: float | None = None
) -> list[float]:
    """Wall seconds of each call, the device's work included; no call begins after `until` (`time.monotonic`)."""
    spent: list[float] = []
    synchronize(device)
    while len(spent) < rounds and (until is None or time.monotonic() < until):
        begin = time.perf_counter()
        call()
        synchronize(device)
        spent.append(time.perf_counter() - begin)
    return spent


def synchronize(device: torch.device) -> None:
    """Wait for what the device is doing."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def begin_peak(device: torch.device) -> None:
    """Give unused memory back and count peak memory from now on."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> str:
    """Most memory that tensors took since `begin_peak`, in GiB; a dash where the device does not count."""
    return f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f}" if device.type == "cuda" else "–"
