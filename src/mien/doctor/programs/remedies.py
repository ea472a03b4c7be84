"""Findings in the terms of a PyTorch loop: no recipe, no run folder, no images."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mien.doctor.finding import Finding, Plot
from mien.doctor.programs.slow_rates import beside_slow_sgd
from mien.doctor.requirements import PROGRAM
from mien.doctor.rule import RULES
from mien.doctor.thresholds import Thresholds
from mien.errors import counted

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.programs.program import Program

FEW_STEPS = Thresholds().few_steps
LARGE_BATCH = 128
"""Batch size from which smaller batches are the way to more steps."""

NOTES = frozenset({"validation-too-small", "validation-class-counts"})
"""Findings that are worth knowing and no fault: small public data sets have such splits."""

REMEDIES = {
    "diverged": "Lower the learning rate{lr}, and clip gradients with "
    "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).",
    "learning-rate-too-high": "Lower the learning rate{lr}.",
    "learning-rate-too-low": "Raise the learning rate{lr}, and tenfold again as long as the "
    "training ends with a lower loss.",
    "exploding-gradients": "Clip gradients with torch.nn.utils.clip_grad_norm_("
    "model.parameters(), 1.0), add a normalisation layer, or lower the learning rate.",
    "vanishing-gradients": "Use ReLU or GELU instead of sigmoid or tanh; in a deep network also a "
    "normalisation layer before each of them, or weights by torch.nn.init.kaiming_normal_. "
    "Residual connections or fewer layers help as well.",
    "dead-units": "Use torch.nn.LeakyReLU(), a lower learning rate, or a normalisation layer "
    "before the activation.",
    "batch-norm-statistics": "Use larger batches, train longer so that the running statistics "
    "settle, or use GroupNorm.",
    "invalid-inputs": "Subtract the training data's mean and divide by its standard deviation, "
    "feature by feature or for all pixels.",
    "shuffled-labels": "Check that inputs and labels are joined in the right order.",
    "data-leakage": "Remove duplicates before splitting, and split by subject or source.",
    "domain-shift": "Take validation data from the same source, preprocessed in the same way.",
    "label-noise": "Look at the examples whose labels cross-validated predictions contradict, "
    "correct or leave them out (confident learning, as cleanlab.filter.find_label_issues does it); "
    "CrossEntropyLoss(label_smoothing=0.1) bears some noise.",
    "class-imbalance": "Use CrossEntropyLoss(weight=...) or a WeightedRandomSampler, or add "
    "examples of the rare class.",
    "class-never-predicted": "Weight the loss by class, train longer, or check its labels "
    "(confident learning lists those that cross-validated predictions contradict).",
    "class-recall": "Weight or sample the classes equally, or add examples of that class.",
    "overfitting": "Augment, add dropout or weight decay, stop at the lowest validation loss, or "
    "add examples.",
    "model-too-large": "Use a narrower network.",
    "model-too-small": "Use a wider or deeper network. If that fits the training data no better, "
    "look at the labels that cross-validated predictions contradict (confident learning).",
    "underfitting": "Train longer, use a larger network, or regularise less.",
    "validation-too-small": "Hold out more examples, or use cross-validation.",
    "validation-class-counts": "Hold out more examples of these classes (a stratified split).",
    "not-reproducible": "Seed all generators, and use torch.use_deterministic_algorithms(True).",
}

FROM_THE_START = (
    "The learning rate is not the cause, as no recorded step came before. Look for NaN in the "
    "initial weights, and for a logarithm of 0, a division by 0 or an overflow in the model and in "
    "the loss; torch.autograd.set_detect_anomaly(True) names an operation of the backward pass."
)


def for_program(finding: Finding, evidence: Evidence) -> Finding:
    """Return a finding in the terms of a watched loop; rules about such loops have them already."""
    rule = RULES[finding.name]
    plot = None if finding.plot is None else _plot_in_words(finding.plot)
    if PROGRAM in rule.needs:
        return replace(finding, plot=plot)
    return replace(
        finding,
        severity="note" if finding.name in NOTES else finding.severity,
        title=in_words(finding.title),
        evidence=in_words(finding.evidence),
        remedy=_remedy(finding, evidence),
        settings=(),
        plot=plot,
        confidence="high" if finding.name == "diverged" else finding.confidence,
    )


def _remedy(finding: Finding, evidence: Evidence) -> str:
    """Return what to do in a watched loop."""
    rate = next((s for s in finding.settings if s.startswith("optimizer.lr=")), "")
    text = REMEDIES[finding.name].format(lr=f", to about {rate.split('=')[1]}" if rate else "")
    if finding.name == "shuffled-labels" and finding.confidence == "low":
        text = (
            "If the order of the tokens decides, this is no fault. Otherwise check that inputs and "
            "labels are joined in the right order, and that both splits number their tokens alike."
        )
    if finding.name == "invalid-inputs" and finding.numbers.get("constants"):
        text = (
            "Replace the constant by the column's median, and add a column that says where. " + text
        )
    program = evidence.program
    if finding.name == "learning-rate-too-low":
        text += beside_slow_sgd(evidence)
    if finding.numbers.get("cause"):
        text = finding.remedy  # the rule knows of it from the loop alone
    elif finding.name == "diverged" and evidence.reason.endswith(" in step 1"):
        text = FROM_THE_START
    elif finding.name == "underfitting" and program is not None and program.steps < FEW_STEPS:
        text = _more_steps(program)
    elif finding.name == "underfitting" and not finding.numbers.get("learns", 1):
        text = (
            "A larger network does not help: see whether it can fit 32 examples, and look at the "
            "weight decay, clipping, and what is reset or frozen."
        )
    return _by_numbers(finding) or text


def _by_numbers(finding: Finding) -> str:
    """Return what to do in a special case that the finding's numbers tell; '' in others."""
    if finding.name == "batch-norm-statistics" and finding.numbers.get("still"):
        return "Use momentum=0.1, PyTorch's default: near 0, running statistics hardly change."
    if finding.name == "class-imbalance" and finding.severity == "serious":
        return _missing_class(finding)
    if finding.name == "label-noise" and finding.numbers.get("contradictory"):
        return _one_label(finding)
    return ""


