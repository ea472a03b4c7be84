"""The memory that the process, or its tensors on the GPU, hold now."""

from __future__ import annotations

import os
from pathlib import Path

import torch

STATM = Path("/proc/self/statm")


def resident_mb(device: torch.device) -> float:
    """Return megabytes: allocated on the GPU, else resident in memory; 0 where not known."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / 2**20
    try:
        pages = int(STATM.read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0  # not Linux
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
