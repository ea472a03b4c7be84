"""Duplicates of one image, exact and near: found and grouped.

Exact duplicates have the same pixels. Near-duplicates are found in two steps. Candidates come from
a perceptual hash: 12x12 means of the crop, normalised for brightness and contrast, compared as
cosines with every other image as it is, mirrored, and slightly cropped (`candidates.py`). Each
candidate pair is then verified on its pixels: the largest normalised cross-correlation of the
high-passed crops over shifts and a few scales (`detail.py`). Faces look alike at low resolution;
only duplicates share the fine detail that the high-pass filter leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mien.data.candidates import MIN_COSINE, describe, find_candidates
from mien.data.detail import CANVAS, MIN_DETAIL, compare_details
from mien.files import sha256

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

BLOCK = 2048
"""Images that are compared at once, to bound the memory."""


@dataclass(frozen=True, slots=True)
class Duplicates:
    """The duplicates among n images.

    Attributes:
        groups_n: int64 [n]; duplicates share a number, every other image has its own.
        exact_groups: number of groups of at least two images with the same pixels.
        near_pairs: int64 [m, 2], pairs (i < j) of near-duplicates with different pixels; where
            several images have the same pixels, only the first is paired.
        near_scores: float32 [m], correlation of their fine detail, 0 to 1.
    """

    groups_n: NDArray[np.int64]
    exact_groups: int
    near_pairs: NDArray[np.int64]
    near_scores: NDArray[np.float32]

    @classmethod
    def none(cls, n: int) -> Duplicates:
        """Return the result for n images without any duplicate."""
        pairs, scores = np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
        return cls(np.arange(n, dtype=np.int64), 0, pairs, scores)


def group_members(groups_n: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Return the rows of each group of two or more images, by the group's number."""
    order = np.argsort(groups_n, kind="stable")
    numbers, starts, counts = np.unique(groups_n[order], return_index=True, return_counts=True)
    return {
        int(number): order[start : start + count]
        for number, start, count in zip(numbers, starts, counts, strict=True)
        if count > 1
    }


def find_duplicates(
    images_nhw: NDArray[np.uint8], progress: Callable[[int, int], None] | None = None
) -> Duplicates:
    """Find the duplicates among grey crops.

    Args:
        images_nhw: uint8 [n, size, size].
        progress: called with (done, total) now and then.
    """
    n = len(images_nhw)
    if n == 0:
        return Duplicates.none(0)
    hashes = pixel_hashes(images_nhw)
    _, first, inverse, counts = np.unique(
        hashes, return_index=True, return_inverse=True, return_counts=True
    )
    groups = _Union(n)
    for row, position in enumerate(inverse.ravel()):
        groups.join(row, int(first[position]))
    # Exact duplicates are compared once.
    unique = np.sort(first)
    # One size for all sources, so that one threshold holds for all.
    small = _resized(np.asarray(images_nhw)[unique])
    candidates = find_candidates(small, progress)
    scores = compare_details(small, candidates)
    near = scores >= MIN_DETAIL
    pairs = unique[candidates[near, :2]].reshape(-1, 2)
    # Transitive: two crops of one photo may only be similar to a third.
    for left, right in pairs:
        groups.join(int(left), int(right))
    return Duplicates(
        groups.labels(), int((counts > 1).sum()), pairs, scores[near].astype(np.float32)
    )


def duplicate_fraction(
    few_nhw: NDArray[np.uint8], many_mhw: NDArray[np.uint8], min_detail: float = MIN_DETAIL
) -> float:
    """Return the fraction of `few_nhw` with a duplicate in `many_mhw`, quickly: a lower bound.

    Only images whose hashes are near as they are, or mirrored, are compared in detail, and of
    those only the nearest for each image. `find_duplicates` compares cropped images too.

    Args:
        few_nhw: uint8 [n, size, size].
        many_mhw: uint8 [m, size, size].
        min_detail: minimum correlation of the fine detail of a duplicate, 0 to 1.
    """
    if not len(few_nhw) or not len(many_mhw):
        return 0.0
    few = _resized(np.asarray(few_nhw))
    vectors, flat = describe(few)
    # Mirrored on this side, of which there are few images.
    mirrored, _ = describe(np.ascontiguousarray(few[:, :, ::-1]))
    best = np.full((2, len(few)), -1.0)
    where = np.zeros((2, len(few)), np.int64)
    rows = np.arange(len(few))
    # Only the nearest of each image is compared in detail; a second-nearest duplicate may be
    # missed.
    for start in range(0, len(many_mhw), BLOCK):
        block, _ = describe(_resized(np.asarray(many_mhw[start : start + BLOCK])))
        for side, own in enumerate((vectors, mirrored)):
            cosines = own @ block.T
            top = cosines.argmax(axis=1)
            better = cosines[rows, top] > best[side]
            best[side][better] = cosines[rows, top][better]
            where[side][better] = start + top[better]
    found = np.zeros(len(few), bool)
    for side in (0, 1):
        near = np.flatnonzero((best[side] > MIN_COSINE) & ~flat)
        if len(near):
            partners = _resized(np.asarray(many_mhw[where[side][near]]))
            pairs = np.stack(
                [np.arange(len(near)), len(near) + np.arange(len(near)), np.full(len(near), side)],
                axis=1,
            )
            scores = compare_details(np.concatenate([few[near], partners]), pairs)
            found[near] |= scores >= min_detail
    return float(found.mean())


def pixel_hashes(images_nhw: NDArray[np.uint8]) -> NDArray[np.str_]:
    """Return the SHA-256 of each image's pixels, hexadecimal, str [n]."""
    return np.array([sha256(i.tobytes()) for i in images_nhw])


def perceptual_hashes(images_nhw: NDArray[np.uint8]) -> NDArray[np.str_]:
    """Return a 64-bit difference hash of each image, 16 hexadecimal digits, str [n].

    Each bit is 1 where one of 8x9 means is darker than its right neighbour (Krawetz's dHash).
    """
    if not len(images_nhw):
        return np.zeros(0, "<U16")
    means = np.stack(
        [
            # Nine columns have eight differences: 8 x 8 bits.
            np.asarray(Image.fromarray(i).resize((9, 8), Image.Resampling.BOX))
            for i in np.asarray(images_nhw)
        ]
    )
    bits = np.packbits((means[:, :, 1:] > means[:, :, :-1]).reshape(-1, 64), axis=1)
    return np.array([row.tobytes().hex() for row in bits])


def _resized(images_nhw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if images_nhw.shape[1] == CANVAS:
        return images_nhw
    side = (CANVAS, CANVAS)
    return np.stack([np.asarray(Image.fromarray(i).resize(side)) for i in images_nhw])


class _Union:
    """Disjoint sets (union-find); a set's number is its smallest member."""

    def __init__(self, n: int) -> None:
        self.parent = list(range(n))

    def root(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]  # path halving keeps the trees flat
            i = self.parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        low, high = sorted((self.root(i), self.root(j)))
        # Towards the smaller number, which makes the result independent of the order of pairs.
        self.parent[high] = low

    def labels(self) -> NDArray[np.int64]:
        return np.array([self.root(i) for i in range(len(self.parent))], np.int64)
