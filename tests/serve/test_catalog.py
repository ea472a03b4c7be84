"""Which models a server offers, and under which names."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import tiny_info, tiny_model

from mien.errors import ConfigError
from mien.model.resolve import shipped_models
from mien.serve.catalog import Catalog


def names(catalog: Catalog) -> list[str]:
    return [model["name"] for model in catalog.to_dict()["models"]]


def test_shipped_models_are_offered() -> None:
    offered = names(Catalog.load([]))
    assert offered == [n for n in shipped_models() if not n.endswith("-int8")]
    assert offered[0] == "mien-small"
    assert "mien-tiny" in offered


def test_given_models_come_first(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(tiny_model(tiny_info().to_metadata()))
    catalog = Catalog.load([("mine", file), ("mien-tiny", file), ("", Path("mien-small-int8"))])
    assert names(catalog)[:3] == ["mine", "mien-tiny", "mien-small-int8"]
    assert catalog.get(None).name == "mine"
    assert catalog.get("mien-tiny").info.name == "tiny"
    assert names(catalog).count("mien-tiny") == 1
    assert "mien-small" in names(catalog)
    with pytest.raises(ConfigError, match="two models are named 'mine'"):
        Catalog.load([("mine", file), ("mine", file)])
