"""Memory that runs out is told from other errors by its type, and by its words only where torch has no type for it."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from kvl_eval.engine.shortage import within_memory

SHORTAGES = [
    torch.OutOfMemoryError("in any language"),
    MemoryError("9 more pages"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:115] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
    ),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
]


def failing(error: Exception) -> int:
    raise error


@pytest.mark.parametrize("error", SHORTAGES, ids=lambda error: str(error)[:20])
def test_a_shortage_is_nothing_in_place_of_a_result(error: Exception) -> None:
    assert within_memory(failing, error) is None


def test_a_result_comes_back_and_other_errors_go_on() -> None:
    assert within_memory(divmod, 7, 2) == (3, 1)
    for error in (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("out of memory")):
        with pytest.raises(type(error), match=str(error)):
            within_memory(failing, error)


def test_what_was_computed_when_memory_ran_out_is_let_go() -> None:
    made: list[weakref.ref[torch.Tensor]] = []

    def action() -> None:
        large = torch.zeros(9)
        made.append(weakref.ref(large))
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert within_memory(action) is None
    gc.collect()
    assert made[0]() is None
