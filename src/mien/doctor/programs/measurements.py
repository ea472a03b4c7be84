"""What is measured of a watched loop's settings, its course and its kept examples, as records."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mien.doctor.programs.fits import ValueFit
from mien.doctor.programs.losses import Contrastive, Mixed, Plateau


@dataclass(frozen=True, slots=True)
class Foreground:
    """Fraction of the positions of kept masks that are 1, and that are predicted as 1."""

    target: float
    predicted: float
    positions: int


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label of a multi-label task.

    Attributes:
        name: of the label.
        count: training examples with it, of the kept ones.
        rate: their fraction.
        positives: validation examples with it.
        found: of these, how many the network predicts.
        baseline: of these, how many the baseline predicts; None without a baseline.
    """

    name: str
    count: int
    rate: float
    positives: int
    found: int
    baseline: int | None = None


@dataclass(frozen=True, slots=True)
class Alignment:
    """How well a baseline that sees the surroundings of a position knows its label.

    Attributes:
        turn: how masks were turned or mirrored where it knows them best, in words.
        recall: mean recall on masks as they are.
        turned: mean recall on masks turned that way.
        positions: compared positions.
    """

    turn: str
    recall: float
    turned: float
    positions: int


@dataclass(frozen=True, slots=True)
class CommonToken:
    """The most common id of the kept tokens, padding at an end aside.

    Attributes:
        token: the id.
        fraction: of all tokens.
        interior: of the tokens between two others of another id.
        distinct: distinct ids.
        ids: that the largest embedding has.
    """

    token: int
    fraction: float
    interior: float
    distinct: int
    ids: int


@dataclass(frozen=True, slots=True)
class Repetition:
    """How the outputs for the same batch differ from call to call, in evaluation mode.

    Attributes:
        examples: of the batch.
        difference: root mean square of the difference between two calls.
        relative: that difference over the standard deviation of the outputs over the examples; 0
            if it may be rounding.
        source: first function that took random numbers, such as 'dropout'; '' if none was seen.
        place: file and line that called it, or ''.
    """

    examples: int
    difference: float
    relative: float
    source: str
    place: str


@dataclass(frozen=True, slots=True)
class Reset:
    """Weights and losses around the ends of epochs.

    Attributes:
        epochs: ends of epochs at which the weights jumped.
        jump: median change of the weights there, over their size.
        before: mean loss of the steps before them.
        after: mean loss of the steps after them.
        first: loss of the training's first steps.
    """

    epochs: int
    jump: float
    before: float
    after: float
    first: float


@dataclass(frozen=True, slots=True)
class Lag:
    """Loss of the same training batch with two models of one form, in evaluation mode.

    Attributes:
        first: loss of the training's first steps.
        watched: loss of the watched model now.
        validated: loss of the model that is validated.
    """

    first: float
    watched: float
    validated: float

    @property
    def progress(self) -> float:
        """The fraction of the watched model's progress that the validated one has made."""
        return (self.first - self.validated) / max(self.first - self.watched, 1e-12)


@dataclass(frozen=True, slots=True)
class Course:
    """How far the steps could bring the loss, and whether it was still falling at the end.

    Attributes:
        reach: steps times the predicted relative reduction of the loss by one of them (median): the
            fraction by which they could lower the loss all together, to first order.
        fall: fraction by which the loss fell over the last half, by a fitted line.
        certainty: that line's slope over its standard error, positive where the loss falls.
        kept: loss of the last steps over that of the first ones.
        moved: steps times the largest relative change of the loss, up or down, that was measured of
            one; infinity if none was.
    """

    reach: float
    fall: float
    certainty: float
    kept: float
    moved: float = math.inf


@dataclass(frozen=True, slots=True)
class ClassLike:
    """How well a regression's whole-number targets are known as classes, and as numbers.

    Attributes:
        distinct: different numbers, without a gap.
        low: smallest of them.
        high: largest of them.
        examples: compared training examples.
        as_classes: accuracy of the baseline for classes, leave-one-out.
        as_values: accuracy of the baseline's regression, rounded.
        network: accuracy of the network's outputs, rounded.
        commonest: fraction of the most common number.
    """

    distinct: int
    low: float
    high: float
    examples: int
    as_classes: float
    as_values: float
    network: float
    commonest: float


@dataclass(frozen=True, slots=True)
class Positions:
    """What the outputs of kept sequences depend on, in evaluation mode.

    Attributes:
        sequences: that were examined.
        length: their positions.
        padded: fraction of them with padding at an end.
        padding: fraction of all positions that are padding.
        seen: median change of a padded sequence's outputs as all other positions are replaced; None
            without padding.
        seen_at_end: the same with the padding moved to the other end.
        unused: positions that change no output as they are replaced, one at a time.
        tried: positions that were replaced so, those of the padding aside.
        ignores_order: whether exchanged positions leave the outputs as they are; None if unknown.
        varies: whether outputs vary from sequence to sequence; without that only `seen` and
            `seen_at_end` are known.
        attends: whether the model has attention layers.
    """

    sequences: int
    length: int
    padded: float = 0.0
    padding: float = 0.0
    seen: float | None = None
    seen_at_end: float | None = None
    unused: int = 0
    tried: int = 0
    ignores_order: bool | None = False
    varies: bool = True
    attends: bool = False


