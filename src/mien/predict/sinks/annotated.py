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
    """Writes NAME.jpg for every readable image; images of one name get NAME-2 and so on.

    Raises:
        ConfigError: the folder is a file.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(
                f"--annotate {folder} is a file, not a folder", hint="give a folder's name"
            )
        self.folder = folder
        self._used: set[str] = set()

    def append(self, reading: ImageReading, image: NDArray[np.uint8] | None = None) -> Path | None:
        """Write the image of a reading; return where, or None where it could not be read.

        Args:
            reading: whose source is a file.
            image: uint8 [h, w, 3] RGB, where the source is no file but standard input.
        """
        if reading.error is not None:
            return None
        path = self._free_path(Path(reading.source if image is None else "stdin"))
        return reading.save(path, image)

    def _free_path(self, source: Path) -> Path:
        number, name = 1, f"{source.stem}.jpg"
        # Two inputs may share a name; and an input in this very folder is never overwritten.
        while name in self._used or (self.folder / name).resolve() == source.resolve():
            number += 1
            name = f"{source.stem}-{number}.jpg"
        self._used.add(name)
        return self.folder / name
