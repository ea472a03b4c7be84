"""What the doctor knows of a training loop that is not mien's: evidence beside `Evidence`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mien.doctor.programs.measurements import (
    Alignment,
    Causes,
    Collapse,
    Column,
    CommonToken,
    Foreground,
    LabelScore,
    Progress,
    Repetition,
    Settings,
)
from mien.train.recipe.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal[
    "classification", "binary", "regression", "dense classification", "multi-label", "other"
]
"""Of the last three: a class for each position, such as a pixel or a token; several labels at once;
and what is neither, whose outputs and targets no rule about predictions can judge."""


@dataclass(frozen=True, slots=True)
class WatchedRecipe(Recipe):
    """The recipe of a training without a recipe: defaults, the optimiser's values, class names."""

    class_names: tuple[str, ...] = ("0", "1")

    @property
    def predicted_labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the network's outputs."""
        return self.class_names

    @property
    def learnt_labels(self) -> tuple[str, ...]:
        """The same names: a foreign training has no labels beside the predicted ones."""
        return self.class_names


@dataclass(frozen=True, slots=True)
class OutputStatistics:
    """What reached the loss in the measured steps, flattened to [n, k].

    Attributes:
        units: k; 1 for a single output.
        low: smallest value.
        high: largest value.
        sum_error: largest distance of a row's sum from 1.
        log_sum_error: largest distance of a row's log-sum-exp from 0.
        last_activation: class of the module that made the outputs, such as 'Sigmoid'; '' if it is
            none of the known activations.
        half: whether the values are float16.
        target_sum_error: largest distance of a row of float targets [n, k] from a sum of 1; 0 for
            other targets.
        ends: values that outputs do not go beyond and targets do, after the training.
    """

    units: int
    low: float
    high: float
    sum_error: float
    log_sum_error: float
    last_activation: str
    half: bool
    target_sum_error: float = 0.0
    ends: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Mixing:
    """How the outputs of unchanged examples changed as others of their batch were replaced.

    Attributes:
        replaced: examples that were replaced, in evaluation mode.
        kept: examples that stayed as they were.
        change: largest change of a kept example's output.
        relative: that change over the standard deviation of the outputs; 0 if it may be rounding.
    """

    replaced: int
    kept: int
    change: float
    relative: float


@dataclass(frozen=True, slots=True)
class Lookahead:
    """How outputs for earlier positions changed as the last one of a sequence was replaced.

    The targets are the inputs shifted by one: the output at a position predicts the next input.

    Attributes:
        sequences: that were changed, in evaluation mode.
        positions: earlier positions whose outputs are scored.
        changed: positions whose outputs changed.
        change: largest change of an output at an earlier position.
        relative: that change over the standard deviation of the outputs; 0 if it may be rounding.
    """

    sequences: int
    positions: int
    changed: int
    change: float
    relative: float


