"""MediaPipe's face mesh on grey face crops: 468 points, and what they say about an expression.

    python tools/convert_face_mesh.py mediapipe-wheel/mediapipe --out face_mesh.onnx
    python bench/face_mesh.py --mesh face_mesh.onnx --data datasets/fer2013 --framing
    python bench/face_mesh.py --mesh face_mesh.onnx --data datasets/fer2013 --out points.npz

The network expects a face that fills two thirds of its input, upright. So a crop is enlarged with
its edge repeated around it (`SIDES`), and the points that are found there give the second view: the
square around them, 1.5 times as large, with level eyes, as MediaPipe itself follows a face from
frame to frame. `--framing` compares sides of the first view by the network's score on training
images; `--out` writes the points of the images, for bench/mesh_geometry.py, and prints on which
fraction they can be used. Both take images that raters agree on: happy, neutral or sad.
bench/mesh_alignment.py compares the points with MTCNN's for training.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
from PIL import Image

from mien.data.dataset import load_dataset
from mien.data.ground_truth import consensus_targets
from mien.intervals import wilson
from mien.labels import THREE
from mien.predict.detectors.mtcnn import Mtcnn
from mien.train.loop.align_pretraining import MIN_SCORE as MTCNN_SCORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 192
"""Side of the network's input, pixels."""
SIDES = 1.5
"""Side of the first view, in sides of the crop: highest score of those that --framing compares."""
WIDER = 1.5
"""Side of the second view, in sides of the square around the points."""
USABLE = 0.5
"""Minimum score of the second view; MediaPipe's own threshold."""
EYES = (33, 263)
"""Outer corners of the eyes, left and right in the image."""
FIVE = ((33, 133), (362, 263), (1,), (61,), (291,))
"""Points whose means are MTCNN's landmarks: eyes, nose, corners of the mouth."""
RIGID = (
    33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 10, 151, 9, 127, 356, 234, 454,
)  # fmt: skip
"""Points that expressions move least: at the eyes, the bridge of the nose, forehead, temples."""
RIGID_MIRRORED = (
    263, 362, 133, 33, 168, 6, 197, 195, 5, 4, 10, 151, 9, 356, 127, 454, 234,
)  # fmt: skip


