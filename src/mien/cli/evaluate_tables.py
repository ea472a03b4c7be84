"""The tables of `mien evaluate`: headlines, classes, prediction sets, thresholds, corruptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mien.cli.render import Column, make_table, print_table, right_aligned

if TYPE_CHECKING:
    from mien.evaluate.evaluate import Evaluation, Metrics
    from mien.evaluate.robustness import Robustness


def print_evaluation(evaluation: Evaluation) -> None:
    """Print headline metrics, then a table of classes for each kind of ground truth."""
    from mien.evaluate.report import NAMES, YARDSTICKS, in_words, yardsticks

    typer.echo(
        f"{evaluation.model} on {evaluation.data}, {evaluation.split} "
        f"(fingerprint {evaluation.fingerprint}); 95% intervals"
    )
    graded = list(yardsticks(evaluation))
    columns = right_aligned(*(f"{YARDSTICKS[name]}, n = {m.n:,}" for name, m in graded))
    rows = [
        [title, *(in_words(metrics.headlines[key]) for _, metrics in graded)]
        for key, title in NAMES.items()
    ]
    print_table(make_table([Column("metric"), *columns], rows))
    for name, metrics in graded:
        for text in metrics.warnings:
            typer.echo(f"warning ({YARDSTICKS[name]}): {text}")
    for name, metrics in graded:
        _print_classes(YARDSTICKS[name], metrics)
    first, metrics = graded[0]
    _print_prediction_sets(YARDSTICKS[first], metrics)
    _print_thresholds(metrics)


def _print_classes(truth: str, metrics: Metrics) -> None:
    """Print the confusion matrix, rows by true label, with precision, recall and F1."""
    from mien.evaluate.report import class_cells

    predicted = (f"→ {label}" for label in metrics.labels)
    columns = [Column(truth), *right_aligned("n", *predicted, "precision", "recall", "F1")]
    rows = [
        [label, f"{support:,}", *(f"{count:,}" for count in counts), *scores]
        for label, support, counts, scores in zip(
            metrics.labels, metrics.rows.support_k, metrics.confusion, class_cells(metrics),
            strict=True,
        )
    ]  # fmt: skip
    typer.echo()
    print_table(make_table(columns, rows))


def _print_prediction_sets(truth: str, metrics: Metrics) -> None:
    """Print the coverage of the prediction sets on the half they were not calibrated on."""
    if not metrics.confidence.sets:
        return
    titles = ("true label in set", "over random halves", "labels per set", "one label")
    columns = [Column(f"prediction sets, {truth}"),
               *right_aligned(*titles, *(f"of {label}" for label in metrics.labels))]  # fmt: skip
    rows = []
    for one in metrics.confidence.sets:
        by_label = [f"{one.by_label[label]:.1%}" if label in one.by_label else ""
                    for label in metrics.labels]  # fmt: skip
        spread = f"{one.got.low:.1%} to {one.got.high:.1%}"
        rows.append([f"--coverage {one.asked:g}", f"{one.got.value:.1%}", spread,
                     f"{one.size:.2f}", f"{one.single:.0%}", *by_label])  # fmt: skip
    typer.echo()
    print_table(make_table(columns, rows))


def _print_thresholds(metrics: Metrics) -> None:
    """Print how often the model abstains at a confidence threshold, and its error beyond it."""
    if not metrics.confidence.sets or not metrics.confidence.abstaining:
        return
    titles = ("answered", "error among them", "over random halves")
    columns = [Column("abstaining below a threshold"), *right_aligned(*titles)]
    rows = [
        [f"--min-confidence {rule.min_confidence:.3f}", f"{rule.answered:.0%}",
         f"{rule.got.value:.1%}", f"{rule.got.low:.1%} to {rule.got.high:.1%}"]
        for rule in metrics.confidence.abstaining
    ]  # fmt: skip
    typer.echo()
    print_table(make_table(columns, rows))


def print_robustness(robustness: Robustness) -> None:
    """Print the accuracy under each corruption, and what it loses against clean images."""
    from mien.evaluate.corruption import CORRUPTIONS
    from mien.evaluate.report import YARDSTICKS

    about = {corruption.name: corruption.about for corruption in CORRUPTIONS}
    title = f"corruption, {YARDSTICKS[robustness.yardstick]}, n = {robustness.n:,}"
    columns = [Column(title),
               *right_aligned("strength", "accuracy", "lost, points", "95% interval")]  # fmt: skip
    rows = [["none", "", f"{robustness.clean:.4f}"]]
    for loss in robustness.losses:
        low, high = 100 * loss.drop.low, 100 * loss.drop.high
        rows.append([
            f"{loss.corruption} ({about[loss.corruption]})", f"{loss.strength:g}",
            f"{loss.accuracy:.4f}", f"{100 * loss.drop.value:.1f}", f"{low:.1f} to {high:.1f}",
        ])  # fmt: skip
    mean = robustness.mean_drop
    left, low, high = robustness.clean - mean.value, 100 * mean.low, 100 * mean.high
    rows.append(
        ["mean of all", "", f"{left:.4f}", f"{100 * mean.value:.1f}", f"{low:.1f} to {high:.1f}"]
    )
    typer.echo()
    print_table(make_table(columns, rows))
