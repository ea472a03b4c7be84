"""How exact are MediaPipe's face mesh and MTCNN as teachers of the alignment, without a training?

    python bench/run_from_model.py small --from mien-small --data datasets/fer2013 --out runs/small
    python bench/mesh_precision.py --mesh face_mesh.onnx --data datasets/fer2013 --points points.npz
                                   --run runs/small

1. Faces of the training split that both are sure of are turned and scaled by known amounts. A
   teacher's landmarks give a similarity to its average face before and after; the smaller the
   difference from what was done, the less noise the alignment learns from. The median per teacher.
2. The run's network, which has an alignment, classifies the validation split with its own
   alignment and with that of each teacher's landmarks: frames are matched on training faces, and
   faces without landmarks keep the network's. Accuracy, and the paired difference on the consensus.

Teachers: MTCNN's five landmarks, the mesh's points at the same five places, and 17 points of the
mesh that expressions move least.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from crops import MARGIN, similarity
from face_mesh import RIGID, USABLE, FaceMesh, five_landmarks
from mesh_geometry import load
from mien.labels import THREE
from mien.predict.detectors.mtcnn import Mtcnn
from mien.publish.export import fit_temperature
from mien.train.loop.align_pretraining import MIN_SCORE
from mien.train.networks.align import resampled
from mien.train.run.folder import load_scorer, open_run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.train.networks.registry import Model

FITTED, RESAMPLES = 1500, 2000
Points = dict[str, "NDArray[np.float64]"]
"""Landmarks of each teacher, [n, p, 2], as fractions of the side."""


def of_mesh(points_np3: NDArray[np.float32]) -> Points:
    five = five_landmarks(points_np3).astype(np.float64)
    return {"five": five, "rigid": points_np3[:, list(RIGID), :2].astype(np.float64)}


def moved(
    crops_nhw: NDArray[np.uint8], seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
    """Return turned and scaled crops, the angles in degrees and the sizes, [n] each."""
    rng = np.random.default_rng(seed)
    side = crops_nhw.shape[1]
    angles, sizes = rng.uniform(-15, 15, len(crops_nhw)), rng.uniform(0.9, 1.15, len(crops_nhw))
    result = []
    for crop, angle, size in zip(crops_nhw, angles, sizes, strict=True):
        cos, sin = math.cos(math.radians(angle)) * size, math.sin(math.radians(angle)) * size
        middle = side / 2
        padded = Image.fromarray(np.pad(crop, MARGIN, mode="edge"))
        back = (cos, -sin, middle - cos * middle + sin * middle + MARGIN,
                sin, cos, middle - sin * middle - cos * middle + MARGIN)  # fmt: skip
        how = Image.Resampling.BICUBIC
        result.append(np.asarray(padded.transform((side, side), Image.Transform.AFFINE, back, how)))
    return np.stack(result), angles, sizes


def print_precision(
    mesh: FaceMesh, crops_nhw: NDArray[np.uint8], before: Points, average: Points
) -> None:
    """Print how far each teacher is off the known turn and size."""
    changed, angles, sizes = moved(crops_nhw, 0)
    found, scores = mesh.find(changed)
    five, sure = Mtcnn(threads=1).face_landmarks(changed)
    after = {n: p * 2 - 1 for n, p in {"mtcnn": five.astype(np.float64), **of_mesh(found)}.items()}
    kept = (scores > USABLE) & (sure > MIN_SCORE)
    print(f"moved by up to 15 degrees and 0.9 to 1.15 times: {kept.sum()} of {len(kept)} faces")
    for name, points in after.items():
        turn, size = [], []
        for row in np.flatnonzero(kept):
            first, second = (
                similarity(average[name], own[row]) @ [1, 0, 0] for own in (before[name], points)
            )
            # What was done maps the result to the source, so a face turns the other way.
            ratio = complex(*second) / complex(*first)
            turn.append(abs(math.degrees(np.angle(ratio)) + angles[row]))
            size.append(abs(abs(ratio) * sizes[row] - 1))
        print(
            f"  {name}: {np.median(turn):.2f} degrees (mean {np.mean(turn):.2f}), size "
            f"{np.median(size):.4f} (mean {np.mean(size):.4f})",
            flush=True,
        )


@torch.no_grad()
def network_similarities(model: Model, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the alignment's similarities, [n, 2, 3], in coordinates from -1 to 1."""
    assert model.align is not None
    pixels = torch.from_numpy(crops_nhw)[:, None].float()
    parts = [model.align.similarity(model.normalise(part)) for part in torch.split(pixels, 256)]
    return torch.cat(parts).double().numpy()


