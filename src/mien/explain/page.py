"""An explanation as one self-contained HTML page."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
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
from mien.imaging.draw import percent
from mien.palette import PAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.explain.explain import Explanation, FaceExplanation
    from mien.explain.occlusion import Occlusion
    from mien.explain.sanity import SanityCheck

STYLE = (
    PAGE
    + """
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; color: var(--ink);
  background: var(--paper); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; text-wrap: balance; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; overflow-wrap: anywhere; }
h3 { font-size: .95rem; margin: 1.5rem 0 .5rem; }
p { margin: .5rem 0; max-width: 46rem; }
.soft, figcaption, footer { color: var(--soft); }
.read { border-left: 3px solid var(--blue); padding: .1rem 0 .1rem 1rem; margin: 1.25rem 0; }
.verdicts { list-style: none; padding: 0; }
.verdicts b::before { content: attr(data-sign) " "; }
.good b { color: var(--good); } .bad b { color: var(--bad); }
.tiles { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); }
.strip { display: grid; gap: .5rem; margin-bottom: .9rem;
  grid-template-columns: repeat(6, minmax(0, 1fr)); }
figure { margin: 0; } figcaption { font-size: .82rem; line-height: 1.35; padding-top: .35rem; }
figure > img { display: block; width: 100%; height: auto; border-radius: 4px; }
.plate { background: #fff; padding: .5rem; border-radius: 6px; border: 1px solid var(--line); }
.plate img { max-width: 100%; margin: 0 auto; width: auto; }
.bar { display: block; height: .55rem; border-radius: 3px; margin: .5rem 0 .1rem; }
.ends { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums; }
.probs { display: grid; grid-template-columns: max-content 1fr max-content; gap: .3rem .75rem;
  align-items: center; max-width: 30rem; margin: .75rem 0 1.25rem; font-size: .9rem; }
.probs i { display: block; height: .7rem; border-radius: 2px; background: var(--soft);
  min-width: 1px; }
.probs .own { background: var(--blue); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; vertical-align: bottom; }
summary { cursor: pointer; margin: 1rem 0 .5rem; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem;
  font-size: .85rem; }
@media (max-width: 40rem) { .strip { grid-template-columns: repeat(3, minmax(0, 1fr)); }
  .tiles { grid-template-columns: 1fr; } .tiles figure { max-width: 22rem; } }
@media print { body { max-width: none; padding: 0; font-size: 11pt; }
  .tiles { grid-template-columns: repeat(3, 1fr); } figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; } .face + .face { break-before: page; } }
"""
)
READ = """<div class="read"><p>A map shows which parts of the image the score depends on. It does
not say why, whether the answer is right, or what the person feels; and what is dark here may
still matter together with something else.</p></div>"""
METHODS = """<p>Grad-CAM: Selvaraju et al. 2017 (arXiv:1610.02391), rectified; in logits a cell.
Occlusion: Zeiler &amp; Fergus 2014 (arXiv:1311.2901), with a patch of the crop's mean grey; in
log-odds, which unlike the probability of a sure answer still move. Check: Adebayo et al. 2018
(arXiv:1810.03292).</p>"""


@dataclass(frozen=True, slots=True)
class Sheets:
    """Contact sheets that were drawn already, as PNG.

    Attributes:
        kernels: of the first convolution; None without any.
        features: of each face in order; empty where the model has none.
    """

    kernels: bytes | None = None
    features: tuple[bytes, ...] = ()


def page(explanation: Explanation, names: Sequence[str], sheets: Sheets) -> str:
    """Return the page, HTML without any link to the network; it contains the faces.

    Args:
        explanation: to show.
        names: of its faces, such as a path and the number of the face.
        sheets: of its kernels and feature maps.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    model = escape(explanation.info.name)
    faces = [_face(explanation, i, name, sheets) for i, name in enumerate(names)]
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>What {model} looks at</title>\n<style>{STYLE}</style>",
            f"<h1>What {model} looks at</h1>",
            READ,
            _verdicts(explanation.sanity),
            *faces,
            _sanity_table(explanation.sanity),
            _kernels(sheets),
            f"<footer>{METHODS}<p>{_settings(explanation)} This page contains the faces "
            "themselves: share it as you would share the photographs.</p></footer>",
            "</html>\n",
        ]
    )


