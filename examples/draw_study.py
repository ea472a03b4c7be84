"""Draw the videos of a small study: eight drawn people, two conditions, two trials each.

    python examples/draw_study.py clips

It writes 32 clips of 6 s, such as clips/p03_funny_1.mp4, and design.csv beside them. In the funny
condition the drawn people smile more often, some people more than others. The people are seeds
whose drawings the detector finds in most frames: it was made for photographs, and misses most
drawings of the darkest skin tones. Nothing measured on drawings says anything about people.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mien.data.drawn import Person, draw_face

PEOPLE = (3, 5, 8, 12, 14, 25, 28, 29)
SMILES = {"funny": 0.65, "calm": 0.2}
"""Probability of a smile in each second, before a person's own tendency is added."""
TRIALS, SECONDS, RATE = 2, 6, 10
WIDTH, HEIGHT, FACE = 320, 240, 200


def seconds(person: Person, smile: float, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """Return one frame for each second of a clip, uint8 [h, w, 3] RGB."""
    frames = []
    for _ in range(SECONDS):
        label = "happy" if rng.random() < smile else "neutral"
        face = draw_face(label, rng, size=FACE, person=person)
        frame = np.full((HEIGHT, WIDTH, 3), face[0, 0], np.uint8)
        top, left = (HEIGHT - FACE) // 2, (WIDTH - FACE) // 2
        frame[top : top + FACE, left : left + FACE] = face
        frames.append(frame)
    return frames


def write_clip(path: Path, frames: list[NDArray[np.uint8]]) -> None:
    """Write a clip that shows each frame for a second."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in frames:
            for _ in range(RATE):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def main(folder: Path) -> None:
    """Write the clips and design.csv into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in PEOPLE:
        rng = np.random.default_rng(seed)
        person = Person.make(rng)
        own = rng.normal(0, 0.15)
        for condition, smile in SMILES.items():
            for trial in range(1, TRIALS + 1):
                name = f"p{seed:02d}_{condition}_{trial}"
                write_clip(folder / f"{name}.mp4", seconds(person, smile + own, rng))
                rows.append([name, f"p{seed:02d}", condition, trial])
    with (folder / "design.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["clip", "participant", "condition", "trial"], *rows])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("clips"))
    main(parser.parse_args().folder)
