"""Rules about the scale of a watched loop's targets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mien.doctor.facts import initial_loss, learned_well, watched
from mien.doctor.finding import Finding
from mien.doctor.programs.bars import bars
from mien.doctor.requirements import PROGRAM
from mien.doctor.rule import LEARNS_NOTHING, rule

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds


@rule("targets-not-scaled", needs=(PROGRAM,), explained_by=LEARNS_NOTHING - {"targets-not-scaled"})
def targets_not_scaled(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """A regression's targets are far larger than what a network's outputs start at."""
    program = watched(evidence)
    score, baseline = program.train_score, program.baseline_score
    uneven = _uneven_columns(evidence, limits)
    if uneven is not None:
        return uneven
    size = max(abs(program.target_low), abs(program.target_high))
    # Infinite where no loss was linked to its targets: their range is not known then.
    judged = program.kind == "regression" and limits.target_size <= size < math.inf
    if not judged or learned_well(evidence):
        return None
    if score is None or baseline is None or score > baseline - limits.r2_gap:
        return None
    return Finding(
        "targets-not-scaled",
        "warning",
        "the targets are not scaled",
        f"Targets lie between {program.target_low:.4g} and {program.target_high:.4g}; the outputs "
        f"of a new network lie around 0, and are about 1. R² on training is {score:.2f}; the "
        f"baseline, which scales them, reaches {baseline:.2f}.",
        "Subtract the mean of the training targets and divide by their deviation; undo it for "
        "predictions.",
        (),
        {"low": program.target_low, "high": program.target_high, "score": score},
        bars("target", {"lowest": program.target_low, "highest": program.target_high}),
    )


def _uneven_columns(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Return the finding on target columns of which one outweighs the others in the loss."""
    program = watched(evidence)
    columns = [c for c in program.target_columns if c.std > 0]
    # The loss of a mixed criterion shows whether it counts the column's error at all.
    if len(columns) < 2 or (program.kind == "regression" and learned_well(evidence)):
        return None
    large, small = max(columns, key=lambda c: c.std), min(columns, key=lambda c: c.std)
    size = max(abs(large.low), abs(large.high))
    if size < limits.target_size or large.std < limits.target_ratio * small.std:
        return None
    if not initial_loss(evidence) > large.std / len(columns):
        return None
    return Finding(
        "targets-not-scaled",
        "warning",
        "the targets' columns are of very different scales",
        f"Column {large.index} of the targets lies between {large.low:.4g} and {large.high:.4g} "
        f"(deviation {large.std:.3g}), column {small.index} between {small.low:.4g} and "
        f"{small.high:.4g} ({small.std:.3g}): its error outweighs that of the others in the loss, "
        f"which began at {initial_loss(evidence):.3g}.",
        "Subtract each column's mean and divide by its deviation, or weight the terms of the loss.",
        (),
        {"large": large.std, "small": small.std, "column": large.index},
        bars("deviation", {f"column {c.index}": c.std for c in columns}),
    )