def _verdicts(sanity: SanityCheck | None) -> str:
    if sanity is None:
        return '<p class="soft">It was not checked whether the maps depend on the weights.</p>'
    items = []
    for method in sanity.methods:
        alike = sanity.levels[-1].similarity[method]
        figures = (
            f"with all weights random, mean rank correlation to the trained maps "
            f"{signed(alike.spearman)} (absolute values {signed(alike.spearman_absolute)}), "
            f"n = {alike.n}"
        )
        if method in sanity.empty:
            text = (
                f'<b data-sign="○">{method} is empty</b>: no place speaks for the explained label '
                "in any face that was checked, so there is nothing to check."
            )
        elif sanity.passes(method):
            text = f'<b data-sign="✓">{method} passes the sanity check</b>: {figures}.'
        else:
            text = (
                f'<b data-sign="✗">{method} fails the sanity check</b>: {figures}. Its maps '
                "hardly depend on what the network learnt; do not trust them."
            )
        items.append(f'<li class="{"good" if sanity.passes(method) else "bad"}">{text}</li>')
    return f'<ul class="verdicts">{"".join(items)}</ul>'


def _face(explanation: Explanation, index: int, name: str, sheets: Sheets) -> str:
    face, labels = explanation.faces[index], explanation.info.labels
    answer = escape(labels[face.answer])
    sections = [
        f'<section class="face"><h2>{escape(name)}: {escape(face.title(explanation.info))}</h2>',
        _probabilities(face, labels),
        '<div class="tiles">',
        _figure(face.crop_hw, f"the crop of {escape(name)}", _crop_caption(face), 288),
        *(_map(face, method, answer) for method in face.maps),
        "</div>",
        _strips(explanation, index, name),
    ]
    if sheets.features:
        sections += [
            "<details><summary>Feature maps of this face</summary>",
            _plate(sheets.features[index], "the strongest feature maps at each size"),
            "</details>",
        ]
    return "\n".join([*sections, "</section>"])


def _probabilities(face: FaceExplanation, labels: tuple[str, ...]) -> str:
    rows = []
    for i, (label, p) in enumerate(zip(labels, face.probs_k, strict=True)):
        own = ' class="own"' if i == face.answer else ""
        bar = f'<span><i{own} style="width:{100 * float(p):.1f}%"></i></span>'
        rows.append(f"<span>{escape(label)}</span>{bar}<span>{escape(percent(float(p)))}</span>")
    return f'<div class="probs">{"".join(rows)}</div>'


def _crop_caption(face: FaceExplanation) -> str:
    size = len(face.crop_hw)
    return f"<b>What the model reads</b>: {size}x{size} grey pixels, and nothing else."


def _map(face: FaceExplanation, method: str, answer: str) -> str:
    map_hw = face.maps[method]
    with_sign = method != GRAD_CAM
    top = limit(map_hw, signed=with_sign)
    shares = thirds(map_hw)
    where = (
        f"Of the map, {shares['upper']:.0%} lies in the upper third of the crop, "
        f"{shares['middle']:.0%} in the middle and {shares['lower']:.0%} in the lower."
    )
    if with_sign:
        covered = face.occlusion
        words = (
            f"Covering the costliest patch takes {answer} {change(covered)}. "
            f"Red: covering costs; blue: covering helps. {where}"
        )
        scale, unit = (f"{-top:.2g}", "log-odds lost", f"+{top:.2g}"), "Occlusion"
    else:
        nothing = f"No place speaks for {answer} here."
        words = where if top > 0 else nothing
        scale, unit = ("0", "logits a cell", f"{top:.2g}" if top > 0 else "empty"), "Grad-CAM"
    ends = "".join(f"<span>{text}</span>" for text in scale)
    bar = f'<span class="bar" style="background:{_gradient(with_sign)}"></span>'
    legend = f'{bar}<span class="ends">{ends}</span>'
    pixels = overlay(face.crop_hw, map_hw, signed=with_sign)
    alt = f"{unit} map laid over the face. {where}"
    return _figure(pixels, alt, f"{legend}<b>{unit}</b>: {words}", 288)


