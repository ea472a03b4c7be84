"""A model card: what a model is, how good it is, and what it must not be used for.

After Mitchell et al. 2019, "Model cards for model reporting", arXiv:1810.03993.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.evaluate.report import (
    GROUND_TRUTHS,
    by_ground_truth,
    groups_found,
    groups_markdown,
    in_words,
    markdown,
)
from mien.evaluate.subgroups import MIN_GROUP

if TYPE_CHECKING:
    from mien.evaluate.evaluate import Evaluation
    from mien.model.info import ModelInfo

LIMITS = """\
## What it can and cannot tell

It predicts the expression that a face shows in one image, as people who look at that image would
label it. **It does not tell what someone feels, intends or is.** People smile without joy and are
sad without showing it; faces at rest differ, and some are taken for sad or angry. Where no
expression has more than {unsure:.0%} of the probability, mien returns 'unsure'.

Known limits:
- It works for faces like those it learnt from, and for no others that anyone has shown. Its
  accuracy for groups of people (age, sex, skin, region) {measured}; the literature
  finds such models unequal, and neutral elderly faces read as sad.
- Small (below about 30 pixels), blurred, dark, covered or turned faces are read worse.
- It sees one grey image of 48 x 48 pixels: no speech, no situation, no change over time.
- Its confidence was calibrated on images like those above, against the ground truth that chose its
  best epoch: the rater consensus where it learnt from votes, else the raw labels.

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
        info: the description in the model file.
        evaluation: evaluation on a split that was not trained on.
        command: command that made the figures.
        note: text on the data by whoever trained the model: origin of the images, who is shown.
    """
    name, metrics = next(by_ground_truth(evaluation))
    recall = ", ".join(
        f"{one.label} {in_words(one.recall, 3)} of {one.n:,}" for one in metrics.classes
    )
    return f"""\
# {info.name}

Reads {", ".join(info.labels)} in a grey face crop of {info.input_size} x {info.input_size} pixels.
Against the {GROUND_TRUTHS[name]} ({evaluation.split} split, n = {metrics.n:,}; 95% intervals in
brackets):

- accuracy **{in_words(metrics.headlines["accuracy"], 3)}**
- balanced accuracy **{in_words(metrics.headlines["balanced_accuracy"], 3)}**
- macro F1 **{in_words(metrics.headlines["macro_f1"], 3)}**
- recall: {recall}

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
a test**. Intervals are 95%: Wilson's for recall and precision, by bootstrap over groups of
duplicates for the others. Command: `{command}`

{markdown(evaluation)}{_about_confidence(evaluation)}{_about_groups(evaluation)}
The raw label is the dataset's own. The rater consensus, where there are votes, is the label with at
least half of them and no tie.

{_about_int8(info)}{_about_data(evaluation, note)}{_limits(info, evaluation)}"""


def _about_confidence(evaluation: Evaluation) -> str:
    """Return the observed coverage of prediction sets, and thresholds, as a Markdown section."""
    name, metrics = next(by_ground_truth(evaluation))
    confidence = metrics.confidence
    if not confidence.prediction_sets:
        return ""
    lowest = [min(s.by_label.items(), key=lambda pair: pair[1]) for s in confidence.prediction_sets]
    rows = [
        f"| `--coverage {one.coverage:g}` | {one.observed.value:.1%} ({one.observed.low:.1%} to "
        f"{one.observed.high:.1%}) | {one.mean_size:.2f} | {one.single:.0%} | {label} "
        f"{fraction:.1%} |"
        for one, (label, fraction) in zip(confidence.prediction_sets, lowest, strict=True)
    ]
    rules = [
        f"With `--min-confidence {rule.min_confidence:.3f}` {rule.classified:.0%} of faces are "
        f"classified, {rule.observed_error.value:.1%} of them wrongly "
        f"({rule.observed_error.low:.1%} to {rule.observed_error.high:.1%})."
        for rule in confidence.abstention
    ]
    return "\n".join([
        "", f"Conformal prediction sets and thresholds, against the {GROUND_TRUTHS[name]}, fitted",
        "on one half of these faces and tested on the other, 200 times (in brackets: 95% of the",
        "halvings). Coverage holds for faces like these, over all of them, and not for each label:",
        "",
        "| coverage | sets that hold the true label | labels per set | single | lowest coverage |",
        "| --- | --- | --- | --- | --- |", *rows, "",
        *(part for rule in rules for part in (rule, "")),
    ])  # fmt: skip


def _about_groups(evaluation: Evaluation) -> str:
    """Return the metrics by group as a Markdown section; '' where no column was evaluated."""
    if not evaluation.groups:
        return ""
    parts = [
        "\n## Groups\n\nAccuracy of each group, and its difference to all other images (95% "
        "intervals: Wilson, Newcombe;\np values of a score test, adjusted by Holm within a "
        f"column). Groups with fewer than {MIN_GROUP} images are shown,\nbut nothing is claimed "
        "about them."
    ]
    for one in evaluation.groups:
        truth = GROUND_TRUTHS[one.ground_truth]
        parts += [f"By {one.column}, {truth}, n = {one.n:,}:", groups_markdown(one),
                  f"{groups_found(one)}."]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _limits(info: ModelInfo, evaluation: Evaluation) -> str:
    """Return the limits; what was measured by group is named, and nothing beyond it."""
    measured = "**has not been measured**"
    if evaluation.groups:
        columns = ", ".join(one.column for one in evaluation.groups)
        measured = f"was measured by {columns} only, on one dataset (see Groups)"
    return LIMITS.format(unsure=info.unsure_below, measured=measured)


def _about_storage(info: ModelInfo) -> str:
    return "" if info.weight_format == "float32" else ", stored as fp16, computed as float32"


def _about_int8(info: ModelInfo) -> str:
    """Return the effect of quantization, as a Markdown section; '' for float32."""
    done = info.quantized
    if not done:
        return ""
    # A loss of accuracy becomes a change, so the ends of its interval swap; 0.0 - x avoids '-0.00'.
    low, value, high = (0.0 - 100 * done["loss"][key] for key in ("high", "value", "low"))
    return (
        f"## int8\n\nThe int8 form of {done['from']}: static quantisation, weights of 7 bits by "
        f"output channel,\nranges measured on {done['faces']:,} training faces. Accuracy changes "
        f"by {value:+.2f} points\n({low:+.2f} to {high:+.2f}, paired, {GROUND_TRUTHS[done['by']]}, "
        f"n = {done['n']:,}), and the label of {done['changed']:.1%} of faces changes. It is "
        "faster only where the processor\nmultiplies bytes fast (VNNI).\n\n"
    )


def _about_data(evaluation: Evaluation, note: str) -> str:
    words = [note.strip()] if note.strip() else []
    # Said in every file that leaves the machine, since a card is read without its context.
    if evaluation.data == "drawn":
        words.append(
            "**These figures are on drawn faces, cartoons made by mien: they say nothing about "
            "people.**"
        )
    return "## The data\n\n" + "\n\n".join(words) + "\n\n" if words else ""
