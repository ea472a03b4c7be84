"""Drawn studies whose truth is known: see examples/draw_sessions.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT


def load_example() -> Any:
    path = ROOT / "examples" / "draw_sessions.py"
    spec = importlib.util.spec_from_file_location("draw_sessions", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DRAW = load_example()


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two pairs in videos of 200 s; tests must not change it."""
    folder = tmp_path_factory.mktemp("pairs")
    DRAW.main(folder, pairs=2, seconds=200.0, rate=10.0)
    return folder


@pytest.fixture
def study(drawn: Path, tmp_path: Path) -> Path:
    """A copy of the drawn study; returns its study.toml."""
    import shutil

    shutil.copytree(drawn, tmp_path / "study")
    return tmp_path / "study" / "study.toml"
