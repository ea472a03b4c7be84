"""What prediction costs: speed of classification, cold start, memory, size on disk.

    python bench/predict.py [--skip-install]

The install is made with pip into a fresh environment; without a network use --skip-install.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mien.predict.classifier import Classifier

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "examples" / "grace_hopper.jpg"


def faces_per_second(batch: int, threads: int, rounds: int = 8) -> float:
    """Best of some rounds: the machine's other users only ever make it slower."""
    model = Classifier.load(threads=threads)
    crops = np.random.default_rng(0).integers(0, 256, (batch, 48, 48), dtype=np.uint8)
    model.logits(crops)
    best = min(_seconds(lambda: model.logits(crops)) for _ in range(rounds))
    return batch / best


def _seconds(action: object) -> float:
    started = time.perf_counter()
    action()  # type: ignore[operator]
    return time.perf_counter() - started


def cold_start(mien: Path, folder: Path) -> tuple[float, float]:
    """Seconds and largest memory, MB, of `mien predict photo.jpg` in a process of its own.

    In an empty folder and without PYTHONPATH: the wheel's mien must find all it needs in itself.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    empty = folder / "empty"
    empty.mkdir()
    seconds, memory = [], 0.0
    for _ in range(5):
        started = time.perf_counter()
        child = subprocess.Popen(
            [mien, "predict", PHOTO], cwd=empty, env=environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _, status, usage = os.wait4(child.pid, 0)  # of this child alone, not of pip
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        seconds.append(time.perf_counter() - started)
        memory = max(memory, usage.ru_maxrss / 1024)
    return min(seconds), memory


def install_size(folder: Path) -> tuple[float, float, Path]:
    """MB of a fresh prediction install (without pip itself), MB of the wheel, the mien script."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skip-install", action="store_true")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}")
    print(f"classify 256 crops, 1 thread: {faces_per_second(256, 1):,.0f} faces/s (at least 400)")
    print(f"classify 64 crops, 2 threads: {faces_per_second(64, 2):,.0f} faces/s")
    print(f"classify 1 crop, 1 thread: {1000 / faces_per_second(1, 1, 200):.2f} ms")
    mien = Path(sys.executable).with_name("mien")
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.skip_install:
            size, wheel, mien = install_size(Path(folder))
            print(f"prediction's install: {size:,.0f} MB (at most 300)")
            print(f"wheel: {wheel:.1f} MB (at most 12)")
        seconds, memory = cold_start(mien, Path(folder))
        print(f"mien predict photo.jpg, cold: {seconds:.2f} s (at most 1.5)")
        print(f"its memory at most: {memory:,.0f} MB (at most 300)")


if __name__ == "__main__":
    main()
