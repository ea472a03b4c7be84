"""An explanation as one self-contained HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.explain.explain import GRAD_CAM, OCCLUSION, thirds
from mien.explain.figures import (
    layers_in_words,
    limit,
    overlay,
    png,
    shade,
)
from mien.explain.sanity import THRESHOLD, signed
from mien.intervals import percent
from mien.report.page import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.explain.explain import Explanation, FaceExplanation
    from mien.explain.occlusion import Occlusion
    from mien.explain.sanity import SanityCheck

MAP_SIZE, STRIP_SIZE = 288, 144
"""Sides of images on the page, in pixels."""
NAMES = {GRAD_CAM: "Grad-CAM", OCCLUSION: "Occlusion"}


@dataclass(frozen=True, slots=True)
class Sheets:
    """Contact sheets as PNG, drawn before the page.

    Attributes:
        kernels: kernels of the first convolution; None where the model has none.
        features: feature maps of each face in order; empty where the model has none.
    """

    kernels: bytes | None = None
    features: tuple[bytes, ...] = ()


def page(explanation: Explanation, names: Sequence[str], sheets: Sheets) -> str:
    """Return the page, HTML without any link to the network; it contains the faces.

    Args:
        explanation: the explanation to show.
        names: titles of its faces, such as a path and the number of the face.
        sheets: contact sheets of its kernels and feature maps.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    sanity = explanation.sanity
    return render(
        "explanation.html",
        title=f"What {explanation.info.name} looks at",
        verdicts=[] if sanity is None else [_verdict(sanity, m) for m in sanity.methods],
        faces=[_face(explanation, i, name, sheets) for i, name in enumerate(names)],
        sanity=None if sanity is None else _sanity_table(sanity),
        kernels=sheets.kernels,
        settings=_settings(explanation),
    )


def _verdict(sanity: SanityCheck, method: str) -> dict[str, str]:
    alike = sanity.levels[-1].similarity[method]
    figures = (
        f"with all weights random, mean rank correlation to the trained maps "
        f"{signed(alike.spearman)} (absolute values {signed(alike.spearman_absolute)}), "
        f"n = {alike.n}."
    )
    # Before passes(), which is False for an empty map too and would make it a failure.
    if method in sanity.empty:
        text = (
            "no place speaks for the explained label in any face that was checked, so there is "
            "nothing to check."
        )
        return {"kind": "bad", "sign": "○", "title": f"{method} is empty", "text": text}
    if sanity.passes(method):
        title = f"{method} passes the sanity check"
        return {"kind": "good", "sign": "✓", "title": title, "text": figures}
    warning = " Its maps hardly depend on what the network learnt; do not trust them."
    title = f"{method} fails the sanity check"
    return {"kind": "bad", "sign": "✗", "title": title, "text": figures + warning}


def _face(explanation: Explanation, index: int, name: str, sheets: Sheets) -> dict[str, object]:
    face, labels = explanation.faces[index], explanation.info.labels
    explained = labels[face.target]
    size = len(face.crop_hw)
    crop = _figure(face.crop_hw, f"the crop of {name}", "", MAP_SIZE) | {
        "name": "What the model reads",
        "caption": f"{size}x{size} grey pixels, and nothing else.",
    }
    return {
        "title": f"{name}: {face.title(explanation.info)}",
        "probabilities": [
            {"label": label, "percent": 100 * p, "text": percent(p), "own": i == face.target}
            for i, (label, p) in enumerate(zip(labels, map(float, face.probs_k), strict=True))
        ],
        "figures": [crop, *(_map(face, method, explained) for method in face.maps)],
        "strips": _strips(explanation, index, name),
        "features": sheets.features[index] if sheets.features else None,
    }


