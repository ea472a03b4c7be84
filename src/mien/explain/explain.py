"""Explain what a model looks at in faces: read `explain` first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mien.errors import ConfigError, did_you_mean
from mien.explain.explainable import choose_side
from mien.explain.occlusion import Occlusion, default_patch, occlude
from mien.explain.sanity import SanityCheck, check
from mien.model.classifier import softmax
from mien.predict.decision import DecisionPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mien.explain.explainable import Explainable
    from mien.explain.sanity import Explainer
    from mien.model.info import ModelInfo

    Progress = Callable[[str, int, int], None]

GRAD_CAM, OCCLUSION = "Grad-CAM", "occlusion"
CHECKED = 3
"""Maximum number of faces in the sanity check, which computes every map some 25 times."""


@dataclass(frozen=True, slots=True)
class FaceExplanation:
    """What the model looks at in one face.

    Attributes:
        crop_hw: uint8 [s, s], the crop that the model reads.
        probs_k: float32 [k], probabilities.
        target: index of the label that is explained.
        grad_cam_hw: float32 [s, s], logits a cell, before its rectification; None for a network
            without convolutions.
        occlusion: loss of log-odds where the face is covered.
        features: maps by side, float32 [c, side, side], of the crop as it is given.
    """

    crop_hw: NDArray[np.uint8]
    probs_k: NDArray[np.float32]
    target: int
    grad_cam_hw: NDArray[np.float32] | None
    occlusion: Occlusion
    features: dict[int, NDArray[np.float32]]

    @property
    def maps(self) -> dict[str, NDArray[np.float32]]:
        """The maps by method, float32 [s, s]: positive where a place speaks for the target."""
        maps = {} if self.grad_cam_hw is None else {GRAD_CAM: self.grad_cam_hw}
        return {**maps, OCCLUSION: self.occlusion.drop_hw}

    def label(self, info: ModelInfo) -> str:
        """What mien predict says of this face by itself: a label, or 'unsure'."""
        return DecisionPolicy.of(info).decide(self.probs_k).label

    def title(self, info: ModelInfo) -> str:
        """The explained label, and the predicted one where it is another."""
        explained, label = info.labels[self.target], self.label(info)
        return explained if label == explained else f"{explained} (predicted: {label})"

    def to_dict(self, info: ModelInfo) -> dict[str, Any]:
        """Return the figures, without the maps, as JSON types."""
        occlusion, labels = self.occlusion, info.labels
        return {
            "label": self.label(info),
            "explained": labels[self.target],
            # A map without a positive value has thirds of 0, which must not be read as a finding.
            "empty_maps": [m for m, map_hw in self.maps.items() if map_hw.max(initial=0) <= 0],
            "probabilities": {
                n: round(float(p), 4) for n, p in zip(labels, self.probs_k, strict=True)
            },
            "occlusion": {
                "before": round(occlusion.before, 6),
                "after": round(occlusion.after, 6),
                "patch": list(occlusion.patch_xyxy),
                "largest_drop_log_odds": round(float(occlusion.drop_hw.max()), 4),
            },
            "thirds": {method: thirds(map_hw) for method, map_hw in self.maps.items()},
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a model looks at in some faces.

    Attributes:
        info: the model's description.
        kernels: kernels of its first convolution, float32 [c, h, w]; [0, 0, 0] without any.
        faces: one for each crop, in order.
        side: side of the feature maps that Grad-CAM is computed on, in cells; None without any.
        patch: side of the covering patch, in pixels of the crop.
        sanity: check whether the maps depend on the weights; None where it was not run.
    """

    info: ModelInfo
    kernels: NDArray[np.float32]
    faces: tuple[FaceExplanation, ...]
    side: int | None
    patch: int
    sanity: SanityCheck | None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types, without the maps."""
        return {
            "model": self.info.name,
            "labels": list(self.info.labels),
            "input_size": self.info.input_size,
            "grad_cam_side": self.side,
            "occlusion_patch": self.patch,
            "faces": [face.to_dict(self.info) for face in self.faces],
            "sanity": self.sanity.to_dict() if self.sanity is not None else None,
        }


def explain(
    model: Explainable,
    crops_nhw: NDArray[np.uint8],
    *,
    label: str | None = None,
    side: int | None = None,
    patch: int | None = None,
    draws: int = 5,
    progress: Progress = lambda stage, done, total: None,
) -> Explanation:
    """Compute saliency maps of faces, and check that they depend on the model's weights.

    Args:
        model: an ONNX file or a run folder, opened as Explainable.
        crops_nhw: uint8 [n, s, s], grey, as the model reads them; at least one.
        label: label to explain; each face's most probable one where None.
        side: side of the feature maps for Grad-CAM, in cells; the last ones where None.
        patch: side of the covering patch in pixels; a fifth of the crop where None.
        draws: samples of random weights at each level of the sanity check; 0 skips it.
        progress: progress callback, called with (stage, done, total).

    Raises:
        ConfigError: a label, side, patch or number of draws that this model cannot have.
    """
    if draws < 0:
        raise ConfigError(f"draws: {draws} is out of range, 0 or more", hint="0 skips the check")
    # Before any map is computed: a wrong side fails at once, not after the work on the first
    # faces.
    side = choose_side(model, side)
    patch = default_patch(model.info.input_size) if patch is None else patch
    probs = softmax(model.logits(crops_nhw))
    targets = _targets(model.info, probs, label)
    cams = grad_cams(model, crops_nhw, targets, side) if side is not None else None
    faces = []
    for i, crop in enumerate(crops_nhw):
        progress("maps", i, len(crops_nhw))
        covered = occlude(model, crop, int(targets[i]), patch)
        cam = cams[i] if cams is not None else None
        features = model.feature_maps(crop)
        faces.append(FaceExplanation(crop, probs[i], int(targets[i]), cam, covered, features))
    sanity = None
    if draws and model.layers:
        sanity = check_maps(model, faces[:CHECKED], side, patch, draws, progress)
    return Explanation(model.info, model.kernels(), tuple(faces), side, patch, sanity)


def grad_cams(
    model: Explainable, crops_nhw: NDArray[np.uint8], targets_n: NDArray[np.int64], side: int
) -> NDArray[np.float32]:
    """Return Grad-CAM on the crops as they are given, float32 [n, s, s], bilinear.

    It is 0 where a model that aligns faces does not look at all.
    """
    size = crops_nhw.shape[1]
    maps, places = model.grad_cam(crops_nhw, targets_n, side), model.places(crops_nhw)
    return np.stack([_placed(enlarged(m, size), p) for m, p in zip(maps, places, strict=True)])


def enlarged(map_hw: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return a map at another size, float32 [size, size], bilinear."""
    return np.asarray(
        Image.fromarray(map_hw).resize((size, size), Image.Resampling.BILINEAR), np.float32
    )


