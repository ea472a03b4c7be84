"""Fixtures for every test: a small drawn dataset, and the real data where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mien.data.drawn import draw_dataset
from mien.data.manifest import Dataset


@pytest.fixture(scope="session")
def fer2013() -> Path:
    """The FER2013 arrays; they may not be distributed, so most machines lack them."""
    path = os.environ.get("MIEN_FER2013", "")
    if not path or not Path(path).exists():
        pytest.skip("MIEN_FER2013 does not name the FER2013 arrays (npz); they are not distributed")
    return Path(path)


@pytest.fixture(scope="session")
def drawn() -> Dataset:
    """240 drawn faces with a train and a validation split."""
    return draw_dataset(count=240, seed=0)


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(0)
