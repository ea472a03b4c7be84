"""How fast models answer on this machine, one beside the other, and whether it suits int8."""

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
"""Instructions that multiply and add bytes at once: Intel's and AMD's two, and Arm's."""


def faces_per_second(
    models: Sequence[Classifier],
    batch: int = BATCH,
    *,
    seconds: float = 0.5,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Return each model's faces a second: the best of rounds in which every model has its turn.

    Other programs only ever make a round slower, and they slow all models of a round: compare
    figures of one call, as a ratio.

    Args:
        models: to measure.
        batch: faces given at once.
        seconds: spent on each model, about.
        seed: of the pixels, which are noise.
        clock: for models on one thread time.process_time is the steadier one: other programs
            take none of it.
    """
    rng = np.random.default_rng(seed)
    crops = [
        rng.integers(0, 256, (batch, m.input_size, m.input_size), dtype=np.uint8) for m in models
    ]
    best = [float("inf")] * len(models)
    spent = 0.0
    for model, pixels in zip(models, crops, strict=True):
        model.logits(pixels)  # the first answer also allocates what later ones use
    while spent < seconds * len(models):
        for place, (model, pixels) in enumerate(zip(models, crops, strict=True)):
            started = clock()
            model.logits(pixels)
            taken = clock() - started
            best[place] = min(best[place], taken)
            spent += taken
    return [batch / taken for taken in best]


def suits_int8(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool | None:
    """Return whether the processor multiplies bytes fast; None where it does not say.

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