def _placed(map_hw: NDArray[np.float32], place_23: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the map moved from the aligned face to where that lies on the crop."""
    # Resampling by the identity would blur the map.
    if np.array_equal(place_23, np.eye(2, 3)):
        return map_hw
    size = len(map_hw)
    # Pillow asks where each pixel of the result comes from, in pixels from the corner.
    # In coordinates u from -1 to 1: u_crop = A u_face + t. With pixels p = size / 2 (1 + u) and B
    # = inv(A), p_face = B p_crop + size / 2 (1 - B (1 + t)).
    back = np.linalg.inv(place_23[:, :2].astype(np.float64))
    shift = size / 2 * (1 - back @ (1 + place_23[:, 2]))
    affine = (*back[0], shift[0], *back[1], shift[1])
    how = Image.Resampling.BILINEAR
    moved = Image.fromarray(map_hw).transform((size, size), Image.Transform.AFFINE, affine, how)
    return np.asarray(moved, np.float32)


def thirds(map_hw: NDArray[np.float32]) -> dict[str, float]:
    """Return the fraction of a map's positive part in each third of the crop, top first."""
    positive = np.maximum(map_hw, 0).sum(axis=1)
    sums = [float(part.sum()) for part in np.array_split(positive, 3)]
    # An empty map has no thirds; zeros say so.
    total = sum(sums) or 1.0
    names = ("upper", "middle", "lower")
    return {name: round(part / total, 4) for name, part in zip(names, sums, strict=True)}


def _targets(
    info: ModelInfo, probs_nk: NDArray[np.float32], label: str | None
) -> NDArray[np.int64]:
    if label is None:
        most_probable: NDArray[np.int64] = probs_nk.argmax(axis=1).astype(np.int64)
        return most_probable
    if label not in info.labels:
        raise ConfigError(
            f"{info.name} does not have the label {label!r}",
            hint=did_you_mean(label, info.labels) + f"its labels are: {', '.join(info.labels)}",
        )
    return np.full(len(probs_nk), info.labels.index(label), np.int64)


def check_maps(
    model: Explainable,
    faces: Sequence[FaceExplanation],
    side: int | None,
    patch: int,
    draws: int,
    progress: Progress = lambda stage, done, total: None,
) -> SanityCheck:
    """Compare the maps of some faces with those under random weights; see `sanity.check`.

    Args:
        model: the model that explained the faces, with at least one layer.
        faces: explained faces, with this side and patch; at least one.
        side: side of the feature maps for Grad-CAM, in cells; None without any.
        patch: side of the covering patch, in pixels.
        draws: samples of random weights at each level; 1 or more.
        progress: progress callback, called with ('sanity', done, total).
    """
    # The trained network's labels stay the targets: with those of a random network, a map would
    # change because the question did.
    crops = np.stack([face.crop_hw for face in faces])
    targets = np.array([face.target for face in faces], np.int64)

    def occlusions(random: Explainable) -> NDArray[np.float32]:
        pairs = zip(crops, targets, strict=True)
        return np.stack([occlude(random, crop, int(t), patch).drop_hw for crop, t in pairs])

    explainers: dict[str, Explainer] = {}
    if side is not None:
        explainers[GRAD_CAM] = lambda random: grad_cams(random, crops, targets, side)
    explainers[OCCLUSION] = occlusions
    # Taken from the faces, where they are computed already; an occlusion map takes some 256 crops.
    trained = {method: np.stack([face.maps[method] for face in faces]) for method in explainers}
    return check(
        model, explainers, trained, draws, lambda done, total: progress("sanity", done, total)
    )
