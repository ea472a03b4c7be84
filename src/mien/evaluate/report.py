"""An evaluation as texts and tables, for the terminal and for model cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.evaluate.words import GROUND_TRUTHS as GROUND_TRUTHS
from mien.evaluate.words import NAMES as NAMES
from mien.evaluate.words import UNDEFINED_TEXT as UNDEFINED_TEXT
from mien.evaluate.words import in_words as in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mien.evaluate.evaluate import Evaluation, Metrics
    from mien.evaluate.subgroups import ColumnGroups

TOO_FEW = "too few"
"""In place of a difference: the group, or the rest, has fewer than subgroups.MIN_GROUP images."""


def markdown(evaluation: Evaluation) -> str:
    """Return the evaluation as Markdown: headline metrics, then classes, per ground truth."""
    graded = list(by_ground_truth(evaluation))
    head = ["", *(f"{GROUND_TRUTHS[name]} (n = {m.n:,})" for name, m in graded)]
    lines = [_row(head), _row(["---"] * len(head))]
    for key, name in NAMES.items():
        lines.append(_row([name, *(in_words(m.headlines[key]) for _, m in graded)]))
    for name, metrics in graded:
        lines += ["", f"Against the {GROUND_TRUTHS[name]}:", ""]
        lines += [*_table(CLASS_HEAD, class_rows(metrics)), ""]
        lines += _table(*confusion_table(metrics))
        lines += [line for text in metrics.warnings for line in ("", f"Warning: {text}.")]
    return "\n".join(lines) + "\n"


CLASS_HEAD = ("class", "n", "recall (95%)", "predicted", "precision (95%)", "F1 (95%)")


def class_rows(metrics: Metrics) -> Iterator[list[str]]:
    """Yield the cells of CLASS_HEAD for each class."""
    for one in metrics.classes:
        recall, precision, f1 = (in_words(e, 3) for e in (one.recall, one.precision, one.f1))
        yield [one.label, f"{one.n:,}", recall, f"{one.n_predicted:,}", precision, f1]


def confusion_table(metrics: Metrics) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the confusion matrix: rows are the ground truth."""
    rows = zip(metrics.labels, metrics.confusion, strict=True)
    return (
        ["ground truth", *(f"predicted {label}" for label in metrics.labels)],
        [[label, *(f"{count:,}" for count in counts)] for label, counts in rows],
    )


def group_table(one: ColumnGroups) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the groups of a column, in points of accuracy."""
    head = [
        one.column, "n", "accuracy", "balanced accuracy",
        *(f"recall {label}" for label in one.labels), "minus the rest, points", "p (Holm)",
    ]  # fmt: skip
    rows = []
    for group in one.groups:
        gap, p = group.difference, group.p_adjusted
        figures = (group.accuracy, group.balanced_accuracy, *group.recalls)
        rows.append([
            group.name, f"{group.n:,}", *(in_words(e, 3) for e in figures),
            TOO_FEW if group.too_few
            else f"{100 * gap.value:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})",
            "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}",
        ])  # fmt: skip
    return head, rows


def groups_markdown(one: ColumnGroups) -> str:
    """Return the groups of a column as a Markdown table."""
    head, rows = group_table(one)
    return "\n".join(_table(head, [[cell.replace("|", "\\|") for cell in row] for row in rows]))


def groups_found(one: ColumnGroups) -> str:
    """Return which groups differ from the rest after Holm's correction, as one sentence."""
    found = [
        f"{group.name} ({100 * group.difference.value:+.1f} points)"
        for group in one.groups
        if group.differs
    ]
    if found:
        return f"{one.column}: accuracy differs from the other images for {', '.join(found)}"
    if all(group.too_few for group in one.groups):
        return f"{one.column}: too few images to compare any group with the others"
    return f"{one.column}: no difference was found; one smaller than the intervals is not ruled out"


def by_ground_truth(evaluation: Evaluation) -> Iterator[tuple[str, Metrics]]:
    """Yield ('consensus', its metrics) first, then ('raw', its metrics), where they exist."""
    if evaluation.consensus is not None:
        yield "consensus", evaluation.consensus
    if evaluation.raw is not None:
        yield "raw", evaluation.raw


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_row(head), _row(["---"] * len(head)), *(_row(row) for row in rows)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
