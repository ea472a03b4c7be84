"""Explanations as images: maps laid over the face, kernels and feature maps."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mien.errors import MissingExtraError
from mien.explain.explain import GRAD_CAM, enlarged
from mien.explain.sanity import signed as signed_number
from mien.intervals import percent
from mien.report.figure import new_figure, png_bytes
from mien.report.palette import BLUE, GREY, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from mien.explain.explain import Explanation, FaceExplanation

DRAWN = "the images of an explanation"
"""What is drawn here, where matplotlib is missing."""
COLOURS = {True: "RdBu_r", False: "inferno"}
"""Colour maps by whether a map has signs; both are even to the eye and safe for the colour-blind
(inferno: Smith & van der Walt; RdBu: ColorBrewer)."""
STRONGEST = 8
"""Feature maps shown of each side."""
TILE, GAP = 144, 28
"""Side of a kernel or feature map on a contact sheet, and the space between, in pixels."""


def overlay(
    crop_hw: NDArray[np.uint8], map_hw: NDArray[np.float32], *, signed: bool, size: int = 288
) -> NDArray[np.uint8]:
    """Return a map laid over its face, uint8 [size, size, 3]; colour fades where the map is 0.

    The face is enlarged without smoothing: these are the pixels that the model reads.

    Args:
        crop_hw: uint8 [s, s], grey.
        map_hw: float32 [s, s]; what is below 0 is left out where not `signed`.
        signed: whether negative values are meant to be seen.
        size: of the image, in pixels.
    """
    # Not smoothed: this is what the model sees.
    face = np.asarray(Image.fromarray(crop_hw).resize((size, size), Image.Resampling.NEAREST))
    values = enlarged(map_hw, size)
    # Each map has its own scale; 1.0 keeps an empty one from a division by 0.
    colours, alpha = shade(values / (limit(map_hw, signed=signed) or 1.0), signed=signed)
    blended = face[:, :, None] * (1 - alpha[:, :, None]) + 255 * colours * alpha[:, :, None]
    return np.clip(np.rint(blended), 0, 255).astype(np.uint8)


def shade(
    values: NDArray[np.float32], *, signed: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return colours, [..., 3] from 0 to 1, and opacities for values from -1 or 0 to 1."""
    colour_map = _matplotlib().colormaps[COLOURS[signed]]
    place = (values + 1) / 2 if signed else np.maximum(values, 0)
    strength = np.clip(np.abs(values) if signed else values, 0, 1)
    # Weak values are lifted a little, or only the peak of a map would be seen.
    return np.asarray(colour_map(place))[..., :3], 0.75 * strength**0.7


def limit(map_hw: NDArray[np.float32], *, signed: bool) -> float:
    """Return the value that gets the strongest colour; 0 for a map with nothing to show."""
    return float(np.abs(map_hw).max() if signed else max(map_hw.max(), 0.0))


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels, uint8 [h, w] or [h, w, 3], as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def face_image(explanation: Explanation, index: int) -> bytes:
    """Return one face's maps, probabilities and, where checked, its maps under random weights.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    face, info = explanation.faces[index], explanation.info
    # Only the first faces are in the sanity check (explain.CHECKED).
    checked = explanation.sanity is not None and index < explanation.sanity.faces
    rows = len(face.maps) if checked else 0
    heights = [3.5, 0.3 + 2.2 * rows] if rows else [3.5]
    figure = new_figure((11.5, sum(heights)), DRAWN, "explain")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    top = parts[0].subplots(1, 2 + len(face.maps))
    _show(top[0], face.crop_hw, "what the model reads")
    for axes, (method, map_hw) in zip(top[1:], face.maps.items(), strict=False):
        _map(axes, face, method, map_hw)
    _probabilities(top[-1], face, info.labels)
    parts[0].suptitle(
        f"{info.name}: what the score of '{info.labels[face.target]}' depends on"
        + ("" if face.title(info) == info.labels[face.target] else f"; predicted: "
           f"{face.label(info)}"),
        x=0.01, ha="left", weight="bold", color=INK,
    )  # fmt: skip
    if rows:
        _strips(parts[1], explanation, index)
    return png_bytes(figure)


def kernels_image(explanation: Explanation) -> bytes:
    """Return the first convolution's kernels on one common scale."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    kernels = explanation.kernels
    # One scale for all kernels, symmetric around 0: colors then compare weights.
    largest = float(np.abs(kernels).max()) or 1.0
    scale = ScalarMappable(Normalize(-largest, largest), COLOURS[True])
    tiles = [_tile(np.asarray(scale.to_rgba(kernel))[..., :3]) for kernel in kernels]
    columns = min(len(tiles), 8)
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    names = [[f"{i}" for i in range(r * columns, len(tiles))][:columns] for r in range(len(rows))]
    height, width = kernels.shape[1:]
    figure = new_figure((0.95 * columns + 1.2, 1.06 * len(rows) + 0.5), DRAWN, "explain")
    axes = _contact_sheet(figure, rows, names)
    figure.colorbar(scale, ax=axes, label="weight", shrink=0.8, pad=0.02)
    figure.suptitle(
        f"{len(kernels)} kernels of {height}x{width}, first layer",
        x=0.01, ha="left", fontsize=10, color=INK,
    )  # fmt: skip
    return png_bytes(figure)