def change(covered: Occlusion) -> str:
    """Return what the costliest patch does to the probability, to as many digits as show it."""
    for digits in (1, 2, 3, 4):
        texts = f"{covered.before:.{digits}%}", f"{covered.after:.{digits}%}"
        if texts[0] != texts[1]:
            return f"from {texts[0]} to {texts[1]}"
    return f"from {covered.before:.1e} to {covered.after:.1e}"


def _strips(explanation: Explanation, index: int, name: str) -> str:
    sanity, face = explanation.sanity, explanation.faces[index]
    if sanity is None or index >= sanity.faces:
        return ""
    parts = ["<h3>The same maps when weights are replaced by noise, from the last layer down</h3>"]
    for method, map_hw in face.maps.items():
        with_sign = method != GRAD_CAM
        shown = [("trained", map_hw)]
        for level in sanity.levels:
            words = layers_in_words(level.layers, sanity.levels[-1].layers)
            shown.append((words, level.maps[method][index]))
        parts.append('<div class="strip">')
        for words, own in shown:
            pixels = overlay(face.crop_hw, own, signed=with_sign, size=144)
            caption = f"{method}: {words}" if words == "trained" else words
            parts.append(_figure(pixels, f"{method} of {escape(name)}, {words}", caption, 144))
        parts.append("</div>")
    parts.append(
        '<p class="soft">One draw of random weights; each map on its own scale. A face that stays '
        "grey has no place that speaks for the label.</p>"
    )
    return "\n".join(parts)


def _sanity_table(sanity: SanityCheck | None) -> str:
    if sanity is None:
        return ""
    names = {GRAD_CAM: "Grad-CAM", OCCLUSION: "occlusion"}
    head = "".join(
        f"<th>{names.get(m, m)}<br>rank corr.<th>of absolute<br>values<th>SSIM"
        for m in sanity.methods
    )
    rows = []
    for level in sanity.levels:
        cells = "".join(
            f"<td>{signed(s.spearman)} ± {s.spearman_sd:.2f}<td>{signed(s.spearman_absolute)}"
            f"<td>{signed(s.ssim)}"
            for s in level.similarity.values()
        )
        words = layers_in_words(level.layers, sanity.levels[-1].layers)
        rows.append(f"<tr><td>{words}{cells}</tr>")
    return f"""<section><h2>Do the maps depend on what was learnt?</h2>
<p>Layers get random weights of the same mean and deviation, from the logits down, and the maps are
compared with the trained network's: means over {sanity.sample}
(n = {sanity.faces * sanity.draws}) ± the standard deviation. A method passes where, with all
weights random, both correlations are below {THRESHOLD}.</p>
<div class="wide"><table><tr><th>random{head}</tr>{"".join(rows)}</table></div></section>"""


def _kernels(sheets: Sheets) -> str:
    if sheets.kernels is None:
        return ""
    picture = _plate(sheets.kernels, "the kernels of the first convolution")
    return f"<section><h2>First-layer kernels</h2>{picture}</section>"


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


def _figure(pixels: NDArray[np.uint8], alt: str, caption: str, size: int) -> str:
    if len(pixels) < size:  # the crop itself: enlarged without smoothing
        pixels = np.kron(pixels, np.ones((size // len(pixels),) * 2, np.uint8))
    image = f'<img src="{_inline(png(pixels))}" alt="{alt}" width="{size}" height="{size}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _plate(picture: bytes, alt: str) -> str:
    return f'<figure class="plate"><img src="{_inline(picture)}" alt="{alt}"></figure>'


def _inline(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
