"""Throughput of models on this machine, and whether its CPU is fast with int8."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mien.model.classifier import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mien.model.classifier import Classifier

VNNI_FLAGS = ("avx512_vnni", "avx_vnni", "asimddp")
"""CPU flags of int8 dot products: two of Intel and AMD, one of Arm."""


def faces_per_second(
    models: Sequence[Classifier],
    batch: int = BATCH,
    *,
    seconds: float = 0.5,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Return each model's faces per second: the best of rounds that run every model once.

    Other programs can only slow a round down, and slow all its models: compare figures of one
    call, as ratios.

    Args:
        models: to measure.
        batch: faces per batch.
        seconds: approximate time per model.
        seed: of the pixels, which are noise.
        clock: time.process_time is steadier for models on one thread, because it does not count
            other programs.
    """
    rng = np.random.default_rng(seed)
    crops = [
        rng.integers(0, 256, (batch, m.input_size, m.input_size), dtype=np.uint8) for m in models
    ]
    # The best round: other programs can only make one slower.
    best = [float("inf")] * len(models)
    spent = 0.0
    for model, pixels in zip(models, crops, strict=True):
        model.logits(pixels)  # the first run also allocates memory for later ones
    # In turns, so that a slow moment of the machine hits every model.
    while spent < seconds * len(models):
        for place, (model, pixels) in enumerate(zip(models, crops, strict=True)):
            started = clock()
            model.logits(pixels)
            taken = clock() - started
            best[place] = min(best[place], taken)
            spent += taken
    return [batch / taken for taken in best]


def suits_int8(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool | None:
    """Return whether the CPU has fast int8 instructions; None if that is unknown.

    Without such instructions an int8 model is no faster than float32, and often slower.
    """
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return not set(VNNI_FLAGS).isdisjoint(flags.split())
    return None
