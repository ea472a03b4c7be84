"""The folder that an explanation is written to.

index.html             everything on one page that needs no other file
explanation.json       the figures
maps.npz               crops_nhw, and the maps as arrays in the order of the faces
explanation-NAME.png   one for each face
features-NAME.png      the strongest feature maps of each face
kernels.png            the first convolution's kernels
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.explain.explain import GRAD_CAM
from mien.explain.figures import face_image, features_image, kernels_image
from mien.explain.page import Sheets, page
from mien.files import write_bytes, write_json, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.explain.explain import Explanation
    from mien.types import FaceReading


def write_folder(
    folder: Path, explanation: Explanation, found: Sequence[tuple[str, FaceReading]]
) -> dict[str, Any]:
    """Write an explanation's files, replacing older ones of the same names.

    Args:
        folder: made where it is missing.
        explanation: whose faces are those of `found`.
        found: the source of each face, and what was read in it.

    Returns:
        the content of explanation.json.

    Raises:
        WriteError: a file could not be written.
        MissingExtraError: matplotlib is not installed.
    """
    values = explanation.to_dict()
    sources = [source for source, _ in found]
    # Drawn once: the page embeds the same images that are written beside it.
    sheets = _sheets(explanation)
    for index, (name, (source, face)) in enumerate(zip(file_names(sources), found, strict=True)):
        files = {f"explanation-{name}.png": face_image(explanation, index)}
        if sheets.features:
            files[f"features-{name}.png"] = sheets.features[index]
        for file, content in files.items():
            write_bytes(folder / file, content)
        about = {"source": source, "box": face.to_dict()["box"], "files": list(files)}
        values["faces"][index] = {**about, **values["faces"][index]}
    if sheets.kernels is not None:
        write_bytes(folder / "kernels.png", sheets.kernels)
    write_bytes(folder / "maps.npz", _arrays(explanation))
    write_json(folder / "explanation.json", values)
    write_text(folder / "index.html", page(explanation, _titles(sources), sheets))
    return values


def _sheets(explanation: Explanation) -> Sheets:
    faces = [face for face in explanation.faces if face.features]
    kernels = kernels_image(explanation) if len(explanation.kernels) else None
    return Sheets(kernels, tuple(features_image(face) for face in faces))


def file_names(sources: Sequence[str]) -> list[str]:
    """Return one name for each face: its image's, with a number from its second use on."""
    names: list[str] = []
    taken: set[str] = set()
    for source in sources:
        stem = name = Path(source).stem
        number = 2
        # Two folders may hold images of one name, and one image several faces.
        while name in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name)
        names.append(name)
    return names


def _titles(sources: Sequence[str]) -> list[str]:
    """Return the source of each face, and which face it is where there are several."""
    titles = []
    for index, source in enumerate(sources):
        several = sources.count(source) > 1
        number = sources[: index + 1].count(source)
        titles.append(f"{source}, face {number}" if several else source)
    return titles


def _arrays(explanation: Explanation) -> bytes:
    faces = explanation.faces
    arrays: dict[str, Any] = {
        "crops_nhw": np.stack([face.crop_hw for face in faces]),
        "occlusion_nhw": np.stack([face.occlusion.drop_hw for face in faces]),
        "kernels_chw": explanation.kernels,
    }
    if explanation.side is not None:
        arrays["grad_cam_nhw"] = np.stack([face.maps[GRAD_CAM] for face in faces])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
