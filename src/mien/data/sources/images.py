"""Image files to crops; those that cannot be used are listed, never a reason to stop."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from mien.data.faces import MODES, SAMPLE, SMALL, Decision, Found, decide, find_face
from mien.data.sources.collection import Origin, Shown, Skipped
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


@dataclass(slots=True)
class Crops:
    """What became of image files.

    Attributes:
        images_nhw: uint8 [n, size, size], grey.
        kept: positions of the crops in the list of files.
        skipped: files that could not be used.
        notes: images that were used, with something to know about them.
        origins: where each crop comes from, [n].
        decision: how faces were taken.
        shown: images for the import's page.
    """

    images_nhw: NDArray[np.uint8]
    kept: list[int]
    skipped: list[Skipped]
    notes: list[Skipped]
    origins: tuple[Origin, ...]
    decision: Decision
    shown: list[Shown] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """Return how the faces were taken, as JSON types."""
        return {"faces": self.decision.to_dict()}


class ImageCropper:
    """Turns image files into crops.

    Args:
        faces: 'find' crops the one face of each image, 'whole' takes each image for a crop,
            'auto' decides by a sample of the images.
        make_detector: makes what finds faces, when it is first needed. Without it 'auto' takes
            every image whole, and says so.

    Raises:
        ConfigError: another word for `faces`, or 'find' without a detector.
    """

    def __init__(
        self, faces: str = "auto", make_detector: Callable[[], FaceDetector] | None = None
    ) -> None:
        if faces not in MODES:
            raise ConfigError(
                f"faces: {faces!r} is not a way to take faces",
                hint=did_you_mean(faces, MODES) + f"known: {', '.join(MODES)}",
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
        """Return the crops of the files that can be used, and what became of the others.

        Args:
            files: to read.
            names: for messages, one a file.
            size: height and width of a crop, in pixels.
            progress: called with (done, total).
        """
        decision, known = self._decide(files, size)
        images: list[NDArray[np.uint8]] = []
        origins: list[Origin] = []
        out = Crops(np.zeros((0, size, size), np.uint8), [], [], [], (), decision)
        for position, (file, name) in enumerate(zip(files, names, strict=True)):
            try:
                crop, origin = self._crop(file, name, size, out, known.get(position))
            except SourceError as error:
                out.skipped.append(Skipped(name, error.message, _kind(file)))
                crop, origin = None, Origin(0, 0)
            if crop is not None:
                images.append(crop)
                origins.append(origin)
                out.kept.append(position)
            if progress:
                progress(position + 1, len(files))
        if images:
            out.images_nhw, out.origins = np.stack(images), tuple(origins)
        return out

    def _crop(
        self, file: Path, name: str, size: int, out: Crops, known: _Looked | None
    ) -> tuple[NDArray[np.uint8] | None, Origin]:
        """Return the crop of one file, or None where it has no clear face; list what is to know."""
        if out.decision.mode == "whole":
            image, note = _read(file)
            crop = crop_whole(image, size)
            origin = Origin(image.shape[1], image.shape[0])
            kind = ""
        else:
            looked = known or self._look(file, size)
            found, note, kind = looked.found, looked.note, looked.found.kind
            if kind:
                out.skipped.append(Skipped(name, found.reason, kind))
            elif found.origin.box is not None and found.share * _shorter(found.origin) < size:
                out.notes.append(Skipped(name, "its face is smaller than the crop", "small-face"))
            if sum(s.kind == kind for s in out.shown) < SHOWN:
                out.shown.append(Shown(name, kind, found.reason, looked.thumbnail))
            if found.crop is None:
                return None, found.origin
            crop, origin = found.crop, found.origin
        if note:
            out.notes.append(Skipped(name, "", note))
        return crop, origin

    def _look(self, file: Path, size: int) -> _Looked:
        image, note = _read(file)
        found = find_face(image, self._load(), size, crops=self.faces == "auto")
        return _Looked(found, note, make_thumbnail(image, found))

    def _load(self) -> FaceDetector:
        if self._detector is None:
            assert self._make_detector is not None  # noqa: S101 - __init__ and _decide see to it
            self._detector = self._make_detector()
        return self._detector

    def _decide(self, files: Sequence[Path], size: int) -> tuple[Decision, dict[int, _Looked]]:
        """Return how faces are taken, and what the sample has shown already, by position."""
        if self.faces != "auto":
            name = self._load().name if self.faces == "find" else ""
            return Decision(self.faces, self.faces, "asked for", name), {}
        sample = np.unique(np.linspace(0, max(len(files) - 1, 0), SAMPLE).astype(int)).tolist()
        sides = {i: side for i in sample if i < len(files) and (side := _longer_side(files[i]))}
        large = [i for i, side in sides.items() if side > SMALL]
        if len(large) <= 0.05 * len(sides):
            why = f"face crops: {len(sides)} sampled images are at most {SMALL} pixels large"
            return Decision("auto", "whole", why if sides else "no image to look at"), {}
        if self._make_detector is None:
            doubt = "photos would be shrunk whole, and teach their backgrounds"
            return Decision("auto", "whole", "no face detector was given", doubt=doubt), {}
        looked: dict[int, _Looked] = {}
        for i in large:
            try:
                looked[i] = self._look(files[i], size)
            except SourceError:
                continue  # told of when its turn comes
        if not looked:
            return Decision("auto", "whole", "no image could be read to look at"), {}
        return decide([look.found for look in looked.values()], self._load()), looked


@dataclass(frozen=True, slots=True)
class _Looked:
    found: Found
    note: str
    thumbnail: bytes


NOTICES = {
    NO_END_MARKER: "no-end-marker",
    FIRST_FRAME: "animation",
    FIRST_PAGE: "animation",
}
"""Kinds of an import's notices by the notes of decoded files."""


def _read(file: Path) -> tuple[NDArray[np.uint8], str]:
    """Return an image, uint8 [h, w, 3] RGB, and the kind of note on it, or ''."""
    pixels, notes = decode_with_notes(read_content(file), str(file))
    return pixels, next((NOTICES[note] for note in notes if note in NOTICES), "")


def _kind(file: Path) -> str:
    """Return the kind of trouble with a file that could not be read."""
    try:
        if not file.exists():
            return "missing"
    except (OSError, ValueError):
        return "unreadable"
    return "unreadable" if file.suffix.lower() in SUFFIXES else "not-a-image"


def _longer_side(file: Path) -> int:
    """Return an image's longer side by its header, 0 where it cannot be read."""
    try:
        with Image.open(file) as image:
            return max(image.size)
    except (
        UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError,
        RuntimeError, struct.error,
    ):  # fmt: skip
        return 0


def _shorter(origin: Origin) -> int:
    return min(origin.width, origin.height)
