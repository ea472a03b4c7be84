"""Copies of one picture, exact and near: found, grouped, and those with conflicting labels listed.

Exact copies have the same pixels. Near copies are found in two steps. Candidates come from a
perceptual hash: 12x12 means of the crop, normalised for light and contrast, compared as cosines
with every other picture as it is, mirrored, and slightly cropped. Each candidate pair is then
checked on its pixels: the largest normalised cross-correlation of the high-passed crops over
shifts (through the Fourier transform) and a few scales. Faces look alike at low resolution;
only copies share the fine detail that the high pass leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from mien.files import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

GRID = 12
COSINE = 0.9
"""Least cosine of two hashes that makes a candidate pair."""
DETAIL = 0.8
"""Least correlation of the fine detail that makes a copy; measured in docs/log.md."""
FLAT = 1.0
"""Deviation of the grid's means, in grey levels, below which a picture is too flat to compare."""
CROPS = (
    (0.0, 0.5, 0.5),
    (0.06, 0.5, 0.5),
    *((0.1, x, y) for x in (0, 0.5, 1) for y in (0, 0.5, 1)),
)
"""Crops that are compared: share cut off, and where the rest lies (0 left or top, 1 other end)."""
SCALES = (1.0, 0.97, 0.94, 0.91, 0.88)
BLOCK = 2048
CANVAS = 48
"""Side at which details are compared, in pixels."""


@dataclass(frozen=True, slots=True)
class Copies:
    """What was found.

    Attributes:
        groups_n: int64 [n]; copies share a number, every other picture has its own.
        exact_groups: groups of at least two pictures with the same pixels.
        near_pairs: int64 [m, 2], pairs (i < j) of near copies between different pixels; where
            several pictures have the same pixels, the first stands for them.
        near_scores: float32 [m], correlation of their fine detail, 0 to 1.
    """

    groups_n: NDArray[np.int64]
    exact_groups: int
    near_pairs: NDArray[np.int64]
    near_scores: NDArray[np.float32]

    def members(self) -> dict[int, NDArray[np.int64]]:
        """Return the rows of each group of two or more pictures."""
        order = np.argsort(self.groups_n, kind="stable")
        numbers, starts, counts = np.unique(
            self.groups_n[order], return_index=True, return_counts=True
        )
        return {
            int(number): order[start : start + count]
            for number, start, count in zip(numbers, starts, counts, strict=True)
            if count > 1
        }


def find_copies(
    images_nhw: NDArray[np.uint8], progress: Callable[[int, int], None] | None = None
) -> Copies:
    """Find the copies among grey crops, uint8 [n, s, s].

    Args:
        images_nhw: the pictures.
        progress: told (done, total) now and then.
    """
    n = len(images_nhw)
    if n == 0:
        return Copies(np.zeros(0, np.int64), 0, np.zeros((0, 2), np.int64), np.zeros(0, np.float32))
    hashes = pixel_hashes(images_nhw)
    _, first, inverse, counts = np.unique(
        hashes, return_index=True, return_inverse=True, return_counts=True
    )
    groups = _Union(n)
    for row, position in enumerate(inverse.ravel()):
        groups.join(row, int(first[position]))
    unique = np.sort(first)
    small = _resized(np.asarray(images_nhw)[unique])
    candidates = _candidates(small, progress)
    scores = _detail_scores(small, candidates)
    near = scores >= DETAIL
    pairs = unique[candidates[near, :2]].reshape(-1, 2)
    for left, right in pairs:
        groups.join(int(left), int(right))
    return Copies(groups.labels(), int((counts > 1).sum()), pairs, scores[near].astype(np.float32))


def share_copied(
    few_nhw: NDArray[np.uint8], many_mhw: NDArray[np.uint8], detail: float = DETAIL
) -> float:
    """Return the share of `few_nhw` with an exact or near copy in `many_mhw`, quickly.

    Only pictures whose hashes are near as they are, or mirrored, are compared in detail, and of
    those the nearest for each picture: other crops may escape. `find_copies` looks for all.

    Args:
        few_nhw: uint8 [n, s, s].
        many_mhw: uint8 [m, s, s].
        detail: least correlation of the fine detail that makes a copy.
    """
    if not len(few_nhw) or not len(many_mhw):
        return 0.0
    few = _resized(np.asarray(few_nhw))
    vectors, flat = _describe(few)
    mirrored, _ = _describe(np.ascontiguousarray(few[:, :, ::-1]))
    best = np.full((2, len(few)), -1.0)
    where = np.zeros((2, len(few)), np.int64)
    rows = np.arange(len(few))
    for start in range(0, len(many_mhw), BLOCK):
        block, _ = _describe(_resized(np.asarray(many_mhw[start : start + BLOCK])))
        for side, own in enumerate((vectors, mirrored)):
            cosines = own @ block.T
            top = cosines.argmax(axis=1)
            better = cosines[rows, top] > best[side]
            best[side][better] = cosines[rows, top][better]
            where[side][better] = start + top[better]
    copied = np.zeros(len(few), bool)
    for side in (0, 1):
        near = np.flatnonzero((best[side] > COSINE) & ~flat)
        if len(near):
            partners = _resized(np.asarray(many_mhw[where[side][near]]))
            pairs = np.stack(
                [np.arange(len(near)), len(near) + np.arange(len(near)), np.full(len(near), side)],
                axis=1,
            )
            scores = _detail_scores(np.concatenate([few[near], partners]), pairs)
            copied[near] |= scores >= detail
    return float(copied.mean())