@torch.no_grad()
def logits(
    model: Model, crops_nhw: NDArray[np.uint8], rows_n23: NDArray[np.float64], columns: list[int]
) -> NDArray[np.float32]:
    """Return the network's logits, float32 [n, 3], on crops resampled by the similarities."""
    pixels = torch.from_numpy(crops_nhw)[:, None].float()
    rows, parts = torch.from_numpy(rows_n23).float(), []
    for part, back in zip(torch.split(pixels, 256), torch.split(rows, 256), strict=True):
        x = model.normalise(resampled(part, back))
        parts.append((model.body(x) + model.body(x.flip(3))) / 2)
    return torch.cat(parts)[:, columns].numpy()


def matched_average(
    points_np2: NDArray[np.float64], rows_n23: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the average face's landmarks in the network's frame, [p, 2], -1 to 1."""
    turn, shift = rows_n23[:, :, :2], rows_n23[:, None, :, 2]
    placed = (points_np2 * 2 - 1 - shift) @ np.linalg.inv(turn).transpose(0, 2, 1)
    average: NDArray[np.float64] = np.median(placed, axis=0)
    return average


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mesh", type=Path, required=True, help="file of the converted network")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder with votes")
    parser.add_argument("--points", type=Path, required=True, help="file of bench/face_mesh.py")
    parser.add_argument("--run", type=Path, required=True, help="run with network.align")
    parser.add_argument("--moved", type=int, default=300, help="faces to move")
    args = parser.parse_args()
    torch.set_num_threads(1)
    faces, crops, mesh_points, scores = load(args.data, args.points)
    fitted = np.random.default_rng(0).permutation(faces.train)[:FITTED]
    chosen = np.concatenate([fitted, faces.test])
    crops, scores = crops[chosen], scores[chosen]
    five, sure = Mtcnn(threads=1).face_landmarks(crops)
    points = {"mtcnn": five.astype(np.float64), **of_mesh(mesh_points[chosen])}
    usable = (scores > USABLE) & (sure > MIN_SCORE)
    model = load_scorer(args.run).model
    own = network_similarities(model, crops)
    first = np.arange(len(chosen)) < FITTED
    average = {
        n: matched_average(p[usable & first], own[usable & first]) for n, p in points.items()
    }
    rows = np.flatnonzero(usable & first)[: args.moved]
    mesh = FaceMesh(args.mesh)
    print_precision(mesh, crops[rows], {n: p[rows] * 2 - 1 for n, p in points.items()}, average)
    y_true = faces.y_true_n[faces.test]
    columns = [open_run(args.run).recipe.learnt_labels.index(label) for label in THREE]
    test, rng = ~first, np.random.default_rng(0)
    hits, losses = {}, {}
    for name in ("network", *points):
        rows_n23 = own[test].copy()
        if name != "network":
            for row, place in enumerate(np.flatnonzero(test)):
                if usable[place]:
                    rows_n23[row] = similarity(average[name], points[name][place] * 2 - 1)
        found = logits(model, crops[test], rows_n23, columns)
        found = found / fit_temperature(found, y_true)
        hits[name] = (found.argmax(axis=1) == y_true).astype(float)
        shifted = found - found.max(axis=1, keepdims=True)
        every = np.arange(len(y_true))
        losses[name] = np.log(np.exp(shifted).sum(axis=1)) - shifted[every, y_true]
        text = f"  {name}: accuracy {hits[name].mean():.4f}, log loss {losses[name].mean():.4f}"
        for title, values in (("accuracy", hits), ("log loss", losses)):
            n = len(y_true)
            gain = values[name] - values["network"]
            draws = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) @ gain / n
            low, high = np.quantile(draws, (0.025, 0.975))
            text += f"; {title} {gain.mean():+.4f} ({low:+.4f} to {high:+.4f})"
        print(text, flush=True)
    print(f"n = {len(y_true):,}, landmarks of all teachers on {usable[test].mean():.4f}")


if __name__ == "__main__":
    main()