def _map(face: FaceExplanation, method: str, explained: str) -> dict[str, object]:
    map_hw = face.maps[method]
    with_sign = method != GRAD_CAM
    top = limit(map_hw, signed=with_sign)
    parts = thirds(map_hw)
    where = (
        f"Of the map, {parts['upper']:.0%} lies in the upper third of the crop, "
        f"{parts['middle']:.0%} in the middle and {parts['lower']:.0%} in the lower."
    )
    if with_sign:
        caption = (
            f"Covering the costliest patch takes {explained} {change(face.occlusion)}. "
            f"Red: covering costs; blue: covering helps. {where}"
        )
        scale = (f"{-top:.2g}", "log-odds lost", f"+{top:.2g}")
    else:
        caption = where if top > 0 else f"No place speaks for {explained} here."
        scale = ("0", "logits a cell", f"{top:.2g}" if top > 0 else "empty")
    pixels = overlay(face.crop_hw, map_hw, signed=with_sign)
    alt = f"{NAMES[method]} map laid over the face. {where}"
    return _figure(pixels, alt, caption, MAP_SIZE) | {
        "name": NAMES[method],
        "scale": scale,
        "gradient": _gradient(with_sign),
    }


def change(covered: Occlusion) -> str:
    """Return the probability before and after the costliest patch, with enough digits to differ."""
    for digits in (1, 2, 3, 4):
        texts = f"{covered.before:.{digits}%}", f"{covered.after:.{digits}%}"
        if texts[0] != texts[1]:
            return f"from {texts[0]} to {texts[1]}"
    return f"from {covered.before:.1e} to {covered.after:.1e}"


def _strips(explanation: Explanation, index: int, name: str) -> list[list[dict[str, object]]]:
    """Return, for each method, the trained map and those under random weights."""
    sanity, face = explanation.sanity, explanation.faces[index]
    if sanity is None or index >= sanity.faces:
        return []
    strips = []
    for method, map_hw in face.maps.items():
        shown = [(f"{method}: trained", map_hw)]
        for level in sanity.levels:
            layers = layers_in_words(level.layers, sanity.levels[-1].layers)
            shown.append((layers, level.maps[method][index]))
        strips.append(
            [
                _figure(
                    overlay(face.crop_hw, own, signed=method != GRAD_CAM, size=STRIP_SIZE),
                    f"{method} of {name}, {caption.removeprefix(f'{method}: ')}",
                    caption,
                    STRIP_SIZE,
                )
                for caption, own in shown
            ]
        )
    return strips


def _sanity_table(sanity: SanityCheck) -> dict[str, object]:
    rows = []
    for level in sanity.levels:
        row = [layers_in_words(level.layers, sanity.levels[-1].layers)]
        for s in level.similarity.values():
            row += [f"{signed(s.spearman)} ± {s.spearman_sd:.2f}", signed(s.spearman_absolute)]
            row.append(signed(s.ssim))
        rows.append(row)
    return {
        "methods": [NAMES.get(method, method) for method in sanity.methods],
        "rows": rows,
        "sample": sanity.sample,
        "n": sanity.faces * sanity.draws,
        "threshold": THRESHOLD,
    }


def _settings(explanation: Explanation) -> str:
    side = explanation.side
    cam = f"Grad-CAM on the {side}x{side} feature maps; " if side else ""
    return f"{cam}occlusion with a patch of {explanation.patch} pixels."


def _gradient(with_sign: bool) -> str:
    """Return the colour bar as CSS: the map's colours as they look over middle grey."""
    values = np.linspace(-1 if with_sign else 0, 1, 17, dtype=np.float32)
    colours, alpha = shade(values, signed=with_sign)
    mixed = np.rint(255 * colours * alpha[:, None] + 128 * (1 - alpha[:, None])).astype(int)
    stops = ",".join(f"rgb({red},{green},{blue})" for red, green, blue in mixed)
    return f"linear-gradient(90deg,{stops})"


def _figure(pixels: NDArray[np.uint8], alt: str, caption: str, size: int) -> dict[str, object]:
    if len(pixels) < size:  # the crop itself: enlarged without smoothing
        pixels = np.kron(pixels, np.ones((size // len(pixels),) * 2, np.uint8))
    return {"png": png(pixels), "alt": alt, "caption": caption, "size": size,
            "name": "", "scale": (), "gradient": ""}  # fmt: skip
