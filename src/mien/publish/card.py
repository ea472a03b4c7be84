"""A model card: what a model is, how good it is, and what it must not be used for.

After Mitchell et al. 2019, "Model cards for model reporting", arXiv:1810.03993.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.evaluate.report import YARDSTICKS, markdown, yardsticks

if TYPE_CHECKING:
    from mien.evaluate.evaluate import Evaluation
    from mien.model.info import ModelInfo

LIMITS = """\
## What it can and cannot tell

It names the expression that a face shows in one image, as people who look at that image would
name it. **It does not tell what someone feels, intends or is.** People smile without joy and are
sad without showing it; faces at rest differ, and some are taken for sad or angry. Where no
expression has more than {unsure:.0%} of the probability, mien answers 'unsure'.

Known limits:
- It works for faces like those it learnt from, and for no others that anyone has shown. Its
  accuracy for groups of people (age, sex, skin, region) **has not been measured**; the literature
  finds such models unequal, and neutral elderly faces read as sad.
- Small (below about 30 pixels), blurred, dark, covered or turned faces are read worse.
- It sees one grey image of 48 x 48 pixels: no speech, no situation, no change over time.
- Its confidence was calibrated on images like those above, against the answers that chose its
  best epoch: the raters' panel where votes taught it, else the raw labels.

## What it must not be used for

- To infer emotions of people at work or in education: prohibited in the European Union since
  2 February 2025 (Regulation 2024/1689, Article 5(1)(f)), but for medical or safety reasons.
- To decide about people: hiring, insurance, credit, policing, borders, exams, diagnosis.
- To watch people who do not know of it. Where it is allowed, inform them (Article 50(3)).
- To claim that someone lies, suffers or consents.

This is not legal advice. See docs/responsible-use.md.
"""


def model_card(info: ModelInfo, evaluation: Evaluation, command: str, note: str = "") -> str:
    """Return a model card in Markdown.

    Args:
        info: what the model file says of itself.
        evaluation: on a split that was not trained on.
        command: that made the figures.
        note: on the data, by whoever trained the model: where the images are from, who is shown.
    """
    graded = next(yardsticks(evaluation))
    name, metrics = graded
    accuracy = metrics.headlines["accuracy"]
    return f"""\
# {info.name}

Reads {", ".join(info.labels)} in a grey face crop of {info.input_size} x {info.input_size} pixels.
Against the {YARDSTICKS[name]}: accuracy **{accuracy.value:.3f}** (95% interval {accuracy.low:.3f}
to {accuracy.high:.3f}, n = {metrics.n:,}, {evaluation.split} split).

| | |
| --- | --- |
| network | {info.network}, {info.parameters:,} parameters{_about_storage(info)} |
| cost of a face | {info.multiply_adds / 1e6:.1f}M multiply-adds |
| input | uint8 [n, 1, {info.input_size}, {info.input_size}], {info.colour}; normalisation inside |
| alignment | `{info.alignment}` |
| output | logits of {", ".join(info.labels)}; temperature {info.temperature} is inside |
| training data | {info.data} |
| licence of the weights | {info.licence} |
| made | {info.created}, mien {info.mien_version}, configuration `{info.config_sha256[:16]}` |

## Figures

Data: {evaluation.data}, {evaluation.split} split, fingerprint `{evaluation.fingerprint}`. It was
never trained on, but the best epoch and the temperature were chosen by it: **it is validation, not
a test**. Intervals are 95%, by bootstrap over groups of copies. Command: `{command}`

{markdown(evaluation)}{_about_confidence(evaluation)}
The raw label is the data set's own. The raters' panel, where there are votes, is their majority,
where it has at least half of the votes and no tie.

{_about_int8(info)}{_about_data(evaluation, note)}{LIMITS.format(unsure=info.unsure_below)}"""


def _about_confidence(evaluation: Evaluation) -> str:
    """Return what sets of labels and thresholds keep of their promise, as a Markdown section."""
    name, metrics = next(yardsticks(evaluation))
    confidence = metrics.confidence
    if not confidence.sets:
        return ""
    weakest = [min(one.by_label.items(), key=lambda pair: pair[1]) for one in confidence.sets]
    rows = [
        f"| `--coverage {one.asked:g}` | {one.got.value:.1%} ({one.got.low:.1%} to "
        f"{one.got.high:.1%}) | {one.size:.2f} | {one.single:.0%} | {label} {share:.1%} |"
        for one, (label, share) in zip(confidence.sets, weakest, strict=True)
    ]
    rules = [
        f"With `--min-confidence {rule.min_confidence:.3f}` {rule.answered:.0%} of faces are "
        f"answered, {rule.got.value:.1%} of them wrongly ({rule.got.low:.1%} to "
        f"{rule.got.high:.1%})."
        for rule in confidence.abstaining
    ]
    return "\n".join([
        "", f"Sets of labels and thresholds, against the {YARDSTICKS[name]}, fitted on one half of",
        "these faces and tried on the other, 200 times (in brackets: 95% of the halvings). The",
        "promise is for faces like these, over all of them, and not for each label:", "",
        "| asked for | sets that hold the right label | labels a set | single | least held |",
        "| --- | --- | --- | --- | --- |", *rows, "",
        *(part for rule in rules for part in (rule, "")),
    ])  # fmt: skip


def _about_storage(info: ModelInfo) -> str:
    return "" if info.stored == "float32" else ", stored in 16 bits, computed in 32"


def _about_int8(info: ModelInfo) -> str:
    """Return what quantisation did to the model, as a Markdown section; '' for float32."""
    done = info.quantised
    if not done:
        return ""
    low, value, high = (0.0 - 100 * done["loss"][key] for key in ("high", "value", "low"))
    return (
        f"## int8\n\nThe int8 form of {done['from']}: static quantisation, weights of 7 bits by "
        f"output channel,\nranges measured on {done['faces']:,} training faces. Accuracy changes "
        f"by {value:+.2f} points\n({low:+.2f} to {high:+.2f}, paired, {YARDSTICKS[done['by']]}, "
        f"n = {done['n']:,}), and {done['changed']:.1%} of faces are answered otherwise. It is "
        "faster only where the processor\nmultiplies bytes fast (VNNI).\n\n"
    )


def _about_data(evaluation: Evaluation, note: str) -> str:
    words = [note.strip()] if note.strip() else []
    if evaluation.data == "drawn":
        words.append(
            "**These figures are on drawn faces, cartoons made by mien: they say nothing about "
            "people.**"
        )
    return "## The data\n\n" + "\n\n".join(words) + "\n\n" if words else ""
