"""Fixtures for every test: a small drawn dataset, a tiny model, and real data where at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before numpy and torch read it: one test process per core already. Two threads each would wait
    # for one another on a busy machine, a singular value decomposition for minutes.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, settings
from onnx import TensorProto, helper, numpy_helper

from mien.data.dataset import Dataset
from mien.data.drawn import draw_dataset
from mien.imaging.crop import ALIGNMENT_ID
from mien.model.info import INPUT_NAME, OUTPUT_NAME, ModelInfo

ROOT = Path(__file__).parents[1]

# How fast an example runs is the machine's affair.
settings.register_profile("mien", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mien")


def run_mien(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    """Run the command line in this process; return its exit code, stdout and stderr."""
    from mien.cli import main

    # A run folder records sys.argv, so arguments are not passed to `run`.
    monkeypatch.setattr("sys.argv", ["mien", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main.run()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


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


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of public-domain example images."""
    return ROOT / "examples"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@contextmanager
def not_root() -> Iterator[None]:
    """Do what stands in the block as a user without rights, where root runs the tests."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def tiny_info(**changes: object) -> ModelInfo:
    values: dict[str, object] = {
        "name": "tiny",
        "labels": ("happy", "neutral", "sad"),
        "input_size": 48,
        "alignment": ALIGNMENT_ID,
    }
    return ModelInfo(**{**values, **changes})  # type: ignore[arg-type]


def tiny_model(metadata: dict[str, str], size: int = 48) -> bytes:
    """An ONNX graph: the crop's mean, its top half's and its bottom half's, as three logits."""
    weights = np.zeros((size * size, 3), np.float32)
    weights[:, 0] = 1 / size**2
    weights[: size * size // 2, 1] = 2 / size**2
    weights[size * size // 2 :, 2] = 2 / size**2
    nodes = [
        helper.make_node("Cast", [INPUT_NAME], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["float"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["scaled"]),
        helper.make_node("Mul", ["scaled", "factor"], [OUTPUT_NAME]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, ["n", 1, size, size])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["n", 3])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array(0.1, np.float32), "factor"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture
def tiny_path(tmp_path: Path) -> Path:
    """A model file whose answers can be worked out by hand."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_model(tiny_info().to_metadata()))
    return path
