"""Writes networks as dlib does, to test what reads them; after dlib/serialize.h and dnn/core.h."""

from __future__ import annotations

import math
import struct

import numpy as np

from mien.model.dlib_format import Convolution, DlibFace

STAGES = [(32, 0), (32, 0), (32, 0), (64, 1), (64, 0), (64, 0), (64, 0), (128, 1), (128, 0),
          (128, 0), (256, 1), (256, 0), (256, 0), (256, 1)]  # fmt: skip
"""Channels of each block, and whether it halves the image."""
MEAN = (122.5, 117.0, 104.25)


def random_network(seed: int = 0) -> DlibFace:
    """Return a network with random weights, under which signals neither grow nor vanish."""
    rng = np.random.default_rng(seed)

    def convolution(inputs: int, outputs: int, side: int) -> Convolution:
        deviation = math.sqrt(1 / (inputs * side * side))
        filters = rng.normal(0, deviation, (outputs, inputs, side, side))
        values = (rng.normal(0, 0.1, outputs), rng.uniform(0.5, 1.5, outputs),
                  rng.normal(0, 0.1, outputs))  # fmt: skip
        return Convolution(filters.astype(np.float32), *(v.astype(np.float32) for v in values))

    layers, channels = [convolution(3, 32, 7)], 32
    for width, _ in STAGES:
        layers += [convolution(channels, width, 3), convolution(width, width, 3)]
        channels = width
    last = rng.normal(0, 0.1, (256, 128)).astype(np.float32)
    return DlibFace(MEAN, 150, tuple(layers), last)


def integer(value: int) -> bytes:
    size = max(1, (abs(value).bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")


def number(value: float) -> bytes:
    fraction, exponent = math.frexp(value)
    return integer(int(fraction * 2**24)) + integer(exponent - 24)


def text(value: str) -> bytes:
    return integer(len(value)) + value.encode()


def tensor(values: np.ndarray, *shape: int) -> bytes:
    dims = b"".join(integer(n) for n in (shape or (values.size, 1, 1, 1)))
    return integer(2) + dims + struct.pack(f"<{values.size}f", *values.ravel().tolist())


def alias(*shape: int) -> bytes:
    return integer(1) + b"".join(integer(n) for n in shape)


END = b"110" + 3 * tensor(np.zeros(0), 0, 0, 0, 0)
RELU = text("relu_") + END


def pool(name: str, side: int, stride: int) -> bytes:
    return text(name) + b"".join(integer(n) for n in (side, side, stride, stride, 0, 0)) + END


def write_network(network: DlibFace) -> bytes:
    """Return the bytes that dlib would write for the network."""

    def convolution(layer: Convolution, stride: int, tail: bytes = b"") -> bytes:
        outputs, inputs, side, _ = layer.filters.shape
        padding = side // 2 if stride == 1 else 0
        shape = (outputs, side, side, stride, stride, padding, padding)
        params = np.concatenate([layer.filters.ravel(), layer.bias])
        affine = np.concatenate([layer.gamma, layer.beta])
        return (
            text("con_4") + tensor(params) + b"".join(integer(n) for n in shape)
            + alias(outputs, inputs, side, side) + alias(1, outputs, 1, 1)
            + 4 * number(1.0) + END + tail
            + text("affine_") + tensor(affine) + 2 * alias(1, outputs, 1, 1) + integer(0) + END
        )  # fmt: skip

    parts = [integer(1), text("loss_metric_2"), number(0.04), number(0.6), integer(2), integer(2)]
    for _, halves in reversed(STAGES):
        versions = [2, 2, *([2, 1, 1] if halves else []), 2, 2, 2, 2, 2, 1]
        parts += [integer(v) for v in versions]
    parts += [integer(v) for v in (2, 2, 2, 3)]
    parts += [text("input_rgb_image_sized"), *(number(m) for m in network.mean_rgb)]
    parts += [integer(network.size)] * 2
    stem, *rest = network.convolutions
    parts += [convolution(stem, 2, integer(1)), RELU, pool("max_pool_2", 3, 2)]
    for index, (_, halves) in enumerate(STAGES):
        parts += [convolution(rest[2 * index], 2 if halves else 1), RELU]
        parts += [convolution(rest[2 * index + 1], 1)]
        parts += [pool("avg_pool_2", 2, 2)] if halves else []
        parts += [text("add_prev_") + END, RELU]
    parts += [pool("avg_pool_2", 0, 1), text("fc_2"), integer(128), integer(256)]
    parts += [tensor(network.last, 256, 128, 1, 1), alias(256, 128, 1, 1), alias(0, 0, 0, 0)]
    parts += [integer(1), 4 * number(1.0), END]
    return b"".join(parts)
