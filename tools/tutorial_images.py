"""Draw the images of docs/tutorials from what the tutorials' commands have written.

    python tools/tutorial_images.py researcher FOLDER
    python tools/tutorial_images.py student FOLDER

FOLDER is where the tutorial was followed. Everything on the images is drawn by our own code.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mien.evaluate.plots import clean_axes
from mien.files import write_bytes
from mien.reader import Reader
from mien.report.figure import new_figure, png_bytes
from mien.report.palette import BLUE, GREY, INK

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGES = Path(__file__).parents[1] / "docs" / "images"
COLUMNS = 4
CONDITIONS = ("calm", "funny")


def researcher(folder: Path) -> None:
    """Draw a frame of each participant with its reading, and the outcome by condition."""
    frames = [first_face(path) for path in sorted((folder / "clips").glob("*_funny_1.mp4"))]
    rows = [np.concatenate(frames[i : i + COLUMNS], axis=1) for i in range(0, len(frames), COLUMNS)]
    write_webp("tutorial-researcher-frames", Image.fromarray(np.concatenate(rows)))
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["valence"]:
                values[row["participant"]][row["condition"]].append(float(row["valence"]))
    figure = new_figure((5.2, 3.6), "the outcome of a study")
    axes = figure.subplots()
    means = np.array([[np.mean(own[c]) for c in CONDITIONS] for own in values.values()])
    for own in means:
        axes.plot(CONDITIONS, own, color=GREY, marker="o", linewidth=1)
    axes.plot(CONDITIONS, means.mean(axis=0), color=BLUE, marker="o", linewidth=3)
    axes.annotate("mean", (1.04, means[:, 1].mean()), color=BLUE, va="center")
    axes.set_xlim(-0.2, 1.3)
    axes.set_ylabel("valence, mean over the clips", color=INK)
    axes.set_title("Drawn participants, one grey line each", color=INK, fontsize=10)
    clean_axes(axes)
    write_bytes(IMAGES / "tutorial-researcher.png", png_bytes(figure))


def first_face(path: Path) -> NDArray[np.uint8]:
    """Return the first frame of a clip in which a face is found, annotated, uint8 [h, w, 3]."""
    import av

    reader = Reader(threads=1)
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
            reading = reader.read(pixels)
            if reading.faces:
                break
    return reading.annotate(pixels)


def student(folder: Path) -> None:
    """Copy the contact sheet, the doctor's plot and the groups."""
    for name, path in {
        "tutorial-student-faces": "sheet.png",
        "tutorial-student-doctor": "runs/first/doctor.png",
        "tutorial-student-groups": "runs/third/evaluation-validation-groups.png",
    }.items():
        write_webp(name, Image.open(folder / path).convert("RGB"))


def write_webp(name: str, image: Image.Image) -> None:
    """Write an image into docs/images, at most 1,100 pixels wide and high."""
    image.thumbnail((1100, 1100))
    image.save(IMAGES / f"{name}.webp", quality=82)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the images of a tutorial.")
    parser.add_argument("tutorial", choices=["researcher", "student"])
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    {"researcher": researcher, "student": student}[given.tutorial](given.folder)
