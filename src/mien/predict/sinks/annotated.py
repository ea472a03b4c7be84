"""Annotated copies of the images, in a folder of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mien.types import ImageReading


class AnnotatedFolder:
    """Writes NAME.jpg for every readable image; further images of that name get NAME-2 and so on.

    Raises:
        ConfigError: the folder is a file.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(
                f"annotate: {folder} is a file, not a folder", hint="give the name of a folder"
            )
        self.folder = folder
        self._used: set[str] = set()

    def append(self, reading: ImageReading, image: NDArray[np.uint8] | None = None) -> Path | None:
        """Write the annotated image; return its path, or None if the image could not be read.

        Args:
            reading: of a file, or of `image`.
            image: uint8 [h, w, 3] RGB, if it was read from standard input.
        """
        if reading.error is not None:
            return None
        # Standard input has no name of its own.
        path = self._free_path(Path(reading.source if image is None else "stdin"))
        return reading.save(path, image)

    def _free_path(self, source: Path) -> Path:
        number, name = 1, f"{source.stem}.jpg"
        # Two inputs may share a name, and an input in this folder must not be overwritten.
        while name in self._used or (self.folder / name).resolve() == source.resolve():
            number += 1
            name = f"{source.stem}-{number}.jpg"
        self._used.add(name)
        return self.folder / name