def pixel_hashes(images_nhw: NDArray[np.uint8]) -> NDArray[np.str_]:
    """Return the SHA-256 of each picture's pixels, hexadecimal, str [n]."""
    return np.array([sha256(i.tobytes()) for i in images_nhw])


def perceptual_hashes(images_nhw: NDArray[np.uint8]) -> NDArray[np.str_]:
    """Return a 64-bit difference hash of each picture, 16 hexadecimal digits, str [n].

    Each bit tells whether one of 8x9 means is darker than its right neighbour (Krawetz's dHash).
    """
    if not len(images_nhw):
        return np.zeros(0, "<U16")
    means = np.stack(
        [
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


def _describe(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return unit vectors, float32 [n, GRID * GRID], and which pictures are too flat."""
    n, cell = len(images), CANVAS // GRID
    grid = images.reshape(n, GRID, cell, GRID, cell).mean(axis=(2, 4), dtype=np.float32)
    grid = grid.reshape(n, -1)
    grid -= grid.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(grid, axis=1)
    flat = norm < FLAT * GRID
    return grid / np.maximum(norm, 1e-6)[:, None] * ~flat[:, None], flat


def _cropped(images: NDArray[np.uint8], cut: float, x: float, y: float) -> NDArray[np.uint8]:
    if cut == 0:
        return images
    side, left, top = CANVAS * (1 - cut), x * CANVAS * cut, y * CANVAS * cut
    box, size = (left, top, left + side, top + side), (CANVAS, CANVAS)
    return np.stack(
        [
            np.asarray(Image.fromarray(i).resize(size, Image.Resampling.BILINEAR, box=box))
            for i in images
        ]
    )


def _candidates(
    images: NDArray[np.uint8], progress: Callable[[int, int], None] | None
) -> NDArray[np.int64]:
    """Return rows (i, j, mirrored) with i != j whose hashes are near, each pair once."""
    plain, _ = _describe(images)
    found: list[NDArray[np.int64]] = []
    total, done = 2 * len(CROPS) * len(images), 0
    for cut, x, y in CROPS:
        variant = _cropped(images, cut, x, y)
        for mirrored in (0, 1):
            vectors, _ = _describe(
                np.ascontiguousarray(variant[:, :, ::-1]) if mirrored else variant
            )
            for start, block in _blocks(vectors):
                i, j = np.nonzero(block @ plain.T > COSINE)
                i += start
                keep = i < j if cut == 0 else i != j
                flag = np.full(int(keep.sum()), mirrored)
                found.append(np.stack([i[keep], j[keep], flag], axis=1))
                done += len(block)
                if progress:
                    progress(done, total)
    pairs = np.concatenate(found) if found else np.zeros((0, 3), np.int64)
    pairs[:, :2].sort(axis=1)
    return np.unique(pairs, axis=0)


def _blocks(vectors: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for start in range(0, len(vectors), BLOCK):
        yield start, vectors[start : start + BLOCK]


def _detail_scores(images: NDArray[np.uint8], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the best correlation of fine detail for each (i, j, mirrored), float [m]."""
    scores = np.zeros(len(pairs))
    for start in range(0, len(pairs), BLOCK):
        i, j, mirrored = pairs[start : start + BLOCK].T
        left = images[i]
        left = np.where(mirrored[:, None, None] == 1, left[:, :, ::-1], left)
        right = images[j]
        # Either of the two may be the crop of the other.
        best = np.maximum(_best_over_scales(left, right), _best_over_scales(right, left))
        scores[start : start + BLOCK] = best
    return scores


def _best_over_scales(wholes: NDArray[np.uint8], crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    target = np.conj(_spectrum(crops))
    best = np.zeros(len(wholes))
    for scale in SCALES:
        spectrum = _spectrum(_cropped(wholes, 1 - scale, 0.5, 0.5))
        correlation = np.fft.irfft2(spectrum * target, s=(CANVAS, CANVAS))
        reach = 4  # pixels; beyond it the two would share too little
        near = np.concatenate([correlation[:, :reach], correlation[:, -reach:]], axis=1)
        near = np.concatenate([near[:, :, :reach], near[:, :, -reach:]], axis=2)
        best = np.maximum(best, near.max(axis=(1, 2)))
    return best


def _spectrum(images: NDArray[np.uint8]) -> NDArray[np.complex128]:
    """Return the Fourier transform of the windowed high-passed pictures of unit norm."""
    blurred = np.stack(
        [np.asarray(Image.fromarray(i).filter(ImageFilter.GaussianBlur(3))) for i in images]
    )
    detail = (images.astype(np.float32) - blurred) * _WINDOW
    detail -= detail.mean(axis=(1, 2), keepdims=True)
    norm = np.sqrt((detail**2).sum(axis=(1, 2), keepdims=True))
    spectrum: NDArray[np.complex128] = np.fft.rfft2(detail / np.maximum(norm, 1e-3))
    return spectrum


_WINDOW = np.outer(np.hanning(CANVAS), np.hanning(CANVAS)).astype(np.float32)


class _Union:
    """Disjoint sets; a set's number is its smallest member."""

    def __init__(self, n: int) -> None:
        self.parent = list(range(n))

    def root(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        low, high = sorted((self.root(i), self.root(j)))
        self.parent[high] = low

    def labels(self) -> NDArray[np.int64]:
        return np.array([self.root(i) for i in range(len(self.parent))], np.int64)
