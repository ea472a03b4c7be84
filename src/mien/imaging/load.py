"""Images in any form, such as paths, arrays and tensors, to RGB pixels: read `image_input`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from weakref import ref

import numpy as np
from PIL import Image

from mien.addresses import find_address
from mien.errors import ConfigError, SourceError
from mien.imaging.codec import (
    DAMAGE,
    Decoded,
    as_displayed,
    check_size,
    decode_with_notes,
    read_content,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

ImageLike = Any
"""What `Reader.read` takes: see there. PIL and torch are not imported for a type."""
Channels = Literal["rgb", "bgr"]
CHANNELS: tuple[Channels, ...] = ("rgb", "bgr")
KINDS = (
    "a path, a PIL image, the bytes of an image file, a binary file object, a NumPy array "
    "or a torch tensor"
)


@dataclass(frozen=True, slots=True)
class ImageInput:
    """One image in the form that the caller passed.

    Attributes:
        value: the path, or the image itself.
        name: in results and messages: the path, or 'array', 'tensor', 'image', 'bytes', 'file'.
        channels: channel order of arrays and tensors, 'rgb' or 'bgr'.
    """

    value: Any
    name: str
    channels: Channels = "rgb"

    def load(self) -> Decoded:
        """Return the pixels, uint8 [h, w, 3] RGB, and notes.

        Raises:
            SourceError: the image cannot be read.
        """
        return _load(self.value, self.name, self.channels)

    def origin(self) -> ImageInput | WeakImage | None:
        """Return what can load the pixels later: a path, bytes, or else a weak reference."""
        if isinstance(self.value, Path | bytes):
            return self
        try:
            # Weak: readings of thousands of arrays must not keep them all in memory.
            return WeakImage(ref(self.value), self.name, self.channels)
        except TypeError:  # some types allow no weak reference
            return None


@dataclass(frozen=True, slots=True)
class WeakImage:
    """An image of the caller's, which a reading of it does not keep in memory."""

    refer: Callable[[], Any]
    name: str
    channels: Channels

    def load(self) -> Decoded | None:
        """Return the pixels as they are now, or None where the image was freed."""
        value = self.refer()
        return None if value is None else _load(value, self.name, self.channels)

    def __reduce__(self) -> tuple[object, ...]:  # weak references cannot be pickled
        return (WeakImage, (_freed, self.name, self.channels))


def _freed() -> None:
    return None


def image_input(value: object, channels: str = "rgb") -> ImageInput:
    """Return an image with its name; file objects are read, nothing is decoded.

    Raises:
        SourceError: not an image, or a file object without bytes.
        ConfigError: `channels` is neither 'rgb' nor 'bgr'.
    """
    order = check_channels(channels)
    if isinstance(value, str | os.PathLike):
        return ImageInput(check_path(value), os.fspath(value), order)
    name = _kind(value)
    if isinstance(value, bytearray | memoryview):
        # A copy, because the caller may change a buffer before it is read.
        return ImageInput(bytes(value), name, order)
    if _is_file(value):
        return ImageInput(_read_file(value, name), name, order)
    return ImageInput(value, name, order)


def check_channels(channels: str) -> Channels:
    """Return the channel order; any other than 'rgb' and 'bgr' raises a ConfigError."""
    for known in CHANNELS:
        if channels == known:
            return known
    raise ConfigError(
        f"channels must be 'rgb' or 'bgr', got {channels!r}",
        hint="'bgr' for frames of OpenCV, else 'rgb'",
    )


def check_path(path: str | os.PathLike[str]) -> Path:
    """Return a path; an empty string or an address raises a SourceError."""
    text = os.fspath(path)
    if not text:
        raise SourceError("the path is empty", hint="give a file; is a variable unset?")
    address = find_address(text)
    if address is not None:
        if address.lower().startswith("file:"):
            raise SourceError(f"{address} is an address", hint="give the path without file://")
        raise SourceError(
            f"{address} is an address of a kind that mien does not read",
            hint="download it first and give the file, or give the bytes",
        )
    return Path(path)


def is_one_image(value: object) -> bool:
    """Return whether a value is one image rather than a collection of images."""
    text = isinstance(value, str | os.PathLike)
    return text or _kind_or_none(value) is not None or not isinstance(value, Iterable)


def _kind_or_none(value: object) -> str | None:
    if isinstance(value, Image.Image):
        return str(getattr(value, "filename", "") or "image")
    if isinstance(value, bytes | bytearray | memoryview):
        return "bytes"
    if _is_tensor(value):
        return "tensor"
    if isinstance(value, np.ndarray) or hasattr(value, "__array__"):
        return "array"
    if _is_file(value):
        name = getattr(value, "name", None)
        return name if isinstance(name, str) and name else "file"
    return None


def _kind(value: object) -> str:
    kind = _kind_or_none(value)
    if kind is not None:
        return kind
    if value is None:
        raise SourceError(
            "there is no image: got None",
            hint="cv2.imread returns None for a file that it cannot read; pass the path instead",
        )
    several = isinstance(value, list | tuple | set | dict)
    raise SourceError(
        f"an image must be {KINDS}, got {type(value).__name__}",
        hint="read_many reads several" if several else "give one of these",
    )