class FaceMesh:
    """The converted network on grey crops.

    Args:
        path: of the file that tools/convert_face_mesh.py wrote.
        sides: side of the first view, in sides of the crop.
    """

    def __init__(self, path: Path, sides: float = SIDES) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._sides = sides

    def find(self, crops_nhw: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the points on crops, uint8 [n, s, s], by two views.

        Points, float32 [n, 468, 3], as fractions of the crop's side, depth too, and how much the
        second view is a face, float32 [n], 0 to 1.
        """
        points = [np.zeros((0, 468, 3), np.float32)]
        scores = [np.zeros(0, np.float32)]
        for crop in crops_nhw:
            first, _ = self.view(crop, _around(np.array([0.5, 0.5]), self._sides, 0.0))
            found, score = self.view(crop, _second_view(first))
            points.append(found[None])
            scores.append(np.array([score], np.float32))
        return np.concatenate(points), np.concatenate(scores)

    def view(
        self, crop_hw: NDArray[np.uint8], back_23: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], float]:
        """Return the points of one view, [468, 3], as fractions of the crop's side, and its score.

        Args:
            crop_hw: uint8 [s, s].
            back_23: similarity from the view's coordinates to the crop's, both fractions of their
                side.
        """
        side = crop_hw.shape[0]
        # Repeated edges, not black: a black frame looks like an occluded face.
        margin = side
        padded = Image.fromarray(np.pad(crop_hw, margin, mode="edge"))
        pixels = back_23 * side
        pixels[:, :2] /= SIDE
        pixels[:, 2] += margin
        how = Image.Resampling.BICUBIC
        size = (SIDE, SIDE)
        view = padded.transform(size, Image.Transform.AFFINE, tuple(pixels.ravel()), how)
        grey = np.asarray(view, np.float32)[None, :, :, None] / 255
        rgb = np.ascontiguousarray(np.repeat(grey, 3, axis=3))
        points, scores = self._session.run(["points", "scores"], {"pixels": rgb})
        found = points[0] / SIDE
        back = back_23.astype(np.float32)
        placed = found[:, :2] @ back[:, :2].T + back[:, 2]
        depth = found[:, 2:] * np.float32(math.hypot(*back[:, 0]))
        return np.concatenate([placed, depth], axis=1), float(scores[0])


def _around(middle_2: NDArray[np.float64], size: float, angle: float) -> NDArray[np.float64]:
    """Return the similarity, [2, 3], of a view around a point, both in sides."""
    cos, sin = math.cos(angle) * size, math.sin(angle) * size
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.concatenate([turn, (middle_2 - turn @ [0.5, 0.5])[:, None]], axis=1)


def _second_view(points_p3: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the view that MediaPipe takes in the next frame: level eyes, 1.5 times the square."""
    flat = points_p3[:, :2].astype(np.float64)
    right, down = flat[EYES[1]] - flat[EYES[0]]
    low, high = flat.min(axis=0), flat.max(axis=0)
    # Bounded: where no face was found, the points can lie anywhere.
    size = float(np.clip((high - low).max() * WIDER, 0.5, 2.5))
    middle = np.clip((low + high) / 2, 0.2, 0.8)
    return _around(middle, size, math.atan2(down, right))


def five_landmarks(points_np3: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return MTCNN's five landmarks of the mesh, float32 [n, 5, 2]."""
    return np.stack([points_np3[:, list(each), :2].mean(axis=1) for each in FIVE], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mesh", type=Path, required=True, help="file of the converted network")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder")
    parser.add_argument("--framing", action="store_true", help="compare sides of the first view")
    parser.add_argument("--out", type=Path, help="file of the points (npz)")
    args = parser.parse_args()
    dataset = load_dataset(args.data)
    assert dataset.votes_nk is not None
    known = consensus_targets(dataset.votes_nk, dataset.vote_names, THREE) >= 0
    if args.framing:
        rows = np.flatnonzero(known & (dataset.splits_n == "train"))
        crops = np.asarray(dataset.images_nhw)[np.random.default_rng(0).permutation(rows)[:200]]
        for sides in (1.0, 1.25, 1.5, 1.75, 2.0):
            print_framing(FaceMesh(args.mesh, sides), crops, sides)
    if args.out:
        rows = np.flatnonzero(known & np.isin(dataset.splits_n, ("train", "validation")))
        crops = np.ascontiguousarray(np.asarray(dataset.images_nhw)[rows])
        mesh, points, scores = FaceMesh(args.mesh), [], []
        for start in range(0, len(crops), 500):
            found, score = mesh.find(crops[start : start + 500])
            points.append(found)
            scores.append(score)
            print(f"{start + len(found):,} of {len(crops):,}", flush=True)
        points_np3, scores_n = np.concatenate(points), np.concatenate(scores)
        np.savez(
            args.out, rows=rows, points=points_np3, scores=scores_n, fingerprint=dataset.fingerprint
        )
        print_usable(crops, points_np3, scores_n)


def print_framing(mesh: FaceMesh, crops_nhw: NDArray[np.uint8], sides: float) -> None:
    """Print how sure the network is of a face in the first and in the second view."""
    view = _around(np.array([0.5, 0.5]), sides, 0.0)
    first = np.array([mesh.view(crop, view)[1] for crop in crops_nhw])
    points, second = mesh.find(crops_nhw)
    mirrored, _ = mesh.find(np.ascontiguousarray(crops_nhw[:, :, ::-1]))
    usable = second > USABLE
    # The points of the mirror image, mirrored back: how far does the network contradict itself?
    pairs = points[:, list(RIGID), :2], mirrored[:, list(RIGID_MIRRORED), :2] * [-1, 1] + [1, 0]
    off = np.linalg.norm(pairs[0] - pairs[1], axis=2).mean(axis=1)
    print(
        f"{sides:.2f} sides: first view {np.mean(first > USABLE):.3f} above {USABLE}, second "
        f"{usable.mean():.3f} (mean score {second.mean():.3f}); mirrored points "
        f"{np.median(off[usable]):.4f} sides off (median)"
    )


def print_usable(
    crops_nhw: NDArray[np.uint8], points_np3: NDArray[np.float32], scores_n: NDArray[np.float32]
) -> None:
    """Print on which fraction of the images mesh and MTCNN are usable, and how they differ."""
    theirs, sure = Mtcnn(threads=1).face_landmarks(crops_nhw)
    usable, mtcnn = scores_n > USABLE, sure > MTCNN_SCORE
    for name, rows in (("mesh", usable), ("MTCNN", mtcnn), ("both", usable & mtcnn)):
        found = wilson(int(rows.sum()), len(rows))
        print(f"{name}: {found.value:.4f} ({found.low:.4f} to {found.high:.4f}), n = {len(rows):,}")
    both = usable & mtcnn
    off = np.linalg.norm(five_landmarks(points_np3[both]) - theirs[both], axis=2)
    names = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner")
    text = ", ".join(f"{n} {v:.4f}" for n, v in zip(names, np.median(off, axis=0), strict=True))
    print(f"median distance of mesh and MTCNN, in sides: {text}")


if __name__ == "__main__":
    main()
