"""Which models a server offers, and under which names."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import tiny_info, tiny_model

from mien.errors import ConfigError
from mien.model.resolve import shipped_models
from mien.serve.catalogue import Catalogue


def names(catalogue: Catalogue) -> list[str]:
    return [model["name"] for model in catalogue.to_dict()["models"]]


def test_shipped_models_are_offered() -> None:
    offered = names(Catalogue.load([]))
    assert offered == [n for n in shipped_models() if not n.endswith("-int8")]
    assert offered[0] == "mien-small"
    assert "mien-tiny" in offered


def test_ones_own_come_first(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(tiny_model(tiny_info().to_metadata()))
    catalogue = Catalogue.load([("mine", file), ("mien-tiny", file), ("", Path("mien-small-int8"))])
    assert names(catalogue)[:3] == ["mine", "mien-tiny", "mien-small-int8"]
    assert catalogue.get(None).name == "mine"
    assert catalogue.get("mien-tiny").info.name == "tiny"
    assert names(catalogue).count("mien-tiny") == 1
    assert "mien-small" in names(catalogue)
    with pytest.raises(ConfigError, match="two models are called 'mine'"):
        Catalogue.load([("mine", file), ("mine", file)])
