"""Image files to crops; a file that cannot be used is listed and never ends the import."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from mien.data.faces import MODES, SAMPLE, SMALL, FaceCrop, FaceMode, choose_mode, crop_face
from mien.data.records import Origin, Skipped, Thumbnail
from mien.data.thumbnails import SHOWN, make_thumbnail
from mien.errors import ConfigError, SourceError, did_you_mean
from mien.imaging.codec import (
    FIRST_FRAME,
    FIRST_PAGE,
    NO_END_MARKER,
    SUFFIXES,
    decode_with_notes,
    read_content,
)
from mien.imaging.crop import crop_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.data.faces import FaceDetector


FEW_LARGE = 0.05
"""Up to this fraction of images over SMALL pixels a folder is taken for one of face crops."""


@dataclass(slots=True)
class Crops:
    """The crops of image files, and the files that have none.

    Attributes:
        images_nhw: uint8 [n, size, size], grey.
        kept: positions of the crops in the list of files, n.
        skipped: files that could not be used.
        notes: files that were read with a warning.
        origins: where each crop comes from, n.
        mode: whether faces were detected.
        thumbnails: images for the page of the import.
    """

    images_nhw: NDArray[np.uint8]
    kept: list[int]
    skipped: list[Skipped]
    notes: list[Skipped]
    origins: tuple[Origin, ...]
    mode: FaceMode
    thumbnails: list[Thumbnail] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """Return whether faces were detected, and why, as JSON types."""
        return {"faces": self.mode.to_dict()}


@dataclass(frozen=True, slots=True)
class _Detected:
    """What detection gave for one file; kept for the files of the sample, to do it once."""

    face: FaceCrop
    note: str
    thumbnail: bytes


class ImageCropper:
    """Turns image files into crops.

    Args:
        faces: 'find' crops the main face of each image, 'whole' resizes each image to a crop,
            'auto' chooses one of the two by a sample of the images.
        make_detector: returns a face detector; called when one is first needed. Without it 'auto'
            reads every image whole, with a warning.

    Raises:
        ConfigError: unknown value of `faces`, or 'find' without a detector.
    """

    def __init__(
        self, faces: str = "auto", make_detector: Callable[[], FaceDetector] | None = None
    ) -> None:
        if faces not in MODES:
            raise ConfigError(
                f"faces: unknown value {faces!r}",
                hint=did_you_mean(faces, MODES) + f"allowed: {', '.join(MODES)}",
            )
        if faces == "find" and make_detector is None:
            raise ConfigError(
                "faces: 'find' needs a face detector",
                hint="give make_detector, such as mien.predict.detectors.registry.make_detector",
            )
        self.faces = faces
        self._make_detector = make_detector
        self._detector: FaceDetector | None = None

    def read(
        self,
        files: Sequence[Path],
        names: Sequence[str],
        size: int,
        progress: Callable[[int, int], None] | None = None,
    ) -> Crops:
        """Return the crops of the files that can be used, and a list of the others.

        Args:
            files: files to read.
            names: name of each file, for messages.
            size: height and width of a crop, in pixels.
            progress: called with (done, total), in files.
        """
        mode, known = self._choose_mode(files, size)
        images: list[NDArray[np.uint8]] = []
        origins: list[Origin] = []
        out = Crops(np.zeros((0, size, size), np.uint8), [], [], [], (), mode)
        for position, (file, name) in enumerate(zip(files, names, strict=True)):
            crop: NDArray[np.uint8] | None
            try:
                if mode.mode == "whole":
                    crop, origin = _read_whole(file, name, size, out)
                else:
                    detected = known.get(position) or self._detect(file, size)
                    crop, origin = _use_detected(detected, name, size, out)
            except SourceError as error:
                out.skipped.append(Skipped(name, error.message, _error_kind(file)))
            else:
                if crop is not None:
                    images.append(crop)
                    origins.append(origin)
                    out.kept.append(position)
            if progress:
                progress(position + 1, len(files))
        if images:
            out.images_nhw, out.origins = np.stack(images), tuple(origins)
        return out

    def _detect(self, file: Path, size: int) -> _Detected:
        image, note = _decode(file)
        face = crop_face(image, self._load(), size, allow_whole=self.faces == "auto")
        return _Detected(face, note, make_thumbnail(image, face))

    def _load(self) -> FaceDetector:
        if self._detector is None:
            assert self._make_detector is not None  # noqa: S101 - __init__ and _choose_mode ensure it
            self._detector = self._make_detector()
        return self._detector

    def _choose_mode(
        self, files: Sequence[Path], size: int
    ) -> tuple[FaceMode, dict[int, _Detected]]:
        """Return whether to detect faces, and the faces of the sample by their position."""
        if self.faces != "auto":
            name = self._load().name if self.faces == "find" else ""
            return FaceMode(self.faces, self.faces, "as requested", name), {}
        # Spread over all files, which are sorted by class: the first ones would be a single class.
        sample = np.unique(np.linspace(0, max(len(files) - 1, 0), SAMPLE).astype(int)).tolist()
        sides = {i: side for i in sample if i < len(files) and (side := _longer_side(files[i]))}
        large = [i for i, side in sides.items() if side > SMALL]
        if len(large) <= FEW_LARGE * len(sides):
            why = f"face crops: {len(sides)} sampled images are at most {SMALL} pixels large"
            return FaceMode("auto", "whole", why if sides else "no readable image"), {}
        if self._make_detector is None:
            doubt = "if the images are photos, a network would learn their backgrounds"
            return FaceMode("auto", "whole", "no face detector was given", doubt=doubt), {}
        detected: dict[int, _Detected] = {}
        for i in large:
            try:
                detected[i] = self._detect(files[i], size)
            except SourceError:
                continue  # `read` lists it when it comes to this file
        if not detected:
            return FaceMode("auto", "whole", "no readable image"), {}
        return choose_mode([found.face for found in detected.values()], self._load()), detected


def _read_whole(file: Path, name: str, size: int, out: Crops) -> tuple[NDArray[np.uint8], Origin]:
    """Return the whole image as a crop; add its note to `out`."""
    image, note = _decode(file)
    if note:
        out.notes.append(Skipped(name, "", note))
    return crop_whole(image, size), Origin(image.shape[1], image.shape[0])


def _use_detected(
    detected: _Detected, name: str, size: int, out: Crops
) -> tuple[NDArray[np.uint8] | None, Origin]:
    """Return the crop of the main face, None where it is unclear; add notes to `out`."""
    face = detected.face
    if face.kind:
        out.skipped.append(Skipped(name, face.reason, face.kind))
    elif face.origin.box is not None and (
        face.fraction * min(face.origin.width, face.origin.height) < size
    ):
        out.notes.append(Skipped(name, "its face is smaller than the crop", "small-face"))
    if sum(thumbnail.kind == face.kind for thumbnail in out.thumbnails) < SHOWN:
        out.thumbnails.append(Thumbnail(name, face.kind, face.reason, detected.thumbnail))
    if detected.note and face.crop is not None:
        out.notes.append(Skipped(name, "", detected.note))
    return face.crop, face.origin


NOTICES = {
    NO_END_MARKER: "no-end-marker",
    FIRST_FRAME: "animation",
    FIRST_PAGE: "animation",
}
"""Kinds of notices, by the notes of decoded files."""


def _decode(file: Path) -> tuple[NDArray[np.uint8], str]:
    """Return an image, uint8 [h, w, 3] RGB, and the kind of its notice, or ''."""
    pixels, notes = decode_with_notes(read_content(file), str(file))
    return pixels, next((NOTICES[note] for note in notes if note in NOTICES), "")


def _error_kind(file: Path) -> str:
    """Return the kind of notice for a file that could not be read."""
    try:
        if not file.exists():
            return "missing"
    except (OSError, ValueError):
        return "unreadable"
    # Only the name tells a damaged image from a note or a Thumbs.db.
    return "unreadable" if file.suffix.lower() in SUFFIXES else "not-an-image"


def _longer_side(file: Path) -> int:
    """Return an image's longer side in pixels from its header, 0 where it cannot be read."""
    try:
        with Image.open(file) as image:
            return max(image.size)
    except (
        UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError,
        RuntimeError, struct.error,
    ):  # fmt: skip
        return 0