@dataclass(frozen=True, slots=True)
class Mirrored:
    """Images of the second epoch that are mirror images of the first one's.

    Attributes:
        direction: of the flip, in words.
        count: of them.
        images: compared ones of the second epoch.
    """

    direction: str
    count: int
    images: int


@dataclass(frozen=True, slots=True)
class Causes:
    """What a weak result may come from.

    Attributes:
        class_like: whole-number targets of a regression; None for others.
        positions: that outputs of sequences depend on; None for other inputs.
        mirrored: images that the training flips; None where none was seen.
        contrastive: what the embeddings of a contrastive training allow; None for others.
        mixed: gradients from two losses in one step; None where none was seen.
        plateau: the scheduler that lowers the rate on a plateau; None if none did.
        fit: of a regression on both splits; None for others.
    """

    class_like: ClassLike | None = None
    positions: Positions | None = None
    mirrored: Mirrored | None = None
    contrastive: Contrastive | None = None
    mixed: Mixed | None = None
    plateau: Plateau | None = None
    fit: ValueFit | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """What a training came to.

    Attributes:
        reset: weights that return to the start each epoch; None where they do not.
        distinct: distinct training examples of an epoch; 0 where an epoch was not kept as a whole.
        same_batch: whether all kept batches, 20 or more, are equal.
        validation: distinct validation examples.
        stuck_at_zero: trainable weights that were and are all zero, though they got a gradient.
        lag: of the validated model behind the watched one; None if it is the same.
        uniform_loss: cross-entropy of equal probabilities for all classes; None where the loss is
            none, or is not known.
        first_loss: the lowest of the first three steps: a step too long raises the later ones.
        last_loss: median of the last steps.
        course: of the loss; None where too few losses or steps were recorded.
    """

    reset: Reset | None = None
    distinct: int = 3000
    same_batch: bool = False
    validation: int = 1000
    stuck_at_zero: tuple[str, ...] = ()
    lag: Lag | None = None
    uniform_loss: float | None = None
    first_loss: float = 1.0
    last_loss: float = 0.3
    course: Course | None = None


@dataclass(frozen=True, slots=True)
class ClassWeight:
    """A class that the criterion weights: its name, training labels, weight and number."""

    name: str
    count: int
    weight: float
    index: int = 0


@dataclass(frozen=True, slots=True)
class Penalty:
    """A penalty on the weights that the loss contains.

    Attributes:
        ratio: length of its gradient over that of the rest of the loss, on the weights that it
            penalises: median of the first measured steps.
        steps: measured steps.
        kind: 'absolute' or 'squared' weights; '' where the criterion itself contains it.
        factor: that their sum is multiplied by; 0 if unknown.
    """

    ratio: float
    steps: int
    kind: str = ""
    factor: float = 0.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the criterion and the optimisers.

    Attributes:
        reduction: of the criterion, such as 'mean'; '' if it has none.
        smoothing: label smoothing of the criterion.
        weights: of the classes that have a training label; empty if there are none.
        targets_per_step: median number of target values in a batch.
        momentum: largest momentum, or first beta, of the optimisers at the end.
        is_plain_sgd: whether the step of every optimiser is proportional to the gradient.
        decay_ratio: L2 weight decay times weight over gradient, median over the layers and the
            first measured steps; None where no optimiser adds decay to the gradient.
        shrinkage: final over initial weights, median over the layers.
        unused_optimizers: optimisers that were never stepped, in words.
        weights_changed: whether a trainable weight changed since the start.
        other_optimizers: live optimisers that hold the model's parameters and are not the watched
            ones, in words.
        penalty: on the weights, in the loss; None where there is none, as far as is known.
    """

    reduction: str = "mean"
    smoothing: float = 0.0
    weights: tuple[ClassWeight, ...] = ()
    targets_per_step: int = 32
    momentum: float = 0.9
    is_plain_sgd: bool = False
    decay_ratio: float | None = None
    shrinkage: float = 1.0
    unused_optimizers: tuple[str, ...] = ()
    weights_changed: bool = True
    other_optimizers: tuple[str, ...] = ()
    penalty: Penalty | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the inputs or of the targets.

    Attributes:
        index: from 0.
        low: smallest value.
        high: largest value.
        mean: of the values.
        std: their standard deviation.
        constant: whole number far from all other values, such as -999 for a missing value.
        constant_fraction: fraction of the values that are this number; 0 if there is none.
    """

    index: int
    low: float
    high: float
    mean: float
    std: float
    constant: float = 0.0
    constant_fraction: float = 0.0


@dataclass(frozen=True, slots=True)
class Collapse:
    """How much outputs vary from example to example, where no classes are predicted.

    Attributes:
        examples: compared examples, whose inputs differ.
        relative: deviation of the outputs over the examples, over that of the targets or over the
            outputs' length.
        baseline: R² of the baseline; None where there is none.
        can_learn: whether the task allows outputs that vary, whatever the baseline says.
        beside: what the deviation is compared with: 'targets', or 'length' of an embedding.
    """

    examples: int
    relative: float
    baseline: float | None
    can_learn: bool
    beside: Literal["targets", "length"]
