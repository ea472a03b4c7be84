"""The rules' thresholds. bench/doctor.py chose them on one half of its trainings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds of the rules; a figure with an interval is compared by its nearer bound.

    'Reduction ratio' is a step's actual over its predicted loss reduction: near 1 for a tiny step,
    1/2 for the best step on a quadratic, negative for a step that overshoots.

    Attributes:
        min_reduction_ratio: reduction ratio below which steps overshoot.
        worse_fraction: fraction of steps that increase the loss of their own batch above which
            steps overshoot.
        loss_spike: highest training loss over the initial one above which steps overshoot.
        first_update: median update-to-weight ratio of the first measured epoch above which steps
            overshoot.
        killing_update: median update-to-weight ratio of a watched loop's first step from which it
            is taken for the cause of dead units, where nothing was learnt.
        weight_growth: norm of the weights after the first epoch over their initial norm above
            which steps overshoot.
        linear_reduction_ratio: reduction ratio above which steps are too small.
        min_update: median update-to-weight ratio below which steps are too small.
        decay_per_step: weight decay times learning rate, the fraction that each step takes off the
            weights, above which weight decay dominates the training.
        late_loss_drop: fraction by which the training loss must have fallen over the last third
            to count as still falling.
        vanishing_ratio: smallest gradient of the first half of the layers over the largest of
            any layer, each over its weights, below which gradients vanish.
        exploding_norm: gradient norm above which gradients explode.
        initial_loss: loss of the first batches over the chance-level loss above which gradients
            explode.
        dead_fraction: fraction of a layer's units that are constant or saturated above which
            units are dead.
        gap: training minus validation accuracy above which the network overfits; a third of it
            counts where the validation loss rises, half where training accuracy is 99% or more.
        loss_rise: final over minimum validation loss above which the network overfits.
        parameters_per_image: parameters per training image above which a network that overfits
            is too large.
        unbounded_loss: negative loss, in units of its size at the start (at least 1), that no
            bounded loss reaches.
        target_size: absolute target of a regression above which it needs scaling.
        target_ratio: deviation of a column of targets over another's above which it outweighs it.
        dead_layer: fraction of a watched layer's units that are dead where the loss fell to half
            of a constant prediction's: small layers often lose units and learn nonetheless.
        small_network: parameters below which a network may be too small.
        below_baseline: accuracy below the baseline's above which the network underfits.
        r2_gap: R² of a regression below the baseline's above which it underfits.
        contradictory: fraction of training examples whose inputs come with other labels as well.
        confident_error: fraction of the most confident tenth of the predictions that contradicts
            the labels above which labels are noisy.
        imbalance_ratio: images of the most common class over those of the rarest.
        never_predicted_recall: recall below which a class counts as never predicted.
        recall_gap: distance from a class's upper bound of recall to the lowest lower bound of the
            other classes above which its recall is far below theirs.
        duplicate_fraction: fraction of the validation images with a duplicate in training.
        domain_shift_auc: AUC of a classifier that separates training from validation images.
        half_width: half the width of the interval of the validation accuracy.

    Those of watched loops were set on the programs of bench/doctor_programs.py with seeds below 10:
        carried_gradients: fraction of steps whose gradient contains the last one.
        wrong_mode: fraction of steps, or of evaluations, in the wrong mode.
        vanished_rate: learning rate over its maximum below which it is practically zero.
        vanished_steps: fraction of such steps.
        clip_ratio: median used over computed gradient below which clipping sets the step's length.
        memory_growth_mb: megabytes that the second half of a training adds.
        memory_fraction: that growth over the memory before it.
        wait_fraction: fraction of a step spent waiting, together with wait_seconds.
        wait_seconds: median seconds spent waiting in a step.
        zero_gradients: fraction of gradient entries that are exactly zero.
        weight_gain: range of a weight's deviation times the root of its number of inputs.
        saturated_fraction: fraction of a layer's units that are saturated.
        dropout: dropout probability that is too strong.
        dropout_loss_ratio: loss with dropout over the loss without it.
        batch_norm_batch: batch size up to which batch norm has too few examples.
        shrunk_norm: mean scale of a normalisation layer that decay has shrunk.
        undiminished_loss: loss at the end over that of a constant prediction.
        class_runs: equal neighbours over those in random order.
        unvalidated_steps: steps after which a training should have been validated.
        input_shift: distance of the splits' means, in deviations.
        input_ratio: ratio of the splits' deviations.
        common_class: fraction of the most common class.
        accuracy_gap: accuracy minus mean recall.
        other_recall: median recall of the other classes from which two classes are confused.
        confusion: lower bound of the fraction of a class that is taken for one other.
        validation_rise: last over lowest validation loss.
        mixed_outputs: change of an unchanged example's output as others of its batch are replaced,
            over the outputs' deviation.
        stochastic_outputs: difference between two calls with the same batch, over the outputs'
            deviation.
        lookahead: change of an earlier position's output as the last one is replaced, over the
            outputs' deviation.
        other_columns: accuracy or R² of all other columns below which one that predicts the target
            is suspicious.
        collapsed_outputs: deviation of outputs over that of their targets, or over the length of
            embeddings, below which they are a constant.
        constant_outputs: the same where nothing shows that the task allows more than a constant.
        input_std: deviation of a watched network's inputs.
        column_ratio: deviation of a column of a table over the typical column's above which it
            outweighs all others.
        label_smoothing: label smoothing above which targets say little of the class.
        weight_slope: slope of the logarithm of class weights over that of the classes' counts above
            which the common classes are favoured.
        count_ratio: most over least labels of a class from which weights are compared with them.
        weight_excess: labels of a class times its weight over those of the other classes (median)
            from which the weights do more than balance them.
        memorised_r2: R² on training examples from which a regression has memorised them.
        value_gap: R² on training above that on validation (lower bound) from which a regression
            overfits, if the baseline is better on validation.
        value_excess: R² of the baseline on validation above the network's for that.
        momentum: momentum up to which its horizon is no matter, however short the training.
        decay_ratio: L2 weight decay over the gradient above which it outweighs the gradient.
        target_offset: distance of the targets' mean from 0, in their deviations, from which it
            matters where the last bias starts.
        penalty_ratio: gradient of a penalty on the weights over that of the rest of the loss above
            which the penalty is too strong.
        usual_penalty: that ratio for a penalty that does no harm.
        shrinkage: final over initial weights below which decay has won.
        common_token: fraction of the most common token above which a vocabulary does not fit.
        foreground: fraction of a mask below which its foreground is rare.
        predicted_foreground: predicted over wanted foreground below which there is none.
        few_examples: distinct training examples up to which they are few.
        few_examples_gap: training minus validation score above which they are too few.
        lag: fraction of the trained model's progress below which the validated one lags.
        slow_update: median update-to-weight ratio up to which steps may be too small even above
            min_update, where the loss falls slowly to the end.
        reach: fraction by which all steps together could lower the loss, to first order, below
            which they cannot have come far.
        falling: slope of the loss over the last half over its standard error from which it falls
            surely.
        steps_per_epoch: steps of an epoch below which batches may be too large.
        few_steps: steps of a training below which it may have had too few.
        class_gap: accuracy of a baseline for classes over that of a rounded regression above which
            whole numbers are classes.
        seen: change of a padded sequence's outputs as its content is replaced, over the change with
            the padding at the other end, below which the padding is read.
        unused: fraction of replaced positions without effect from which inputs are ignored.
        misaligned: mean recall of a baseline on turned masks, above that on masks as they are, from
            which images and masks are misaligned.
        separated: loss at the best temperature over that of equal outputs below which embeddings
            tell pairs apart.
        temperature_ratio: temperature of a contrastive loss over the best one, or the reverse.
        mixed_losses: fraction of steps that use the gradients of two losses.
        opposed: cosine between those two below which they oppose each other.
        summed_batch: target values of a batch from which a summed loss makes steps long.
    """

    min_reduction_ratio: float = 0.5
    worse_fraction: float = 0.25
    loss_spike: float = 1.5
    first_update: float = 2.5e-2
    killing_update: float = 0.1
    weight_growth: float = 2.5
    linear_reduction_ratio: float = 0.97
    min_update: float = 2e-4
    decay_per_step: float = 5e-3
    late_loss_drop: float = 0.08
    vanishing_ratio: float = 3e-3
    exploding_norm: float = 20.0
    initial_loss: float = 5.0
    dead_fraction: float = 0.4
    gap: float = 0.06
    loss_rise: float = 1.25
    parameters_per_image: float = 500.0
    unbounded_loss: float = 100.0
    target_size: float = 100.0
    target_ratio: float = 100.0
    dead_layer: float = 0.9
    small_network: int = 20_000
    below_baseline: float = 0.05
    r2_gap: float = 0.1
    contradictory: float = 0.03
    confident_error: float = 0.12
    imbalance_ratio: float = 8.0
    never_predicted_recall: float = 0.02
    recall_gap: float = 0.2
    duplicate_fraction: float = 0.01
    domain_shift_auc: float = 0.85
    half_width: float = 0.06
    carried_gradients: float = 0.5
    wrong_mode: float = 0.5
    vanished_rate: float = 1e-3
    vanished_steps: float = 0.3
    clip_ratio: float = 0.1
    memory_growth_mb: float = 30.0
    memory_fraction: float = 0.05
    wait_fraction: float = 0.6
    wait_seconds: float = 0.02
    zero_gradients: float = 0.6
    weight_gain: tuple[float, float] = (0.03, 3.5)
    saturated_fraction: float = 0.4
    dropout: float = 0.7
    dropout_loss_ratio: float = 2.0
    batch_norm_batch: int = 4
    shrunk_norm: float = 0.5
    undiminished_loss: float = 0.97
    class_runs: float = 1.8
    unvalidated_steps: int = 200
    input_shift: float = 0.75
    input_ratio: float = 2.5
    common_class: float = 0.7
    accuracy_gap: float = 0.15
    other_recall: float = 0.7
    confusion: float = 0.35
    validation_rise: float = 1.5
    mixed_outputs: float = 0.01
    stochastic_outputs: float = 0.01
    lookahead: float = 0.01
    other_columns: float = 0.99
    collapsed_outputs: float = 0.05
    constant_outputs: float = 0.01
    input_std: tuple[float, float] = (0.02, 6.0)
    column_ratio: float = 50.0
    label_smoothing: float = 0.3
    weight_slope: float = 0.3
    count_ratio: float = 1.5
    weight_excess: float = 10.0
    memorised_r2: float = 0.9
    value_gap: float = 0.15
    value_excess: float = 0.05
    momentum: float = 0.95
    decay_ratio: float = 1.0
    target_offset: float = 1.0
    penalty_ratio: float = 0.3
    usual_penalty: float = 0.05
    shrinkage: float = 0.5
    common_token: float = 0.8
    foreground: float = 0.2
    predicted_foreground: float = 0.1
    few_examples: int = 64
    few_examples_gap: float = 0.1
    lag: float = 0.5
    slow_update: float = 1e-3
    reach: float = 0.2
    falling: float = 4.0
    steps_per_epoch: int = 10
    few_steps: int = 150
    class_gap: float = 0.2
    seen: float = 0.1
    unused: float = 0.5
    misaligned: float = 0.2
    separated: float = 0.75
    temperature_ratio: float = 10.0
    mixed_losses: float = 0.5
    opposed: float = -0.3
    summed_batch: int = 8
