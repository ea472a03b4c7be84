"""Draws a sheet of all corruptions of `mien evaluate --corruptions` on one face. No measurement.

    python bench/corruptions.py [IMAGE] [--out docs/images/corruptions-sheet.png]

IMAGE contains a face (default: the astronaut of the examples, public domain).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mien.evaluate.robustness_plots import sheet
from mien.files import write_bytes
from mien.imaging.codec import read_image
from mien.imaging.crop import crop_faces
from mien.predict.detectors.registry import make_detector

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", nargs="?", type=Path, default=ROOT / "examples/astronaut.jpg")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images/corruptions-sheet.png")
    arguments = parser.parse_args()
    detector = make_detector(threads=1)
    image = read_image(arguments.image)
    faces = detector.detect(image)
    [face, *_] = crop_faces(image, faces.boxes_xyxy, detector.framing, 48)
    write_bytes(arguments.out, sheet(face))
    print(arguments.out)


if __name__ == "__main__":
    main()