@dataclass(frozen=True, slots=True)
class Leak:
    """Input columns that each predict the target by themselves.

    Attributes:
        columns: their numbers, from 0.
        copies: whether they hold the target itself: one value for each class, or values that are
            proportional to the target.
        alone: score of the best of them: of classes beyond chance, or the R² of values.
        others: accuracy or R² of the baseline on all other columns.
        examples: compared examples.
        inputs: number of columns.
        tokens: whether a column is a position of a sequence of tokens.
        classes: whether the target is a class.
    """

    columns: tuple[int, ...]
    copies: bool
    alone: float
    others: float
    examples: int
    inputs: int
    tokens: bool
    classes: bool


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Outputs and targets whose shapes broadcast in the loss to a larger one.

    Attributes:
        outputs: shape of a batch's outputs.
        targets: shape of its targets.
        result: shape in which each output meets each target.
        loss: of the batch: of a measured step, or of a kept one in evaluation mode.
        equal_loss: of the same outputs in the shape of the targets.
        steps: recorded losses that were compared with the best constant's, none of them below it; 0
            for targets of several values, such as masks, and where a measured step proves it.
        is_reproduced: whether a loss of the loop was computed again, so that the shapes are known
            to be those that the criterion received.
    """

    outputs: tuple[int, ...]
    targets: tuple[int, ...]
    result: tuple[int, ...]
    loss: float
    equal_loss: float
    steps: int
    is_reproduced: bool


@dataclass(frozen=True, slots=True)
class Program:
    """Evidence of a watched training that a run folder of mien does not hold.

    Attributes:
        kind: of the task, from outputs and targets.
        steps: calls of `Watch.step`.
        optimizer_steps: steps that the optimisers were seen to take; they are observed around the
            measured steps, and as long as none was seen.
        batch_size: median number of examples in a batch; 0 if unknown.
        loss_name: class or function of the loss, such as 'CrossEntropyLoss'; '' if unknown.
        outputs: what the loss received; None if it could not be observed.
        target_low: smallest target.
        target_high: largest target.
        one_hot_targets: whether the loss received one-hot targets.
        rates: learning rate of each step, condensed to at most 512 values.
        carried_gradients: fraction of the checked steps whose gradient contained that of the step
            before; None if no step was checked.
        discarded_passes: backward passes of a step of which only the last one's gradient was used,
            median over the checked steps; 0 where all were, or there was one; -1 where none was.
        settings: of the criterion and the optimisers.
        progress: what the training came to.
        causes: what a weak result may come from.
        foreground: what is predicted of masks; None where targets are none.
        common_token: most common token of the inputs; None where they are none.
        gradient_norms: norm of the whole gradient in each measured step.
        clip_ratio: median of the used over the computed gradient; None if not measured.
        zero_gradients: median fraction of gradient entries that are exactly zero.
        first_update: median update-to-weight ratio of the first step; None if not measured.
        not_optimized: parameters with a gradient that no optimiser holds.
        held_twice: parameters that several optimisers hold.
        separate_losses: whether several optimisers follow different losses, as in adversarial
            training.
        total_parameters: number of parameter tensors of the model.
        frozen: untrainable weights that still hold default random initial values.
        unregistered: attributes that hold modules or parameters in a plain list or dictionary.
        without_gradient: parameters that an optimiser holds and that never had a gradient.
        eval_mode_steps: fraction of steps taken while dropout or batch norm was in evaluation
            mode.
        train_mode_evaluations: forward passes without gradients while dropout or batch norm was
            in training mode.
        evaluations: forward passes without gradients, and calls of `Watch.validate`.
        validations: calls of `Watch.validate` in different epochs.
        scheduler: sentences about learning-rate schedulers that were stepped wrongly.
        class_runs: fraction of neighbouring training examples with equal labels, over the
            fraction in random order; None without class labels.
        repeated_order: whether two epochs had the same batches in the same order.
        epochs: finished epochs, counted by `Watch.validate` or by repeated batches; 0 if unknown.
        contradictory: fraction of sampled training examples whose inputs also occur with another
            label.
        copied: classes a and b where nearly all examples of a come a second time as b; or None.
        nonfinite_inputs: fraction of sampled examples that hold NaN or infinity.
        nonfinite_targets: the same of their targets.
        targets_are_inputs: whether all sampled targets equal their inputs, as an autoencoder's.
        has_targets: whether the watch got targets.
        tokens: whether the inputs are token ids.
        images: whether an input has two dimensions or more, such as an image's rows and columns.
        columns: of the inputs, where they are a table; at most 512.
        distinct_inputs: fraction of the first epoch's kept inputs that differ from all others.
        augmented: whether the inputs of the second epoch are others than those of the first; None
            if unknown.
        input_shift: largest distance of a validation mean from the training mean, in standard
            deviations of all training inputs; None if not comparable.
        input_scale: standard deviation of validation inputs over that of training inputs.
        varying_validation: whether validation inputs changed between epochs while targets stayed.
        same_direction: weights whose rows are all equal, at the start and at the end.
        weight_gain: standard deviation of each weight times the root of its fan-in, before the
            training, by name.
        consecutive_layers: pairs of weight layers without a nonlinearity between them.
        hidden_softmax: softmax modules whose output feeds another weight layer.
        is_affine: whether the whole network is an affine function of its inputs, in spite of two
            weight layers or more; None if not tested.
        saturated: fraction of saturated units of each sigmoid or tanh module.
        dropout: dropout probability of each module, by name.
        dropout_loss_ratio: training loss in training mode over that in evaluation mode.
        batch_norms: names of the batch-norm modules.
        shrunk_norms: mean absolute scale of each normalisation layer that weight decay pulled
            down, by name.
        mixing: whether an output depends on the other examples of the batch; None if not judged.
        repetition: whether outputs differ from call to call; None if not judged.
        lookahead: whether predictions of the next position see it; None if that is not the task.
        leak: columns that give the target away; None where none does, as far as is known.
        collapse: how much outputs vary; None if not judged, as for classes.
        broadcast: shapes that broadcast in the loss; None where none do, as far as is known.
        bias_free: names of weight layers without a bias where no other layer has one either.
        unused_outputs: output units that no training label uses.
        label_offset: constant k for which prediction + k matches far more validation labels than
            the prediction; 0 if none.
        label_mapping: validation label that most examples of each predicted class have, where
            these are the classes in another order; empty where they are not.
        memory_growth_mb: growth of the process's memory over the second half of the training.
        memory_fraction: that growth over the memory at the half.
        wait_fraction: median fraction of a step spent between two steps, waiting for a batch.
        wait_seconds: median of that time.
        learned_well: whether the network is as good as the baseline, or its loss nearly 0.
        labels: of a multi-label task; empty for others.
        uniform: loss of equal probabilities for all classes, in the reduction of the recorded
            losses; 0 where it is not known.
        vocabulary: whether the classes are tokens, most of which are rare.
        each: median number of positions of an example that are predicted; 1 where the example is.
        alignment: how the masks of a segmentation fit their images when turned; None if unknown.
        ignored: class index that the loss ignores; None where none is known to be.
        shifts_targets: whether the model or the loop compares an output with the next target; None
            if unknown.
        reshaped: how a view mixes positions and classes of the outputs, in words; '' where none
            does, as far as is known.
        losses: the network's loss on training examples, and that of the baseline's predictions;
            None where that is no regression, or the loss could not be computed again.
        target_columns: of float targets [n, k]; at most 16.
        narrowest: name and outputs of the weight layer with the fewest, the last one aside.
        plateau_mode: of a ReduceLROnPlateau, 'min' or 'max'; '' without one.
        still_norms: momentum of batch norms that leaves their running statistics as they were.
        initial_norms: batch norms that were trained with their initial statistics.
        baseline_score: accuracy or R² of the baseline on left-out training examples.
        held_baseline: R² of the baseline on validation, fitted there without each example; None
            where the task is no regression.
        validation_score: accuracy or R² of the network on validation.
        train_score: accuracy or R² of the network on training examples.
        notes: what could not be measured, in sentences.
    """

    kind: Kind = "classification"
    steps: int = 1000
    optimizer_steps: int = 1000
    batch_size: int = 32
    loss_name: str = "CrossEntropyLoss"
    outputs: OutputStatistics | None = None
    target_low: float = 0.0
    target_high: float = 2.0
    one_hot_targets: bool = False
    rates: tuple[float, ...] = (1e-3,)
    carried_gradients: float | None = 0.0
    discarded_passes: int = 0
    settings: Settings = field(default_factory=Settings)
    progress: Progress = field(default_factory=Progress)
    causes: Causes = field(default_factory=Causes)
    foreground: Foreground | None = None
    common_token: CommonToken | None = None
    gradient_norms: tuple[float, ...] = (1.0, 0.8, 1.1)
    clip_ratio: float | None = 1.0
    zero_gradients: float = 0.0
    first_update: float | None = 1e-3
    not_optimized: tuple[str, ...] = ()
    held_twice: tuple[str, ...] = ()
    separate_losses: bool = False
    total_parameters: int = 6
    frozen: tuple[str, ...] = ()
    unregistered: tuple[str, ...] = ()
    without_gradient: tuple[str, ...] = ()
    eval_mode_steps: float = 0.0
    train_mode_evaluations: int = 0
    evaluations: int = 10
    validations: int = 10
    scheduler: tuple[str, ...] = ()
    class_runs: float | None = 1.0
    repeated_order: bool = False
    epochs: int = 10
    contradictory: float = 0.0
    copied: tuple[int, int] | None = None
    nonfinite_inputs: float = 0.0
    nonfinite_targets: float = 0.0
    targets_are_inputs: bool = False
    has_targets: bool = True
    tokens: bool = False
    images: bool = False
    columns: tuple[Column, ...] = ()
    distinct_inputs: float = 1.0
    augmented: bool | None = False
    input_shift: float | None = 0.0
    input_scale: float = 1.0
    varying_validation: bool = False
    same_direction: tuple[str, ...] = ()
    weight_gain: Mapping[str, float] | None = None
    consecutive_layers: tuple[str, ...] = ()
    hidden_softmax: tuple[str, ...] = ()
    is_affine: bool | None = False
    saturated: Mapping[str, float] | None = None
    dropout: Mapping[str, float] | None = None
    dropout_loss_ratio: float = 1.0
    batch_norms: tuple[str, ...] = ()
    shrunk_norms: Mapping[str, float] | None = None
    mixing: Mixing | None = Mixing(16, 16, 0.0, 0.0)
    repetition: Repetition | None = field(default_factory=lambda: Repetition(64, 0.0, 0.0, "", ""))
    lookahead: Lookahead | None = None
    leak: Leak | None = None
    collapse: Collapse | None = None
    broadcast: Broadcast | None = None
    bias_free: tuple[str, ...] = ()
    unused_outputs: tuple[int, ...] = ()
    label_offset: int = 0
    label_mapping: tuple[int, ...] = ()
    memory_growth_mb: float = 0.0
    memory_fraction: float = 0.0
    wait_fraction: float = 0.0
    wait_seconds: float = 0.0
    learned_well: bool = False
    labels: tuple[LabelScore, ...] = ()
    uniform: float = 0.0
    vocabulary: bool = False
    each: float = 1
    alignment: Alignment | None = None
    ignored: int | None = None
    shifts_targets: bool | None = False
    reshaped: str = ""
    losses: tuple[float, float] | None = None
    target_columns: tuple[Column, ...] = ()
    narrowest: tuple[str, int] | None = None
    plateau_mode: str = ""
    still_norms: Mapping[str, float] | None = None
    initial_norms: tuple[str, ...] = ()
    baseline_score: float | None = None
    held_baseline: float | None = None
    validation_score: float | None = None
    train_score: float | None = None
    notes: tuple[str, ...] = ()