def _load(value: Any, name: str, channels: Channels) -> Decoded:
    if isinstance(value, Path):
        if os.path.isdir(value):  # noqa: PTH112  (Path's raises for names too long)
            raise SourceError(f"{value} is a folder, not an image", hint="read_many reads folders")
        return decode_with_notes(read_content(value), str(value))
    if isinstance(value, Image.Image):
        return _from_image(value, name)
    if isinstance(value, bytes):
        return decode_with_notes(value, name)
    if _is_tensor(value):
        return Decoded(_from_tensor(value, channels))
    return Decoded(as_pixels(np.asarray(value), channels))


def _is_file(value: object) -> bool:
    return callable(getattr(value, "read", None)) and not hasattr(value, "__array__")


def _read_file(file: Any, name: str) -> bytes:
    try:
        content = file.read()
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise SourceError(f"cannot read {name}: {error}", hint="open it again") from error
    if isinstance(content, str):
        raise SourceError(f"{name} is open as text", hint="open it with mode 'rb'")
    if not content:
        raise SourceError(
            f"{name} gives no bytes: it is empty or read to its end already", hint="seek(0) first"
        )
    return bytes(content)


def _from_image(image: Image.Image, name: str) -> Decoded:
    if 0 in image.size:
        raise SourceError(f"{name} has no pixels: {image.size}", hint="give an image with pixels")
    check_size(image.size, name)
    try:
        return Decoded(as_displayed(image))
    except DAMAGE as error:
        whole = _from_open_file(image, name)
        if whole is not None:
            return whole
        raise SourceError(
            f"{name}, a PIL image of mode {image.mode}, cannot be read: {error}",
            hint="convert it first: image.convert('RGB')",
        ) from error


def _from_open_file(image: Image.Image, name: str) -> Decoded | None:
    """Return what our decoder reads of the file of an image that Pillow could not load, or None.

    Pillow refuses a JPEG without an end marker, of which every pixel may be there.
    """
    file = getattr(image, "fp", None)
    try:
        file.seek(0)  # type: ignore[union-attr]
        return decode_with_notes(file.read(), name)  # type: ignore[union-attr]
    except (SourceError, AttributeError, OSError, ValueError):  # no file, a closed one, or damage
        return None


def _is_tensor(value: object) -> bool:
    """Return whether a value is a torch tensor, without importing torch."""
    return any(
        kind.__module__.split(".")[0] == "torch" and kind.__name__ == "Tensor"
        # The bases too: torch has subclasses such as Parameter and torchvision's Image.
        for kind in type(value).__mro__
    )


def _from_tensor(tensor: Any, channels: Channels) -> NDArray[np.uint8]:
    # The caller's tensor may need gradients or lie on a GPU; numpy takes neither.
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        tensor = tensor.float()  # NumPy has no bfloat16
    values = tensor.numpy()
    if values.ndim == 3 and values.shape[0] in (1, 3, 4):  # torch's own order: channels first
        values = values.transpose(1, 2, 0)
    return as_pixels(values, channels)


def as_pixels(values: NDArray[Any], channels: Channels = "rgb") -> NDArray[np.uint8]:
    """Return an array as uint8 [h, w, 3] RGB.

    Args:
        values: [h, w] or [h, w, 1] grey, [h, w, 3] colour or [h, w, 4] colour and alpha, which is
            laid on white. uint8 or other integers from 0 to 255; uint16 from 0 to 65,535; floats
            from 0 to 1; or booleans.
        channels: channel order, 'rgb' or 'bgr'.

    Raises:
        SourceError: another shape or type, or values out of range.
    """
    shape = values.shape
    # Four dimensions are a batch; which of its images was meant cannot be known.
    if values.ndim not in (2, 3) or 0 in shape or (values.ndim == 3 and shape[2] not in (1, 3, 4)):
        raise _refused(values, "put the channels last; read_many reads several images")
    pixels = _as_bytes(values)
    if values.ndim == 2 or shape[2] == 1:
        return np.repeat(pixels.reshape(*shape[:2], 1), 3, axis=2)
    if channels == "bgr":
        pixels = pixels[:, :, [2, 1, 0, *range(3, shape[2])]]
    if shape[2] == 4:
        return as_displayed(Image.fromarray(np.ascontiguousarray(pixels), "RGBA"))
    return np.ascontiguousarray(pixels)


def _as_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    kind = values.dtype.kind
    if values.dtype == np.uint8:
        return values
    if kind not in "buif":
        raise _refused(values, "give uint8, or floats from 0 to 1")
    low, high = float(values.min()), float(values.max())
    if kind == "f":
        if not (low >= 0 and high <= 1):  # NaN fails both comparisons
            raise _refused(values, f"floats must be from 0 to 1, got {low:.4g} to {high:.4g}")
        scale = 255.0
    elif kind == "b":
        scale = 255.0
    else:
        deep = values.dtype == np.uint16 and high > 255
        if not (low >= 0 and (high <= 255 or deep)):
            raise _refused(values, f"integers must be from 0 to 255, got {low:.0f} to {high:.0f}")
        scale = 1 / 257 if deep else 1.0
    return np.round(values.astype(np.float32) * np.float32(scale)).astype(np.uint8)


def _refused(values: NDArray[Any], hint: str) -> SourceError:
    return SourceError(
        "an array must be [h, w] grey, [h, w, 3] RGB or [h, w, 4] RGBA, uint8 or float from 0 to "
        f"1, got {values.dtype} {list(values.shape)}",
        hint=hint,
    )
