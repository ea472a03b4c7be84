"""An evaluation in words, for the terminal and for model cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.evaluate.metrics import per_class

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mien.evaluate.evaluate import Evaluation, Metrics

NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error",
}
YARDSTICKS = {"panel": "raters' panel", "raw": "raw label"}


def markdown(evaluation: Evaluation) -> str:
    """Return the evaluation as Markdown: a table of headlines, then of classes, per yardstick."""
    graded = list(yardsticks(evaluation))
    head = ["", *(f"{YARDSTICKS[name]} (n = {m.n:,})" for name, m in graded)]
    lines = [_row(head), _row(["---"] * len(head))]
    for key, name in NAMES.items():
        cells = [f"{e.value:.4f} ({e.low:.4f} to {e.high:.4f})" for e in
                 (m.headlines[key] for _, m in graded)]  # fmt: skip
        lines.append(_row([name, *cells]))
    for name, metrics in graded:
        lines += ["", f"Against the {YARDSTICKS[name]}:", "", *_class_table(metrics)]
    return "\n".join(lines) + "\n"


def yardsticks(evaluation: Evaluation) -> Iterator[tuple[str, Metrics]]:
    """Yield ('panel', its metrics) first, as the headline, then ('raw', its), where they exist."""
    if evaluation.panel is not None:
        yield "panel", evaluation.panel
    if evaluation.raw is not None:
        yield "raw", evaluation.raw


def _class_table(metrics: Metrics) -> Iterator[str]:
    precision, recall, f1 = per_class(metrics.confusion.astype(np.float64))
    answers = [f"answered {label}" for label in metrics.labels]
    head = ["right answer", "n", *answers, "precision", "recall", "F1"]
    yield _row(head)
    yield _row(["---"] * len(head))
    for i, label in enumerate(metrics.labels):
        counts = [str(c) for c in metrics.confusion[i]]
        own = [f"{v[i]:.3f}" for v in (precision, recall, f1)]
        yield _row([label, str(metrics.confusion[i].sum()), *counts, *own])


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
