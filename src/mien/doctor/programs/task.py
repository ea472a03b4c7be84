"""The task that a watched loop learns; `tasks.task_of` recognises it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.doctor.evidence import Predictions
    from mien.doctor.programs.fits import ValueFit
    from mien.doctor.programs.measurements import Alignment, LabelScore
    from mien.doctor.programs.program import Kind


@dataclass(slots=True)
class Task:
    """The task.

    Attributes:
        kind: see `Program`.
        names: of the classes; two placeholders where there are none.
        chance: loss of a constant prediction, in the reduction of the recorded losses; nan where
            unknown, or where a loss below 0 shows that it has no zero.
        examples: training examples, as far as known.
        class_counts_k: of the kept training examples, float64 [k].
        train: predictions beside those of the baseline; None where the task has no classes.
        validation: the same.
        labels: of a multi-label task, each label's examples and recall.
        uniform: loss of equal probabilities for all classes, as `chance`; 0 where unknown.
        vocabulary: whether the classes are tokens, most of which are rare.
        each: positions of an example that are predicted; 1 where the example is.
        ignored: class index that the loss ignores; None where none is known to be.
        loss_scale: what a recorded loss is of the mean over targets: their number where it is a
            sum.
        alignment: how masks fit their images when turned; None where that is not known.
        is_log_loss: whether the loss is the negative log-likelihood of the classes.
        scores: accuracy or R² by 'train', 'validation' and 'baseline'.
        losses: of a regression by split: the network's, and that of the baseline's predictions.
        fit: of a regression; None where it is not known.
    """

    kind: Kind = "other"
    names: tuple[str, ...] = ("class 0", "class 1")
    chance: float = math.nan
    examples: int = 0
    class_counts_k: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    train: Predictions | None = None
    validation: Predictions | None = None
    labels: tuple[LabelScore, ...] = ()
    uniform: float = 0.0
    vocabulary: bool = False
    each: float = 1
    ignored: int | None = None
    loss_scale: float = 1.0
    alignment: Alignment | None = None
    is_log_loss: bool = False
    scores: dict[str, float] = field(default_factory=dict)
    losses: dict[str, tuple[float, float]] = field(default_factory=dict)
    fit: ValueFit | None = None

    def add_accuracies(self) -> None:
        """Fill in the accuracies of network and baseline on both splits, as far as there are."""
        names = (("train", "baseline"), ("validation", "baseline validation"))
        for (own, baseline), p in zip(names, (self.train, self.validation), strict=True):
            if p is None or not len(p.y_true_n):
                continue
            for name, scores in ((own, p.probs_nk), (baseline, p.baseline_nk)):
                if scores is not None and len(scores):
                    self.scores[name] = float((scores.argmax(axis=1) == p.y_true_n).mean())
