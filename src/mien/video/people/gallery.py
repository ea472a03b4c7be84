"""`people.npz`: the embeddings of tracks, kept beside people.json only if a user asks for it.

Embeddings of faces are biometric data: they never leave the folder, and `forget` removes them.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import DataError
from mien.files import write_bytes
from mien.video.people.parts import TrackPart
from mien.video.people.stretches import TrackFace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mien.video.people.seen import TrackKey

FILE_NAME = "people.npz"
_PLACE = ("source", "track", "start_s", "end_s")
_SCALARS = ("chips", "worth", "agreement", "eyes_px")
_ARRAYS = ("schema", "name", *_PLACE, "vectors", *_SCALARS)
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Gallery:
    """Faces of tracks.

    Attributes:
        name: of what they were embedded by.
        faces: the faces.
    """

    name: str
    faces: Mapping[TrackPart, TrackFace] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Gallery | None:
        """Return the embeddings kept in a folder, or None.

        Raises:
            DataError: the file is damaged, or of a newer schema.
        """
        path = folder / FILE_NAME
        if not path.exists():
            return None
        try:
            # Pickled objects in a file could run any code.
            content = io.BytesIO(path.read_bytes())
            with np.load(content, allow_pickle=False) as stored:
                found = {name: stored[name] for name in _ARRAYS}
            return cls._of(found)
        except (OSError, ValueError, KeyError, IndexError, TypeError, EOFError) as error:
            raise _damaged(path, error) from error
        except Exception as error:
            # zipfile and zlib have errors of their own.
            if type(error).__module__ in ("zipfile", "zlib"):
                raise _damaged(path, error) from error
            raise

    @classmethod
    def _of(cls, found: Mapping[str, Any]) -> Gallery:
        if int(found["schema"]) != SCHEMA_VERSION:
            raise ValueError(f"schema {int(found['schema'])}, this mien reads {SCHEMA_VERSION}")
        vectors = found["vectors"].astype(np.float32)
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise ValueError("vectors that are not finite numbers")
        faces = {}
        for row, place in enumerate(zip(*(found[name] for name in _PLACE), strict=True)):
            chips, worth, agreement, eyes = (found[name][row] for name in _SCALARS)
            face = TrackFace(vectors[row], int(chips), float(worth), float(agreement), float(eyes))
            source, track, start_s, end_s = place
            part = TrackPart(str(source), int(track), _time(start_s), _time(end_s))
            faces[part] = face
        return cls(str(found["name"]), faces)

    def save(self, folder: Path) -> None:
        """Write the embeddings into a folder, atomically; none removes the file.

        Raises:
            WriteError: the file could not be written.
        """
        path = folder / FILE_NAME
        if not self.faces:
            path.unlink(missing_ok=True)
            return
        keys, faces = list(self.faces), list(self.faces.values())
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            allow_pickle=False,
            schema=np.int64(SCHEMA_VERSION),
            name=np.str_(self.name),
            source=np.array([key.source for key in keys], np.str_),
            track=np.array([key.track for key in keys], np.int64),
            start_s=np.array([_number(key.start_s) for key in keys]),
            end_s=np.array([_number(key.end_s) for key in keys]),
            vectors=np.stack([face.vector_d for face in faces]),
            chips=np.array([face.chips for face in faces]),
            worth=np.array([face.worth for face in faces]),
            agreement=np.array([face.agreement for face in faces]),
            eyes_px=np.array([face.eyes_px for face in faces]),
        )
        write_bytes(path, buffer.getvalue())

    def without(self, keys: Iterable[TrackKey]) -> Gallery:
        """Return the gallery without some tracks."""
        gone = set(keys)
        left = {part: face for part, face in self.faces.items() if part.key not in gone}
        return Gallery(self.name, left)


def _time(number: Any) -> float | None:
    return None if np.isnan(number) else float(number)


def _number(time_s: float | None) -> float:
    return float("nan") if time_s is None else time_s


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} is damaged: {error}",
        hint="delete it, and find the people again: mien people find DIR --keep-embeddings",
    )