def _more_steps(program: Program) -> str:
    """Return how a training of few steps gets more of them."""
    are = "is" if program.steps == 1 else "are"
    few = counted(program.steps, "step")
    text = f"Train longer, until the validation loss stops falling: {few} {are} few."
    if program.batch_size >= LARGE_BATCH:
        text = (
            f"Use smaller batches, such as 32, or train longer: {few} "
            f"with batches of {program.batch_size:,} {are} few."
        )
    return f"{text} Otherwise use a larger network, or regularise less."


def _missing_class(finding: Finding) -> str:
    """Return what to do about a class without a training example."""
    merged = finding.numbers.get("merged_into")
    if merged is None:
        return "Add examples of the missing class, or correct the mapping of its labels."
    return (
        f"Correct the mapping of the training labels: it seems to turn {finding.numbers['class']} "
        f"into {merged}. If the class has no examples, add some."
    )


def _one_label(finding: Finding) -> str:
    """Return what to do about examples that occur with several labels."""
    text = "Look at the examples that occur twice, and keep one label each."
    kept, copied = finding.numbers.get("kept"), finding.numbers.get("copied_as")
    if kept is None:
        return text
    return (
        f"{text} Nearly all examples of {kept} come a second time as {copied}, and most of "
        f"{copied} do not come as {kept}: leave these copies in {copied} out."
    )


def _plot_in_words(plot: Plot) -> Plot:
    # 'class 0' is too long a name below a bar.
    names = [v for v in plot.x if isinstance(v, str) and v.startswith("class ")]
    plot = replace(plot, title=in_words(plot.title))
    if not names or len(names) < len(plot.x):
        return plot
    return replace(plot, x=[name.removeprefix("class ") for name in names], xlabel="class")


def in_words(text: str) -> str:
    """Return a sentence about examples rather than images, and with this baseline's name."""
    text = text.replace("HOG features and ridge regression", "kernel ridge regression")
    for old, new in (("images", "examples"), ("image", "example"), ("pixels", "inputs")):
        text = text.replace(old, new)
    return text
