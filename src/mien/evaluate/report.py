"""An evaluation in words, for the terminal and for model cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mien.evaluate.evaluate import Evaluation, Metrics
    from mien.intervals import Estimate

NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
}
YARDSTICKS = {"panel": "raters' panel", "raw": "raw label"}


def markdown(evaluation: Evaluation) -> str:
    """Return the evaluation as Markdown: a table of headlines, then of classes, per yardstick."""
    graded = list(yardsticks(evaluation))
    head = ["", *(f"{YARDSTICKS[name]} (n = {m.n:,})" for name, m in graded)]
    lines = [_row(head), _row(["---"] * len(head))]
    for key, name in NAMES.items():
        lines.append(_row([name, *(in_words(m.headlines[key]) for _, m in graded)]))
    for name, metrics in graded:
        lines += ["", f"Against the {YARDSTICKS[name]}:", "", *_class_table(metrics)]
        lines += [line for text in metrics.warnings for line in ("", f"Warning: {text}.")]
    return "\n".join(lines) + "\n"


def in_words(estimate: Estimate) -> str:
    """Return '0.8966 (0.8841 to 0.9095)', or that the figure is not defined."""
    if not estimate.is_defined:
        return "not defined"
    return f"{estimate.value:.4f} ({estimate.low:.4f} to {estimate.high:.4f})"


def class_cells(metrics: Metrics) -> Iterator[list[str]]:
    """Yield precision, recall and F1 of each class; '-' for what is not defined."""
    for values in metrics.to_dict()["per_class"].values():
        shares = (values[key] for key in ("precision", "recall", "f1"))
        yield ["-" if share is None else f"{share:.3f}" for share in shares]


def yardsticks(evaluation: Evaluation) -> Iterator[tuple[str, Metrics]]:
    """Yield ('panel', its metrics) first, as the headline, then ('raw', its), where they exist."""
    if evaluation.panel is not None:
        yield "panel", evaluation.panel
    if evaluation.raw is not None:
        yield "raw", evaluation.raw


def _class_table(metrics: Metrics) -> Iterator[str]:
    answers = [f"answered {label}" for label in metrics.labels]
    head = ["right answer", "n", *answers, "precision", "recall", "F1"]
    yield _row(head)
    yield _row(["---"] * len(head))
    for i, (label, own) in enumerate(zip(metrics.labels, class_cells(metrics), strict=True)):
        counts = [str(c) for c in metrics.confusion[i]]
        yield _row([label, str(metrics.confusion[i].sum()), *counts, *own])


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
