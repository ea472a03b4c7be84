"""The sanity check of maps: do they change when the weights are randomised?

Adebayo et al. 2018, "Sanity checks for saliency maps" (arXiv:1810.03292): a map that stays as
it is when the network's weights are replaced by noise shows the image, not the network.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mien.explain.explainable import Explainable

    Explainer = Callable[[Explainable], NDArray[np.float32]]

THRESHOLD = 0.5
"""Mean rank correlation with all weights random, from which maps are not to be trusted.

A map that ignores the weights keeps 1; independent maps have 0 in the mean. Single ones scatter
with a deviation of 0.3 to 0.56 (bench/explain.py), for smooth maps have few independent places:
the mean over one face and five draws scatters with 0.12 to 0.25, and 0.5 is two to four of these
away. More faces make it sharper.
"""
LEVELS = 5
"""Steps of the cascade that are shown at most; the last is always 'all'."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """How alike maps are before and after, as means over faces and draws.

    Attributes:
        spearman: rank correlation of the values with their signs, -1 to 1.
        spearman_sd: its standard deviation over faces and draws.
        spearman_absolute: the same of their absolute values.
        ssim: structural similarity of the absolute values, -1 to 1 (Wang et al. 2004).
        n: maps compared: faces times draws.
    """

    spearman: float
    spearman_sd: float
    spearman_absolute: float
    ssim: float
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types."""
        return {f.name: round(getattr(self, f.name), 4) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class Level:
    """One step of the cascade.

    Attributes:
        name: the lowest layer that was randomised; every layer above it was, too.
        layers: number of randomised layers.
        similarity: similarity of each method's maps to the trained network's.
        maps: maps of each method with the first sample, float32 [n, s, s], for the page.
    """

    name: str
    layers: int
    similarity: dict[str, Similarity]
    maps: dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class SanityCheck:
    """The cascade from the logits down; its last level has all weights random.

    `empty` names the methods whose trained maps have no place that speaks for the label, in any
    face: an empty map neither passes nor fails.
    """

    levels: tuple[Level, ...]
    draws: int
    faces: int
    empty: frozenset[str] = frozenset()

    def passes(self, method: str) -> bool:
        """Whether a method's maps show something that depends on the weights, by THRESHOLD."""
        last = self.levels[-1].similarity[method]
        # With and without signs, as in the paper: a map that only changes its signs keeps its
        # shape.
        alike = max(last.spearman, last.spearman_absolute)
        return method not in self.empty and alike < THRESHOLD

    @property
    def sample(self) -> str:
        """What the means are over, in words."""
        faces = "1 face" if self.faces == 1 else f"{self.faces} faces"
        return f"{faces} x {self.draws} draw" + ("" if self.draws == 1 else "s")

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods checked."""
        return tuple(self.levels[-1].similarity)

    def to_dict(self) -> dict[str, Any]:
        """Return the check as JSON types."""
        return {
            "faces": self.faces,
            "draws": self.draws,
            "threshold": THRESHOLD,
            "passes": {m: None if m in self.empty else self.passes(m) for m in self.methods},
            "levels": [
                {
                    "down_to": level.name,
                    "layers": level.layers,
                    **{name: s.to_dict() for name, s in level.similarity.items()},
                }
                for level in self.levels
            ],
        }


def check(
    model: Explainable,
    explainers: dict[str, Explainer],
    trained: dict[str, NDArray[np.float32]],
    draws: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SanityCheck:
    """Randomise a model from its logits down, and compare the maps.

    Args:
        model: the trained one, with at least one layer.
        explainers: by method, model to maps, float32 [n, s, s], of the same faces each time.
        trained: their maps of the trained model.
        draws: samples of random weights at each level; 1 or more.
        progress: progress callback, called with (done, total).

    Raises:
        MissingExtraError: scipy is not installed.
    """
    if find_spec("scipy") is None:
        raise MissingExtraError.of("explain", "the sanity check of maps")
    counts = cascade(len(model.layers))
    levels = []
    for step, count in enumerate(counts):
        found: dict[str, list[Similarity]] = {method: [] for method in explainers}
        shown: dict[str, NDArray[np.float32]] = {}
        for draw in range(draws):
            random = model.randomised(count, seed=draw)
            for method, explain in explainers.items():
                maps = explain(random)
                shown.setdefault(method, maps)
                found[method] += map(compare, trained[method], maps)
            progress(step * draws + draw + 1, len(counts) * draws)
        similarity = {method: _mean(values) for method, values in found.items()}
        levels.append(Level(model.layers[-count], count, similarity, shown))
    faces = len(next(iter(trained.values())))
    empty = frozenset(method for method, maps in trained.items() if maps.max(initial=0) <= 0)
    return SanityCheck(tuple(levels), draws, faces, empty)


def cascade(layers: int) -> list[int]:
    """Return how many layers are randomised at each level: from 1 to all, evenly."""
    # A set: with few layers two levels round to the same number.
    return sorted({round(v) for v in np.linspace(1, layers, min(LEVELS, layers))})


def compare(before_hw: NDArray[np.float32], after_hw: NDArray[np.float32]) -> Similarity:
    """Return how alike two maps are; two flat ones are the same, and one is like no other."""
    # Ranks and SSIM are not defined for a constant map.
    flat = np.ptp(before_hw) == 0, np.ptp(after_hw) == 0
    if any(flat):
        same = float(all(flat))
        return Similarity(same, 0.0, same, same, 1)
    a, b = np.abs(before_hw), np.abs(after_hw)
    return Similarity(
        _spearman(before_hw, after_hw), 0.0, _spearman(a, b), _ssim(a / a.max(), b / b.max()), 1
    )


def signed(value: float) -> str:
    """Return a correlation to two digits with its sign, for people; never -0.00."""
    # Adding 0.0 turns -0.0 into 0.0.
    return f"{round(value, 2) + 0.0:+.2f}"


def _spearman(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    from scipy.stats import spearmanr

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(spearmanr(a.ravel(), b.ravel()).statistic)


def _ssim(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the mean SSIM of two images of range 1, with its authors' constants."""
    from scipy.ndimage import gaussian_filter

    def blur(image: NDArray[np.float64]) -> NDArray[np.float64]:
        # The window of Wang et al. 2004 has a standard deviation of 1.5 pixels.
        result: NDArray[np.float64] = gaussian_filter(image, 1.5)
        return result

    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = blur(x), blur(y)
    variances = blur(x * x) - mean_x**2 + blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    # (K1 L)^2 and (K2 L)^2 of the paper, with L = 1: the caller scales maps to a maximum of 1.
    c1, c2 = 0.01**2, 0.03**2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((above / ((mean_x**2 + mean_y**2 + c1) * (variances + c2))).mean())


def _mean(values: Sequence[Similarity]) -> Similarity:
    spearman = np.array([v.spearman for v in values])
    return Similarity(
        float(spearman.mean()),
        float(spearman.std(ddof=1)) if len(values) > 1 else 0.0,
        float(np.mean([v.spearman_absolute for v in values])),
        float(np.mean([v.ssim for v in values])),
        len(values),
    )
