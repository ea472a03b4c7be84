"""Losses, last activations and targets that do not belong together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.doctor.finding import Severity
    from mien.doctor.programs.program import OutputStatistics, Program

EXACT = 1e-3
"""Rounding error of a softmax's sum in float16 or float32."""
LOGITS = ("crossentropyloss", "crossentropy")
BINARY_LOGITS = ("bcewithlogitsloss", "binarycrossentropywithlogits")
BINARY = ("bceloss", "binarycrossentropy")
NLL = ("nllloss",)
DIVERGENCE = ("kldivloss", "kldiv")
SQUARED = ("mseloss", "l1loss", "smoothl1loss", "huberloss")


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One case: a short name, severity, title, reason and remedy."""

    case: str
    severity: Severity
    title: str
    reason: str
    remedy: str


def mismatch_of(program: Program) -> Mismatch | None:
    """Return how loss, last activation and targets contradict each other; None if they fit."""
    outputs, name = program.outputs, program.loss_name.lower().replace("_", "")
    if outputs is None:
        return None
    if name in LOGITS:
        several = outputs.target_sum_error > 0.01 and outputs.units > 1
        return _several_labels(outputs) if several else _cross_entropy(program, outputs)
    if name in BINARY_LOGITS:
        return _binary(outputs)
    if name in NLL + DIVERGENCE:
        return _log_probabilities(name, outputs)
    if name in BINARY:
        return _binary_probabilities(outputs)
    found = _squared(program, outputs) if name in SQUARED else None
    values = name in SQUARED or program.kind == "regression"
    return found or (_bounded(outputs) if values and not program.learned_well else None)


def _cross_entropy(program: Program, outputs: OutputStatistics) -> Mismatch | None:
    if outputs.units == 1:
        return Mismatch("cross-entropy-one-output", "serious",
                        "cross-entropy has a single output",
                        "with one output the softmax is always 1 and the loss 0",
                        "Use two outputs, or BCEWithLogitsLoss with one.")  # fmt: skip
    # From the observed values: a softmax may be a function call, which no module shows.
    inside = outputs.low >= 0 and outputs.high <= 1
    remedy = "Remove the last activation: CrossEntropyLoss contains the softmax."
    if inside and outputs.sum_error < EXACT:
        return Mismatch("softmax-twice", "serious", "the softmax is applied twice",
                        "they are probabilities already, and the loss applies a softmax again",
                        remedy)  # fmt: skip
    # Logits that happen to lie in so small a range have learnt nothing, or are squashed.
    if outputs.last_activation in ("Sigmoid", "Tanh", "ReLU", "ReLU6", "Hardtanh"):
        return Mismatch("squashed-logits", "serious",
                        f"a {outputs.last_activation} cuts off the logits",
                        f"{outputs.last_activation} limits how different two classes can be",
                        remedy)  # fmt: skip
    if inside and outputs.high > 0.9:
        return Mismatch("squashed-logits", "serious", "a sigmoid cuts off the logits",
                        "all of them lie between 0 and 1, as after a sigmoid", remedy)  # fmt: skip
    if outputs.low == 0.0 and outputs.high > 0:
        return Mismatch("squashed-logits", "serious", "a ReLU cuts off the logits",
                        "none of them is negative, and some are exactly 0", remedy)  # fmt: skip
    return None


def _several_labels(outputs: OutputStatistics) -> Mismatch:
    return Mismatch("cross-entropy-several-labels", "serious",
                    "cross-entropy gets targets that are no probabilities",
                    f"the sum of a target's row is up to {outputs.target_sum_error:.3g} away from "
                    "1, as where several labels hold at once",
                    "Use BCEWithLogitsLoss for several labels, or normalise the rows.",
                    )  # fmt: skip


def _log_probabilities(name: str, outputs: OutputStatistics) -> Mismatch | None:
    if outputs.units == 1 or outputs.log_sum_error <= 0.01:
        return None
    if name in NLL:
        return Mismatch("nll-without-log-softmax", "serious",
                        "NLLLoss receives no log-probabilities",
                        "rows do not add up to 1 after exp, as NLLLoss expects",
                        "Apply log_softmax before NLLLoss, or use CrossEntropyLoss on the logits.",
                        )  # fmt: skip
    return Mismatch("divergence-without-log-softmax", "serious",
                    "KLDivLoss receives no log-probabilities",
                    "rows do not add up to 1 after exp, so that the loss has no lower bound",
                    "Apply log_softmax before KLDivLoss.")  # fmt: skip


def _binary(outputs: OutputStatistics) -> Mismatch | None:
    squashed = outputs.last_activation in ("Sigmoid", "Softmax", "ReLU", "Tanh")
    if squashed or (outputs.low >= 0 and outputs.high <= 1 and outputs.high - outputs.low > 0.5):
        return Mismatch("sigmoid-twice", "serious", "the sigmoid is applied twice",
                        "they are squashed already, and the loss applies a sigmoid again",
                        "Remove the last activation, or use BCELoss.")  # fmt: skip
    return None


def _binary_probabilities(outputs: OutputStatistics) -> Mismatch | None:
    several = outputs.units > 1 and outputs.target_sum_error > 0.01
    if not several or outputs.sum_error >= EXACT or outputs.low < 0:
        return None
    return Mismatch("softmax-for-several-labels", "serious",
                    "softmax is used for several labels at once",
                    "the probabilities of a row add up to 1, and a target's row differs from that "
                    f"by up to {outputs.target_sum_error:.3g}",
                    "Use BCEWithLogitsLoss on the logits, or a sigmoid for each label.",
                    )  # fmt: skip


def _range(low: float, high: float) -> str:
    if high == float("inf"):
        return f"gives no values below {low:g}"
    return f"ends at {low:g} and {high:g}"


def _squared(program: Program, outputs: OutputStatistics) -> Mismatch | None:
    if program.one_hot_targets or (program.kind == "classification" and outputs.units > 1):
        return Mismatch("regression-loss-for-classes", "warning",
                        "a regression loss is used for classes",
                        "its gradient vanishes where a prediction is confidently wrong",
                        "Use CrossEntropyLoss with logits and class indices.")  # fmt: skip
    bounds = {"Sigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Softmax": (0.0, 1.0),
              "ReLU": (0.0, float("inf")), "Softplus": (0.0, float("inf"))}  # fmt: skip
    low, high = bounds.get(outputs.last_activation, (-float("inf"), float("inf")))
    spread = max(program.target_high - program.target_low, 1e-12)
    # Over the range of the targets: a few of them just outside matter little.
    beyond = max(low - program.target_low, program.target_high - high) / spread
    if beyond > 0.05:
        return Mismatch("targets-out-of-range", "serious",
                        f"a {outputs.last_activation} cannot reach the targets",
                        f"{outputs.last_activation} {_range(low, high)}",
                        "Remove the last activation, or scale the targets to its range.",
                        )  # fmt: skip
    if outputs.units == 1 and outputs.last_activation == "Softmax":
        return Mismatch("softmax-one-output", "serious", "a softmax over a single output is 1",
                        "it does not depend on the input", "Remove the softmax.")  # fmt: skip
    return None


def _bounded(outputs: OutputStatistics) -> Mismatch | None:
    """Return the mismatch of outputs that an activation without a module cuts off."""
    if not outputs.ends:
        return None
    ends = " and ".join(f"{end:.3g}" for end in outputs.ends)
    usual = {(0.0,): "a ReLU", (0.0, 1.0): "a sigmoid", (-1.0, 1.0): "a tanh"}
    like = usual.get(tuple(round(end, 2) + 0.0 for end in outputs.ends), "a clamp or a tanh")
    return Mismatch("outputs-cut-off", "serious", "the outputs cannot reach the targets",
                    f"many outputs end at {ends}, and the targets of these examples lie beyond, as "
                    f"after {like}",
                    "Remove the activation or the clamp at the end, or scale the targets to its "
                    "range.")  # fmt: skip
