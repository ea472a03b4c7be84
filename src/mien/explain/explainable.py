"""The protocol of a model that can be explained: ONNX files and run folders both follow it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from mien.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.model.info import ModelInfo


class Explainable(Protocol):
    """A model with access to its layers.

    Feature maps are distinguished by their side in cells: of all maps with that side, the one meant
    is the last that convolutions computed. Models that average the logits of a face and its mirror
    image are explained as they predict: maps are summed over both views, flipped back.

    Attributes:
        info: labels, input size and name.
    """

    info: ModelInfo

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the feature maps, from the first layer to the last; empty without any."""
        ...

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the convolutions and linear layers, from the pixels to the logits."""
        ...

    def logits(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits, float32 [n, k], for grey crops, uint8 [n, size, size]."""
        ...

    def kernels(self) -> NDArray[np.float32]:
        """Return the first convolution's kernels, float32 [c, h, w]; [0, 0, 0] without any."""
        ...

    def feature_maps(self, crop_hw: NDArray[np.uint8]) -> dict[int, NDArray[np.float32]]:
        """Return each side's feature maps, float32 [c, side, side], of a crop as it is given."""
        ...

    def grad_cam(
        self, crops_nhw: NDArray[np.uint8], targets_n: NDArray[np.int64], side: int
    ) -> NDArray[np.float32]:
        """Return Grad-CAM before its rectification, float32 [n, side, side].

        Selvaraju et al. 2017 (arXiv:1610.02391): the feature maps' sum, each weighted by the
        mean gradient of the target's logit, `targets_n` being indices of labels. In logits.
        """
        ...

    def places(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return where on its crop each face lies that the network sees, float32 [n, 2, 3].

        A model that aligns faces sees them moved: its feature maps' coordinates, from -1 to 1,
        are mapped to the crop's by this. Of any other model it is the identity.
        """
        ...

    def randomised(self, last: int, seed: int) -> Explainable:
        """Return this model with `random_weights` in its `last` layers."""
        ...


def unmoved(count: int) -> NDArray[np.float32]:
    """Return the places, float32 [n, 2, 3], of a model that leaves faces where they are."""
    return np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1))


def random_weights(weights: NDArray[np.float32], seed: int, layer: int) -> NDArray[np.float32]:
    """Return random weights of the same shape, mean and deviation, for layer number `layer`.

    The scale is kept because the normalisation layers keep their constants: with other scales
    the signal would die or saturate, and a map would change for that reason alone.
    """
    # By layer, so that the same layer gets the same weights at each level of the check.
    rng = np.random.default_rng([seed, layer])
    noise = rng.standard_normal(weights.shape) * weights.std() + weights.mean()
    random: NDArray[np.float32] = noise.astype(np.float32)
    return random


def choose_side(model: Explainable, wanted: int | None) -> int | None:
    """Return the side of the feature maps for Grad-CAM: `wanted`, or the last; None without any.

    Raises:
        ConfigError: the model has no feature maps of that side.
    """
    if wanted is None:
        # The last convolution's maps are the paper's choice: the most meaning, still with
        # positions.
        return model.sides[-1] if model.sides else None
    if wanted not in model.sides:
        known = (
            ", ".join(map(str, model.sides))
            or "none, for it has no convolutions, or those of several networks"
        )
        raise ConfigError(
            f"side: {model.info.name} has no feature maps of {wanted}x{wanted} cells",
            hint=f"its sides are: {known}",
        )
    return wanted
