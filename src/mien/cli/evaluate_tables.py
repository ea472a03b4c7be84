"""The tables of `mien evaluate`: headlines, classes, prediction sets, groups, raters and more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mien.cli.render import Column, make_table, print_table, right_aligned

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mien.evaluate.evaluate import Evaluation, Metrics
    from mien.evaluate.robustness import Robustness
    from mien.intervals import Estimate


def print_evaluation(evaluation: Evaluation) -> None:
    """Print headline metrics, then classes and confusion for each kind of ground truth."""
    from mien.evaluate.report import GROUND_TRUTHS, NAMES, by_ground_truth, in_words

    typer.echo(
        f"{evaluation.model} on {evaluation.data}, {evaluation.split} "
        f"(fingerprint {evaluation.fingerprint}); 95% intervals"
    )
    graded = list(by_ground_truth(evaluation))
    columns = [f"{GROUND_TRUTHS[name]}, n = {m.n:,}" for name, m in graded]
    _print(
        ["metric", *columns],
        [
            [title, *(in_words(metrics.headlines[key]) for _, metrics in graded)]
            for key, title in NAMES.items()
        ],
    )
    for name, metrics in graded:
        for text in metrics.warnings:
            typer.echo(f"warning ({GROUND_TRUTHS[name]}): {text}")
    for name, metrics in graded:
        _print_classes(GROUND_TRUTHS[name], metrics)
    first, metrics = graded[0]
    _print_prediction_sets(GROUND_TRUTHS[first], metrics)
    _print_thresholds(metrics)


def print_raters(evaluation: Evaluation) -> None:
    """Print pooled human raters and the model against the majority of the other raters."""
    from mien.evaluate.report import by_ground_truth

    labels = evaluation.labels
    _, metrics = next(by_ground_truth(evaluation))
    recall = [_percent(one.recall) for one in metrics.classes]
    headlines = (_percent(metrics.headlines[key]) for key in ("accuracy", "balanced_accuracy"))
    rows = [
        [f"{evaluation.model}, all raters' majority", f"{metrics.n:,}", *headlines, *recall, ""]
    ]
    for one in evaluation.raters:
        model = one.model_balanced_accuracy
        rows.append(
            [
                f"{one.raters} rater{'s' if one.raters > 1 else ''}, the others' majority",
                f"{one.n:,.0f}",
                _percent(one.accuracy),
                _percent(one.balanced_accuracy),
                *(_percent(recall) for recall in one.recall),
                "" if model is None else _percent(model),
            ]
        )
    typer.echo()
    _print(
        ["against raters, %", "n", "accuracy", "balanced accuracy",
         *(f"recall {label}" for label in labels), "model's balanced accuracy, same images"],
        rows,
    )  # fmt: skip


def print_groups(evaluation: Evaluation) -> None:
    """Print the metrics of each group of the columns that were asked for, and what differs."""
    from mien.evaluate.report import GROUND_TRUTHS, group_table, groups_found

    for one in evaluation.groups:
        head, rows = group_table(one)
        typer.echo()
        _print([f"{one.column}, {GROUND_TRUTHS[one.ground_truth]}", *head[1:]], rows)
        typer.echo(groups_found(one))


def print_robustness(robustness: Robustness) -> None:
    """Print the accuracy under each corruption, and what it loses against clean images."""
    from mien.evaluate.corruption import CORRUPTIONS
    from mien.evaluate.report import GROUND_TRUTHS

    about = {corruption.name: corruption.about for corruption in CORRUPTIONS}
    # The baseline is a row of its own, since every loss is relative to it.
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
    title = f"corruption, {GROUND_TRUTHS[robustness.ground_truth]}, n = {robustness.n:,}"
    _print([title, "strength", "accuracy", "lost, points", "95% interval"], rows)


def _print_classes(truth: str, metrics: Metrics) -> None:
    from mien.evaluate.report import CLASS_HEAD, class_rows, confusion_table

    typer.echo()
    _print([f"class, {truth}", *CLASS_HEAD[1:]], class_rows(metrics))
    typer.echo()
    _print(*confusion_table(metrics))


def _print_prediction_sets(truth: str, metrics: Metrics) -> None:
    """Print the coverage of the prediction sets on the half they were not calibrated on."""
    sets = metrics.confidence.prediction_sets
    if not sets:
        return
    rows = []
    for one in sets:
        by_label = [f"{one.by_label[label]:.1%}" if label in one.by_label else ""
                    for label in metrics.labels]  # fmt: skip
        spread = f"{one.observed.low:.1%} to {one.observed.high:.1%}"
        rows.append([f"--coverage {one.coverage:g}", f"{one.observed.value:.1%}", spread,
                     f"{one.mean_size:.2f}", f"{one.single:.0%}", *by_label])  # fmt: skip
    typer.echo()
    _print(
        [f"prediction sets, {truth}", "true label in set", "over random halves", "labels per set",
         "one label", *(f"of {label}" for label in metrics.labels)],
        rows,
    )  # fmt: skip


def _print_thresholds(metrics: Metrics) -> None:
    """Print how often the model abstains at a confidence threshold, and its error beyond it."""
    rules = metrics.confidence.abstention
    if not rules:
        return
    rows = [
        [f"--min-confidence {rule.min_confidence:.3f}", f"{rule.classified:.0%}",
         f"{rule.observed_error.value:.1%}",
         f"{rule.observed_error.low:.1%} to {rule.observed_error.high:.1%}"]
        for rule in rules
    ]  # fmt: skip
    typer.echo()
    _print(
        ["abstaining below a threshold", "classified", "error among them", "over random halves"],
        rows,
    )


def _percent(estimate: Estimate) -> str:
    """Return '89.7 (88.4 to 91.0)', in percent, or that the metric is not defined."""
    if not estimate.is_defined:
        return "not defined"
    value, low, high = (100 * v for v in (estimate.value, estimate.low, estimate.high))
    return f"{value:.1f} ({low:.1f} to {high:.1f})"


def _print(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table whose first column names the row and whose others hold numbers."""
    print_table(make_table([Column(head[0]), *right_aligned(*head[1:])], rows))