def features_image(face: FaceExplanation) -> bytes:
    """Return the strongest feature maps of each side: those of the largest mean magnitude."""
    colours = _matplotlib().colormaps["viridis"]
    rows, names = [], []
    for maps in face.features.values():
        # Stable, so that channels of equal strength, such as dead ones, keep their order.
        strongest = np.argsort(-np.abs(maps).mean(axis=(1, 2)), kind="stable")[:STRONGEST]
        # By channel: on a common scale only the channel with the largest values would be visible.
        low, high = maps.min(axis=(1, 2)), maps.max(axis=(1, 2))
        unit = (maps - low[:, None, None]) / np.maximum(high - low, 1e-12)[:, None, None]
        rows.append([_tile(np.asarray(colours(unit[channel]))[..., :3]) for channel in strongest])
        names.append([f"channel {channel}" for channel in strongest])
    figure = new_figure((10.5, 1.33 * len(rows) + 0.35), DRAWN, "explain")
    axes = _contact_sheet(figure, rows, names)
    places = [(row + 0.5) * (TILE + GAP) - GAP / 2 for row in range(len(rows))]
    axes.set_yticks(places, [f"{side}x{side}\nof {len(m)}" for side, m in face.features.items()])
    axes.tick_params(length=0, labelsize=8, labelcolor=INK)
    figure.suptitle(
        "strongest feature maps at each size; bright is high, each on its own scale",
        x=0.01, ha="left", fontsize=10, color=INK,
    )  # fmt: skip
    return png_bytes(figure)


def _tile(colours_hwc: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return colours from 0 to 1 as uint8 [TILE, TILE, 3], enlarged without smoothing."""
    pixels = Image.fromarray(np.rint(255 * colours_hwc).astype(np.uint8))
    return np.asarray(pixels.resize((TILE, TILE), Image.Resampling.NEAREST))


def _contact_sheet(
    figure: Figure, rows: list[list[NDArray[np.uint8]]], names: list[list[str]]
) -> Axes:
    """Lay tiles out on one pair of axes, each under its name: many axes are slow to arrange."""
    columns = max(map(len, rows))
    step = TILE + GAP
    sheet = np.full((len(rows) * step - GAP, columns * step - GAP // 2, 3), 255, np.uint8)
    axes = figure.subplots()
    for r, (row, own) in enumerate(zip(rows, names, strict=True)):
        for c, (tile, name) in enumerate(zip(row, own, strict=True)):
            sheet[r * step : r * step + TILE, c * step : c * step + TILE] = tile
            axes.text(
                c * step + TILE / 2, r * step - 4, name, ha="center", fontsize=7, color=GREY
            )  # fmt: skip
    axes.imshow(sheet, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return axes


def _map(axes: Axes, face: FaceExplanation, method: str, map_hw: NDArray[np.float32]) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    signed = method != GRAD_CAM
    top = limit(map_hw, signed=signed)
    covered = face.occlusion
    effect = f"occlusion: at most {covered.before:.2%} → {covered.after:.2%}"
    title = method if method == GRAD_CAM else effect
    _show(axes, overlay(face.crop_hw, map_hw, signed=signed), title)
    scale = ScalarMappable(Normalize(-top if signed else 0, top or 1.0), COLOURS[signed])
    bar = axes.figure.colorbar(scale, ax=axes, orientation="horizontal", pad=0.03, shrink=0.9)
    bar.set_label("log-odds lost when covered" if signed else "logits a cell", fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _probabilities(axes: Axes, face: FaceExplanation, labels: tuple[str, ...]) -> None:
    places = np.arange(len(labels))
    colours = [BLUE if i == face.target else GREY for i in places]
    axes.barh(places, face.probs_k, color=colours, height=0.55)
    for place, p in enumerate(face.probs_k):
        axes.text(float(p) + 0.03, place, percent(float(p)), va="center", fontsize=8, color=INK)
    axes.set_yticks(places, labels, fontsize=9)
    # barh starts at the bottom; the first label belongs at the top.
    axes.invert_yaxis()
    # Room for the percentage beside a bar of length 1.
    axes.set_xlim(0, 1.3)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title("probabilities", fontsize=9, color=INK)
    axes.set_box_aspect(0.8)


def _strips(part: Any, explanation: Explanation, index: int) -> None:
    """Draw the maps as more and more layers, from the logits down, get random weights."""
    assert explanation.sanity is not None  # noqa: S101  (the caller looked)
    face, sanity = explanation.faces[index], explanation.sanity
    sheet = part.subplots(len(face.maps), 1 + len(sanity.levels), squeeze=False)
    for row, (method, map_hw) in zip(sheet, face.maps.items(), strict=True):
        signed = method != GRAD_CAM
        _show(row[0], overlay(face.crop_hw, map_hw, signed=signed), "trained")
        row[0].set_ylabel(method, fontsize=9, color=INK)
        for axes, level in zip(row[1:], sanity.levels, strict=True):
            own = level.maps[method][index]
            alike = level.similarity[method]
            words = layers_in_words(level.layers, sanity.levels[-1].layers)
            title = f"{words}\nr = {signed_number(alike.spearman)}"
            _show(axes, overlay(face.crop_hw, own, signed=signed), title)
    part.suptitle(
        "the same maps with random weights, from the logits down; each on its own scale; r is the "
        f"mean rank correlation, n = {sanity.sample}",
        x=0.01, ha="left", fontsize=9, color=INK,
    )  # fmt: skip


def layers_in_words(count: int, total: int) -> str:
    """Return how many of the layers are random, in words for a caption."""
    if count == total:
        return f"all {total} layers random"
    return "last layer random" if count == 1 else f"last {count} layers random"


def _show(axes: Axes, pixels: NDArray[np.uint8], title: str) -> None:
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    axes.set_title(title, fontsize=9, color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _matplotlib() -> Any:
    try:
        import matplotlib as module
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("explain", DRAWN) from error
    return module
